//! RBAC (`plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{Attributes, Decision, Rule};
use crate::audit::options::number::quote;
use crate::node::embedded::apiserver::request::UserInfo;
use crate::node::embedded::store::{Store, Watcher};

const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// RBAC objects of the store, ready for decisions. Reads the store again when it changed.
#[derive(Default)]
pub struct Rbac {
    current: Mutex<Option<Current>>,
}

struct Current {
    watcher: Watcher,
    compiled: Arc<Compiled>,
}

#[derive(Default)]
struct Compiled {
    cluster_roles: HashMap<String, Arc<Vec<Rule>>>,
    /// By namespace, then name.
    roles: HashMap<(String, String), Arc<Vec<Rule>>>,
    cluster_bindings: Vec<Binding>,
    bindings: HashMap<String, Vec<Binding>>,
}

struct Binding {
    name: String,
    namespace: String,
    role_kind: String,
    role: String,
    subjects: Vec<Subject>,
}

struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn strings(value: &Value, field: &str) -> Vec<String> {
    value
        .get(field)
        .and_then(Value::as_array)
        .map(|items| {
            items
                .iter()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default()
}

/// The rules of a Role or ClusterRole object.
#[must_use]
pub fn rules_of(role: &Value) -> Vec<Rule> {
    role.get("rules")
        .and_then(Value::as_array)
        .map(|rules| {
            rules
                .iter()
                .map(|rule| Rule {
                    verbs: strings(rule, "verbs"),
                    api_groups: strings(rule, "apiGroups"),
                    resources: strings(rule, "resources"),
                    resource_names: strings(rule, "resourceNames"),
                    non_resource_urls: strings(rule, "nonResourceURLs"),
                })
                .collect()
        })
        .unwrap_or_default()
}

impl Binding {
    fn from_object(object: &Value) -> Self {
        let namespace = text(object, "/metadata/namespace");
        let subjects = object
            .get("subjects")
            .and_then(Value::as_array)
            .map(|subjects| {
                subjects
                    .iter()
                    .map(|subject| Subject {
                        kind: text(subject, "/kind"),
                        name: text(subject, "/name"),
                        namespace: text(subject, "/namespace"),
                    })
                    .collect()
            })
            .unwrap_or_default();
        Self {
            name: text(object, "/metadata/name"),
            namespace,
            role_kind: text(object, "/roleRef/kind"),
            role: text(object, "/roleRef/name"),
            subjects,
        }
    }

    fn applies_to(&self, user: &UserInfo) -> Option<&Subject> {
        self.subjects
            .iter()
            .find(|subject| subject.is(user, &self.namespace))
    }

    fn describe(&self, subject: &Subject) -> String {
        let (kind, name) = if self.namespace.is_empty() {
            ("ClusterRoleBinding", self.name.clone())
        } else {
            ("RoleBinding", format!("{}/{}", self.name, self.namespace))
        };
        let who = if subject.kind == "ServiceAccount" {
            let namespace = if subject.namespace.is_empty() {
                &self.namespace
            } else {
                &subject.namespace
            };
            format!("{}/{namespace}", subject.name)
        } else {
            subject.name.clone()
        };
        format!(
            "{kind} {} of {} {} to {} {}",
            quote(&name),
            self.role_kind,
            quote(&self.role),
            subject.kind,
            quote(&who)
        )
    }
}

impl Subject {
    fn is(&self, user: &UserInfo, namespace: &str) -> bool {
        match self.kind.as_str() {
            "User" => user.username == self.name,
            "Group" => user.groups.contains(&self.name),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() {
                    namespace
                } else {
                    &self.namespace
                };
                !namespace.is_empty()
                    && user
                        .username
                        .strip_prefix("system:serviceaccount:")
                        .and_then(|rest| rest.split_once(':'))
                        == Some((namespace, self.name.as_str()))
            }
            _ => false,
        }
    }
}

impl Compiled {
    fn read(store: &Store) -> (Self, u64) {
        let mut out = Self::default();
        let (objects, revision) = store.list(PREFIX);
        for stored in objects {
            let Some(rest) = stored.key.strip_prefix(PREFIX) else {
                continue;
            };
            let object = &*stored.value;
            let resource = rest.split('/').next().unwrap_or_default();
            let name = text(object, "/metadata/name");
            let namespace = text(object, "/metadata/namespace");
            match resource {
                "clusterroles" => {
                    out.cluster_roles.insert(name, Arc::new(rules_of(object)));
                }
                "roles" => {
                    out.roles
                        .insert((namespace, name), Arc::new(rules_of(object)));
                }
                "clusterrolebindings" => out.cluster_bindings.push(Binding::from_object(object)),
                "rolebindings" => out
                    .bindings
                    .entry(namespace)
                    .or_default()
                    .push(Binding::from_object(object)),
                _ => {}
            }
        }
        (out, revision)
    }

    /// Every binding that applies to a user, cluster-wide ones first, with the rules of its role or
    /// the text of the error that finding them was.
    fn visit<'a>(
        &'a self,
        user: &UserInfo,
        namespace: &str,
        mut visit: impl FnMut(&'a Binding, &'a Subject, Result<&'a [Rule], String>) -> bool,
    ) {
        let local = self
            .bindings
            .get(namespace)
            .filter(|_| !namespace.is_empty());
        for binding in self
            .cluster_bindings
            .iter()
            .chain(local.into_iter().flatten())
        {
            let Some(subject) = binding.applies_to(user) else {
                continue;
            };
            let rules = if binding.role_kind == "Role" {
                self.roles
                    .get(&(binding.namespace.clone(), binding.role.clone()))
                    .ok_or("role")
            } else {
                self.cluster_roles.get(&binding.role).ok_or("clusterrole")
            };
            let rules = rules.map(|rules| rules.as_slice()).map_err(|kind| {
                format!(
                    "{kind}.rbac.authorization.k8s.io {} not found",
                    quote(&binding.role)
                )
            });
            if !visit(binding, subject, rules) {
                return;
            }
        }
    }
}

/// Whether a rule allows a request (`RuleAllows`).
#[must_use]
pub fn rule_allows(rule: &Rule, attributes: &Attributes) -> bool {
    let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
    if !has(&rule.verbs, &attributes.verb) {
        return false;
    }
    if !attributes.is_resource {
        return rule.non_resource_urls.iter().any(|url| {
            url == "*"
                || *url == attributes.path
                // Go trims every asterisk at the end, not only the last.
                || (url.ends_with('*') && attributes.path.starts_with(url.trim_end_matches('*')))
        });
    }
    has(&rule.api_groups, &attributes.group)
        && resource_matches(rule, attributes)
        && (rule.resource_names.is_empty() || rule.resource_names.contains(&attributes.name))
}

fn resource_matches(rule: &Rule, attributes: &Attributes) -> bool {
    let combined = if attributes.subresource.is_empty() {
        attributes.resource.clone()
    } else {
        format!("{}/{}", attributes.resource, attributes.subresource)
    };
    rule.resources.iter().any(|resource| {
        resource == "*"
            || *resource == combined
            || (!attributes.subresource.is_empty()
                && resource
                    .strip_prefix("*/")
                    .is_some_and(|sub| sub == attributes.subresource))
    })
}

impl Rbac {
    fn compiled(&self, store: &Store) -> Arc<Compiled> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &mut *current
            && matches!(known.watcher.try_next(), Ok(None))
        {
            return known.compiled.clone();
        }
        let (compiled, revision) = Compiled::read(store);
        let compiled = Arc::new(compiled);
        *current = store.watch(PREFIX, revision).ok().map(|watcher| Current {
            watcher,
            compiled: compiled.clone(),
        });
        compiled
    }

    /// Decides by RBAC.
    #[must_use]
    pub fn authorize(&self, store: &Store, user: &UserInfo, attributes: &Attributes) -> Decision {
        let compiled = self.compiled(store);
        let mut decision = Decision::default();
        let mut errors = Vec::new();
        compiled.visit(user, &attributes.namespace, |binding, subject, rules| {
            match rules {
                Ok(rules) => {
                    if rules.iter().any(|rule| rule_allows(rule, attributes)) {
                        decision = Decision {
                            allowed: true,
                            reason: format!("RBAC: allowed by {}", binding.describe(subject)),
                        };
                        return false;
                    }
                }
                Err(error) => errors.push(error),
            }
            true
        });
        if !decision.allowed && !errors.is_empty() {
            errors.dedup();
            let text = if errors.len() == 1 {
                errors.concat()
            } else {
                format!("[{}]", errors.join(", "))
            };
            decision.reason = format!("RBAC: {text}");
        }
        decision
    }

    /// The rules that apply to a user in a namespace, and a text for every role that does not exist.
    #[must_use]
    pub fn rules_for(
        &self,
        store: &Store,
        user: &UserInfo,
        namespace: &str,
    ) -> (Vec<Rule>, Vec<String>) {
        let compiled = self.compiled(store);
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        compiled.visit(user, namespace, |_, _, rules| {
            match rules {
                Ok(rules) => out.extend(rules.iter().cloned()),
                Err(error) => errors.push(error),
            }
            true
        });
        (out, errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asterisks_end_paths_as_in_go() {
        let allows = |url: &str, path: &str| {
            let rule = Rule {
                verbs: vec!["get".to_owned()],
                non_resource_urls: vec![url.to_owned()],
                ..Rule::default()
            };
            let attributes = Attributes {
                verb: "get".to_owned(),
                path: path.to_owned(),
                ..Attributes::default()
            };
            rule_allows(&rule, &attributes)
        };
        assert!(allows("*", "/metrics"));
        assert!(allows("/healthz/*", "/healthz/etcd"));
        assert!(!allows("/healthz/*", "/healthz"));
        assert!(allows("/healthz/**", "/healthz/etcd"));
        assert!(allows("**", "/metrics"));
        assert!(!allows("/m*s", "/metrics"));
    }
}
