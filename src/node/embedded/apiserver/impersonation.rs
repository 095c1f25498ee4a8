//! Impersonation: constrained modes first, the legacy verb last
//! (`k8s.io/apiserver/pkg/endpoints/filters/impersonation`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use percent_encoding::percent_decode_str;

use super::authz::{self, Attributes};
use super::request::UserInfo;
use super::state::ApiState;
use super::status::Status;
use crate::audit::options::number::quote;

/// How many checks of one sort make the wildcard be tried first.
const MANY: usize = 4;
/// How many users' last successful modes are remembered.
const REMEMBERED: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

const MODES: [Mode; 5] = [
    Mode::AssociatedNode,
    Mode::ArbitraryNode,
    Mode::ServiceAccount,
    Mode::UserInfo,
    Mode::Legacy,
];

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::AssociatedNode => "associated-node",
            Mode::ArbitraryNode => "arbitrary-node",
            Mode::ServiceAccount => "serviceaccount",
            Mode::UserInfo => "user-info",
            Mode::Legacy => "",
        }
    }

    fn verb(self) -> String {
        match self {
            Mode::Legacy => "impersonate".to_owned(),
            mode => format!("impersonate:{}", mode.name()),
        }
    }
}

/// Which mode last worked for a user: it is tried first.
#[derive(Default)]
pub struct LastModes(Mutex<HashMap<String, Mode>>);

/// An impersonation that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonated {
    /// The user to act as.
    pub user: UserInfo,
    /// The constraint under which it was allowed; empty for the legacy verb.
    pub constraint: String,
}

/// The user asked for in the headers.
fn wanted(headers: &http::HeaderMap) -> Result<Option<UserInfo>, Status> {
    let first = |name: &str| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    let mut user = UserInfo {
        username: first("impersonate-user"),
        uid: first("impersonate-uid"),
        groups: headers
            .get_all("impersonate-group")
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect(),
        extra: BTreeMap::new(),
    };
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix("impersonate-extra-") {
            let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
            user.extra
                .entry(key)
                .or_default()
                .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    if !user.username.is_empty() {
        return Ok(Some(user));
    }
    if user.uid.is_empty() && user.groups.is_empty() && user.extra.is_empty() {
        return Ok(None);
    }
    Err(Status::new(
        400,
        "BadRequest",
        format!(
            "requested {} without impersonating a user name",
            go_user(&user)
        ),
    ))
}

/// `%#v` of a `user.DefaultInfo`.
fn go_user(user: &UserInfo) -> String {
    let list = |items: &[String]| {
        let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
        format!("[]string{{{}}}", items.join(", "))
    };
    let groups = if user.groups.is_empty() {
        "[]string(nil)".to_owned()
    } else {
        list(&user.groups)
    };
    let extra = if user.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let pairs: Vec<String> = user
            .extra
            .iter()
            .map(|(key, values)| format!("{}:{}", quote(key), list(values)))
            .collect();
        format!("map[string][]string{{{}}}", pairs.join(", "))
    };
    format!(
        "&user.DefaultInfo{{Name:{}, UID:{}, Groups:{groups}, Extra:{extra}}}",
        quote(&user.username),
        quote(&user.uid)
    )
}

