//! Decoding of a policy as `sigs.k8s.io/json` does it: case-sensitive, the first type error is reported
//! at the end, unknown and duplicate fields are collected for the strict decoder.

use std::collections::HashSet;

use super::metadata;
use crate::yaml::go::quote;
use crate::yaml::tree::{Id, Member, Node, Span, Tree};

/// A policy before validation: every value as written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RawPolicy {
    pub rules: Vec<RawRule>,
    pub omit_stages: Vec<String>,
    pub omit_managed_fields: bool,
}

/// A rule before validation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RawRule {
    pub level: String,
    pub users: Vec<String>,
    pub user_groups: Vec<String>,
    pub verbs: Vec<String>,
    pub resources: Vec<super::GroupResources>,
    pub namespaces: Vec<String>,
    pub non_resource_urls: Vec<String>,
    pub omit_stages: Vec<String>,
    pub omit_managed_fields: Option<bool>,
}

/// What decoding found.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub policy: RawPolicy,
    /// Unknown and duplicate fields.
    pub strict: Vec<StrictField>,
}

/// A field that the strict decoder refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictField {
    /// The decoder's words: `unknown field "rules[0].user"`.
    pub text: String,
    /// Path of the field.
    pub path: String,
    /// Whether the field is known and set twice, rather than unknown.
    pub duplicate: bool,
    /// Where its name is written.
    pub span: Span,
}

/// Decodes into `v1.Policy`, or into the internal type, whose JSON names are its Go field names.
pub(super) fn decode(tree: &Tree, internal: bool) -> Result<Outcome, (String, Span)> {
    let mut decoder = Decoder {
        tree,
        internal,
        error: None,
        strict: Vec::new(),
        seen: HashSet::new(),
        path: String::new(),
        context: Vec::new(),
        owner: "",
    };
    let mut policy = RawPolicy::default();
    match decoder.policy(tree.root(), &mut policy) {
        Ok(()) => {}
        Err(Stop(text, span)) => return Err((text, span)),
    }
    match decoder.error {
        Some(error) => Err(error),
        None => Ok(Outcome {
            policy,
            strict: decoder.strict,
        }),
    }
}

/// A custom unmarshaler failed: decoding ends there, whatever came before.
pub(super) struct Stop(pub String, pub Span);

pub(super) type Decoded = Result<(), Stop>;

/// The state of a decoding.
pub(super) struct Decoder<'a> {
    pub tree: &'a Tree,
    internal: bool,
    error: Option<(String, Span)>,
    strict: Vec<StrictField>,
    seen: HashSet<String>,
    path: String,
    context: Vec<&'static str>,
    owner: &'static str,
}

/// The decoder collects no more than this many strict errors.
const MAX_STRICT: usize = 100;

