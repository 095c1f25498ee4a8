//! Mode ABAC: a file of policies, one JSON object a line (`pkg/auth/authorizer/abac/abac.go`,
//! `pkg/apis/abac/{v0,v1beta1}/conversion.go`).

use serde_json::Value;

use super::{Attributes, Decision, Rule};
use crate::node::embedded::apiserver::klog::Klog;
use crate::node::embedded::apiserver::request::UserInfo;
use crate::node::embedded::apiserver::schema;

/// The group of everybody who was authenticated.
const AUTHENTICATED: &str = "system:authenticated";
/// Longest line (`bufio.MaxScanTokenSize`).
const LONGEST: usize = 64 << 10;

/// The policies of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abac(Vec<Policy>);

/// A policy in its current form; an empty field stands for itself, `*` for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    path: String,
}

impl Abac {
    /// Reads a file of policies. A line that names no version is one of the first form: all its fields at the top.
    ///
    /// # Errors
    /// The real text.
    pub fn read(path: &str, data: &[u8], klog: &Klog) -> Result<Self, String> {
        let mut policies = Vec::new();
        let mut has_old = false;
        for (index, line) in data.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() >= LONGEST {
                return Err(format!(
                    "error reading policy file {path}: bufio.Scanner: token too long"
                ));
            }
            let text = String::from_utf8_lossy(line);
            if text.trim().is_empty() || text.trim().starts_with('#') {
                continue;
            }
            let (policy, is_old) = Policy::read(line).map_err(|reason| {
                format!(
                    "error reading policy file {path}, line {}: {text}: {reason}",
                    index + 1
                )
            })?;
            has_old |= is_old;
            policies.push(policy);
        }
        if has_old {
            klog.warning("abac.go:116", &format!("Policy file {path} contained unversioned rules. See docs/admin/authorization.md#abac-mode for ABAC file format details."));
        }
        Ok(Self(policies))
    }

    /// Decides.
    #[must_use]
    pub fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Decision {
        let allowed = self.0.iter().any(|policy| policy.matches(user, attributes));
        Decision {
            allowed,
            reason: if allowed {
                String::new()
            } else {
                "No policy matched.".to_owned()
            },
        }
    }

    /// The rules that apply to a user in a namespace.
    #[must_use]
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        for policy in self.0.iter().filter(|policy| policy.is_of(user)) {
            if policy.namespace != "*" && policy.namespace != namespace {
                continue;
            }
            let verbs: Vec<String> = if policy.readonly {
                ["get", "list", "watch"].map(str::to_owned).to_vec()
            } else {
                vec!["*".to_owned()]
            };
            if !policy.resource.is_empty() {
                rules.push(Rule {
                    verbs: verbs.clone(),
                    api_groups: vec![policy.api_group.clone()],
                    resources: vec![policy.resource.clone()],
                    ..Rule::default()
                });
            }
            if !policy.path.is_empty() {
                rules.push(Rule {
                    verbs,
                    non_resource_urls: vec![policy.path.clone()],
                    ..Rule::default()
                });
            }
        }
        rules
    }
}

impl Policy {
    /// A line, and whether it is in the first form.
    fn read(line: &[u8]) -> Result<(Self, bool), String> {
        let is_json = crate::yaml::looks_like_json(line);
        let value = if is_json {
            schema::check_json(line)
                .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
            serde_json::from_slice(line).map_err(|error| error.to_string())?
        } else {
            let document = crate::yaml::to_json(line).map_err(|error| error.to_string())?;
            document.value
        };
        let text = |value: &Value, key: &str| -> String {
            let text = value.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        if !value.is_object() {
            return Err(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
                kind_of(&value)
            ));
        }
        let is_current = text(&value, "kind") == "Policy"
            && text(&value, "apiVersion") == "abac.authorization.kubernetes.io/v1beta1";
        let mut policy;
        if is_current {
            let decoded = schema::decode_value(
                "abac.authorization.kubernetes.io",
                "v1beta1",
                "Policy",
                &value,
            )?;
            let spec = decoded.value.get("spec").cloned().unwrap_or_default();
            policy = Self {
                user: text(&spec, "user"),
                group: text(&spec, "group"),
                readonly: spec.get("readonly") == Some(&Value::Bool(true)),
                api_group: text(&spec, "apiGroup"),
                resource: text(&spec, "resource"),
                namespace: text(&spec, "namespace"),
                path: text(&spec, "nonResourcePath"),
            };
        } else {
            let or_all = |text: String| {
                if text.is_empty() {
                    "*".to_owned()
                } else {
                    text
                }
            };
            let (resource, namespace) = (text(&value, "resource"), text(&value, "namespace"));
            let path = if resource.is_empty() && namespace.is_empty() {
                "*".to_owned()
            } else {
                String::new()
            };
            policy = Self {
                user: text(&value, "user"),
                group: text(&value, "group"),
                readonly: value.get("readonly") == Some(&Value::Bool(true)),
                api_group: "*".to_owned(),
                resource: or_all(resource),
                namespace: or_all(namespace),
                path,
            };
            if policy.user.is_empty() && policy.group.is_empty() {
                AUTHENTICATED.clone_into(&mut policy.group);
            }
        }
        if policy.user == "*" || policy.group == "*" {
            policy.user.clear();
            AUTHENTICATED.clone_into(&mut policy.group);
        }
        Ok((policy, !is_current))
    }

