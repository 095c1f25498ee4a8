use super::pflag::CommandLine;
use super::*;

fn options(arguments: &[&str]) -> Result<AuditOptions, String> {
    let argv: Vec<String> = std::iter::once(&"kube-apiserver")
        .chain(arguments)
        .map(|s| (*s).to_owned())
        .collect();
    AuditOptions::from_argv(&argv).map_err(|e| e.message)
}

#[test]
fn defaults_are_those_of_1_36() {
    let options = options(&[]).unwrap();
    assert_eq!(
        (
            options.log.max_age,
            options.log.max_backup,
            options.log.max_size
        ),
        (366, 100, 100)
    );
    assert_eq!(options.log.batch.mode, "blocking");
    assert_eq!(options.webhook.batch.max_size, 400);
    assert!(options.validate().is_empty());
}

#[test]
fn the_last_of_a_repeated_flag_counts_and_underscores_are_dashes() {
    let options = options(&[
        "--audit-log-maxage=1",
        "--audit_log_maxage",
        "0x1e",
        "--tls-cert-file",
        "--audit-log-path=/x",
    ])
    .unwrap();
    assert_eq!(options.log.max_age, 30);
    assert_eq!(options.log.path, "");
}

proptest::proptest! {
    #[test]
    fn no_command_line_panics(arguments in proptest::collection::vec(
        proptest::prop_oneof!["-{0,3}[a-z_=-]{0,12}", "--(audit-log-maxage|etcd-servers|vmodule|bind-address|goaway-chance|tls-sni-cert-key|service-node-port-range|log-text-info-buffer-size|version|feature-gates|allow-metric-labels|audit-log-batch-max-wait)=.{0,8}", ".{0,12}"],
        0..6,
    )) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if let Ok(options) = options(&arguments) {
            let _ = options.validate();
        }
    }
}

#[test]
fn the_first_fault_from_the_left_is_reported() {
    assert_eq!(
        options(&["--audit-log-maxage=abc", "--no-such-flag"]).unwrap_err(),
        "invalid argument \"abc\" for \"--audit-log-maxage\" flag: strconv.ParseInt: parsing \"abc\": invalid syntax"
    );
    assert_eq!(options(&["---x"]).unwrap_err(), "bad flag syntax: ---x");
    assert_eq!(
        options(&["-audit-log-maxage=3"]).unwrap_err(),
        "unknown shorthand flag: 'a' in -audit-log-maxage=3"
    );
    assert_eq!(
        options(&["--v=x"]).unwrap_err(),
        "invalid argument \"x\" for \"-v, --v\" flag: strconv.ParseUint: parsing \"x\": invalid syntax"
    );
}

fn line(arguments: &[&str]) -> Result<CommandLine, String> {
    let arguments: Vec<String> = arguments.iter().map(|s| (*s).to_owned()).collect();
    CommandLine::parse(&arguments).map_err(|e| e.message)
}

