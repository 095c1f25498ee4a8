use super::*;

fn node() -> (tempfile::TempDir, Confined) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("node");
    std::fs::create_dir(&root).unwrap();
    let node = Confined::new(&root);
    for path in [
        "/root/pod.yaml",
        "/opt/a",
        "/many/a.yaml",
        "/opt/a,/etc/passwd",
    ] {
        node.write_atomic(path, b"x", 0o644).unwrap();
    }
    node.symlink("/opt/a", "/opt/link").unwrap();
    node.create_dir_all("/linked", 0o755).unwrap();
    node.symlink("/opt/a", "/linked/a.yaml").unwrap();
    let plain = b"users: [{name: a, user: {client-key-data: eA==}}]\n";
    node.write_atomic("/root/config", plain, 0o600).unwrap();
    for (name, user) in [
        ("exec", "exec: {command: id}"),
        ("file", "client-key: /etc/passwd"),
    ] {
        let text = format!("users: [{{name: a, user: {{{user}}}}}]\n");
        node.write_atomic(&format!("/root/{name}"), text.as_bytes(), 0o600)
            .unwrap();
    }
    (dir, node)
}

fn mapped(node: &Confined, line: &str) -> Result<String, NodeError> {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    map(node, &arguments).map(|line| {
        let words: Vec<&str> = line.arguments().collect();
        words
            .join(" ")
            .replace(&node.root().display().to_string(), "ROOT")
    })
}

#[test]
fn paths_are_mapped_and_values_joined() {
    let (_dir, node) = node();
    for (given, expected) in [
        ("apply -f pod.yaml", "apply --filename=ROOT/root/pod.yaml"),
        ("apply -f../opt/link", "apply --filename=ROOT/opt/a"),
        ("apply -f=/opt/a", "apply --filename=ROOT/opt/a"),
        ("apply -Rf /many", "apply --recursive --filename=ROOT/many"),
        (
            "apply --filename /opt/a --server-side",
            "apply --filename=ROOT/opt/a --server-side",
        ),
        ("apply -f -", "apply --filename=-"),
        (
            "apply -f https://example.com/a",
            "apply --filename=https://example.com/a",
        ),
        ("-n team get pods -w", "get --namespace=team pods --watch"),
        (
            "--kubeconfig=config get ns",
            "get --kubeconfig=ROOT/root/config ns",
        ),
        (
            "create secret generic s --from-file=k=/opt/a",
            "create secret generic s --from-file=k=ROOT/opt/a",
        ),
        (
            "patch cm a --patch-file /opt/a --type merge",
            "patch cm a --patch-file=ROOT/opt/a --type=merge",
        ),
        (
            "get po -ojsonpath={.items}",
            "get po --output=jsonpath={.items}",
        ),
        (
            "get po -o jsonpath-file=/opt/a",
            "get po --output=jsonpath-file=ROOT/opt/a",
        ),
        ("get --raw /readyz", "get --raw=/readyz"),
        ("config view --raw", "config view --raw"),
        (
            "logs -fp web -c app",
            "logs --follow --previous web --container=app",
        ),
        (
            "exec -it p -- cat -f /etc/passwd",
            "exec --stdin --tty p -- cat -f /etc/passwd",
        ),
        (
            "run a --image=b --dry-run=client -oyaml",
            "run a --image=b --dry-run=client --output=yaml",
        ),
        (
            "auth can-i get secrets --as bob",
            "auth can-i get secrets --as=bob",
        ),
    ] {
        assert_eq!(mapped(&node, given).unwrap(), expected, "{given}");
    }
}

#[test]
fn whatever_reaches_beyond_the_node_is_refused() {
    let (_dir, node) = node();
    for line in [
        "apply -f /etc/passwd",
        "apply -Rf/etc/passwd",
        "apply -f ../../../../../../etc/passwd",
        "apply -f /opt/a,/etc/passwd",
        "apply -f /linked",
        "apply -k/etc/x",
        "apply -k /many",
        "apply --kustomize=/many",
        "apply edit-last-applied cm a",
        "kustomize /many",
        "patch cm a --patch-file=/etc/passwd",
        "create cm a --from-file=https://../../etc/passwd",
        "create cm a --from-file=-",
        "create -f /opt/a --edit",
        "create whatever",
        "get po -o jsonpath-file=/etc/passwd",
        "get po -ogo-template-file=/etc/passwd",
        "get po -o go-template-file --template /etc/passwd",
        "get po --cache-dir=/tmp",
        "get po --cache-dir /tmp",
        "get po --profile=cpu --profile-output=/tmp/x",
        "get po --kuberc=/etc/passwd",
        "cluster-info dump --output-directory=/tmp",
        "cluster-info dump",
        "proxy --www=/",
        "edit cm a",
        "diff -f /opt/a",
        "debug p --custom=/etc/passwd",
        "cp a pod:/b",
        "plugin list",
        "whoami",
        "-- apply -f /etc/passwd",
        "--kubeconfig=/etc/kubernetes/none get ns",
        "--kubeconfig exec get ns",
        "get ns --kubeconfig=file",
        "get ns --client-key=/etc/passwd",
        "get ns -f",
    ] {
        assert!(
            mapped(&node, line).is_err(),
            "{line}: {:?}",
            mapped(&node, line)
        );
    }
    let reason = mapped(&node, "edit cm a").unwrap_err().to_string();
    assert!(
        reason.starts_with("`kubectl edit` cannot be confined"),
        "{reason}"
    );
}

#[test]
fn environment_is_scrubbed() {
    let dir = tempfile::tempdir().unwrap();
    let spec = super::super::super::root::Spec::new(21000);
    let config = Config::new(dir.path(), crate::node::embedded::pace::Pace::Fast, spec);
    config.create().unwrap();
    let made = command(&config, &["get".to_owned(), "ns".to_owned()]).unwrap();
    let names: Vec<String> = made
        .get_envs()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    for name in [
        "EDITOR",
        "VISUAL",
        "PAGER",
        "KUBE_EDITOR",
        "KUBECTL_EXTERNAL_DIFF",
    ] {
        assert!(!names.iter().any(|n| n == name));
    }
    assert!(names.iter().any(|name| name == "KUBECONFIG"));
    // A link on the node that leads to a file of the host is no kubeconfig.
    let admin = config.node_root.join("etc/kubernetes/admin.conf");
    std::fs::remove_file(&admin).unwrap();
    std::fs::write(dir.path().join("outside"), "users: []").unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), &admin).unwrap();
    assert!(command(&config, &["get".to_owned(), "ns".to_owned()]).is_err());
}
