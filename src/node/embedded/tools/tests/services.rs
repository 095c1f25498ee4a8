//! journalctl and systemctl in the ways people call them.

use super::*;

/// A node whose kubelet has a journal of now.
fn node() -> Node {
    let node = Node::new();
    let now = jiff::Timestamp::now();
    let line = |minutes: i64, text: &str| {
        let at = now - jiff::SignedDuration::from_mins(minutes);
        let (stamp, micros) = (
            at.strftime("%b %d %H:%M:%S"),
            at.strftime("%m%d %H:%M:%S%.6f"),
        );
        format!("{stamp} controlplane kubelet[812]: I{micros}     812 kubelet.go:1] \"{text}\"\n")
    };
    let journal = [line(90, "Long ago"), line(7, "Before"), line(1, "Lately")].concat();
    Confined::new(node.dir.path())
        .write_atomic("/journal/kubelet.log", journal.as_bytes(), 0o644)
        .unwrap();
    node
}

#[test]
fn journalctl_takes_times_in_words() {
    let node = node();
    let shown = |words: &[&str]| -> Vec<String> {
        let all = ["journalctl", "-u", "kubelet", "-o", "cat"];
        let words: Vec<&str> = all.iter().chain(words).copied().collect();
        let (_, out, _) = node.run_words(&words);
        let messages = out
            .lines()
            .map(|line| line.split('"').nth(1).unwrap_or(line));
        messages.map(str::to_owned).collect()
    };
    assert_eq!(shown(&["--since", "5 min ago"]), ["Lately"]);
    assert_eq!(shown(&["--since", "-10m"]), ["Before", "Lately"]);
    assert_eq!(
        shown(&["--since=1 hour ago", "--until", "5m ago"]),
        ["Before"]
    );
    assert_eq!(shown(&["-S", "2 hours ago", "-U", "1h ago"]), ["Long ago"]);
    assert_eq!(shown(&["-r", "-n", "2"]), ["Lately", "Before"]);
    assert_eq!(shown(&["--lines=1"]), ["Lately"]);
    assert_eq!(shown(&["-b", "-g", "bef"]), ["Before"]);
    assert_eq!(shown(&["--grep", "BEF"]), ["-- No entries --"]);
    assert_eq!(shown(&["-k"]), ["-- No entries --"]);
    assert_eq!(shown(&["-k", "-q"]).len(), 0);
    let (code, _, error) = node.run_words(&["journalctl", "--since", "whenever"]);
    assert_eq!(
        (code, error.as_str()),
        (1, "Failed to parse timestamp: whenever\n")
    );
}

#[test]
fn journalctl_writes_in_many_forms() {
    let node = node();
    let line = |form: &str| {
        let (code, out, error) = node.run(&format!("journalctl -u kubelet -n 1 -o {form}"));
        assert_eq!((code, error.as_str()), (0, ""), "{form}");
        out
    };
    let fits = |text: &str, pattern: &str| {
        let pattern = regex::Regex::new(pattern).unwrap();
        assert!(pattern.is_match(text), "{text}");
    };
    fits(
        &line("short"),
        r"^\w{3} \d\d \d\d:\d\d:\d\d controlplane kubelet\[812\]: I",
    );
    fits(
        &line("short-iso"),
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 controlplane kubelet\[812\]: ",
    );
    fits(
        &line("short-precise"),
        r"^\w{3} \d\d \d\d:\d\d:\d\d\.\d{6} controlplane ",
    );
    fits(&line("short-monotonic"), r"^\[ *\d+\.\d{6}\] controlplane ");
    fits(
        &line("with-unit"),
        r"^\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC controlplane kubelet.service\[812\]: ",
    );
    let entry: serde_json::Value = serde_json::from_str(&line("json")).unwrap();
    assert_eq!(entry["_SYSTEMD_UNIT"], "kubelet.service");
    assert_eq!(entry["PRIORITY"], "6");
    let (_, out, _) = node.run("journalctl -u kubelet -n1 --no-hostname");
    fits(&out, r"^\w{3} \d\d \d\d:\d\d:\d\d kubelet\[812\]: ");
    let (_, out, _) = node.run("journalctl -xeu kubelet");
    assert_eq!(out.lines().count(), 3);
    let (_, out, _) = node.run("journalctl -u kubelet.service -u containerd --no-pager -o cat");
    assert!(out.contains("Lately") && out.contains("containerd successfully booted"));
    let (code, out, _) = node.run("journalctl --list-boots");
    assert_eq!((code, out.lines().count()), (0, 2));
    assert!(out.lines().last().unwrap().starts_with("  0 "));
    let (code, _, error) = node.run("journalctl -o nope");
    assert_eq!(
        (code, error.as_str()),
        (1, "Unknown output format 'nope'.\n")
    );
}

