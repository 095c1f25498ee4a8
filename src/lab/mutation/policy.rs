//! Mutants of an audit policy. Whether one means something else is not decided here but by the audit
//! engine, over every class of requests.

use serde_json::{Map, Value, json};

/// A changed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What was done, the same for every seed.
    pub name: String,
    /// The file.
    pub text: String,
}

const LEVELS: [&str; 4] = ["None", "Metadata", "Request", "RequestResponse"];
const LISTS: [&str; 5] = [
    "verbs",
    "namespaces",
    "users",
    "userGroups",
    "nonResourceURLs",
];

/// Every mutant of a policy, one change each; none where it is no policy.
#[must_use]
pub fn candidates(text: &str) -> Vec<Candidate> {
    let Ok(policy) = serde_yaml::from_str::<Value>(text) else {
        return Vec::new();
    };
    let Some(rules) = policy.get("rules").and_then(Value::as_array) else {
        return Vec::new();
    };
    let mut all = Mutants {
        policy: &policy,
        found: Vec::new(),
    };
    all.whole(text, rules);
    for (at, rule) in rules.iter().enumerate() {
        all.rule(rules, at, rule);
    }
    all.found
}

struct Mutants<'a> {
    policy: &'a Value,
    found: Vec<Candidate>,
}

impl Mutants<'_> {
    fn text(&mut self, name: impl Into<String>, text: String) {
        self.found.push(Candidate {
            name: format!("policy: {}", name.into()),
            text,
        });
    }

    fn policy(&mut self, name: impl Into<String>, policy: &Value) {
        if let Ok(text) = serde_yaml::to_string(policy) {
            self.text(name, text);
        }
    }

    fn rules(&mut self, name: impl Into<String>, rules: Vec<Value>) {
        let mut policy = self.policy.clone();
        if let Some(fields) = policy.as_object_mut() {
            fields.insert("rules".to_owned(), Value::Array(rules));
        }
        self.policy(name, &policy);
    }

    /// Changes of the whole file.
    fn whole(&mut self, text: &str, rules: &[Value]) {
        // Style.
        self.text("as JSON", self.policy.to_string());
        let commented: String = text
            .lines()
            .map(|line| format!("{line}\n# a comment: level RequestResponse\n"))
            .collect();
        if !text.contains('|') && !text.trim_start().starts_with('{') {
            self.text("with comments", commented);
        }
        self.text(
            "with an empty line and the end of a document",
            format!("{text}\n---\n"),
        );
        self.policy("written anew", &self.policy.clone());
        self.policy("keys in another order", &turned(self.policy));
        self.policy("lists in another order", &reversed(self.policy));
        // Rules that decide nothing.
        let with = |rule: Value, last: bool| {
            let mut rules = rules.to_vec();
            rules.insert(if last { rules.len() } else { 0 }, rule);
            rules
        };
        if let Some(first) = rules.first() {
            self.rules("first rule again at the end", with(first.clone(), true));
        }
        self.rules("rule for nobody first", with(json!({"level": "RequestResponse", "users": ["nobody-has-this-name"], "verbs": ["no-verb"]}), false));
        self.rules(
            "catch-all None at the end",
            with(json!({"level": "None"}), true),
        );
        self.rules(
            "catch-all Metadata at the end",
            with(json!({"level": "Metadata"}), true),
        );
        self.rules(
            "catch-all None first",
            with(json!({"level": "None"}), false),
        );
        self.rules(
            "catch-all RequestResponse first",
            with(json!({"level": "RequestResponse"}), false),
        );
        // Stages.
        for stage in ["RequestReceived", "ResponseComplete"] {
            let mut stages = strings(self.policy.get("omitStages"));
            let verb = if stages.iter().any(|other| other == stage) {
                stages.retain(|other| other != stage);
                "kept"
            } else {
                stages.push(stage.to_owned());
                "left out"
            };
            let mut policy = self.policy.clone();
            if let Some(fields) = policy.as_object_mut() {
                fields.insert("omitStages".to_owned(), json!(stages));
            }
            self.policy(format!("stage {stage} {verb}"), &policy);
        }
        let mut policy = self.policy.clone();
        if let Some(fields) = policy.as_object_mut() {
            fields.remove("apiVersion");
        }
        self.policy("without apiVersion", &policy);
    }

    /// Changes of one rule.
    fn rule(&mut self, rules: &[Value], at: usize, rule: &Value) {
        let number = at + 1;
        let mut without = rules.to_vec();
        without.remove(at);
        self.rules(format!("without rule {number}"), without);
        if number < rules.len() {
            let mut swapped = rules.to_vec();
            swapped.swap(at, number);
            self.rules(
                format!("rules {number} and {} swapped", number + 1),
                swapped,
            );
        }
        let mut variants: Vec<(String, Value)> = Vec::new();
        let changed = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut rule = rule.clone();
            if let Some(fields) = rule.as_object_mut() {
                change(fields);
            }
            rule
        };
        for level in LEVELS {
            if rule.get("level").and_then(Value::as_str) != Some(level) {
                variants.push((
                    format!("level {level}"),
                    changed(&|fields| {
                        fields.insert("level".to_owned(), json!(level));
                    }),
                ));
            }
        }
        variants.push((
            "level in lower case".to_owned(),
            changed(&|fields| {
                if let Some(Value::String(level)) = fields.get_mut("level") {
                    *level = level.to_lowercase();
                }
            }),
        ));
        for list in LISTS {
            let items = strings(rule.get(list));
            for left_out in 0..items.len().min(4) {
                let mut items = items.clone();
                items.remove(left_out);
                let name = format!("one less in {list} ({})", left_out + 1);
                variants.push((name, with_list(rule, list, items)));
            }
            if !items.is_empty() {
                let mut more = items.clone();
                more.push("something-else".to_owned());
                variants.push((format!("one more in {list}"), with_list(rule, list, more)));
                let singular = list.trim_end_matches('s').to_owned();
                variants.push((
                    format!("{list} in the singular"),
                    changed(&|fields| {
                        if let Some(value) = fields.remove(list) {
                            fields.insert(singular.clone(), value);
                        }
                    }),
                ));
            }
        }
        variants.extend(resources(rule));
        for (name, rule) in variants {
            let mut all = rules.to_vec();
            if let Some(slot) = all.get_mut(at) {
                *slot = rule;
            }
            self.rules(format!("rule {number}, {name}"), all);
        }
    }
}