    fn is_of(&self, user: &UserInfo) -> bool {
        let names_user = !self.user.is_empty();
        let names_group = !self.group.is_empty();
        (names_user || names_group)
            && (!names_user || self.user == user.username)
            && (!names_group || user.groups.contains(&self.group))
    }

    fn matches(&self, user: &UserInfo, attributes: &Attributes) -> bool {
        let reads = ["get", "list", "watch"].contains(&attributes.verb.as_str());
        if !self.is_of(user) || (self.readonly && !reads) {
            return false;
        }
        let is = |field: &str, value: &str| field == "*" || field == value;
        if attributes.is_resource {
            is(&self.namespace, &attributes.namespace)
                && is(&self.resource, &attributes.resource)
                && is(&self.api_group, &attributes.group)
        } else {
            let below = self
                .path
                .ends_with('*')
                .then(|| self.path.trim_end_matches('*'));
            is(&self.path, &attributes.path)
                || below.is_some_and(|below| attributes.path.starts_with(below))
        }
    }
}

/// Go's name of a JSON value's kind.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::embedded::process::Output;

    struct Silent;

    impl Output for Silent {
        fn stdout(&self, _: &str) {}
        fn stderr(&self, _: &str) {}
    }

    fn user(name: &str) -> UserInfo {
        UserInfo {
            username: name.to_owned(),
            groups: vec!["dev".to_owned(), AUTHENTICATED.to_owned()],
            ..UserInfo::default()
        }
    }

    fn allows(line: &str, name: &str, verb: &str, what: &str) -> bool {
        let policies = Abac(vec![Policy::read(line.as_bytes()).unwrap().0]);
        let mut attributes = Attributes {
            verb: verb.to_owned(),
            ..Attributes::default()
        };
        if what.starts_with('/') {
            what.clone_into(&mut attributes.path);
        } else {
            let (namespace, resource) = what.split_once('/').unwrap();
            attributes.is_resource = true;
            namespace.clone_into(&mut attributes.namespace);
            resource.clone_into(&mut attributes.resource);
        }
        policies.authorize(&user(name), &attributes).allowed
    }

    #[test]
    fn policies_of_the_current_form_say_everything() {
        let head =
            r#"{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":"#;
        let jane = format!(
            r#"{head}{{"user":"jane","namespace":"web","resource":"pods","readonly":true}}}}"#
        );
        assert!(allows(&jane, "jane", "list", "web/pods"));
        assert!(!allows(&jane, "jane", "delete", "web/pods"));
        assert!(!allows(&jane, "jane", "list", "other/pods"));
        assert!(!allows(&jane, "joe", "list", "web/pods"));
        assert!(!allows(&jane, "jane", "get", "/healthz"));
        let all = format!(r#"{head}{{"group":"*","nonResourcePath":"/health*"}}}}"#);
        assert!(allows(&all, "joe", "get", "/healthz"));
        assert!(!allows(&all, "joe", "get", "/version"));
        assert!(!allows(&all, "joe", "get", "web/pods"));
        let nobody = format!(r#"{head}{{"namespace":"*","resource":"*","apiGroup":"*"}}}}"#);
        assert!(!allows(&nobody, "jane", "get", "web/pods"));
    }

    #[test]
    fn policies_of_the_first_form_leave_out_what_is_everything() {
        assert!(allows(r#"{"user":"jane"}"#, "jane", "delete", "web/pods"));
        assert!(allows(r#"{"user":"jane"}"#, "jane", "get", "/metrics"));
        assert!(allows("{}", "joe", "create", "web/pods"));
        assert!(!allows(r#"{"resource":"pods"}"#, "joe", "get", "/metrics"));
        assert!(Policy::read(br#"{"user":"jane"}"#).unwrap().1);
    }

    #[test]
    fn a_bad_line_is_named() {
        let klog = Klog::new(std::sync::Arc::new(Silent), 1, 0);
        assert_eq!(
            Abac::read("/p", b"# all\n\n{\"user\":\n", &klog),
            Err("error reading policy file /p, line 3: {\"user\":: couldn't get version/kind; json parse error: unexpected end of JSON input".to_owned())
        );
    }
}