fn service_account(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

fn node(username: &str) -> Option<&str> {
    let name = username.strip_prefix("system:node:")?;
    let valid = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
    valid.then_some(name)
}

/// `acme.io/foo` (`IsDomainPrefixedPath` of `apimachinery/pkg/util/validation`).
fn is_domain_prefixed(key: &str) -> bool {
    key.split_once('/').is_some_and(|(domain, path)| {
        !path.is_empty()
            && domain.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
    })
}

/// Decides whether this request may be made as another user; `None` when it does not ask to be.
///
/// # Errors
/// The Status to answer with.
pub fn impersonate(
    state: &Arc<ApiState>,
    requestor: &UserInfo,
    headers: &mut http::HeaderMap,
    request: &Attributes,
) -> Result<Option<Impersonated>, Status> {
    let Some(wanted) = wanted(headers)? else {
        return Ok(None);
    };
    let doomed: Vec<http::HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("impersonate-"))
        .cloned()
        .collect();
    for name in doomed {
        headers.remove(name);
    }
    let check = Check {
        state,
        requestor,
        wanted: &wanted,
        request,
    };
    // Held only to look and to note: the checks take their time.
    let modes = || {
        let modes = &state.last_modes.0;
        modes.lock().unwrap_or_else(PoisonError::into_inner)
    };
    let last = modes().get(&requestor.username).copied();
    let mut first_error = None;
    for mode in last
        .into_iter()
        .chain(MODES.into_iter().filter(|mode| Some(*mode) != last))
    {
        match check.mode(mode) {
            Ok(Some(user)) => {
                let mut modes = modes();
                if modes.len() >= REMEMBERED {
                    modes.clear();
                }
                modes.insert(requestor.username.clone(), mode);
                let constraint = match mode {
                    Mode::Legacy => String::new(),
                    mode => mode.verb(),
                };
                return Ok(Some(Impersonated { user, constraint }));
            }
            Ok(None) => {}
            Err(status) => {
                first_error.get_or_insert(status);
            }
        }
    }
    Err(first_error
        .unwrap_or_else(|| Status::new(500, "InternalError", "all impersonation modes failed")))
}

struct Check<'a> {
    state: &'a Arc<ApiState>,
    requestor: &'a UserInfo,
    wanted: &'a UserInfo,
    request: &'a Attributes,
}