/// Changes of what a rule says about resources.
fn resources(rule: &Value) -> Vec<(String, Value)> {
    let groups = rule.get("resources").and_then(Value::as_array);
    let groups = groups.cloned().unwrap_or_default();
    let mut variants = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        let mut push = |name: String, changed: Option<Value>| {
            let mut groups = groups.clone();
            match changed {
                Some(changed) => {
                    if let Some(slot) = groups.get_mut(at) {
                        *slot = changed;
                    }
                }
                None => {
                    groups.remove(at);
                }
            }
            let mut rule = rule.clone();
            if let Some(fields) = rule.as_object_mut() {
                if groups.is_empty() {
                    fields.remove("resources");
                } else {
                    fields.insert("resources".to_owned(), Value::Array(groups));
                }
            }
            variants.push((format!("{name} ({})", at + 1), rule));
        };
        push("one group of resources less".to_owned(), None);
        let name = group.get("group").and_then(Value::as_str).unwrap_or("");
        let other = if name.is_empty() { "apps" } else { "" };
        for (what, other) in [
            ("another group", other.to_owned()),
            ("group with version", format!("{name}/v1")),
        ] {
            let mut group = group.clone();
            if let Some(fields) = group.as_object_mut() {
                fields.insert("group".to_owned(), json!(other));
            }
            push(what.to_owned(), Some(group));
        }
        for list in ["resources", "resourceNames"] {
            let items = strings(group.get(list));
            for left_out in 0..items.len().min(4) {
                let mut items = items.clone();
                items.remove(left_out);
                push(
                    format!("one less in {list} {}", left_out + 1),
                    Some(with_list(group, list, items)),
                );
            }
            if let Some(first) = items.first()
                && list == "resources"
                && !first.contains(['/', '*'])
            {
                let mut items = items.clone();
                items.push(format!("{first}/*"));
                push(
                    "subresources as well".to_owned(),
                    Some(with_list(group, list, items)),
                );
            }
        }
    }
    variants
}

/// With this list; without its key where nothing is left of it.
fn with_list(value: &Value, list: &str, items: Vec<String>) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        if items.is_empty() {
            fields.remove(list);
        } else {
            fields.insert(list.to_owned(), json!(items));
        }
    }
    value
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Every mapping with its keys from the last to the first.
fn turned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .rev()
            .map(|(key, value)| (key.clone(), turned(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(turned).collect(),
        other => other.clone(),
    }
}

/// Every list from the last to the first, but that of the rules.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let value = match value {
                    Value::Array(rules) if key == "rules" => rules.iter().map(reversed).collect(),
                    other => reversed(other),
                };
                (key.clone(), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().rev().map(reversed).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::compare::{Scope, differences};
    use crate::audit::policy::load;

    #[test]
    fn mutants_of_a_policy_are_many_and_the_engine_tells_those_that_mean_the_same() {
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
                    - level: Request\n  verbs: [create, delete]\n  namespaces: [red]\n  resources:\n\
                    \x20 - group: apps\n    resources: [deployments]\n- level: Metadata\n  users: [jane]\n";
        let original = load(text.as_bytes()).unwrap().policy;
        let all = candidates(text);
        assert!(all.len() >= 40, "{}", all.len());
        let same: Vec<&str> = all
            .iter()
            .filter(|mutant| {
                load(mutant.text.as_bytes()).is_ok_and(|loaded| {
                    differences(&original, &loaded.policy, &Scope::default()).is_empty()
                })
            })
            .map(|mutant| mutant.name.as_str())
            .collect();
        assert_eq!(
            same,
            [
                "policy: as JSON",
                "policy: with comments",
                "policy: with an empty line and the end of a document",
                "policy: written anew",
                "policy: keys in another order",
                "policy: lists in another order",
                "policy: first rule again at the end",
                // No request has such a verb, and subresources of Deployments are never created or deleted.
                "policy: rule for nobody first",
                "policy: catch-all None at the end",
                "policy: rule 1, one more in verbs",
                "policy: rule 1, subresources as well (1)",
            ]
        );
    }

    #[test]
    fn what_is_no_policy_has_no_mutants() {
        for text in ["", "rules: 3", "{", "- a\n", "rules: []\n:"] {
            assert_eq!(candidates(text), [], "{text:?}");
        }
    }
}
