//! Properties of the policy loader, of evaluation and of comparison, over generated input.

use ckslab::audit::compare::{Scope, Space, differences, representatives, same_effect};
use ckslab::audit::evaluate::{Attributes, evaluate};
use ckslab::audit::level::{Level, Stage};
use ckslab::audit::lint;
use ckslab::audit::policy::{self, GroupResources, Policy, PolicyRule};
use ckslab::yaml;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::conformance_policy::golden;

fn golden_policies() -> Vec<Vec<u8>> {
    let loads = golden("policy-load.jsonl");
    let evals = golden("policy-eval.jsonl.gz");
    loads
        .lines()
        .chain(evals.lines().take(60))
        .filter_map(|line| {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            Some(case.get("policy")?.as_str()?.as_bytes().to_vec())
        })
        .filter(|policy| policy.len() < 20_000)
        .collect()
}

/// What a careless hand or a broken disk does to a file.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, &'static str),
    Double(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let tokens = [
        "\t",
        " ",
        "\n",
        "---\n",
        "...\n",
        "- ",
        ": ",
        "?",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "<<: *a\n",
        "!!int ",
        "!<x> ",
        "|\n",
        ">-\n",
        "\"",
        "'",
        "#",
        "%YAML 1.1\n",
        "\u{85}",
        "\u{2028}",
        "\\x",
        "0x",
        ".inf",
        "~",
        "yes",
        "\u{feff}",
        "\r",
        "k8s\0",
        "@",
        "`",
    ];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        any::<usize>().prop_map(Damage::Cut),
        (any::<usize>(), 1usize..20).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<usize>(), select(tokens.to_vec())).prop_map(|(at, token)| Damage::Insert(at, token)),
        (any::<usize>(), 1usize..80).prop_map(|(at, length)| Damage::Double(at, length)),
    ]
}

fn apply(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len().max(1);
        match damage {
            Damage::Flip(at, byte) => {
                if let Some(slot) = bytes.get_mut(at % length) {
                    *slot = *byte;
                }
            }
            Damage::Cut(at) => bytes.truncate(at % length),
            Damage::Remove(at, count) => {
                let at = at % length;
                let end = (at + count).min(bytes.len());
                if at < end {
                    bytes.drain(at..end);
                }
            }
            Damage::Insert(at, token) => {
                let at = (at % length).min(bytes.len());
                bytes.splice(at..at, token.bytes());
            }
            Damage::Double(at, count) => {
                let at = at % length;
                let end = (at + count).min(bytes.len());
                if at < end {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(end..end, part);
                }
            }
        }
    }
    bytes
}

