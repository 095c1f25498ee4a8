//! Paths and operations, as far as clients look: kinds, parameters, patch types, bodies.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::node::embedded::apiserver::catalog::Resource;

/// Content types of a patch to a built-in kind.
const PATCHES: [&str; 5] = [
    "application/apply-patch+cbor",
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A resource to describe.
pub(super) struct Described<'a> {
    pub dialect: Dialect,
    pub resource: &'a Resource,
    /// Definition name of the objects: `io.k8s.api.core.v1.Pod`.
    pub definition: String,
    /// Whether the kind is built in: only those have `watch` paths and strategic merge patch.
    pub built_in: bool,
}

/// What an operation does.
struct Operation<'a> {
    method: &'static str,
    action: &'static str,
    /// Group, version and kind it works on.
    kind: (&'a str, &'a str, &'a str),
    /// Definition of the request body, if it takes one.
    body: Option<String>,
    /// Definition of the answer.
    answer: String,
    query: &'static [(&'static str, &'static str)],
}

const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];
const PATCH: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];
const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
    ),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

impl Described<'_> {
    /// The paths of the resource and its subresources, as JSON texts.
    pub fn paths(&self) -> Vec<(String, String)> {
        let resource = self.resource;
        let base = if resource.group.is_empty() {
            format!("/api/{}", resource.version)
        } else {
            format!("/apis/{}/{}", resource.group, resource.version)
        };
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("{base}{scope}/{}", resource.name);
        let item = format!("{collection}/{{name}}");
        let mut out = vec![
            (
                collection,
                self.path(&["list", "create", "deletecollection"], "", false),
            ),
            (
                item.clone(),
                self.path(&["get", "update", "delete", "patch"], "", true),
            ),
        ];
        if resource.namespaced {
            out.push((
                format!("{base}/{}", resource.name),
                self.path(&["list"], "", false),
            ));
        }
        for sub in &resource.subresources {
            let path = format!("{item}/{}", sub.name);
            let verbs = ["get", "update", "create", "delete", "patch"];
            if sub.name == "proxy" {
                out.push((
                    format!("{path}/{{path}}"),
                    self.path(&verbs, &sub.name, true),
                ));
            }
            out.push((path, self.path(&verbs, &sub.name, true)));
        }
        if self.built_in && resource.has_verb("", "watch") {
            let watch = format!("{base}/watch{scope}/{}", resource.name);
            out.push((format!("{watch}/{{name}}"), self.watch("watch", true)));
            out.push((watch, self.watch("watchlist", false)));
            if resource.namespaced {
                let all = format!("{base}/watch/{}", resource.name);
                out.push((all, self.watch("watchlist", false)));
            }
        }
        out.retain(|(_, item)| {
            item.as_object()
                .is_some_and(|item| item.keys().any(|key| key != "parameters"))
        });
        out.into_iter()
            .map(|(path, item)| (path, item.to_string()))
            .collect()
    }

    fn kind(&self) -> (&str, &str, &str) {
        let resource = self.resource;
        (&resource.group, &resource.version, &resource.kind)
    }

    /// The operations of a path for the verbs that it has.
    fn path(&self, verbs: &[&str], sub: &str, named: bool) -> Value {
        let resource = self.resource;
        let mut out = Map::new();
        for verb in verbs {
            if !resource.has_verb(sub, verb) {
                continue;
            }
            let kind = resource.body_kind(sub).unwrap_or_else(|| self.kind());
            let own = kind == self.kind();
            let definition = if own {
                self.definition.clone()
            } else {
                definition_of(kind)
            };
            let connects = matches!(sub, "attach" | "exec" | "portforward" | "proxy");
            let status = "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned();
            let options = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions".to_owned();
            let operation = |method, action, body, answer, query| Operation {
                method,
                action,
                kind,
                body,
                answer,
                query,
            };
            let found = match *verb {
                _ if connects => {
                    let method = match *verb {
                        "update" => "put",
                        "create" => "post",
                        "delete" => "delete",
                        "patch" => "patch",
                        _ => "get",
                    };
                    operation(method, "connect", None, String::new(), &[])
                }
                "list" => operation("get", "list", None, format!("{definition}List"), LIST),
                "get" => operation("get", "get", None, definition, &[]),
                "create" => operation("post", "post", Some(definition.clone()), definition, WRITE),
                "update" => operation("put", "put", Some(definition.clone()), definition, WRITE),
                "patch" => operation("patch", "patch", Some(String::new()), definition, PATCH),
                "deletecollection" => {
                    operation("delete", "deletecollection", Some(options), status, DELETE)
                }
                _ => operation("delete", "delete", Some(options), status, DELETE),
            };
            out.insert(found.method.to_owned(), self.operation(&found));
        }
        out.insert("parameters".to_owned(), self.shared(named));
        out.sort_keys();
        Value::Object(out)
    }

    fn watch(&self, action: &'static str, named: bool) -> Value {
        let operation = Operation {
            method: "get",
            action,
            kind: self.kind(),
            body: None,
            answer: "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent".to_owned(),
            query: LIST,
        };
        json!({ "get": self.operation(&operation), "parameters": self.shared(named) })
    }

    fn parameter(&self, name: &str, place: &str, kind: &str) -> Value {
        let mut out = Map::new();
        out.insert("in".to_owned(), place.into());
        out.insert("name".to_owned(), name.into());
        if place == "path" {
            out.insert("required".to_owned(), true.into());
        }
        if self.dialect == Dialect::V3 {
            out.insert(
                "schema".to_owned(),
                json!({ "type": kind, "uniqueItems": true }),
            );
        } else {
            out.insert("type".to_owned(), kind.into());
            out.insert("uniqueItems".to_owned(), true.into());
        }
        Value::Object(out)
    }

    /// Parameters of every operation of a path.
    fn shared(&self, named: bool) -> Value {
        let mut all = Vec::new();
        if named {
            all.push(self.parameter("name", "path", "string"));
        }
        if self.resource.namespaced {
            all.push(self.parameter("namespace", "path", "string"));
        }
        all.push(self.parameter("pretty", "query", "string"));
        Value::Array(all)
    }

    fn operation(&self, operation: &Operation<'_>) -> Value {
        let (group, version, kind) = operation.kind;
        let reference = |name: &str| json!({ "$ref": format!("{}{name}", self.dialect.prefix()) });
        let mut parameters: Vec<Value> = operation
            .query
            .iter()
            .map(|(name, kind)| self.parameter(name, "query", kind))
            .collect();
        let mut out = Map::new();
        out.insert(
            "description".to_owned(),
            format!("{} {kind}", operation.action).into(),
        );
        if self.dialect == Dialect::V3 {
            if let Some(body) = &operation.body {
                let patch = reference("io.k8s.apimachinery.pkg.apis.meta.v1.Patch");
                let content: Map<String, Value> = if body.is_empty() {
                    self.patches()
                        .map(|media| (media.to_owned(), json!({ "schema": patch })))
                        .collect()
                } else {
                    std::iter::once(("*/*".to_owned(), json!({ "schema": reference(body) })))
                        .collect()
                };
                out.insert("requestBody".to_owned(), json!({ "content": content }));
            }
            let schema = if operation.answer.is_empty() {
                json!({ "type": "string" })
            } else {
                reference(&operation.answer)
            };
            let content = json!({
                "application/json": { "schema": schema },
                "application/vnd.kubernetes.protobuf": { "schema": schema },
                "application/yaml": { "schema": schema },
            });
            out.insert(
                "responses".to_owned(),
                json!({ "200": { "content": content, "description": "OK" } }),
            );
        } else {
            if let Some(body) = &operation.body {
                let name = if body.is_empty() {
                    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
                } else {
                    body.as_str()
                };
                if body.is_empty() {
                    out.insert("consumes".to_owned(), self.patches().collect());
                } else {
                    out.insert("consumes".to_owned(), json!(["*/*"]));
                }
                let required =
                    operation.action != "delete" && operation.action != "deletecollection";
                let mut parameter = Map::new();
                parameter.insert("in".to_owned(), "body".into());
                parameter.insert("name".to_owned(), "body".into());
                if required {
                    parameter.insert("required".to_owned(), true.into());
                }
                parameter.insert("schema".to_owned(), reference(name));
                parameters.insert(0, parameter.into());
            }
            let schema = if operation.answer.is_empty() {
                json!({ "type": "string" })
            } else {
                reference(&operation.answer)
            };
            out.insert(
                "produces".to_owned(),
                json!([
                    "application/json",
                    "application/yaml",
                    "application/vnd.kubernetes.protobuf"
                ]),
            );
            out.insert(
                "responses".to_owned(),
                json!({ "200": { "description": "OK", "schema": schema } }),
            );
            out.insert("schemes".to_owned(), json!(["https"]));
        }
        if !parameters.is_empty() {
            out.insert("parameters".to_owned(), parameters.into());
        }
        let tag = if self.resource.group.is_empty() {
            format!("core_{}", self.resource.version)
        } else {
            let short = self.resource.group.split('.').next().unwrap_or_default();
            format!("{short}_{}", self.resource.version)
        };
        out.insert("tags".to_owned(), json!([tag]));
        out.insert("x-kubernetes-action".to_owned(), operation.action.into());
        out.insert(
            "x-kubernetes-group-version-kind".to_owned(),
            json!({ "group": group, "kind": kind, "version": version }),
        );
        out.sort_keys();
        Value::Object(out)
    }

    fn patches(&self) -> impl Iterator<Item = &'static str> {
        let built_in = self.built_in;
        PATCHES
            .into_iter()
            .filter(move |media| built_in || !media.contains("strategic"))
    }
}

/// The definition of a kind that belongs to another group: what subresources take.
fn definition_of((group, version, kind): (&str, &str, &str)) -> String {
    let short = group.split('.').next().unwrap_or_default();
    let short = if short.is_empty() { "core" } else { short };
    format!("io.k8s.api.{short}.{version}.{kind}")
}
