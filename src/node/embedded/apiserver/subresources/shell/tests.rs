use super::*;
use crate::node::embedded::containers::SharedLayer;

fn shell_on(layer: &SharedLayer) -> Shell {
    let mut files = Files::new(layer.clone());
    files.mount("/etc/secret/password", "hunter2");
    Shell {
        hostname: "web-0".into(),
        directory: "/".into(),
        environment: vec![("KEY".into(), "value".into())],
        files,
        ..Shell::default()
    }
}

fn shell() -> Shell {
    shell_on(&SharedLayer::default())
}

/// What a line prints.
fn printed_by(shell: &mut Shell, line: &str) -> String {
    String::from_utf8(shell.line(line).stdout).unwrap()
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn lines_have_variables_quotes_and_conditions() {
    for (line, printed) in [
        ("echo \"$KEY\" '$KEY' && hostname", "value $KEY\nweb-0\n"),
        ("false || echo no; true && echo yes", "no\nyes\n"),
        ("a=1; a=$((a+41)); echo \"$a $(hostname)\"", "42 web-0\n"),
        ("for i in 1 2; do echo $i; done; echo end", "1\n2\nend\n"),
        (
            "i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i",
            "3\n",
        ),
        ("echo one; exit 3; echo two", "one\n"),
        ("printf 'a\\nb\\n' | grep b", "b\n"),
        ("echo 'a > b; c | d'", "a > b; c | d\n"),
    ] {
        assert_eq!(printed_by(&mut shell(), line), printed, "{line}");
    }
    assert_eq!(shell().line("exit 3").code, 3);
}

#[test]
fn output_goes_where_it_is_sent() {
    let mut shell = shell();
    let outcome = shell.line("echo out; echo err >&2; exit 3");
    assert_eq!(outcome.stdout, b"out\n");
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("err\n", 3));
    let line = "echo a > /tmp/f; echo b >> /tmp/f; cat /nothing 2>/dev/null; cat < /tmp/f";
    assert_eq!(printed_by(&mut shell, line), "a\nb\n");
    assert_eq!(
        shell.line("echo a > /nowhere/f").stderr,
        "sh: can't create /nowhere/f: No such file or directory\n"
    );
}

#[test]
fn mounted_files_are_there() {
    assert_eq!(shell().line("cat /etc/secret/password").stdout, b"hunter2");
    assert_eq!(shell().line("ls /etc/secret").stdout, b"password\n");
    assert_eq!(shell().line("cat /nothing").code, 1);
}

#[test]
fn what_is_written_stays_in_the_container() {
    let layer = SharedLayer::default();
    shell_on(&layer).line("mkdir -p /data/a; echo hi > /data/a/f; rm /etc/secret/password");
    let mut later = shell_on(&layer);
    assert_eq!(printed_by(&mut later, "cat /data/a/f"), "hi\n");
    assert_eq!(later.line("test -d /data/a").code, 0);
    assert_eq!(later.line("cat /etc/secret/password").code, 1);
    assert_eq!(shell().line("test -d /data").code, 1);
}

#[test]
fn archives_carry_files_both_ways() {
    let (from, to) = (SharedLayer::default(), SharedLayer::default());
    shell_on(&from).line("mkdir -p /tmp/d; echo one > /tmp/d/f");
    let packed = shell_on(&from).run(&words("tar cf - /tmp/d"), b"");
    assert_eq!(packed.code, 0);
    assert_eq!(
        packed.stderr,
        "tar: removing leading '/' from member names\n"
    );
    let unpacked = shell_on(&to).run(&words("tar -xmf - -C /mnt"), &packed.stdout);
    assert_eq!((unpacked.stderr.as_str(), unpacked.code), ("", 0));
    assert_eq!(printed_by(&mut shell_on(&to), "cat /mnt/tmp/d/f"), "one\n");
    let missing = shell().run(&words("tar cf - /nothing"), b"");
    assert!(
        missing
            .stderr
            .contains("/nothing: No such file or directory")
    );
    let torn = shell().run(&words("tar xf -"), &packed.stdout[..700]);
    assert_eq!(torn.code, 1);
}

#[test]
fn programs_that_are_not_there_cannot_be_started() {
    assert_eq!(shell().run(&["frobnicate".into()], b"").code, 127);
    assert_eq!(shell().cannot_start("sh"), None);
    assert_eq!(
        shell().cannot_start("frobnicate").unwrap(),
        "exec: \"frobnicate\": executable file not found in $PATH"
    );
    assert_eq!(
        shell().cannot_start("/bin/frob").unwrap(),
        "exec: \"/bin/frob\": stat /bin/frob: no such file or directory"
    );
    let bare = Shell {
        bare: is_bare("registry.k8s.io/coredns/coredns:v1.14.2"),
        ..shell()
    };
    assert!(bare.cannot_start("sh").is_some());
}

#[test]
fn a_log_grows_with_time() {
    let pod = |script: &str| {
        serde_json::json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "c", "image": "busybox", "command": ["sh", "-c", script]}]}})
    };
    let started: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
    let counter = pod("i=0; while true; do echo \"$i: $(date)\"; i=$((i+1)); sleep 1; done");
    let at = |seconds: i64| {
        let until = started + SignedDuration::from_secs(seconds);
        printed(&counter, "c", started, until)
    };
    assert_eq!(at(0)[0].1, "0: Tue Nov 24 09:00:00 UTC 2026");
    assert_eq!(at(2).len(), 3);
    assert_eq!(at(2)[2].1, "2: Tue Nov 24 09:00:02 UTC 2026");
    // Of a day the end is there, and as it would be.
    let day = at(86_400);
    assert_eq!(day.last().unwrap().1, "86400: Wed Nov 25 09:00:00 UTC 2026");
    let texts = |script: &str, seconds| -> Vec<String> {
        let until = started + SignedDuration::from_secs(seconds);
        let lines = printed(&pod(script), "c", started, until);
        lines.into_iter().map(|(_, text)| text).collect()
    };
    assert_eq!(texts("echo a; sleep 10; echo b", 5), ["a"]);
    assert_eq!(texts("echo a; sleep 10; echo b", 15), ["a", "b"]);
}

#[test]
fn shells_in_shells_come_to_an_end() {
    let mut shell = shell();
    let missing = shell.run(&words("sh /run.sh"), b"");
    assert_eq!(missing.code, 2);
    assert_eq!(
        missing.stderr,
        "sh: can't open '/run.sh': No such file or directory\n"
    );
    shell.files.mount("/ok.sh", "hostname");
    assert_eq!(shell.line("sh /ok.sh").stdout, b"web-0\n");
    shell.files.mount("/run.sh", "sh /run.sh");
    assert_eq!(shell.line("sh -x /run.sh").code, 2);
    shell.set("AGAIN", "sh -c \"$AGAIN\"".into());
    assert_eq!(shell.line("sh -c \"$AGAIN\"").code, 2);
    assert_eq!(shell.line("echo still here").stdout, b"still here\n");
    assert!(shell.line("while true; do true; done").code == 0);
}

#[test]
fn output_has_an_end() {
    let mut shell = shell();
    shell.files.mount("/big", vec![b'x'; 1 << 20]);
    assert_eq!(shell.line(&"cat /big;".repeat(30)).stdout.len(), OUTPUT);
    let line = format!("cat {}", "/big ".repeat(30));
    assert_eq!(shell.line(&line).stdout.len(), OUTPUT);
    shell.set("BIG", "y".repeat(1 << 20));
    let line = format!("echo {}", "\"$BIG\"".repeat(30));
    assert!(shell.line(&line).stdout.len() <= OUTPUT + 1);
}
