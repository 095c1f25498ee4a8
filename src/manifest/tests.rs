use super::*;

const BASE: &str = include_str!("../../fixtures/golden/static-pod/baseline.yaml");
const PATH: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

fn parse(text: &str) -> Result<StaticPod, ManifestError> {
    StaticPod::parse(PATH, text.as_bytes(), "cks-control-plane")
}

#[test]
fn baseline() {
    let pod = parse(BASE).unwrap();
    assert_eq!(
        pod.full_name(),
        "kube-system/kube-apiserver-cks-control-plane"
    );
    assert_eq!(pod.volumes.len(), 5);
    let container = pod.container("kube-apiserver").unwrap();
    assert_eq!(container.argv().len(), 28);
    assert_eq!(container.cpu_request_milli, 250);
    assert_eq!(container.ports[0].host_port, 6443);
    assert_eq!(container.startup.as_ref().unwrap().failure_threshold, 24);
}

#[test]
fn uid_follows_meaning() {
    let uid = parse(BASE).unwrap().uid;
    assert_eq!(parse(&format!("# comment\n{BASE}")).unwrap().uid, uid);
    assert_eq!(parse(&BASE.replace('\n', "\r\n")).unwrap().uid, uid);
    assert_eq!(parse(&format!("\u{feff}{BASE}")).unwrap().uid, uid);
    assert_eq!(parse(&format!("{BASE}unknown: field\n")).unwrap().uid, uid);
    assert_ne!(
        parse(&BASE.replace("tier: control-plane", "tier: other"))
            .unwrap()
            .uid,
        uid
    );
    let other = StaticPod::parse(
        "/etc/kubernetes/manifests/b.yaml",
        BASE.as_bytes(),
        "cks-control-plane",
    );
    assert_ne!(other.unwrap().uid, uid);
}

#[test]
fn unknown_kind_texts() {
    for (text, reason) in [
        ("", "Object 'Kind' is missing in 'null'"),
        (
            "a: <b>\n",
            r#"Object 'Kind' is missing in '{"a":"\u003cb\u003e"}'"#,
        ),
        (
            "kind: Pod\n",
            r#"Object 'apiVersion' is missing in '{"kind":"Pod"}'"#,
        ),
        (
            "kind: Pod\napiVersion: v2\n",
            "no kind \"Pod\" is registered for version \"v2\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
        ),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{PATH}: couldn't parse as pod({reason}), please check config file")
        );
    }
}

#[test]
fn secrets_are_refused() {
    let text = BASE.replace(
        "  volumes:\n",
        "  volumes:\n  - name: s\n    secret:\n      secretName: x\n",
    );
    assert_eq!(
        parse(&text).unwrap_err().to_string(),
        "static pods may not reference secrets"
    );
}

#[test]
fn a_grace_period_never_reaches_beyond_what_clocks_count() {
    let parse = |seconds: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: patient}}\nspec:\n  \
             terminationGracePeriodSeconds: {seconds}\n  containers: [{{name: c, image: i}}]\n"
        );
        StaticPod::parse("/etc/kubernetes/manifests/p.yaml", text.as_bytes(), "n")
            .unwrap()
            .grace_seconds
    };
    assert_eq!(parse("0"), 0);
    assert_eq!(parse("30"), 30);
    assert_eq!(parse("9223372036854775807"), super::LONGEST_GRACE);
    let now = std::time::Instant::now();
    let longest = std::time::Duration::from_secs(super::LONGEST_GRACE);
    assert!(now.checked_add(longest).is_some());
}
