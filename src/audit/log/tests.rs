use super::filter::{Codes, Filter, glob};
use super::summary::{By, Summary};
use super::*;

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/prod/secrets/db","verb":"get","user":{"username":"jane","groups":["dev","system:authenticated"]},"sourceIPs":["10.0.0.7"],"userAgent":"kubectl/v1.36.2 (linux/amd64)","objectRef":{"resource":"secrets","namespace":"prod","name":"db","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":403},"requestReceivedTimestamp":"2026-11-22T16:25:26.473961Z","stageTimestamp":"2026-11-22T16:25:26.475000Z","annotations":{"authorization.k8s.io/decision":"forbid"}}"#;

fn record(line: &str) -> Record {
    match parse_line(line.as_bytes()) {
        Line::Events(mut events) => events.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_are_told_apart() {
    assert!(matches!(parse_line(EVENT.as_bytes()), Line::Events(events) if events.len() == 1));
    assert_eq!(parse_line(b"  \r"), Line::Blank);
    assert_eq!(parse_line(&EVENT.as_bytes()[..200]), Line::Torn);
    assert_eq!(parse_line(&EVENT.as_bytes()[200..]), Line::Torn);
    assert_eq!(
        parse_line(b"I1122 16:25:26.473961 1 server.go:1] started"),
        Line::Foreign
    );
    assert_eq!(
        parse_line(br#"{"kind":"Event","apiVersion":"v1","reason":"Pulled"}"#),
        Line::Foreign
    );
    assert_eq!(parse_line(b"\xff\xfe\x00"), Line::Foreign);
    let list = format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{EVENT},{EVENT}]}}"#
    );
    assert!(matches!(parse_line(list.as_bytes()), Line::Events(events) if events.len() == 2));
}

#[test]
fn legacy_lines_are_understood() {
    let line = r#"2026-11-22T16:25:26.473961115Z AUDIT: id="b399" stage="ResponseComplete" ip="127.0.0.1" method="get" user="jane \"x\"" groups="\"a,b\",\"c\"" as="<self>" asgroups="<lookup>" user-agent="curl/7" namespace="demo" uri="/apis/apps/v1/namespaces/demo/deployments/web/scale?x=1" response="200""#;
    let record = record(line);
    assert_eq!(record.user, "jane \"x\"");
    assert_eq!(record.groups, ["a,b", "c"]);
    assert_eq!(record.impersonated, None);
    assert_eq!(record.resource_path(), "deployments/scale");
    assert_eq!(
        (record.api_group.as_str(), record.namespace.as_str()),
        ("apps", "demo")
    );
    assert_eq!((record.name.as_str(), record.code), ("web", Some(200)));
}

#[test]
fn filters_combine() {
    let record = record(EVENT);
    let passes = |filter: Filter| filter.passes(&record, EVENT.as_bytes());
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    assert!(passes(Filter::default()));
    assert!(passes(Filter {
        users: texts(&["bob", "ja*"]),
        resources: texts(&["secrets"]),
        ..Filter::default()
    }));
    assert!(!passes(Filter {
        users: texts(&["bob"]),
        ..Filter::default()
    }));
    assert!(!passes(Filter {
        resources: texts(&["secrets/exec"]),
        ..Filter::default()
    }));
    assert!(passes(Filter {
        codes: vec!["4xx".parse().unwrap()],
        ..Filter::default()
    }));
    assert!(!passes(Filter {
        codes: vec![">=404".parse().unwrap()],
        ..Filter::default()
    }));
    assert!(passes(Filter {
        texts: texts(&["/secrets/db"]),
        ..Filter::default()
    }));
    assert!(passes(Filter {
        since: "2026-11-22T16:25:26Z".parse().ok(),
        ..Filter::default()
    }));
    assert!(!passes(Filter {
        until: "2026-11-22T16:25:26Z".parse().ok(),
        ..Filter::default()
    }));
    assert!("x".parse::<Codes>().is_err());
}

#[test]
fn stars_match_any_text() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abc", true),
        ("a*b*c", "aXbYc", true),
        ("ab*bc", "abc", false),
        ("abc", "abcd", false),
        ("", "", true),
    ] {
        assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn events_of_a_request_are_counted_once() {
    let mut summary = Summary::new(vec![By::User, By::Code, By::Stage]);
    let mut event = record(EVENT);
    event.stage = "RequestReceived".to_owned();
    event.code = None;
    summary.add(&event);
    summary.add(&record(EVENT));
    event.audit_id = "a2".to_owned();
    summary.add(&event);
    summary.finish();
    assert_eq!((summary.events, summary.requests), (3, 2));
    assert_eq!(summary.counts(By::User), [("jane".to_owned(), 2)]);
    assert_eq!(
        summary.counts(By::Code),
        [("(none)".to_owned(), 1), ("403".to_owned(), 1)]
    );
}

#[test]
fn rotated_files_come_first() {
    let mut files = vec![
        "/l/audit.log",
        "/l/audit-2026-11-22T16-25-26.475.log.gz",
        "/l/audit-2026-11-21T16-25-26.475.log",
    ];
    files.sort_by(|a, b| file_order(a, b));
    assert_eq!(
        files,
        [
            "/l/audit-2026-11-21T16-25-26.475.log",
            "/l/audit-2026-11-22T16-25-26.475.log.gz",
            "/l/audit.log"
        ]
    );
}

#[test]
fn reading_goes_on_after_bad_lines() {
    let text = format!("{EVENT}\nnonsense\n\n{EVENT}\n{}", &EVENT[..100]);
    let mut seen = 0;
    let done = read(&mut text.as_bytes(), |_, _| {
        seen += 1;
        Ok(true)
    })
    .unwrap();
    assert_eq!((seen, done.events, done.first_skipped), (2, 2, Some(2)));
    assert_eq!(
        done.skipped,
        Skipped {
            torn: 1,
            foreign: 1,
            too_long: 0
        }
    );
}