#[test]
fn a_service_can_be_kept_from_being_started() {
    let node = node();
    let want = "/etc/systemd/system/multi-user.target.wants/kubelet.service";
    let unit = "/usr/lib/systemd/system/kubelet.service";
    let created = format!("Created symlink {want} → {unit}.\n");
    let removed = format!("Removed \"{want}\".\n");
    assert_eq!(
        node.run("systemctl is-enabled kubelet"),
        (0, "enabled\n".into(), String::new())
    );
    assert_eq!(
        node.run("systemctl enable kubelet"),
        (0, String::new(), created)
    );
    assert_eq!(
        node.run("systemctl enable kubelet"),
        (0, String::new(), String::new())
    );
    assert_eq!(
        node.run("systemctl disable kubelet"),
        (0, String::new(), removed)
    );
    assert_eq!(
        node.run("systemctl is-enabled kubelet"),
        (1, "disabled\n".into(), String::new())
    );
    assert!(
        node.run("systemctl status kubelet")
            .1
            .contains("kubelet.service; disabled; preset: enabled)")
    );
    assert!(
        node.run("systemctl list-unit-files")
            .1
            .contains("kubelet.service    disabled enabled")
    );
    assert_eq!(node.run("systemctl mask kubelet").0, 0);
    assert_eq!(node.run("systemctl is-enabled kubelet").1, "masked\n");
    assert_eq!(node.run("systemctl unmask kubelet").0, 0);
    assert_eq!(
        node.run("systemctl enable nginx"),
        (
            1,
            String::new(),
            "Failed to enable unit: Unit nginx.service does not exist\n".into()
        )
    );
}

#[test]
fn a_stopped_kubelet_says_since_when_and_how_long_it_ran() {
    let node = Node::new();
    let mut snapshot = NodeSnapshot::load(node.dir.path()).unwrap().unwrap();
    snapshot.kubelet_active = false;
    snapshot.time = "2026-11-24T08:30:00Z".parse().unwrap();
    snapshot.store(node.dir.path()).unwrap();
    Confined::new(node.dir.path())
        .write_atomic(
            "/journal/kubelet.log",
            b"Nov 24 06:02:03 controlplane systemd[1]: Stopped kubelet.service - kubelet: The Kubernetes Node Agent.\n",
            0o644,
        )
        .unwrap();
    let (code, out, _) = node.run("systemctl status kubelet.service");
    assert_eq!(code, 3);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[0],
        "○ kubelet.service - kubelet: The Kubernetes Node Agent"
    );
    assert!(
        lines[4].starts_with("     Active: inactive (dead) since Tue 2026-11-24 06:02:03 UTC; "),
        "{out}"
    );
    assert_eq!(lines[5], "   Duration: 2min 3.000s");
    assert!(lines[7].starts_with("    Process: 812 ExecStart=/usr/bin/kubelet "));
    assert_eq!(
        node.run("systemctl is-active kubelet"),
        (3, "inactive\n".into(), String::new())
    );
    assert_eq!(
        node.run("systemctl status nginx"),
        (
            4,
            String::new(),
            "Unit nginx.service could not be found.\n".into()
        )
    );
}