impl Check<'_> {
    fn only_name(&self) -> bool {
        self.wanted.uid.is_empty() && self.wanted.groups.is_empty() && self.wanted.extra.is_empty()
    }

    /// Whether the mode is for this user at all.
    fn applies(&self, mode: Mode) -> bool {
        let name = &self.wanted.username;
        match mode {
            Mode::AssociatedNode => {
                self.only_name()
                    && service_account(&self.requestor.username).is_some()
                    && node(name).is_some_and(|node| {
                        self.requestor
                            .extra
                            .get("authentication.kubernetes.io/node-name")
                            .is_some_and(|names| {
                                names.len() == 1 && names.iter().all(|n| n == node)
                            })
                    })
            }
            Mode::ArbitraryNode => self.only_name() && node(name).is_some(),
            Mode::ServiceAccount => self.only_name() && service_account(name).is_some(),
            Mode::UserInfo => node(name).is_none() && service_account(name).is_none(),
            Mode::Legacy => true,
        }
    }

    fn mode(&self, mode: Mode) -> Result<Option<UserInfo>, Status> {
        if !self.applies(mode) {
            return Ok(None);
        }
        if mode != Mode::Legacy {
            let mut on = self.request.clone();
            on.verb = format!("impersonate-on:{}:{}", mode.name(), on.verb);
            self.authorize(&on)?;
        }
        let constrained = mode != Mode::Legacy;
        let mut user = self.wanted.clone();
        self.username(mode, &mut user)?;
        if !self.wanted.uid.is_empty() {
            self.authorize(&self.attributes(mode, true, "uids", "", &self.wanted.uid))?;
        }
        self.groups(mode, constrained)?;
        self.extra(mode, constrained)?;
        let ensure = |groups: &mut Vec<String>, group: &str| {
            if !groups.iter().any(|g| g == group) {
                groups.push(group.to_owned());
            }
        };
        if user.username == "system:anonymous" {
            ensure(&mut user.groups, "system:unauthenticated");
        } else if !user.groups.iter().any(|g| g == "system:unauthenticated") {
            ensure(&mut user.groups, "system:authenticated");
        }
        Ok(Some(user))
    }

    fn username(&self, mode: Mode, user: &mut UserInfo) -> Result<(), Status> {
        let constrained = mode != Mode::Legacy;
        let name = &self.wanted.username;
        let mut attributes = self.attributes(mode, constrained, "users", "", name);
        if constrained && let Some(node) = node(name) {
            attributes.resource = "nodes".to_owned();
            // The decision must be good for every node, as it is remembered for all.
            attributes.name = if mode == Mode::AssociatedNode {
                "*".to_owned()
            } else {
                node.to_owned()
            };
            user.groups = vec!["system:nodes".to_owned()];
        }
        if let Some((namespace, account)) = service_account(name) {
            attributes.resource = "serviceaccounts".to_owned();
            attributes.namespace = namespace.to_owned();
            attributes.name = account.to_owned();
            if self.wanted.groups.is_empty() {
                user.groups = vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                ];
            }
        }
        self.authorize(&attributes)
    }

    fn groups(&self, mode: Mode, constrained: bool) -> Result<(), Status> {
        let groups = &self.wanted.groups;
        if groups.is_empty() {
            return Ok(());
        }
        let attributes = |name: &str| self.attributes(mode, constrained, "groups", "", name);
        if constrained {
            if groups.iter().any(String::is_empty) {
                return Err(authz::forbidden(
                    self.requestor,
                    &attributes(""),
                    "impersonating the empty string group is not allowed",
                ));
            }
            if groups.iter().any(|group| group == authz::PRIVILEGED) {
                return Err(authz::forbidden(
                    self.requestor,
                    &attributes(authz::PRIVILEGED),
                    "impersonating the system:masters group is not allowed",
                ));
            }
            if groups.len() >= MANY && self.authorize(&attributes("*")).is_ok() {
                return Ok(());
            }
        }
        groups
            .iter()
            .try_for_each(|group| self.authorize(&attributes(group)))
    }

    fn extra(&self, mode: Mode, constrained: bool) -> Result<(), Status> {
        let extra = &self.wanted.extra;
        if extra.is_empty() {
            return Ok(());
        }
        let attributes =
            |key: &str, value: &str| self.attributes(mode, true, "userextras", key, value);
        if constrained {
            let refuse = |reason: &str| {
                Err(authz::forbidden(
                    self.requestor,
                    &attributes("", ""),
                    reason,
                ))
            };
            if extra.keys().any(String::is_empty) {
                return refuse("impersonating the empty string key in extra is not allowed");
            }
            if let Some(key) = extra.keys().find(|key| !is_domain_prefixed(key)) {
                return refuse(&format!(
                    "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {}: must be a domain-prefixed path (such as \"acme.io/foo\")",
                    quote(key)
                ));
            }
            if extra.values().flatten().any(String::is_empty) {
                return refuse("impersonating the empty string value in extra is not allowed");
            }
            let values: usize = extra.values().map(Vec::len).sum();
            if (extra.len() >= MANY || values >= MANY)
                && self.authorize(&attributes("*", "*")).is_ok()
            {
                return Ok(());
            }
        }
        for (key, values) in extra {
            for value in values {
                self.authorize(&attributes(key, value))?;
            }
        }
        Ok(())
    }

    fn attributes(
        &self,
        mode: Mode,
        authentication_group: bool,
        resource: &str,
        subresource: &str,
        name: &str,
    ) -> Attributes {
        Attributes {
            verb: mode.verb(),
            group: if authentication_group {
                "authentication.k8s.io".to_owned()
            } else {
                String::new()
            },
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.to_owned(),
            is_resource: true,
            ..Attributes::default()
        }
    }

    fn authorize(&self, attributes: &Attributes) -> Result<(), Status> {
        let decision = authz::authorize(self.state, self.requestor, attributes);
        if decision.allowed {
            Ok(())
        } else {
            Err(authz::forbidden(
                self.requestor,
                attributes,
                &decision.reason,
            ))
        }
    }
}