/// Whatever the bytes are: an answer, the same one twice, and a text in it.
fn check_loader(bytes: &[u8]) {
    let first = policy::inspect(bytes);
    let second = policy::load(bytes);
    assert_eq!(first.result, second);
    match &first.result {
        Ok(loaded) => assert!(!loaded.policy.rules.is_empty()),
        Err(error) => assert!(!error.message.is_empty()),
    }
    if let Ok(document) = yaml::to_json(bytes) {
        // What YAML gives is JSON that reads back as itself.
        let text = serde_json::to_vec(&document.value).unwrap();
        if text.len() < 100_000 && document.tree.too_deep().is_none() {
            let tree = yaml::json::to_tree(&text).unwrap();
            assert_eq!(tree.to_value(), document.value);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_loader_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check_loader(&bytes);
    }

    #[test]
    fn the_loader_takes_any_text(text in "[ -~\t\n\r\u{85}\u{a0}\u{2028}é日]{0,300}") {
        check_loader(text.as_bytes());
    }

    #[test]
    fn the_loader_takes_anything_made_of_yaml(parts in prop::collection::vec(select(vec![
        "- ", "a: ", "b", "\n", "\n  ", "\n    ", "? ", ": ", "[", "]", "{", "}", ", ", "&x ", "*x", "<<: ", "|", ">", "'", "\"",
        "#c", "!!str ", "!t ", "---\n", "...\n", "%TAG ! y\n", "\t", "1", "~", "\\",
    ]), 0..40)) {
        check_loader(parts.concat().as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_policies_get_an_answer(
        base in select(golden_policies()),
        damages in prop::collection::vec(damage(), 1..5),
    ) {
        check_loader(&apply(base, &damages));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_policies_can_be_linted(
        base in select(golden_policies()),
        damages in prop::collection::vec(damage(), 0..4),
    ) {
        let bytes = apply(base, &damages);
        if bytes.len() < 6_000 {
            let report = lint::lint(&bytes);
            prop_assert!(report.findings.iter().all(|finding| !finding.message.is_empty()));
        }
    }
}

const USERS: [&str; 4] = [
    "alice",
    "system:anonymous",
    "system:serviceaccount:dev:app",
    "system:node:node01",
];
const GROUPS: [&str; 5] = [
    "developers",
    "ops",
    "system:authenticated",
    "system:serviceaccounts:dev",
    "system:masters",
];
const VERBS: [&str; 5] = ["get", "list", "create", "delete", "watch"];
const NAMESPACES: [&str; 4] = ["", "dev", "prod", "kube-system"];
const API_GROUPS: [&str; 4] = ["", "apps", "*", "example.com"];
const SPECS: [&str; 9] = [
    "pods",
    "pods/log",
    "pods/*",
    "*/status",
    "*",
    "secrets",
    "deployments",
    "widgets",
    "deployments/scale",
];
const NAMES: [&str; 3] = ["web", "db", "other"];
const URLS: [&str; 6] = [
    "*",
    "/healthz*",
    "/healthz",
    "/api*",
    "/version",
    "/apis/apps",
];

fn some(values: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let picked = subsequence(values.to_vec(), 1..=values.len().min(3));
    prop_oneof![
        2 => Just(Vec::new()),
        1 => picked.prop_map(|values| values.into_iter().map(str::to_owned).collect()),
    ]
}

fn entry() -> impl Strategy<Value = GroupResources> {
    (select(API_GROUPS.to_vec()), some(&SPECS), some(&NAMES)).prop_map(
        |(group, resources, names)| GroupResources {
            group: group.to_owned(),
            resource_names: if resources.is_empty() {
                Vec::new()
            } else {
                names
            },
            resources,
        },
    )
}

fn rule() -> impl Strategy<Value = PolicyRule> {
    let target = prop_oneof![
        2 => (prop::collection::vec(entry(), 0..3), some(&NAMESPACES)).prop_map(|(entries, places)| (entries, places, Vec::new())),
        1 => some(&URLS).prop_map(|urls| (Vec::new(), Vec::new(), urls)),
    ];
    let stages = subsequence(Stage::ALL.to_vec(), 0..2);
    (
        select(Level::ALL.to_vec()),
        some(&USERS),
        some(&GROUPS),
        some(&VERBS),
        target,
        stages,
        select(vec![None, None, None, Some(true), Some(false)]),
    )
        .prop_map(
            |(
                level,
                users,
                user_groups,
                verbs,
                (resources, namespaces, urls),
                omit_stages,
                managed,
            )| PolicyRule {
                level,
                users,
                user_groups,
                verbs,
                resources,
                namespaces,
                non_resource_urls: urls,
                omit_stages,
                omit_managed_fields: managed,
            },
        )
}

fn a_policy() -> impl Strategy<Value = Policy> {
    (
        prop::collection::vec(rule(), 1..6),
        subsequence(Stage::ALL.to_vec(), 0..2),
        any::<bool>(),
    )
        .prop_map(|(rules, omit_stages, omit_managed_fields)| Policy {
            rules,
            omit_stages,
            omit_managed_fields,
        })
}

fn request() -> impl Strategy<Value = Attributes> {
    let who = (
        select(
            USERS
                .iter()
                .chain(&["mallory"])
                .copied()
                .collect::<Vec<_>>(),
        ),
        subsequence(
            GROUPS
                .iter()
                .chain(&["nobodies"])
                .copied()
                .collect::<Vec<_>>(),
            0..4,
        ),
    );
    let resource = (
        select(VERBS.iter().chain(&["patch"]).copied().collect::<Vec<_>>()),
        select(
            NAMESPACES
                .iter()
                .chain(&["elsewhere"])
                .copied()
                .collect::<Vec<_>>(),
        ),
        select(vec!["", "apps", "example.com", "batch"]),
        select(vec!["pods", "secrets", "deployments", "widgets", "jobs"]),
        select(vec!["", "log", "status", "scale", "exec"]),
        select(
            NAMES
                .iter()
                .chain(&["", "third"])
                .copied()
                .collect::<Vec<_>>(),
        ),
    )
        .prop_map(
            |(verb, namespace, group, resource, subresource, name)| Attributes {
                verb: verb.to_owned(),
                namespace: namespace.to_owned(),
                api_group: group.to_owned(),
                resource: resource.to_owned(),
                subresource: subresource.to_owned(),
                name: name.to_owned(),
                resource_request: true,
                ..Attributes::default()
            },
        );
    let url = (
        select(vec!["get", "post", "list"]),
        select(vec![
            "/healthz",
            "/healthz/ping",
            "/healthy",
            "/api",
            "/apis/apps",
            "/apis",
            "/version",
            "/x",
            "/",
        ]),
    )
        .prop_map(|(verb, path)| Attributes {
            verb: verb.to_owned(),
            path: path.to_owned(),
            ..Attributes::default()
        });
    (who, prop_oneof![3 => resource, 1 => url]).prop_map(|((user, groups), request)| Attributes {
        user: Some(user.to_owned()),
        groups: groups.into_iter().map(str::to_owned).collect(),
        ..request
    })
}

fn any_scope() -> Scope {
    Scope {
        space: Space::Any,
        ..Scope::default()
    }
}

/// The API server's rules once more, written as plainly as can be.
fn brute_force(policy: &Policy, request: &Attributes) -> Option<usize> {
    let admits =
        |list: &[String], value: &str| list.is_empty() || list.iter().any(|known| known == value);
    policy.rules.iter().position(|rule| {
        let user = request.user.as_deref().unwrap_or_default();
        let who = admits(&rule.users, user)
            && (rule.user_groups.is_empty()
                || request
                    .groups
                    .iter()
                    .any(|group| rule.user_groups.contains(group)));
        let about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
        let about_urls = !rule.non_resource_urls.is_empty();
        let full = if request.subresource.is_empty() {
            request.resource.clone()
        } else {
            format!("{}/{}", request.resource, request.subresource)
        };
        let listed = |entry: &GroupResources| {
            let group = entry.group == "*" || entry.group == request.api_group;
            let resource = entry.resources.is_empty()
                || entry.resources.iter().any(|spec| {
                    spec == "*"
                        || *spec == full
                        || *spec == format!("{}/*", request.resource)
                        || (!request.subresource.is_empty()
                            && *spec == format!("*/{}", request.subresource))
                }) && admits(&entry.resource_names, &request.name);
            group && resource
        };
        let url = |spec: &String| match spec.strip_suffix('*') {
            Some(prefix) => request.path.starts_with(prefix),
            None => *spec == request.path,
        };
        let what = if about_resources {
            request.resource_request
                && admits(&rule.namespaces, &request.namespace)
                && (rule.resources.is_empty() || rule.resources.iter().any(listed))
        } else if about_urls {
            !request.resource_request && rule.non_resource_urls.iter().any(url)
        } else {
            true
        };
        who && admits(&rule.verbs, &request.verb) && what
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn evaluation_is_that_of_the_plain_rules(policy in a_policy(), request in request()) {
        let decision = evaluate(&policy, &request);
        prop_assert_eq!(decision.rule, brute_force(&policy, &request));
        let rule = decision.rule.map(|at| &policy.rules[at]);
        prop_assert_eq!(decision.level, rule.map_or(Level::None, |rule| rule.level));
        for stage in Stage::ALL {
            let omitted = policy.omit_stages.contains(&stage) || rule.is_some_and(|rule| rule.omit_stages.contains(&stage));
            prop_assert_eq!(decision.omit_stages.contains(&stage), omitted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn comparison_misses_nothing(a in a_policy(), b in a_policy(), requests in prop::collection::vec(request(), 60)) {
        let scope = any_scope();
        let found = differences(&a, &b, &scope);
        for difference in &found {
            prop_assert!(!same_effect((&a, &difference.a), (&b, &difference.b), &scope));
            prop_assert_eq!(&difference.a, &evaluate(&a, &difference.request));
            prop_assert_eq!(&difference.b, &evaluate(&b, &difference.request));
        }
        for request in &requests {
            let (in_a, in_b) = (evaluate(&a, request), evaluate(&b, request));
            if !same_effect((&a, &in_a), (&b, &in_b), &scope) {
                // Not this request, but one that these two rules decide.
                prop_assert!(found.iter().any(|known| (known.a.rule, known.b.rule) == (in_a.rule, in_b.rule)), "{request:?}");
            }
        }
    }

    #[test]
    fn representatives_cover_every_rule_that_can_decide(policy in a_policy(), requests in prop::collection::vec(request(), 60)) {
        let all = representatives(&[&policy], &any_scope());
        for request in &requests {
            let rule = evaluate(&policy, request).rule;
            prop_assert!(all.iter().any(|known| evaluate(&policy, known).rule == rule));
        }
    }

    #[test]
    fn rephrasing_changes_nothing(policy in a_policy(), seed in any::<u64>()) {
        let other = rephrase(&policy, seed);
        prop_assert_eq!(differences(&policy, &other, &any_scope()), vec![]);
    }

    #[test]
    fn the_way_it_is_written_does_not_matter(policy in a_policy()) {
        let json = as_json(&policy).to_string();
        let block = serde_yaml::to_string(&as_json(&policy)).unwrap();
        let from_json = policy::load(json.as_bytes()).unwrap();
        let from_block = policy::load(block.as_bytes()).unwrap();
        let from_flow = policy::load(format!("# comment\n---\n{json}\n...\n").as_bytes()).unwrap();
        prop_assert_eq!(&from_json.policy, &policy);
        prop_assert_eq!(&from_block.policy, &policy);
        prop_assert_eq!(&from_flow.policy, &policy);
        prop_assert!(from_json.warnings.is_empty() && from_block.warnings.is_empty() && from_flow.warnings.is_empty());
    }
}

fn as_json(policy: &Policy) -> serde_json::Value {
    let names = |stages: &[Stage]| stages.iter().map(|stage| stage.name()).collect::<Vec<_>>();
    let rules: Vec<serde_json::Value> = policy
        .rules
        .iter()
        .map(|rule| {
            let resources: Vec<serde_json::Value> = rule
                .resources
                .iter()
                .map(|entry| serde_json::json!({"group": entry.group, "resources": entry.resources, "resourceNames": entry.resource_names}))
                .collect();
            serde_json::json!({
                "level": rule.level.name(), "users": rule.users, "userGroups": rule.user_groups, "verbs": rule.verbs,
                "resources": resources, "namespaces": rule.namespaces, "nonResourceURLs": rule.non_resource_urls,
                "omitStages": names(&rule.omit_stages), "omitManagedFields": rule.omit_managed_fields,
            })
        })
        .collect();
    serde_json::json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules,
        "omitStages": names(&policy.omit_stages), "omitManagedFields": policy.omit_managed_fields,
    })
}

/// The same policy in other words: lists reversed, rules split by verb or user, policy-level settings
/// moved into the rules, dead and default rules added.
fn rephrase(policy: &Policy, seed: u64) -> Policy {
    let mut rules = Vec::new();
    for (at, rule) in policy.rules.iter().enumerate() {
        let mut rule = rule.clone();
        rule.users.reverse();
        rule.user_groups.reverse();
        rule.namespaces.reverse();
        rule.resources.reverse();
        for entry in &mut rule.resources {
            entry.resources.reverse();
        }
        rule.omit_stages.extend(&policy.omit_stages);
        rule.omit_managed_fields = rule
            .omit_managed_fields
            .or(Some(policy.omit_managed_fields));
        let split = (seed >> (at % 60)) & 1 == 1;
        if split && rule.verbs.len() > 1 {
            for verb in rule.verbs.clone().into_iter().rev() {
                rules.push(PolicyRule {
                    verbs: vec![verb],
                    ..rule.clone()
                });
            }
        } else if split && rule.resources.len() > 1 {
            for entry in rule.resources.clone() {
                rules.push(PolicyRule {
                    resources: vec![entry],
                    ..rule.clone()
                });
            }
        } else {
            rules.push(rule.clone());
            // What comes right behind its like is never reached.
            rules.push(PolicyRule {
                level: Level::RequestResponse,
                ..rule
            });
        }
    }
    rules.push(PolicyRule {
        level: Level::None,
        users: Vec::new(),
        user_groups: Vec::new(),
        verbs: Vec::new(),
        resources: Vec::new(),
        namespaces: Vec::new(),
        non_resource_urls: Vec::new(),
        omit_stages: Vec::new(),
        omit_managed_fields: None,
    });
    Policy {
        rules,
        omit_stages: Vec::new(),
        omit_managed_fields: !policy.omit_managed_fields,
    }
}

fn error(bytes: &[u8]) -> String {
    match policy::load(bytes) {
        Ok(loaded) => format!("ok: {}", loaded.warnings.join("; ")),
        Err(error) => error.message,
    }
}

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";

fn unknown_x() -> &'static str {
    "ok: Audit policy contains errors, falling back to lenient decoding: strict decoding error: unknown field \"x\""
}

#[test]
fn alias_bombs_are_refused() {
    let mut text = format!("{HEAD}a: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("b{level}: &a{level} [{aliases}]\n"));
    }
    assert_eq!(
        error(text.as_bytes()),
        "failed decoding: yaml: document contains excessive aliasing"
    );
    let mut merges = format!("{HEAD}a: &a0 {{k: v}}\n");
    for level in 1..40 {
        merges.push_str(&format!(
            "m{level}: &a{level} {{<<: [*a{p}, *a{p}], k{level}: v}}\n",
            p = level - 1
        ));
    }
    assert_eq!(
        error(merges.as_bytes()),
        "failed decoding: yaml: document contains excessive aliasing"
    );
}

#[test]
fn a_huge_scalar_behind_many_aliases_does_not_fill_the_memory() {
    let scalar = "x".repeat(1 << 20);
    let aliases = vec!["*a"; 900].join(", ");
    let text = format!("{HEAD}x: &a {scalar}\ny: [{aliases}]\n");
    assert_eq!(
        error(text.as_bytes()),
        "failed decoding: document expands to more than 256 MiB"
    );
}

#[test]
fn nesting_has_a_limit() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let nested =
            |depth: usize| format!("{HEAD}x: {}{}\n", open.repeat(depth), close.repeat(depth));
        assert_eq!(error(nested(9_000).as_bytes()), unknown_x());
        // The value stands inside the policy: one level more for JSON than for YAML.
        let bracket = &open[..1];
        assert_eq!(
            error(nested(10_000).as_bytes()),
            format!(
                "failed decoding: couldn't get version/kind; json parse error: invalid character '{bracket}' exceeded max depth"
            )
        );
        for depth in [10_001, 100_000] {
            assert_eq!(
                error(nested(depth).as_bytes()),
                "failed decoding: yaml: line 5: exceeded max depth of 10000"
            );
        }
        let unclosed = format!("{HEAD}x: {}", open.repeat(1_000_000));
        assert_eq!(
            error(unclosed.as_bytes()),
            "failed decoding: yaml: line 5: exceeded max depth of 10000"
        );
    }
}

#[test]
fn nested_blocks_have_a_limit() {
    let nested = |depth: usize| format!("{HEAD}x:\n{}a\n", "- ".repeat(depth));
    assert_eq!(error(nested(9_000).as_bytes()), unknown_x());
    assert_eq!(
        error(nested(100_000).as_bytes()),
        "failed decoding: yaml: line 6: exceeded max depth of 10000"
    );
}

#[test]
fn nested_json_has_a_limit() {
    let nested = |depth: usize| {
        format!(
            r#"{{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{{"level":"None"}}],"x":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert_eq!(error(nested(9_999).as_bytes()), unknown_x());
    for depth in [10_000, 100_000] {
        assert_eq!(
            error(nested(depth).as_bytes()),
            "failed decoding: couldn't get version/kind; json parse error: invalid character '[' exceeded max depth"
        );
    }
}

#[test]
fn chains_of_aliases_do_not_exhaust_the_stack() {
    let mut text = format!("{HEAD}x0: &a0 [v]\n");
    let mut length = 0;
    for level in 1..40 {
        let depth = 9_000;
        text.push_str(&format!(
            "x{level}: &a{level} {}*a{}{}\n",
            "[".repeat(depth),
            level - 1,
            "]".repeat(depth)
        ));
        length += depth;
    }
    assert!(length > 300_000);
    // Go's decoder would give up on the aliasing or on the depth, whichever it counts to first.
    assert_eq!(
        error(text.as_bytes()),
        "failed decoding: yaml: document contains excessive aliasing"
    );
}

#[test]
fn a_scalar_of_16_mib_is_a_scalar() {
    let scalar = "x".repeat(16 << 20);
    assert_eq!(
        error(format!("{HEAD}x: {scalar}\n").as_bytes()),
        unknown_x()
    );
    let scalar = "x".repeat(2 << 20);
    for style in [
        format!("\"{scalar}\""),
        format!("|\n  {scalar}"),
        format!("'{scalar}'"),
    ] {
        assert_eq!(error(format!("{HEAD}x: {style}\n").as_bytes()), unknown_x());
    }
    // Over 1024 characters it is no key.
    assert_eq!(
        error(format!("{HEAD}{}: 1\n", "k".repeat(1025)).as_bytes()),
        "failed decoding: yaml: line 5: could not find expected ':'"
    );
}

#[test]
fn wide_documents_take_linear_time() {
    let mut text = HEAD.to_owned();
    for n in 0..200_000 {
        text.push_str(&format!("k{n}: v\n"));
    }
    let loaded = policy::load(text.as_bytes()).unwrap();
    // The strict decoder names a hundred unknown fields and no more.
    assert_eq!(loaded.warnings[0].matches("unknown field").count(), 100);
    let many = format!("{HEAD}{}", "- level: None\n".repeat(100_000));
    assert_eq!(
        policy::load(many.as_bytes()).unwrap().policy.rules.len(),
        100_001
    );
}

#[test]
fn more_values_than_anybody_writes_are_refused() {
    let many = "a,".repeat(1_000_000);
    assert_eq!(
        error(format!("{HEAD}x: [{many}]\n").as_bytes()),
        "failed decoding: document has more than 1000000 values"
    );
    let wrong = "a,".repeat(100_000);
    let refused = error(format!("{HEAD}omitStages: [{wrong}]\n").as_bytes());
    assert_eq!(refused.matches("allowed stages are").count(), 10_000);
}

#[test]
fn absurd_policies_are_not_compared() {
    let rules: Vec<String> = (0..9_000)
        .map(|n| format!("- {{level: Metadata, users: [u{n}]}}\n"))
        .collect();
    let text = format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{}",
        rules.concat()
    );
    let policy = policy::load(text.as_bytes()).unwrap().policy;
    let error =
        ckslab::audit::compare::try_differences(&policy, &policy, &any_scope()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the policies distinguish too many classes of requests")
    );
}
