//! An afternoon with kubectl: each line of `afternoon.txt` that starts with `$` is a command, below it is all that it
//! prints (standard output, then standard error) and its exit code, where that is not 0.
//!
//! What differs from run to run reads `<...>`; blanks that align columns are one. With `CKSLAB_TEST_WRITE=1` the file
//! is written anew: read what changed.

use std::process::{Command, Stdio};

use regex::Regex;

use crate::builder::{Test, has_kubectl};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/clients/afternoon.txt"
);

const FILES: [(&str, &str); 5] = [
    (
        "app.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: applied\n  labels:\n    app: applied\ndata:\n  a: \"1\"\n",
    ),
    (
        "small.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: other\n  labels:\n    app: applied\n",
    ),
    (
        "kustomized/kustomization.yaml",
        "resources: [small.yaml]\nnamePrefix: k-\n",
    ),
    (
        "kustomized/small.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: small\n",
    ),
    (
        "rules.yaml",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: reader\n  namespace: n1\nrules:\n- apiGroups: ['']\n  resources: [secrets]\n  verbs: [get]\n",
    ),
];

/// What differs from run to run.
fn plain(text: &str) -> String {
    let rules = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "<time>"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uid>"),
        (r"[0-9a-f]{64}", "<id>"),
        (
            r"\b(web|coredns)-[0-9a-f]{8,10}(-[a-z0-9]{5})?\b",
            "$1-<hash>",
        ),
        (r"pod-template-hash=\w+", "pod-template-hash=<hash>"),
        (
            r"\b(node-debugger-node01|kube-proxy)-[a-z0-9]{5}\b",
            "$1-<hash>",
        ),
        (r"\b10\.(9[6-9]|1[01]\d)\.\d+\.\d+\b", "<service IP>"),
        (r"\b10\.244\.\d+\.\d+\b", "<pod IP>"),
        (r"127\.0\.0\.1:\d+", "<server>"),
        (
            r"(resourceVersion: |resourceVersion\x22: )\x22\d+\x22",
            "$1<version>",
        ),
        (r"\b443:3\d{4}/TCP", "443:<port>/TCP"),
        (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "<time>"),
        (
            r"(?m)(\s)(\d+[smh])+( \(x\d+ over (\d+[smh])+\))?(\s|$)",
            "$1<age>$5",
        ),
        // How far a rollout is seen to be depends on the moment.
        (r"(?m)^Waiting for deployment .*\n?", ""),
        // Kubectls differ in these.
        (r"(?m) from n1 namespace$", ""),
        (
            r"(?m)^(Mountable secrets:|Tokens:|--profile=legacy is deprecated).*\n?",
            "",
        ),
        (r"cannot delete cannot delete", "cannot delete"),
        (r"(is not valid for pod \w+) out of: .*", "$1"),
        (r"[ \t]+", " "),
        (r"(?m) $", ""),
    ];
    let mut text = text.to_owned();
    for (pattern, shown) in rules {
        text = Regex::new(pattern)
            .unwrap()
            .replace_all(&text, shown)
            .into_owned();
    }
    text
}

#[test]
fn an_afternoon_with_kubectl() {
    if !has_kubectl() {
        return;
    }
    let test = Test::new();
    test.start("sandbox");
    std::fs::create_dir(test.work().join("kustomized")).unwrap();
    for (name, content) in FILES {
        std::fs::write(test.work().join(name), content).unwrap();
    }
    keys(&test);
    let script = std::fs::read_to_string(SCRIPT).unwrap();
    let mut seen = String::new();
    for line in script.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("timeout 60 kubectl {line}")])
            .current_dir(test.work())
            .env("HOME", test.work())
            .env(
                "KUBECONFIG",
                test.node("sandbox", "/etc/kubernetes/admin.conf"),
            )
            .stdin(Stdio::null());
        let done = test.outcome(command, b"");
        seen.push_str(&format!("$ {line}\n"));
        let printed = plain(&format!(
            "{}\n{}",
            done.stdout.trim_end(),
            done.stderr.trim_end()
        ));
        for line in printed.trim().lines() {
            seen.push_str(&format!("{line}\n"));
        }
        if done.code != 0 {
            seen.push_str(&format!("[exit {}]\n", done.code));
        }
    }
    if std::env::var_os("CKSLAB_TEST_WRITE").is_some() {
        std::fs::write(SCRIPT, &seen).unwrap();
        return;
    }
    let differs = script
        .lines()
        .zip(seen.lines())
        .position(|(one, other)| one != other);
    let around = |text: &str| -> Vec<String> {
        let from = differs.unwrap_or_default().saturating_sub(8);
        text.lines()
            .skip(from)
            .take(16)
            .map(str::to_owned)
            .collect()
    };
    assert!(
        script == seen,
        "expected\n{:#?}\nseen\n{:#?}",
        around(&script),
        around(&seen)
    );
}

/// A key with a certificate, and a request for another one.
fn keys(test: &Test) {
    use base64::Engine as _;
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["example.com".to_owned()];
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(test.work().join("c.pem"), certificate.pem()).unwrap();
    std::fs::write(test.work().join("k.pem"), key.serialize_pem()).unwrap();
    params.subject_alt_names.clear();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "jane");
    let request = params.serialize_request(&key).unwrap().pem().unwrap();
    let request = base64::engine::general_purpose::STANDARD.encode(request);
    let object = format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata:\n  name: jane\nspec:\n  request: {request}\n  signerName: kubernetes.io/kube-apiserver-client\n  usages: [client auth]\n"
    );
    std::fs::write(test.work().join("request.yaml"), object).unwrap();
}
