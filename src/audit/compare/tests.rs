use super::*;
use crate::audit::policy::load;

fn policy(rules: &str) -> Policy {
    let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}");
    load(text.as_bytes()).unwrap().policy
}

fn any() -> Scope {
    Scope {
        space: Space::Any,
        ..Scope::default()
    }
}

#[test]
fn a_policy_equals_itself_and_its_rephrasings() {
    let a = policy(
        "rules:\n- level: Metadata\n  resources: [{group: '', resources: [secrets, configmaps]}]\n- level: None\n",
    );
    let b = policy(
        "rules:\n- {level: Metadata, resources: [{resources: [configmaps]}]}\n- {level: Metadata, resources: [{resources: [secrets]}]}\n",
    );
    assert_eq!(differences(&a, &b, &any()), []);
}

#[test]
fn the_example_is_the_obvious_one() {
    let a = policy("rules:\n- level: Metadata\n  resources: [{group: '', resources: [secrets]}]\n");
    let b = policy("rules:\n- level: Request\n  resources: [{group: '', resources: [secrets]}]\n");
    let found = differences(&a, &b, &Scope::default());
    assert_eq!(found.len(), 1);
    let request = &found[0].request;
    assert_eq!(
        (request.verb.as_str(), request.resource.as_str()),
        ("get", "secrets")
    );
    assert_eq!(request.path, "/api/v1/namespaces/default/secrets/web");
}

#[test]
fn subresources_are_told_apart() {
    let a = policy("rules:\n- level: Request\n  resources: [{resources: [pods]}]\n");
    let b = policy("rules:\n- level: Request\n  resources: [{resources: [pods, pods/exec]}]\n");
    let found = differences(&a, &b, &Scope::default());
    assert_eq!(found[0].request.subresource, "exec");
    assert_eq!(found[0].request.verb, "get");
}

#[test]
fn a_scope_restricts() {
    let a = policy("rules:\n- level: Metadata\n");
    let b = policy("rules:\n- {level: Metadata, namespaces: [prod]}\n");
    let within = Scope {
        within: policy("rules:\n- {level: None, namespaces: [prod]}\n").rules,
        ..any()
    };
    assert_eq!(differences(&a, &b, &within), []);
    assert!(!differences(&a, &b, &Scope::default()).is_empty());
    let without = Scope {
        without: policy("rules:\n- {level: None, namespaces: [prod]}\n").rules,
        ..any()
    };
    assert!(
        differences(&a, &b, &without)
            .iter()
            .all(|found| found.request.namespace != "prod")
    );
}

#[test]
fn what_cannot_happen_does_not_count_in_the_possible_space() {
    let a = policy(
        "rules:\n- {level: None, userGroups: ['system:authenticated', 'system:unauthenticated']}\n- level: Request\n",
    );
    let b = policy("rules:\n- level: None\n");
    assert_eq!(differences(&a, &b, &Scope::default()), []);
    assert!(!differences(&a, &b, &any()).is_empty());
}

#[test]
fn omitted_stages_count() {
    let a = policy("omitStages: [RequestReceived]\nrules:\n- level: Metadata\n");
    let b = policy("rules:\n- {level: Metadata, omitStages: [RequestReceived]}\n- level: None\n");
    let c = policy("rules:\n- level: Metadata\n");
    assert_eq!(differences(&a, &b, &any()), []);
    assert_eq!(differences(&a, &c, &any()).len(), 1);
}
