//! kube-apiserver command lines that the recordings do not have, and what the sources say they end in.

use crate::flags::{Row, base_arguments, copy, pki};

/// What the recordings do not have: arguments, base arguments left out, files written before, and
/// the end of the last line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_faults_end_in_the_words_of_the_sources() {
    let template = tempfile::tempdir().unwrap();
    pki(template.path());
    let base = base_arguments();
    let mut unexpected = Vec::new();
    for (arguments, removed, files, want) in FAULTS {
        let root = tempfile::tempdir().unwrap();
        copy(template.path(), root.path());
        for (path, text) in *files {
            std::fs::write(root.path().join(path), text).unwrap();
        }
        let removed: Vec<&str> = removed.to_vec();
        let err = if want.starts_with("Error: ") {
            (*want).to_owned()
        } else {
            format!(
                "E<MMDD> <HH:MM:SS.uuuuuu> <PID> run.go:72] \"command failed\" err={}",
                ckslab::audit::options::number::quote(want)
            )
        };
        let row = serde_json::json!({
            "args": arguments, "removedBaseArgs": removed, "setup": [], "ready": false,
            "exited": true, "exitCode": 1, "stderr": [err], "lastLineOnly": true,
        });
        let notes = Row {
            row,
            base: base.clone(),
            root: root.path().to_path_buf(),
        }
        .differences()
        .await;
        if !notes.is_empty() {
            unexpected.push(format!("{arguments:?}: {}", notes.join("; ")));
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

type Fault = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);

const FAULTS: &[Fault] = &[
    (
        &["--feature-gates=NoSuch=true"],
        &[],
        &[],
        "unrecognized feature gate: NoSuch",
    ),
    (
        &["--feature-gates=NoSuch=true", "--version"],
        &[],
        &[],
        "unrecognized feature gate: NoSuch",
    ),
    (
        &["--feature-gates=WatchList"],
        &[],
        &[],
        "missing bool value for WatchList",
    ),
    (
        &["--feature-gates=WatchList=maybe"],
        &[],
        &[],
        "invalid value of WatchList=maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax",
    ),
    (
        &["--feature-gates=DynamicResourceAllocation=false"],
        &[],
        &[],
        "cannot set feature gate DynamicResourceAllocation to false, feature is locked to true",
    ),
    (
        &["--feature-gates=other:A=true"],
        &[],
        &[],
        "component not registered: other",
    ),
    (
        &["--emulated-version=1.20"],
        &[],
        &[],
        "emulation version 1.20 is not between [1.33, 1.36.0]",
    ),
    (
        &["--logging-format=xml"],
        &[],
        &[],
        "format: Invalid value: \"xml\": Unsupported log format",
    ),
    (
        &["--log-text-split-stream"],
        &[],
        &[],
        "options.text.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
    ),
    (
        &["--service-cluster-ip-range=10.96.0.0"],
        &["--service-cluster-ip-range"],
        &[],
        "service-cluster-ip-range[0] is not a valid cidr",
    ),
    (
        &["--service-cluster-ip-range=10.96.0.0/30"],
        &["--service-cluster-ip-range"],
        &[],
        "error determining service IP ranges for primary service cidr: the service cluster IP range must be at least 8 IP addresses",
    ),
    (
        &["--service-cluster-ip-range=10.96.0.0/12,10.97.0.0/16"],
        &["--service-cluster-ip-range"],
        &[],
        "--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of different IP family",
    ),
    (
        &["--authorization-mode=Node,RBAC,Magic"],
        &["--authorization-mode"],
        &[],
        "authorization-mode \"Magic\" is not a valid mode",
    ),
    (
        &["--authorization-mode=RBAC,RBAC"],
        &["--authorization-mode"],
        &[],
        "authorization-mode [\"RBAC\" \"RBAC\"] has mode specified more than once",
    ),
    (
        &["--authorization-mode=ABAC"],
        &["--authorization-mode"],
        &[],
        "authorization-mode ABAC's authorization policy file not passed",
    ),
    (
        &["--authorization-mode=Webhook"],
        &["--authorization-mode"],
        &[],
        "authorization-mode Webhook's authorization config file not passed",
    ),
    (
        &["--authorization-policy-file=/x"],
        &[],
        &[],
        "cannot specify --authorization-policy-file without mode ABAC",
    ),
    (
        &["--authorization-config=/x"],
        &[],
        &[],
        "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined",
    ),
    (
        &["--authorization-config=/x"],
        &["--authorization-mode"],
        &[],
        "open /x: no such file or directory",
    ),
    (
        &["--oidc-issuer-url=https://a"],
        &[],
        &[],
        "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set",
    ),
    (
        &[],
        &["--service-account-key-file"],
        &[],
        "either `--service-account-key-file` or `--service-account-signing-endpoint` must be set",
    ),
    (
        &[],
        &["--service-account-issuer"],
        &[],
        "[service-account-issuer is a required flag, --service-account-signing-key-file, --service-account-issuer, and --api-audiences should be specified together]",
    ),
    (
        &["--service-account-issuer=https://a:b"],
        &["--service-account-issuer"],
        &[],
        "service-account-issuer \"https://a:b\" contained a ':' but was not a valid URL: parse \"https://a:b\": invalid port \":b\" after host",
    ),
    (
        &["--service-account-signing-key-file=/x"],
        &["--service-account-signing-key-file"],
        &[],
        "failed to parse service-account-issuer-key-file: open /x: no such file or directory",
    ),
    (
        &["--service-account-key-file=/x"],
        &[],
        &[],
        "open /x: no such file or directory",
    ),
    (
        &["--requestheader-allowed-names=a, "],
        &["--requestheader-allowed-names"],
        &[],
        "empty value in \"requestheader-allowed-names\"",
    ),
    (
        &["--enable-admission-plugins=NodeRestriction,PodSecurityPolicy"],
        &["--enable-admission-plugins"],
        &[],
        "enable-admission-plugins plugin \"PodSecurityPolicy\" is unknown",
    ),
    (
        &["--disable-admission-plugins=NodeRestriction"],
        &[],
        &[],
        "[NodeRestriction] in enable-admission-plugins and disable-admission-plugins overlapped",
    ),
    (
        &["--admission-control=NodeRestriction"],
        &[],
        &[],
        "admission-control and enable-admission-plugins/disable-admission-plugins flags are mutually exclusive",
    ),
    (
        &["--runtime-config=foo/v1=true"],
        &[],
        &[],
        "unknown api groups foo/v1",
    ),
    (
        &["--runtime-config=api/all=false"],
        &[],
        &[],
        "[--runtime-config=api/all=false conflicts with --enable-priority-and-fairness=true, invalid runtime-config with only api/all=false]",
    ),
    (
        &["--egress-selector-config-file=/x"],
        &[],
        &[],
        "egress-selector-config-file /x does not exist",
    ),
    (
        &[
            "--tracing-config-file=/x",
            "--audit-log-path=/y",
            "--audit-log-maxage=-1",
        ],
        &[],
        &[],
        "[--audit-log-maxage -1 can't be a negative number, tracing-config-file /x does not exist]",
    ),
    (
        &["--etcd-servers="],
        &["--etcd-servers"],
        &[],
        "--etcd-servers must be specified",
    ),
    (
        &["--storage-backend=etcd2", "--secure-port=0"],
        &["--secure-port"],
        &[],
        "[--storage-backend invalid, allowed values: etcd3. If not specified, it will default to 'etcd3', --secure-port 0 must be between 1 and 65535, inclusive. It cannot be turned off with 0]",
    ),
    (
        &[
            "--max-requests-inflight=-1",
            "--goaway-chance=1",
            "--etcd-servers=",
        ],
        &["--etcd-servers"],
        &[],
        "[--max-requests-inflight can not be negative value, --goaway-chance can not be less than 0 or greater than 0.02, --etcd-servers must be specified]",
    ),
    (
        &[
            "--max-requests-inflight=0",
            "--max-mutating-requests-inflight=0",
        ],
        &[],
        &[],
        "invalid configuration: MaxRequestsInFlight=0 and MaxMutatingRequestsInFlight=0; they must add up to something positive",
    ),
    (
        &["--bind-address=192.0.2.7"],
        &[],
        &[],
        "failed to create listener: failed to listen on 192.0.2.7:6443: listen tcp 192.0.2.7:6443: bind: cannot assign requested address",
    ),
    (
        &["--tls-min-version=TLS12"],
        &[],
        &[],
        "unknown tls version \"TLS12\"",
    ),
    (
        &["--tls-cipher-suites=TLS_NONE"],
        &[],
        &[],
        "Cipher suite TLS_NONE not supported or doesn't exist",
    ),
    (
        &["--tls-curve-preferences=1"],
        &[],
        &[],
        "curve preference 1 is not supported by the current Go version",
    ),
    (
        &[],
        &[],
        &[("etc/kubernetes/pki/apiserver.crt", "")],
        "missing content for serving cert \"serving-cert::/etc/kubernetes/pki/apiserver.crt::/etc/kubernetes/pki/apiserver.key\"",
    ),
    (
        &["--tls-private-key-file=/etc/kubernetes/pki/ca.key"],
        &["--tls-private-key-file"],
        &[],
        "tls: private key does not match public key",
    ),
    (
        &["--client-ca-file=/etc/kubernetes/pki/sa.pub"],
        &["--client-ca-file"],
        &[],
        "error loading CA bundle for \"client-ca-bundle::/etc/kubernetes/pki/sa.pub\": data does not contain any valid RSA or ECDSA certificates",
    ),
    (
        &["--token-auth-file=/x"],
        &[],
        &[],
        "open /x: no such file or directory",
    ),
    (
        &["--token-auth-file=/etc/kubernetes/tokens.csv"],
        &[],
        &[("etc/kubernetes/tokens.csv", "a,b\n")],
        "token file '/etc/kubernetes/tokens.csv' must have at least 3 columns (token, user name, user uid), found 2",
    ),
    (
        &["--encryption-provider-config=/x"],
        &[],
        &[],
        "error while parsing file: error while loading file: error reading encryption provider configuration file \"/x\": open /x: no such file or directory",
    ),
    (
        &["--encryption-provider-config=/etc/kubernetes/enc.yaml"],
        &[],
        &[(
            "etc/kubernetes/enc.yaml",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n      - {name: k, secret: c2hvcnQ=}\n",
        )],
        "error while parsing file: resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 5, expected one of [16 24 32]",
    ),
    (
        &["--encryption-provider-config=/etc/kubernetes/enc.yaml"],
        &[],
        &[(
            "etc/kubernetes/enc.yaml",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - aescbb: {}\n",
        )],
        "error while parsing file: error decoding encryption provider configuration file \"/etc/kubernetes/enc.yaml\": strict decoding error: unknown field \"resources[0].providers[0].aescbb\"",
    ),
    (
        &["--kubelet-client-certificate=/x"],
        &["--kubelet-client-certificate"],
        &[],
        "open /x: no such file or directory",
    ),
    (
        &["--help=maybe"],
        &[],
        &[],
        "Error: invalid argument \"maybe\" for \"-h, --help\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
    ),
    (
        &["", "a", "b\nc"],
        &[],
        &[],
        "Error: \"kube-apiserver\" does not take any arguments, got [\"\" \"a\" \"b\\nc\"]",
    ),
    (
        &["--audit-log-maxage=1", "-x"],
        &[],
        &[],
        "Error: unknown shorthand flag: 'x' in -x",
    ),
    (
        &["--kubelet-port=1", "--no-such"],
        &[],
        &[],
        "Error: unknown flag: --no-such",
    ),
    (
        &["--authentication-config=/x"],
        &[],
        &[],
        "failed to load authentication configuration from file \"/x\": open /x: no such file or directory",
    ),
    (
        &["--authentication-config=/etc/kubernetes/a.yaml"],
        &[],
        &[("etc/kubernetes/a.yaml", "")],
        "failed to load authentication configuration from file \"/etc/kubernetes/a.yaml\": empty config data",
    ),
    (
        &["--authentication-config=/etc/kubernetes/a.yaml"],
        &[],
        &[(
            "etc/kubernetes/a.yaml",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymus: {enabled: true}\n",
        )],
        "failed to load authentication configuration from file \"/etc/kubernetes/a.yaml\": strict decoding error: unknown field \"anonymus\"",
    ),
    (
        &["--authentication-config=/etc/kubernetes/a.yaml"],
        &[],
        &[(
            "etc/kubernetes/a.yaml",
            "apiVersion: apiserver.config.k8s.io/v2\nkind: AuthenticationConfiguration\n",
        )],
        "failed to load authentication configuration from file \"/etc/kubernetes/a.yaml\": no kind \"AuthenticationConfiguration\" is registered for version \"apiserver.config.k8s.io/v2\" in scheme \"pkg/kubeapiserver/options/authentication.go:799\"",
    ),
    (
        &["--authentication-config=/etc/kubernetes/a.yaml"],
        &[],
        &[(
            "etc/kubernetes/a.yaml",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n",
        )],
        "failed to load authentication configuration from file \"/etc/kubernetes/a.yaml\": expected AuthenticationConfiguration, got *apiserver.AuthorizationConfiguration",
    ),
    (
        &[
            "--authentication-config=/etc/kubernetes/a.yaml",
            "--anonymous-auth=false",
        ],
        &[],
        &[(
            "etc/kubernetes/a.yaml",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true}\n",
        )],
        "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file",
    ),
    (
        &["--authentication-config=/etc/kubernetes/a.yaml"],
        &[],
        &[(
            "etc/kubernetes/a.yaml",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: false\n  conditions:\n  - path: /livez\n",
        )],
        "invalid authentication configuration: anonymous.conditions: Invalid value: [{\"Path\":\"/livez\"}]: enabled should be set to true when conditions are defined",
    ),
    (
        &["--authentication-config=/etc/kubernetes/a.yaml"],
        &[],
        &[(
            "etc/kubernetes/a.yaml",
            "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {url: 'http://u@a?b', audiences: [x, z]}\n  claimMappings: {username: {claim: sub}}\n",
        )],
        "invalid authentication configuration: [jwt[0].issuer.url: Invalid value: \"http://u@a?b\": URL scheme must be https, jwt[0].issuer.url: Invalid value: \"http://u@a?b\": URL must not contain a username or password, jwt[0].issuer.url: Invalid value: \"http://u@a?b\": URL must not contain a query, jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences, jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing]",
    ),
    (
        &["--authentication-config=/x", "--oidc-client-id=a"],
        &[],
        &[],
        "authentication-config file and oidc-* flags are mutually exclusive",
    ),
    (
        &["--oidc-issuer-url=http://a", "--oidc-client-id=b"],
        &[],
        &[],
        "invalid authentication configuration: jwt[0].issuer.url: Invalid value: \"http://a\": URL scheme must be https",
    ),
    (
        &["--authorization-config=/etc/kubernetes/z.yaml"],
        &["--authorization-mode"],
        &[("etc/kubernetes/z.yaml", "")],
        "authorizers: Required value: at least one authorization mode must be defined",
    ),
    (
        &["--authorization-config=/etc/kubernetes/z.yaml"],
        &["--authorization-mode"],
        &[("etc/kubernetes/z.yaml", "authorizers: []")],
        "failed to load AuthorizationConfiguration from file: Object 'Kind' is missing in 'authorizers: []'",
    ),
    (
        &["--authorization-config=/etc/kubernetes/z.yaml"],
        &["--authorization-mode"],
        &[(
            "etc/kubernetes/z.yaml",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: RBAC, name: rules}\n- {type: Node, name: node}\n",
        )],
        "expected name rbac for authorizer RBAC instead of rules",
    ),
    (
        &["--authorization-config=/etc/kubernetes/z.yaml"],
        &["--authorization-mode"],
        &[(
            "etc/kubernetes/z.yaml",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: Webhook, name: A_b}\n- {type: Magic}\n- type: RBAC\n  name: rbac\n  webhook: {}\n- type: Webhook\n  name: hook\n  webhook: {timeout: 40s, subjectAccessReviewVersion: v2, connectionInfo: {type: KubeConfigFile, kubeConfigFile: x}}\n",
        )],
        "[authorizers[0].name: Invalid value: \"A_b\": authorizer name is invalid: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), authorizers[0].webhook: Required value: required when type=Webhook, authorizers[1].type: Unsupported value: \"Magic\": supported values: \"ABAC\", \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\", authorizers[2].webhook: Invalid value: \"non-null\": may only be specified when type=Webhook, authorizers[3].timeout: Invalid value: \"40s\": must be > 0s and <= 30s, authorizers[3].subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\", authorizers[3].failurePolicy: Required value, authorizers[3].connectionInfo.kubeConfigFile: Invalid value: \"x\": must be an absolute path]",
    ),
    (
        &[
            "--authorization-mode=ABAC",
            "--authorization-policy-file=/etc/kubernetes/p.jsonl",
        ],
        &["--authorization-mode"],
        &[("etc/kubernetes/p.jsonl", "# all\n{\"apiVersion\":\n")],
        "invalid authorization config: error reading policy file /etc/kubernetes/p.jsonl, line 2: {\"apiVersion\":: couldn't get version/kind; json parse error: unexpected end of JSON input",
    ),
    (
        &["--encryption-provider-config=/etc/kubernetes/enc.yaml"],
        &[],
        &[(
            "etc/kubernetes/enc.yaml",
            "kind: EncryptionConfig\napiVersion: v1\nresources:\n- resources: [secrets, '*.', Pods]\n  providers:\n  - identity: {}\n    aescbc: {keys: []}\n- resources: [configmaps.*]\n  providers: [{}]\n",
        )],
        "error while parsing file: [resources[0].resources: Invalid value: [\"secrets\",\"*.\",\"Pods\"]: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked, resources[0].resources[2]: Invalid value: \"Pods\": resource name should not contain capital letters, resources[0].providers[0]: Invalid value: {\"AESGCM\":null,\"AESCBC\":{\"Keys\":[]},\"Secretbox\":null,\"Identity\":{},\"KMS\":null}: more than one provider specified in a single element, should split into different list elements, resources[0].providers[0].aescbc.keys: Required value: at least one keys is required, resources[1].resources[0]: Invalid value: \"configmaps.*\": encrypting the same resource across groups is not supported, resources[1].providers[0]: Invalid value: {\"AESGCM\":null,\"AESCBC\":null,\"Secretbox\":null,\"Identity\":null,\"KMS\":null}: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity]",
    ),
    (
        &["--encryption-provider-config=/etc/kubernetes/enc.yaml"],
        &[],
        &[(
            "etc/kubernetes/enc.yaml",
            "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: 'a:b', endpoint: 'http://x', cachesize: 7, timeout: -1s}\n",
        )],
        "error while parsing file: [resources[0].providers[0].kms.name: Invalid value: \"a:b\": invalid KMS provider name a:b, must not contain ':', resources[0].providers[0].kms.timeout: Invalid value: \"-1s\": timeout should be a positive value, resources[0].providers[0].kms.endpoint: Invalid value: \"http://x\": unsupported scheme \"http\" for KMS provider, only unix is supported, resources[0].providers[0].kms.cachesize: Invalid value: 7: cachesize is not supported in v2]",
    ),
    (
        &["--encryption-provider-config=/etc/kubernetes/enc.yaml"],
        &[],
        &[(
            "etc/kubernetes/enc.yaml",
            "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n  - kms: {name: a, endpoint: 'unix:///x'}\n",
        )],
        "error while building transformers: KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature.",
    ),
    (
        &["--encryption-provider-config=/etc/kubernetes/enc.yaml"],
        &[],
        &[(
            "etc/kubernetes/enc.yaml",
            "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: ['*.*']\n  providers: [{identity: {}}]\n- resources: [secrets]\n  providers: [{identity: {}}]\n",
        )],
        "error while building transformers: resource \"secrets\" is masked by earlier rule \"*.*\"",
    ),
];