#[test]
fn every_type_refuses_with_the_words_of_go() {
    for (argument, want) in [
        (
            "--audit-log-compress=",
            "strconv.ParseBool: parsing \"\": invalid syntax",
        ),
        (
            "--audit-log-maxage=99999999999999999999x",
            "strconv.ParseInt: parsing \"99999999999999999999x\": value out of range",
        ),
        (
            "--audit-log-maxage=1__0",
            "strconv.ParseInt: parsing \"1__0\": invalid syntax",
        ),
        (
            "--audit-log-batch-throttle-qps=1e99",
            "strconv.ParseFloat: parsing \"1e99\": value out of range",
        ),
        (
            "--audit-log-batch-max-wait=1d",
            "time: unknown unit \"d\" in duration \"1d\"",
        ),
        ("--audit-log-batch-max-wait=", "time: invalid duration \"\""),
        (
            "--kubelet-port=-1",
            "strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        ("--default-not-ready-toleration-seconds=x", "parse error"),
        ("--bind-address= ", "failed to parse IP: \" \""),
        ("--advertise-address=1.2.3", "failed to parse IP: \"1.2.3\""),
        (
            "--service-node-port-range=9-8",
            "end port cannot be less than start port: 9-8",
        ),
        (
            "--service-node-port-range=1-99999",
            "the port range cannot be greater than 65535: 1-99999",
        ),
        (
            "--service-node-port-range=x",
            "strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "--tls-sni-cert-key=a",
            "expected comma separated certificate and key file paths",
        ),
        ("--tls-sni-cert-key=a,b:", "empty names list is not allowed"),
        (
            "--tls-curve-preferences=",
            "strconv.ParseInt: parsing \"\": invalid syntax",
        ),
        (
            "--oidc-required-claim=x",
            "malformed pair, expect string=string",
        ),
        (
            "--allow-metric-labels=x",
            "x must be formatted as key=value",
        ),
        (
            "--log-text-info-buffer-size=x",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "--log-text-info-buffer-size=1x",
            "unable to parse quantity's suffix",
        ),
        ("--vmodule=x", "\"x\" does not have the pattern=N format"),
        (
            "--etcd-servers=a\"b",
            "parse error on line 1, column 2: bare \" in non-quoted-field",
        ),
        (
            "--version=v1.2.3",
            "version \"v1.2.3\" must match major/minor/patch of default version \"v1.36.2\"",
        ),
        (
            "--version=yes",
            "strconv.ParseBool: parsing \"yes\": invalid syntax",
        ),
    ] {
        let (name, value) = argument.split_once('=').unwrap();
        assert_eq!(
            line(&[argument]).unwrap_err(),
            format!(
                "invalid argument {} for {} flag: {want}",
                quote(value),
                quote(name)
            )
        );
    }
}

#[test]
fn values_are_printed_as_go_prints_them() {
    for (argument, want) in [
        ("--audit-log-maxage=0x10", "16"),
        ("--audit-log-batch-throttle-qps=0.1", "0.1"),
        ("--audit-log-batch-throttle-qps=1000000", "1e+06"),
        ("--audit-log-batch-throttle-qps=0.00001", "1e-05"),
        ("--goaway-chance=0.001", "0.001"),
        ("--audit-log-batch-max-wait=90s", "1m30s"),
        ("--bind-address=", "0.0.0.0"),
        ("--advertise-address=::ffff:10.0.0.1", "10.0.0.1"),
        ("--runtime-config=b=1,a", "a=,b=1"),
        (
            "--feature-gates=A=true,kube:B=false",
            ":A=true,kube:B=false",
        ),
        ("--etcd-servers=a,\"b,c\"", "[a,\"b,c\"]"),
        ("--etcd-servers=", "[]"),
        ("--service-node-port-range=30000+10", "30000-30010"),
        ("--tls-sni-cert-key=a, b: x ,y", "[a,b:x,y]"),
        ("--allow-metric-labels=m,l='v1'", "[\"m,l='v1'\"]"),
    ] {
        let name = argument
            .strip_prefix("--")
            .unwrap()
            .split('=')
            .next()
            .unwrap();
        assert_eq!(
            line(&[argument]).unwrap().value(name).text(),
            want,
            "{argument}"
        );
    }
    assert_eq!(
        CommandLine::default().value("advertise-address").text(),
        "<nil>"
    );
}

#[test]
fn shorthands_stand_together_and_take_what_follows() {
    assert_eq!(line(&["-v3"]).unwrap().int("v"), 3);
    assert_eq!(line(&["-v", "4"]).unwrap().int("v"), 4);
    assert_eq!(line(&["-v=5"]).unwrap().int("v"), 5);
    assert!(line(&["-hv2"]).unwrap().help);
    assert_eq!(
        line(&["-v"]).unwrap_err(),
        "flag needs an argument: 'v' in -v"
    );
    assert_eq!(
        line(&["-hx"]).unwrap_err(),
        "unknown shorthand flag: 'x' in -x"
    );
    assert_eq!(
        line(&["-é"]).unwrap_err(),
        "unknown shorthand flag: 'Ã' in -é"
    );
    assert_eq!(line(&["-"]).unwrap().arguments, ["-"]);
    assert_eq!(line(&["--version=raw"]).unwrap().text("version"), "raw");
    assert_eq!(
        line(&["--audit_log_maxage"]).unwrap_err(),
        "flag needs an argument: --audit_log_maxage"
    );
}

#[test]
fn notices_wait_until_everything_is_read() {
    let read = line(&["--kubelet-port=1", "--apiserver-count=2"]).unwrap();
    assert_eq!(
        read.notices,
        [
            "Flag --kubelet-port has been deprecated, kubelet-port is deprecated and will be removed.",
            "Flag --apiserver-count has been deprecated, apiserver-count is deprecated and will be removed in a future version."
        ]
    );
}

/// An argument that is right for its flag.
fn right_argument() -> impl proptest::strategy::Strategy<Value = String> {
    proptest::prop_oneof![
        "--audit-log-(maxage|maxsize|maxbackup)=[1-9][0-9]{0,3}",
        "--audit[-_]log[-_]path=[a-z/. -]{0,9}",
        "--(etcd-servers|api-audiences)=[a-z,]{0,9}",
        "--audit-log-(compress|truncate-enabled)(=(true|false|0|t))?",
        "--runtime-config=[a-c]=[a-c]",
    ]
}

proptest::proptest! {
    /// Flags of different names do not know of each other.
    #[test]
    fn flags_of_different_names_may_change_places(
        arguments in proptest::collection::vec(right_argument(), 0..8),
        at in 0_usize..8,
    ) {
        let name = |a: &String| a.split('=').next().unwrap_or_default().replace('_', "-");
        let mut swapped = arguments.clone();
        if let (Some(a), Some(b)) = (arguments.get(at), arguments.get(at + 1)) && name(a) != name(b) {
            swapped.swap(at, at + 1);
        }
        let (one, two) = (CommandLine::parse(&arguments).unwrap(), CommandLine::parse(&swapped).unwrap());
        for flag in table::all() {
            proptest::prop_assert_eq!(one.value(flag.name), two.value(flag.name));
        }
    }

    /// Of flags that hold one value, the last use counts; lists and maps keep them all.
    #[test]
    fn a_repeated_flag_keeps_its_last_value(first in "[1-9][0-9]{0,3}", last in "[1-9][0-9]{0,3}") {
        let read = line(&["--audit-log-maxage", &first, "--audit-log-maxage", &last]).unwrap();
        proptest::prop_assert_eq!(read.int("audit-log-maxage").to_string(), last.clone());
        let read = line(&["--etcd-servers", &first, "--etcd-servers", &last]).unwrap();
        proptest::prop_assert_eq!(read.list("etcd-servers"), [first, last]);
    }

    /// What was read and printed reads the same again.
    #[test]
    fn printed_values_read_back(items in proptest::collection::vec("[a-z,\" ]{1,5}", 1..4)) {
        let text = csv::write(&items);
        proptest::prop_assert_eq!(csv::read(&text).unwrap(), items);
    }
}
