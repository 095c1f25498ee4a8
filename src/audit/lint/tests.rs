use super::*;

fn findings(rules: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n{rules}"
    );
    lint(text.as_bytes())
        .findings
        .iter()
        .map(|finding| {
            let span = finding.span.unwrap_or_default();
            format!("{} {}:{}", finding.id, span.line, span.column)
        })
        .collect()
}

#[test]
fn a_good_policy_has_nothing_to_be_said() {
    let rules = "rules:\n- level: None\n  nonResourceURLs: ['/healthz*']\n- level: Metadata\n";
    assert_eq!(findings(rules), Vec::<String>::new());
}

#[test]
fn hidden_rules_are_found() {
    let rules = "rules:\n- level: Metadata\n- level: Request\n  resources: [{resources: [pods]}]\n";
    assert_eq!(
        findings(rules),
        ["catch-all-not-last 5:3", "shadowed-rule 6:3"]
    );
    let rules = "rules:\n\
        - {level: None, verbs: [get, list, watch]}\n\
        - {level: None, verbs: [create, update, patch, delete, deletecollection]}\n\
        - {level: Metadata, resources: [{resources: [secrets]}]}\n\
        - level: None\n";
    assert_eq!(findings(rules), ["shadowed-rule 7:3"]);
}

#[test]
fn names_are_checked() {
    let rules = |entry: &str| format!("rules:\n- level: Metadata\n  {entry}\n- level: None\n");
    for (entry, expected) in [
        (
            "resources: [{group: '', resources: [deployments]}]",
            "wrong-group 6:39",
        ),
        (
            "resources: [{group: core, resources: [pods]}]",
            "wrong-group 6:23",
        ),
        (
            "resources: [{group: '', resources: [pod]}]",
            "unknown-resource 6:39",
        ),
        (
            "resources: [{group: '', resources: [Secrets]}]",
            "unknown-resource 6:39",
        ),
        (
            "resources: [{group: '', resources: [pods/logs]}]",
            "unknown-subresource 6:39",
        ),
        (
            "resources: [{group: '', resources: ['*/*']}]",
            "unknown-resource 6:39",
        ),
        ("verbs: [exec]", "unknown-verb 6:11"),
        ("verbs: [read]", "unknown-verb 6:11"),
        ("verbs: ['*']", "unknown-verb 6:11"),
        ("users: ['system:serviceaccounts:dev']", "user-form 6:11"),
        ("users: ['system:serviceaccount:dev']", "user-form 6:11"),
        (
            "userGroups: ['system:serviceaccount:dev:app']",
            "group-form 6:16",
        ),
        ("namespaces: ['kube-*']", "no-wildcard 6:16"),
        ("nonResourceURLs: ['/api/v1/pods']", "resource-url 6:21"),
        (
            "resources: [{group: '', resources: [nodes]}]\n  namespaces: [dev]",
            "cluster-scoped-resource 6:39",
        ),
        ("user: ['bob']", "unknown-field 6:3"),
    ] {
        let found = findings(&rules(entry));
        assert!(
            found.iter().any(|found| found == expected),
            "{entry}: {found:?}"
        );
    }
}

#[test]
fn bodies_are_checked() {
    let rules = "rules:\n- level: RequestResponse\n";
    assert_eq!(
        findings(rules),
        [
            "secret-bodies 5:10",
            "secret-bodies 5:10",
            "secret-bodies 5:10",
            "configmap-bodies 5:10"
        ]
    );
    let rules = "rules:\n- level: Request\n  verbs: [get]\n  resources: [{resources: [services]}]\n- level: None\n";
    assert!(findings(rules).contains(&"no-request-body 5:10".to_owned()));
}

#[test]
fn a_refused_policy_is_helped_too() {
    let rules = "rules:\n- level: metadata\n- level: Request\n  resources: [{group: apps/v1}]\n";
    assert_eq!(
        findings(rules),
        ["unknown-level 5:10", "version-in-group 7:23"]
    );
}

#[test]
fn further_documents_are_ignored() {
    let rules = "rules:\n- level: Metadata\n---\nrules: []\n";
    assert_eq!(findings(rules), ["extra-document 6:1"]);
    assert_eq!(
        findings("rules:\n- level: Metadata\n---\n# nothing\n"),
        Vec::<String>::new()
    );
}
