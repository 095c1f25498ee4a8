//! Field selectors (`k8s.io/apimachinery/pkg/fields/selector.go`), and which fields each kind offers
//! (`pkg/apis/*/v1/conversion.go` of kubernetes/kubernetes).

use std::fmt;

use serde_json::Value;

use super::super::catalog::Resource;
use super::super::state::CustomResource;

/// A parsed field selector; the empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    negated: bool,
}

/// Why a selector cannot be parsed or used, in the words of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Selector {
    /// Parses `metadata.name=a,status.phase!=Running`.
    ///
    /// # Errors
    /// The API server's text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let Some((field, operator, value)) = split_term(&part) else {
                return Err(ParseError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            terms.push(Term {
                field: field.to_owned(),
                value: unescape(value)?,
                negated: operator == "!=",
            });
        }
        Ok(Self(terms))
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether objects of this resource can be selected by these fields.
    ///
    /// # Errors
    /// The API server's text.
    pub fn check(
        &self,
        resource: &Resource,
        custom: Option<&CustomResource>,
    ) -> Result<(), ParseError> {
        for term in &self.0 {
            if !is_supported(resource, custom, &term.field) {
                // Kinds without fields of their own have the conversion of all
                // (`DefaultMetaV1FieldSelectorConversion` of `apimachinery/pkg/runtime`).
                let plain = custom.is_none() && further_fields(resource).is_empty();
                return Err(ParseError(if plain {
                    format!(
                        "{:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                        term.field
                    )
                } else {
                    format!("field label not supported: {}", term.field)
                }));
            }
        }
        Ok(())
    }

    /// Whether the object satisfies every term.
    #[must_use]
    pub fn matches(
        &self,
        resource: &Resource,
        custom: Option<&CustomResource>,
        object: &Value,
    ) -> bool {
        self.0.iter().all(|term| {
            let value = value_of(resource, custom, object, &term.field);
            (value == term.value) != term.negated
        })
    }
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut escaped = false;
    for c in text.chars() {
        if escaped {
            escaped = false;
            part.push(c);
        } else if c == ',' {
            parts.push(std::mem::take(&mut part));
        } else {
            escaped = c == '\\';
            part.push(c);
        }
    }
    parts.push(part);
    parts
}

fn split_term(part: &str) -> Option<(&str, &str, &str)> {
    for (index, _) in part.char_indices() {
        let (field, rest) = part.split_at(index);
        for operator in ["!=", "==", "="] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((field, operator, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, ParseError> {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => {
                    return Err(ParseError(format!(
                        "invalid field selector: invalid escape sequence: \\{c}"
                    )));
                }
                None => {
                    return Err(ParseError(
                        "invalid field selector: invalid escape sequence: \\".to_owned(),
                    ));
                }
            },
            ',' | '=' => {
                return Err(ParseError(format!(
                    "invalid field selector: unescaped character in value: {c}"
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Fields beside `metadata.name` and `metadata.namespace`.
fn further_fields(resource: &Resource) -> &'static [&'static str] {
    match (resource.group.as_str(), resource.name.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("resource.k8s.io", "resourceslices") => &["spec.nodeName", "spec.driver"],
        _ => &[],
    }
}

fn is_supported(resource: &Resource, custom: Option<&CustomResource>, field: &str) -> bool {
    if field == "metadata.name" || (field == "metadata.namespace") {
        return true;
    }
    further_fields(resource).contains(&field) || selectable(custom, field)
}

/// `selectableFields` of a custom resource.
fn selectable(custom: Option<&CustomResource>, field: &str) -> bool {
    custom
        .and_then(|custom| custom.version.get("selectableFields"))
        .and_then(Value::as_array)
        .is_some_and(|fields| {
            fields.iter().any(|entry| {
                entry
                    .get("jsonPath")
                    .and_then(Value::as_str)
                    .is_some_and(|path| path.trim_start_matches('.') == field)
            })
        })
}

fn value_of(
    resource: &Resource,
    custom: Option<&CustomResource>,
    object: &Value,
    field: &str,
) -> String {
    let at = |path: &str| text(object.pointer(path));
    match (resource.name.as_str(), field) {
        ("pods", "spec.hostNetwork") | ("nodes", "spec.unschedulable") => {
            let value = at(&format!("/{}", field.replace('.', "/")));
            if value.is_empty() {
                "false".to_owned()
            } else {
                value
            }
        }
        ("pods", "status.podIPs") => object
            .pointer("/status/podIPs")
            .and_then(Value::as_array)
            .map(|ips| {
                let ips: Vec<String> = ips.iter().map(|ip| text(ip.get("ip"))).collect();
                ips.join(",")
            })
            .unwrap_or_default(),
        ("jobs", "status.successful") => or_zero(at("/status/succeeded")),
        (_, "status.replicas") => or_zero(at("/status/replicas")),
        ("events", "source") if custom.is_none() => {
            let component = at("/source/component");
            if component.is_empty() {
                at("/reportingComponent")
            } else {
                component
            }
        }
        _ => at(&format!("/{}", field.replace('.', "/"))),
    }
}

fn or_zero(value: String) -> String {
    if value.is_empty() {
        "0".to_owned()
    } else {
        value
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::catalog;
    use super::*;

    #[test]
    fn fields_select_and_unknown_ones_are_refused() {
        let pods = catalog::find("", "v1", "pods").unwrap();
        let pod = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {}, "status": {"phase": "Running"}});
        for (text, expected) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name!=a", false),
            ("status.phase==Running,spec.nodeName=", true),
            ("spec.hostNetwork=false", true),
        ] {
            let selector = Selector::parse(text).unwrap();
            selector.check(pods, None).unwrap();
            assert_eq!(selector.matches(pods, None, &pod), expected, "{text}");
        }
        let unknown = Selector::parse("spec.size=1").unwrap();
        assert_eq!(
            unknown.check(pods, None).unwrap_err().to_string(),
            "field label not supported: spec.size"
        );
        assert_eq!(
            Selector::parse("metadata.name").unwrap_err().to_string(),
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'"
        );
    }
}
