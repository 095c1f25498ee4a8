use super::*;

fn shell() -> Shell {
    Shell {
        hostname: "web-0".into(),
        user: 0,
        directory: "/".into(),
        environment: vec![("KEY".into(), "value".into())],
        files: BTreeMap::from([("/etc/secret/password".into(), "hunter2".into())]),
        depth: 0,
    }
}

#[test]
fn lines_have_variables_quotes_and_conditions() {
    assert_eq!(
        shell().line("echo \"$KEY\" '$KEY' && hostname").stdout,
        "value $KEY\nweb-0\n"
    );
    assert_eq!(
        shell().line("false || echo no; true && echo yes").stdout,
        "no\nyes\n"
    );
}

#[test]
fn mounted_files_are_there() {
    assert_eq!(shell().line("cat /etc/secret/password").stdout, "hunter2");
    assert_eq!(shell().line("ls /etc/secret").stdout, "password\n");
    assert_eq!(shell().line("cat /nothing").code, 1);
}

#[test]
fn unknown_programs_are_not_found() {
    assert_eq!(shell().run(&["frobnicate".into()], "").code, 127);
}

#[test]
fn shells_in_shells_come_to_an_end() {
    let mut shell = shell();
    let missing = shell.run(&["sh".into(), "/run.sh".into()], "");
    assert_eq!(missing.code, 2);
    assert_eq!(
        missing.stderr,
        "sh: can't open '/run.sh': No such file or directory\n"
    );
    shell.files.insert("/ok.sh".into(), "hostname".into());
    assert_eq!(shell.line("sh /ok.sh").stdout, "web-0\n");
    shell.files.insert("/run.sh".into(), "sh /run.sh".into());
    assert_eq!(shell.line("sh -x /run.sh").code, 2);
    shell
        .environment
        .push(("AGAIN".into(), "sh -c \"$AGAIN\"".into()));
    assert_eq!(shell.line("sh -c \"$AGAIN\"").code, 2);
    assert_eq!(shell.line("echo still here").stdout, "still here\n");
}

#[test]
fn output_has_an_end() {
    let mut shell = shell();
    shell.files.insert("/big".into(), "x".repeat(1 << 20));
    assert_eq!(shell.line(&"cat /big;".repeat(20)).stdout.len(), OUTPUT);
    assert_eq!(
        shell
            .line(&format!("cat {}", "/big ".repeat(20)))
            .stdout
            .len(),
        OUTPUT
    );
    shell.environment.push(("BIG".into(), "y".repeat(1 << 20)));
    assert!(
        shell
            .line(&format!("echo {}", "$BIG".repeat(20)))
            .stdout
            .len()
            <= OUTPUT + 1
    );
}
