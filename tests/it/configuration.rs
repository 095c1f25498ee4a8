//! Files that say who is known and what is allowed: `--authentication-config`, `--authorization-config`,
//! `--authorization-policy-file`, `--encryption-provider-config`, as a server that started with them serves.

use std::net::SocketAddr;
use std::sync::Arc;

use ckslab::audit::options::pflag::CommandLine;
use ckslab::node::embedded::apiserver::flags::{Flags, authorization_config};
use ckslab::node::embedded::apiserver::klog::Klog;
use ckslab::node::embedded::apiserver::pipeline::{self, Peer, RequestBody};
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::apiserver::startup;
use ckslab::node::embedded::apiserver::state::ApiState;
use ckslab::node::embedded::runtime::rootfs::{Mount, Rootfs};
use ckslab::node::embedded::store::Store;
use http_body_util::{BodyExt, Full};

use crate::flags::{Captured, base_arguments, pki};
use crate::replay;

/// A server of a node with this file, and what it wrote to standard error.
struct Server {
    state: Arc<ApiState>,
    output: Arc<Captured>,
    _root: tempfile::TempDir,
}

const FILE: &str = "/etc/kubernetes/config";

impl Server {
    async fn start(arguments: &[&str], removed: &str, file: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        pki(root.path());
        std::fs::write(root.path().join("etc/kubernetes/config"), file).unwrap();
        let mut argv: Vec<String> = base_arguments()
            .into_iter()
            .filter(|argument| !argument.starts_with(&format!("--{removed}=")))
            // On the port of a node it would listen.
            .filter(|argument| !argument.starts_with("--secure-port"))
            .collect();
        argv.push("--secure-port=6444".to_owned());
        argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let layer = root.path().join("layer");
        std::fs::create_dir_all(&layer).unwrap();
        let mount = Mount {
            name: "k8s".to_owned(),
            container_path: "/etc/kubernetes".to_owned(),
            node_path: "/etc/kubernetes".to_owned(),
            read_only: true,
        };
        let rootfs = Rootfs::new(root.path().to_path_buf(), layer, vec![mount]);
        rootfs.prepare().unwrap();
        let output = Arc::new(Captured::default());
        let mut flags = Flags::from(CommandLine::parse(&argv).unwrap());
        let config = flags.line.text("authorization-config");
        if !config.is_empty() {
            flags.configured_modes = Some(authorization_config::modes(&rootfs, &config).unwrap());
        }
        let server = startup::build(
            replay::machine(Store::in_memory()),
            flags,
            Klog::new(output.clone(), 1, 0),
            Arc::new(rootfs),
            None,
        )
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        Self {
            state: server.state().clone(),
            output,
            _root: root,
        }
    }

    async fn answer(&self, peer: Peer, path: &str) -> (u16, String) {
        let body = RequestBody::new(Full::new(bytes::Bytes::new()).map_err(|never| match never {}));
        let request = http::Request::builder().uri(path).body(body).unwrap();
        let response = pipeline::handle(self.state.clone(), request, peer).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn anonymous(&self, path: &str) -> u16 {
        let peer = Peer::Tls {
            address: SocketAddr::from(([127, 0, 0, 1], 40000)),
            certificates: Vec::new(),
        };
        self.answer(peer, path).await.0
    }

    async fn user(&self, name: &str, group: &str, path: &str) -> (u16, String) {
        let user = UserInfo {
            username: name.to_owned(),
            groups: vec![group.to_owned(), "system:authenticated".to_owned()],
            ..UserInfo::default()
        };
        let address = "127.0.0.1".parse().unwrap();
        self.answer(Peer::Local { user, address }, path).await
    }
}

#[tokio::test]
async fn anonymous_requests_are_served_where_the_file_says_so() {
    let file = |anonymous: &str| {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n{anonymous}"
        )
    };
    let flag = ["--authentication-config=/etc/kubernetes/config"];
    let some = "anonymous:\n  enabled: true\n  conditions:\n  - path: /livez\n";
    let server = Server::start(&flag, "", &file(some)).await;
    assert_eq!(server.anonymous("/livez").await, 403, "known, not allowed");
    assert_eq!(server.anonymous("/readyz").await, 401);
    assert_eq!(server.anonymous("/livez/ping").await, 401);
    let server = Server::start(&flag, "", &file("anonymous: {enabled: false}\n")).await;
    assert_eq!(server.anonymous("/livez").await, 401);
    // Without that part the flag decides.
    let jwt = "jwt:\n- issuer: {url: 'https://a', audiences: [x]}\n  claimMappings: {username: {claim: sub, prefix: ''}}\n";
    let server = Server::start(&flag, "", &file(jwt)).await;
    assert_eq!(server.anonymous("/readyz").await, 403);
}

