//! The contract of the command line, with the built binary.

use crate::builder::Test;

#[test]
fn bare_command_says_the_next_useful_thing() {
    let test = Test::new();
    test.run::<&str>([]).ok().stderr("").stdout(
        "\
ckslab practises Kubernetes audit logging on a control-plane node.

No lab is started yet.

  ckslab list            see the exercises
  ckslab start audit-01  start the first one
  ckslab start sandbox   or play freely on a healthy node

ckslab --help shows every command.
",
    );
    assert!(!test.home().exists(), "nothing is made before it is needed");
}

#[test]
fn unknown_scenario_suggests_the_nearest() {
    let test = Test::new();
    test.run(["start", "sandbx"]).code(2).stdout("").stderr(
        "\
error: there is no scenario `sandbx`

hint: did you mean `sandbox`? `ckslab list` shows all of them
",
    );
}

#[test]
fn commands_without_a_lab_say_what_to_do() {
    let test = Test::new();
    for command in [
        &["status"][..],
        &["task"],
        &["hint"],
        &["solution", "--yes"],
        &["reset"],
        &["stop"],
        &["env"],
        &["exec", "true"],
        &["cp", "a", "node:/b"],
        &["shell"],
    ] {
        test.run(command)
            .code(4)
            .stdout("")
            .stderr("error: no lab is started\n\nhint: ckslab list, then ckslab start audit-01\n");
    }
    test.run(["status", "audit-09"])
        .code(4)
        .stdout("")
        .stderr("error: no lab `audit-09` is started\n\nhint: ckslab start audit-09\n");
    test.run(["status", "../../etc"])
        .code(4)
        .stdout("")
        .stderr("error: no lab `../../etc` is started\n\nhint: ckslab list\n");
}

#[test]
fn kind_is_refused_and_a_wrong_engine_is_usage() {
    // Without kind on PATH, whatever this machine has.
    let test = Test::new().env("PATH", "/nowhere");
    test.run(["start", "sandbox", "--engine", "kind"])
        .code(4)
        .stdout("")
        .stderr(
            "error: `kind` is not on PATH\n\n\
             hint: install kind (https://kind.sigs.k8s.io/docs/user/quick-start/#installation), or practise without it: --engine embedded\n",
        );
    let wrong = test
        .run(["start", "sandbox", "--engine", "vagrant"])
        .code(2);
    assert!(
        wrong.stderr.starts_with("error: invalid value 'vagrant'"),
        "{wrong:#?}"
    );
    let variable = Test::new().env("CKSLAB_ENGINE", "zz");
    let wrong = variable.run(["start", "sandbox"]).code(2);
    assert!(
        wrong
            .stderr
            .ends_with("The value comes from the environment variable CKSLAB_ENGINE.\n"),
        "{wrong:#?}"
    );
    let wrong = variable.run(["start", "sandbox", "--engine", "yy"]).code(2);
    assert!(!wrong.stderr.contains("CKSLAB_ENGINE."), "{wrong:#?}");
    let kind = Test::new()
        .env("CKSLAB_ENGINE", "kind")
        .env("PATH", "/nowhere");
    kind.run(["start", "sandbox"]).code(4);
    let config = Test::new().env("CKSLAB_ENGINE", "").env("PATH", "/nowhere");
    std::fs::create_dir(config.home()).unwrap();
    std::fs::write(config.home().join("config.toml"), "engine = \"kind\"\n").unwrap();
    config.run(["start", "sandbox"]).code(4);
    std::fs::write(config.home().join("config.toml"), "engin = \"kind\"\n").unwrap();
    config.run(["start", "sandbox"]).code(2);
}

#[test]
fn every_command_has_help_with_examples() {
    let test = Test::new();
    let help = test.run(["--help"]).ok().stderr("");
    let commands: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    for expected in [
        "list",
        "start",
        "task",
        "hint",
        "solution",
        "status",
        "reset",
        "stop",
        "shell",
        "exec",
        "cp",
        "env",
        "edit",
        "doctor",
        "completions",
        "version",
    ] {
        assert!(commands.contains(&expected), "{expected}: {commands:?}");
    }
    for command in commands {
        let long = test.run([command, "--help"]).ok().stderr("");
        let short = test.run([command, "-h"]).ok();
        assert!(!short.stdout.is_empty());
        // Commands with commands of their own have the examples there.
        if !long.stdout.contains("\nCommands:\n") {
            let examples = long
                .stdout
                .lines()
                .skip_while(|line| *line != "Examples:")
                .filter(|line| line.contains("ckslab"))
                .count();
            assert!(examples >= 2, "{command}: {}", long.stdout);
        }
    }
}

#[test]
fn completions_are_printed_and_scenario_names_complete() {
    let test = Test::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = test.run(["completions", shell]).ok().stderr("");
        assert!(script.stdout.contains("COMPLETE"), "{shell}");
    }
    test.run(["completions", "tcsh"]).code(2);
    let mut command = test.command(["--", "ckslab", "start", "sand"]);
    command
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "2")
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_COMPLETE_SPACE", "true")
        .env("_CLAP_IFS", "\n");
    let names = test.outcome(command, b"").ok();
    assert_eq!(names.stdout.trim(), "sandbox");
}

#[test]
fn doctor_changes_nothing() {
    let test = Test::new();
    let report = test.run(["doctor", "-o", "json"]).ok().stderr("").json();
    assert_eq!(report["ok"], true);
    assert!(!test.home().exists());
    let text = test.run(["doctor"]).ok();
    assert!(
        text.stdout
            .lines()
            .filter(|line| !line.starts_with(' '))
            .all(|line| line.starts_with("PASS  ") || line.starts_with("WARN  ")),
        "{}",
        text.stdout
    );
    let blocked = Test::new();
    std::fs::write(blocked.home(), "a file").unwrap();
    let failed = blocked.run(["doctor"]).code(4);
    assert!(
        failed
            .stdout
            .starts_with("FAIL  state directory: [HOME] is no directory\n      fix: "),
        "{}",
        failed.stdout
    );
    let start = blocked
        .run(["start", "sandbox", "--engine", "embedded"])
        .code(4);
    assert!(
        start
            .stderr
            .starts_with("error: cannot make directory `[HOME]"),
        "{}",
        start.stderr
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let test = Test::new();
    let mut command = test.command(["completions", "zsh"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).stderr(std::process::Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr)
        ),
        (Some(0), "".into())
    );
}