impl Decoder<'_> {
    fn name(&self, wire: &'static str, go: &'static str) -> &'static str {
        if self.internal { go } else { wire }
    }

    /// A Go type of the audit package, such as `v1.Level`.
    fn audit_type(&self, name: &str) -> String {
        let package = if self.internal { "audit" } else { "v1" };
        format!("{package}.{name}")
    }

    /// Remembers the first type error.
    pub fn wrong(&mut self, id: Id, value: &str, go_type: &str) {
        if self.error.is_none() {
            self.error = Some((self.type_error(value, go_type), self.tree.place(id)));
        }
    }

    /// The text of a type error at the current place.
    pub fn type_error(&self, value: &str, go_type: &str) -> String {
        if self.context.is_empty() {
            return format!("json: cannot unmarshal {value} into Go value of type {go_type}");
        }
        let field = self.context.join(".");
        let owner = self.owner;
        format!(
            "json: cannot unmarshal {value} into Go struct field {owner}.{field} of type {go_type}"
        )
    }

    fn strict_error(&mut self, duplicate: bool, member: &Member) {
        if self.strict.len() >= MAX_STRICT {
            return;
        }
        let field = &member.key;
        let path = if self.path.is_empty() {
            field.as_ref().to_owned()
        } else {
            format!("{}.{field}", self.path)
        };
        let what = if duplicate { "duplicate" } else { "unknown" };
        let text = format!("{what} field {}", quote(&path));
        if self.seen.insert(text.clone()) {
            self.strict.push(StrictField {
                text,
                path,
                duplicate,
                span: member.key_span,
            });
        }
    }

    /// Decodes an object into a struct with these fields; `decode` is given the index of a field.
    pub fn structure(
        &mut self,
        id: Id,
        owner: &'static str,
        go_type: &str,
        fields: &[&'static str],
        mut decode: impl FnMut(&mut Self, usize, Id) -> Decoded,
    ) -> Decoded {
        let tree = self.tree;
        let members = match tree.node(id) {
            Node::Object(members) => members,
            Node::Null => return Ok(()),
            node => {
                self.wrong(id, node.kind(), go_type);
                return Ok(());
            }
        };
        let mut seen = HashSet::new();
        let outer = self.owner;
        let length = self.path.len();
        for member in members {
            let Some(at) = fields.iter().position(|name| *name == &*member.key) else {
                self.strict_error(false, member);
                continue;
            };
            let Some(&field) = fields.get(at) else {
                continue;
            };
            if !seen.insert(at) {
                self.strict_error(true, member);
            }
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(field);
            self.context.push(field);
            self.owner = owner;
            decode(self, at, member.value)?;
            self.context.pop();
            self.owner = outer;
            self.path.truncate(length);
        }
        Ok(())
    }

    /// Decodes an array into a slice; elements that are already there are decoded into, as Go does.
    pub fn slice<T: Default + Clone>(
        &mut self,
        id: Id,
        go_type: &str,
        into: &mut Vec<T>,
        mut decode: impl FnMut(&mut Self, Id, &mut T) -> Decoded,
    ) -> Decoded {
        let tree = self.tree;
        let elements = match tree.node(id) {
            Node::Array(elements) => elements,
            Node::Null => {
                into.clear();
                return Ok(());
            }
            node => {
                self.wrong(id, node.kind(), go_type);
                return Ok(());
            }
        };
        let length = self.path.len();
        into.resize(elements.len(), T::default());
        for (at, (element, slot)) in elements.iter().zip(into.iter_mut()).enumerate() {
            self.path.push_str(&format!("[{at}]"));
            decode(self, *element, slot)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    /// Decodes a string.
    pub fn text(&mut self, id: Id, go_type: &str, into: &mut String) -> Decoded {
        match self.tree.node(id) {
            Node::Text(text) => text.as_ref().clone_into(into),
            Node::Null => {}
            node => self.wrong(id, node.kind(), go_type),
        }
        Ok(())
    }

    /// Decodes a `[]string`.
    pub fn texts(&mut self, id: Id, into: &mut Vec<String>) -> Decoded {
        self.slice(id, "[]string", into, |decoder, id, slot| {
            decoder.text(id, "string", slot)
        })
    }

    /// Decodes a `map[string]string`.
    pub fn text_map(&mut self, id: Id) -> Decoded {
        let tree = self.tree;
        let members = match tree.node(id) {
            Node::Object(members) => members,
            Node::Null => return Ok(()),
            node => {
                self.wrong(id, node.kind(), "map[string]string");
                return Ok(());
            }
        };
        let mut seen = HashSet::new();
        for member in members {
            if !seen.insert(&*member.key) {
                self.strict_error(true, member);
            }
            self.text(member.value, "string", &mut String::new())?;
        }
        Ok(())
    }

    /// Decodes a boolean.
    pub fn boolean(&mut self, id: Id) -> Option<bool> {
        match self.tree.node(id) {
            Node::Bool(value) => return Some(*value),
            Node::Null => {}
            node => self.wrong(id, node.kind(), "bool"),
        }
        None
    }

    /// Decodes an `int64`.
    pub fn integer(&mut self, id: Id) -> Decoded {
        match self.tree.node(id) {
            Node::Number(literal) => {
                if literal.parse::<i64>().is_err() {
                    self.wrong(id, &format!("number {literal}"), "int64");
                }
            }
            Node::Null => {}
            node => self.wrong(id, node.kind(), "int64"),
        }
        Ok(())
    }

    fn policy(&mut self, id: Id, policy: &mut RawPolicy) -> Decoded {
        let own = [
            "kind",
            "apiVersion",
            self.name("rules", "Rules"),
            self.name("omitStages", "OmitStages"),
            self.name("omitManagedFields", "OmitManagedFields"),
        ];
        let mut fields = own.to_vec();
        // The metadata of the internal type is embedded without a name: its fields are the policy's own.
        if self.internal {
            fields.extend(metadata::FIELDS);
        } else {
            fields.push("metadata");
        }
        let internal = self.internal;
        let go_type = self.audit_type("Policy");
        self.structure(
            id,
            "Policy",
            &go_type,
            &fields,
            |decoder, at, id| match at {
                0 | 1 => decoder.text(id, "string", &mut String::new()),
                2 => {
                    let rule = decoder.audit_type("PolicyRule");
                    decoder.slice(
                        id,
                        &format!("[]{rule}"),
                        &mut policy.rules,
                        |decoder, id, slot| decoder.rule(id, &rule, slot),
                    )
                }
                3 => decoder.stages(id, &mut policy.omit_stages),
                4 => {
                    if let Some(value) = decoder.boolean(id) {
                        policy.omit_managed_fields = value;
                    }
                    Ok(())
                }
                at if internal => metadata::field(decoder, at - own.len(), id),
                _ => metadata::decode(decoder, id),
            },
        )
    }

    fn stages(&mut self, id: Id, into: &mut Vec<String>) -> Decoded {
        let stage = self.audit_type("Stage");
        self.slice(id, &format!("[]{stage}"), into, |decoder, id, slot| {
            decoder.text(id, &stage, slot)
        })
    }

    fn rule(&mut self, id: Id, go_type: &str, rule: &mut RawRule) -> Decoded {
        let fields = [
            self.name("level", "Level"),
            self.name("users", "Users"),
            self.name("userGroups", "UserGroups"),
            self.name("verbs", "Verbs"),
            self.name("resources", "Resources"),
            self.name("namespaces", "Namespaces"),
            self.name("nonResourceURLs", "NonResourceURLs"),
            self.name("omitStages", "OmitStages"),
            self.name("omitManagedFields", "OmitManagedFields"),
        ];
        if *self.tree.node(id) == Node::Null {
            return Ok(());
        }
        self.structure(
            id,
            "PolicyRule",
            go_type,
            &fields,
            |decoder, at, id| match at {
                0 => {
                    let level = decoder.audit_type("Level");
                    decoder.text(id, &level, &mut rule.level)
                }
                1 => decoder.texts(id, &mut rule.users),
                2 => decoder.texts(id, &mut rule.user_groups),
                3 => decoder.texts(id, &mut rule.verbs),
                4 => {
                    let go_type = decoder.audit_type("GroupResources");
                    decoder.slice(
                        id,
                        &format!("[]{go_type}"),
                        &mut rule.resources,
                        |decoder, id, slot| decoder.group_resources(id, &go_type, slot),
                    )
                }
                5 => decoder.texts(id, &mut rule.namespaces),
                6 => decoder.texts(id, &mut rule.non_resource_urls),
                7 => decoder.stages(id, &mut rule.omit_stages),
                _ => {
                    if *decoder.tree.node(id) == Node::Null {
                        rule.omit_managed_fields = None;
                    } else if let Some(value) = decoder.boolean(id) {
                        rule.omit_managed_fields = Some(value);
                    }
                    Ok(())
                }
            },
        )
    }

    fn group_resources(
        &mut self,
        id: Id,
        go_type: &str,
        into: &mut super::GroupResources,
    ) -> Decoded {
        let fields = [
            self.name("group", "Group"),
            self.name("resources", "Resources"),
            self.name("resourceNames", "ResourceNames"),
        ];
        self.structure(
            id,
            "GroupResources",
            go_type,
            &fields,
            |decoder, at, id| match at {
                0 => decoder.text(id, "string", &mut into.group),
                1 => decoder.texts(id, &mut into.resources),
                _ => decoder.texts(id, &mut into.resource_names),
            },
        )
    }
}