#[tokio::test]
async fn policies_of_mode_abac_decide() {
    let server = Server::start(
        &[
            "--authorization-mode=ABAC",
            "--authorization-policy-file=/etc/kubernetes/config",
        ],
        "authorization-mode",
        "# who may look\n{\"apiVersion\":\"abac.authorization.kubernetes.io/v1beta1\",\"kind\":\"Policy\",\"spec\":{\"user\":\"jane\",\"namespace\":\"web\",\"resource\":\"configmaps\",\"readonly\":true}}\n",
    )
    .await;
    let path = "/api/v1/namespaces/web/configmaps";
    assert_eq!(server.user("jane", "dev", path).await.0, 200);
    let (code, body) = server.user("joe", "dev", path).await;
    assert_eq!(code, 403);
    assert!(body.contains("No policy matched."), "{body}");
    let elsewhere = "/api/v1/namespaces/other/configmaps";
    assert_eq!(server.user("jane", "dev", elsewhere).await.0, 403);
    assert_eq!(
        server.user("root", "system:masters", elsewhere).await.0,
        200
    );
}

#[tokio::test]
async fn the_chain_of_authorizers_is_that_of_the_file() {
    let server = Server::start(
        &["--authorization-config=/etc/kubernetes/config"],
        "authorization-mode",
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: AlwaysDeny, name: alwaysdeny}\n",
    )
    .await;
    let (code, body) = server.user("jane", "dev", "/api/v1/nodes").await;
    assert_eq!(code, 403);
    assert!(body.contains("Everything is forbidden."), "{body}");
}

const SECRETS: &str = "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n";

#[tokio::test]
async fn a_plugin_that_is_not_there_makes_the_server_unhealthy() {
    let kms = "  - kms: {apiVersion: v2, name: vault, endpoint: 'unix:///run/kms.sock'}\n  - identity: {}\n";
    let server = Server::start(
        &[&format!("--encryption-provider-config={FILE}")],
        "",
        &format!("{SECRETS}{kms}"),
    )
    .await;
    for endpoint in ["healthz", "livez", "readyz"] {
        let (code, body) = server
            .user("root", "system:masters", &format!("/{endpoint}"))
            .await;
        assert_eq!(code, 500);
        assert!(body.contains("[+]etcd"), "{body}");
        assert!(
            body.contains("\n[-]kms-providers failed: reason withheld\n"),
            "{body}"
        );
    }
    let (_, body) = server
        .user("root", "system:masters", "/livez/kms-providers")
        .await;
    assert!(
        body.contains("status section of the healthz check for KMS Provider vault"),
        "{body}"
    );
    let stderr = server.output.stderr.lock().unwrap().join("\n");
    assert!(
        stderr.contains("\"failed to create connection to unix socket\" err=\"dial unix /run/kms.sock: connect: no such file or directory\" addr=\"/run/kms.sock\""),
        "{stderr}"
    );
}

#[tokio::test]
async fn keys_of_a_file_add_no_check_but_its_reload_does() {
    let key = "  - secretbox: {keys: [{name: a, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}\n";
    let file = format!("{SECRETS}{key}");
    let flag = format!("--encryption-provider-config={FILE}");
    let reload = "--encryption-provider-config-automatic-reload";
    for (arguments, checked) in [(vec![flag.as_str()], false), (vec![&flag, reload], true)] {
        let server = Server::start(&arguments, "", &file).await;
        let (code, body) = server
            .user("root", "system:masters", "/livez?verbose")
            .await;
        assert_eq!(code, 200, "{body}");
        assert_eq!(body.contains("[+]kms-providers ok"), checked, "{body}");
        let hook = "[+]poststarthook/start-encryption-provider-config-automatic-reload ok";
        assert_eq!(body.contains(hook), checked, "{body}");
    }
}
