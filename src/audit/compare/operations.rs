//! The classes of what a request asks for: verb and resource or path.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::identities::fresh;
use super::signature::Signature;
use super::{MAX_COMBINATIONS, Scope, Space, TooLarge};
use crate::audit::catalog::{self, RESOURCE_VERBS, Resource, URL_VERBS};
use crate::audit::evaluate::{Attributes, path_matches, resource_matches};
use crate::audit::outcome::kind_of;
use crate::audit::policy::{GroupResources, PolicyRule};

/// Costs more than any readable request.
const IMPOSSIBLE: u32 = 100_000;

/// A resource or subresource that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    group: String,
    version: String,
    resource: String,
    subresource: String,
    verbs: Vec<String>,
    /// Whether in namespaces; unknown for resources that are not known.
    namespaced: Option<bool>,
    cost: u32,
}

/// The values the policies compare with, and one more of each kind.
struct Constants<'a> {
    verbs: BTreeSet<&'a str>,
    namespaces: BTreeSet<&'a str>,
    names: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
    specs: BTreeSet<(&'a str, &'a str)>,
    paths: BTreeSet<&'a str>,
    other_namespace: String,
    other_name: String,
    other_verb: String,
    other_group: String,
    other_resource: String,
    other_subresource: String,
}

fn texts(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(String::as_str)
}

impl<'a> Constants<'a> {
    fn new(rules: &[&'a PolicyRule], scope: &'a Scope) -> Self {
        let entries = || rules.iter().flat_map(|rule| &rule.resources);
        let verbs: BTreeSet<&str> = rules.iter().flat_map(|rule| texts(&rule.verbs)).collect();
        let namespaces: BTreeSet<&str> = rules
            .iter()
            .flat_map(|rule| texts(&rule.namespaces))
            .collect();
        let names: BTreeSet<&str> = entries()
            .flat_map(|entry| texts(&entry.resource_names))
            .collect();
        let groups: BTreeSet<&str> = entries().map(|entry| entry.group.as_str()).collect();
        let specs: BTreeSet<(&str, &str)> = entries()
            .flat_map(|entry| texts(&entry.resources).map(|spec| (entry.group.as_str(), spec)))
            .collect();
        let paths = rules
            .iter()
            .flat_map(|rule| texts(&rule.non_resource_urls))
            .collect();
        let set = |values: &BTreeSet<&'a str>| values.iter().copied().collect::<HashSet<&str>>();
        let words: HashSet<&str> = specs
            .iter()
            .flat_map(|(_, spec)| spec.split('/').chain([*spec]))
            .collect();
        let custom: Vec<&str> = scope.namespaces.iter().map(String::as_str).collect();
        let mut wanted = custom;
        wanted.extend(["default", "team-a", "team-b", "elsewhere"]);
        Self {
            other_namespace: fresh(&set(&namespaces), &wanted),
            other_name: fresh(&set(&names), &["web", "app", "example"]),
            other_verb: fresh(&set(&verbs), &["use", "other"]),
            other_group: fresh(&set(&groups), &["example.com", "other.example.com"]),
            other_resource: fresh(&words, &["widgets", "gadgets", "things"]),
            other_subresource: fresh(&words, &["status", "scale", "activate", "sub"]),
            verbs,
            namespaces,
            names,
            groups,
            specs,
            paths,
        }
    }
}

/// How readable a built-in resource is as an example.
fn familiarity(resource: &str) -> u32 {
    const FAMILIAR: [&str; 12] = [
        "secrets",
        "pods",
        "configmaps",
        "deployments",
        "services",
        "namespaces",
        "serviceaccounts",
        "nodes",
        "jobs",
        "ingresses",
        "roles",
        "clusterroles",
    ];
    let at = FAMILIAR.iter().position(|name| *name == resource);
    at.map_or(20, |at| u32::try_from(at).unwrap_or(20))
}

fn verb_cost(verb: &str) -> u32 {
    let at = RESOURCE_VERBS.iter().position(|known| *known == verb);
    at.map_or(20, |at| u32::try_from(at).unwrap_or(20))
}

struct Builder<'a> {
    rules: &'a [&'a PolicyRule],
    constants: Constants<'a>,
    /// By rules and kind of request: what has other stages or bodies is another class.
    found: HashMap<(Signature, u8), (u32, Attributes)>,
    verbs: HashMap<String, Signature>,
    namespaces: HashMap<String, Signature>,
}

/// The rules that admit a resource whatever the name, and those that want one of these names.
struct Admitted<'a> {
    always: Signature,
    named: Vec<(usize, &'a [String])>,
}

impl Admitted<'_> {
    fn of_name(&self, name: &str) -> Signature {
        let mut all = self.always.clone();
        for (at, names) in &self.named {
            if names.iter().any(|known| known == name) {
                all.insert(*at);
            }
        }
        all
    }
}

impl Builder<'_> {
    fn add(
        &mut self,
        signature: Signature,
        kind: u8,
        cost: u32,
        attributes: impl FnOnce() -> Attributes,
    ) {
        let key = (signature, kind);
        match self.found.get_mut(&key) {
            Some((known, _)) if *known <= cost => {}
            Some(slot) => *slot = (cost, attributes()),
            None => {
                self.found.insert(key, (cost, attributes()));
            }
        }
    }

    fn signature(&self, answer: impl Fn(&PolicyRule) -> bool) -> Signature {
        Signature::of(self.rules.len(), |at| {
            self.rules.get(at).is_some_and(|rule| answer(rule))
        })
    }

    fn verb(&mut self, verb: &str) -> Signature {
        if let Some(known) = self.verbs.get(verb) {
            return known.clone();
        }
        let signature = self.signature(|rule| {
            rule.verbs.is_empty() || rule.verbs.iter().any(|known| known == verb)
        });
        self.verbs.insert(verb.to_owned(), signature.clone());
        signature
    }

    fn namespace(&mut self, namespace: &str) -> Signature {
        if let Some(known) = self.namespaces.get(namespace) {
            return known.clone();
        }
        let signature = self.signature(|rule| {
            rule.namespaces.is_empty() || rule.namespaces.iter().any(|known| known == namespace)
        });
        self.namespaces
            .insert(namespace.to_owned(), signature.clone());
        signature
    }

    /// The rules whose `resources` (or lack of any target) admit this resource and name.
    fn target(&self, target: &Target, name: &str) -> Signature {
        self.admitted(target).of_name(name)
    }

    /// The rules whose `resources` (or lack of any target) admit this resource, by the names they want.
    fn admitted(&self, target: &Target) -> Admitted<'_> {
        let admits = |entry: &GroupResources| {
            (entry.group == target.group || entry.group == "*")
                && (entry.resources.is_empty()
                    || entry
                        .resources
                        .iter()
                        .any(|spec| resource_matches(spec, &target.resource, &target.subresource)))
        };
        let mut named = Vec::new();
        let always = self.signature(|rule| {
            if rule.namespaces.is_empty() && rule.resources.is_empty() {
                return rule.non_resource_urls.is_empty();
            }
            // Names count beside resources only.
            let nameless = |entry: &GroupResources| {
                entry.resources.is_empty() || entry.resource_names.is_empty()
            };
            rule.resources.is_empty()
                || rule
                    .resources
                    .iter()
                    .any(|entry| nameless(entry) && admits(entry))
        });
        for (at, rule) in self.rules.iter().enumerate() {
            for entry in &rule.resources {
                let names = entry.resource_names.as_slice();
                if !names.is_empty() && !entry.resources.is_empty() && admits(entry) {
                    named.push((at, names));
                }
            }
        }
        Admitted { always, named }
    }

    fn path(&self, path: &str) -> Signature {
        self.signature(|rule| {
            if !(rule.namespaces.is_empty() && rule.resources.is_empty()) {
                return false;
            }
            rule.non_resource_urls.is_empty()
                || rule
                    .non_resource_urls
                    .iter()
                    .any(|spec| path_matches(path, spec))
        })
    }

    /// Every possible request for a resource.
    fn add_possible(&mut self, target: &Target, scope: &Scope) {
        let mut names: Vec<(String, u32)> = vec![(self.constants.other_name.clone(), 0)];
        names.extend(scope.names.iter().map(|name| (name.clone(), 0)));
        names.extend(
            self.constants
                .names
                .iter()
                .map(|name| ((*name).to_owned(), 0)),
        );
        let mut namespaces: Vec<(String, u32)> = vec![(self.constants.other_namespace.clone(), 1)];
        namespaces.extend(scope.namespaces.iter().map(|name| (name.clone(), 0)));
        namespaces.extend(
            self.constants
                .namespaces
                .iter()
                .map(|name| ((*name).to_owned(), 0)),
        );
        namespaces.retain(|(name, _)| !name.is_empty());
        if target.resource == "namespaces" && target.group.is_empty() {
            return self.add_namespaces(target, &namespaces);
        }
        let admitted = self.admitted(target);
        let signatures: Vec<(String, u32, Signature)> = names
            .iter()
            .chain([&(String::new(), 0)])
            .map(|(name, cost)| (name.clone(), *cost, admitted.of_name(name)))
            .collect();
        for verb in &target.verbs {
            let by_verb = self.verb(verb);
            let kind = kind_of(verb, &target.subresource, true);
            for (name, name_cost, by_target) in &signatures {
                let Some(extra) = name_fits(target, verb, name) else {
                    continue;
                };
                let both = by_verb.and(by_target);
                for (namespace, place_cost) in places(target, verb, &namespaces) {
                    let by_place = self.namespace(&namespace);
                    let cost = target.cost + verb_cost(verb) + name_cost + extra + place_cost;
                    self.add(both.and(&by_place), kind, cost, || {
                        attributes(target, verb, &namespace, name)
                    });
                }
            }
        }
    }

    /// A request for one namespace has that namespace as its namespace too; names of other objects are
    /// not names of namespaces.
    fn add_namespaces(&mut self, target: &Target, namespaces: &[(String, u32)]) {
        for verb in &target.verbs {
            let by_verb = self.verb(verb);
            let kind = kind_of(verb, &target.subresource, true);
            let mut each = Vec::new();
            if target.subresource.is_empty() && matches!(verb.as_str(), "list" | "watch" | "create")
            {
                each.push((String::new(), String::new(), 0));
            } else {
                let names = namespaces
                    .iter()
                    .map(|(name, cost)| (name.clone(), name.clone(), *cost));
                each.extend(names);
                let objects = self.constants.names.iter();
                each.extend(objects.map(|name| ((*name).to_owned(), (*name).to_owned(), 3)));
            }
            for (namespace, name, cost) in each {
                let signature = by_verb
                    .and(&self.namespace(&namespace))
                    .and(&self.target(target, &name));
                let cost = target.cost + verb_cost(verb) + cost;
                self.add(signature, kind, cost, || {
                    attributes(target, verb, &namespace, &name)
                });
            }
        }
    }

    fn add_paths(&mut self, any: bool) {
        let mut paths: Vec<(String, u32)> = Vec::new();
        for (at, path) in catalog::PATHS.iter().enumerate() {
            // A path that no rule speaks of is not what learners think of first.
            let named = self.constants.paths.iter();
            let extra = if named.into_iter().any(|spec| path_matches(path, spec)) {
                0
            } else {
                10
            };
            let cost = u32::try_from(at).unwrap_or(0) / 4;
            paths.push(((*path).to_owned(), cost + extra));
        }
        paths.push(("/unknown".to_owned(), 8));
        for spec in &self.constants.paths {
            let prefix = spec.trim_end_matches('*');
            if prefix.is_empty() {
                continue;
            }
            let mut candidates = vec![
                prefix.to_owned(),
                format!("{prefix}/"),
                format!("{prefix}x"),
                format!("{prefix}/x"),
            ];
            candidates.push(format!("{prefix}~other"));
            // The star itself can stand in a path.
            if any {
                candidates.push((*spec).to_owned());
            }
            paths.extend(candidates.into_iter().map(|path| (path, 4)));
        }
        let mut verbs: Vec<(String, u32)> = URL_VERBS
            .iter()
            .enumerate()
            .map(|(at, verb)| ((*verb).to_owned(), 2 * u32::try_from(at).unwrap_or(0)))
            .collect();
        // OPTIONS has no verb at all.
        verbs.push((String::new(), 30));
        if any {
            let constants = self
                .constants
                .verbs
                .iter()
                .map(|verb| ((*verb).to_owned(), IMPOSSIBLE));
            verbs.extend(constants);
            verbs.push((self.constants.other_verb.clone(), IMPOSSIBLE));
            paths.push((String::new(), IMPOSSIBLE));
            paths.push(("other".to_owned(), IMPOSSIBLE));
        }
        let signatures: Vec<(String, u32, Signature)> = paths
            .into_iter()
            .map(|(path, cost)| (self.path(&path), path, cost))
            .map(|(s, p, c)| (p, c, s))
            .collect();
        for (verb, verb_cost) in &verbs {
            let by_verb = self.verb(verb);
            let kind = kind_of(verb, "", false);
            for (path, cost, by_path) in &signatures {
                self.add(by_verb.and(by_path), kind, cost + verb_cost + 3, || {
                    Attributes {
                        verb: verb.clone(),
                        path: path.clone(),
                        ..Attributes::default()
                    }
                });
            }
        }
    }

    /// Every combination of constants and fresh values, whether it can occur or not.
    fn add_any(&mut self) -> Result<(), TooLarge> {
        let constants = &self.constants;
        let mut resources: BTreeSet<&str> = BTreeSet::from([constants.other_resource.as_str()]);
        let mut subresources: BTreeSet<&str> =
            BTreeSet::from(["", constants.other_subresource.as_str()]);
        for (_, spec) in &constants.specs {
            let (resource, subresource) = spec.split_once('/').unwrap_or((spec, ""));
            resources.extend([*spec, resource]);
            resources.extend(spec.strip_suffix("/*"));
            subresources.extend([subresource]);
            subresources.extend(spec.strip_prefix("*/"));
        }
        let mut groups: BTreeSet<&str> = constants.groups.clone();
        groups.insert(&constants.other_group);
        let mut names: BTreeSet<&str> = constants.names.clone();
        names.extend(["", constants.other_name.as_str()]);
        let size = [
            resources.len(),
            subresources.len(),
            groups.len(),
            names.len(),
        ];
        let size = size.into_iter().fold(1usize, usize::saturating_mul);
        if size > MAX_COMBINATIONS / 20 {
            return Err(TooLarge { classes: size });
        }
        // Resources and names that the rules cannot tell apart are one.
        let mut targets: HashMap<Signature, (Target, String)> = HashMap::new();
        for group in &groups {
            for resource in &resources {
                for subresource in &subresources {
                    let target = Target {
                        group: (*group).to_owned(),
                        version: "v1".to_owned(),
                        resource: (*resource).to_owned(),
                        subresource: (*subresource).to_owned(),
                        verbs: Vec::new(),
                        namespaced: None,
                        cost: IMPOSSIBLE,
                    };
                    for name in &names {
                        let signature = self.target(&target, name);
                        targets
                            .entry(signature)
                            .or_insert_with(|| (target.clone(), (*name).to_owned()));
                    }
                }
            }
        }
        let verbs: BTreeSet<String> = constants
            .verbs
            .iter()
            .copied()
            .chain(RESOURCE_VERBS)
            .chain([constants.other_verb.as_str()])
            .map(str::to_owned)
            .collect();
        let namespaces: BTreeSet<String> = constants
            .namespaces
            .iter()
            .copied()
            .chain(["", constants.other_namespace.as_str()])
            .map(str::to_owned)
            .collect();
        let by_verb: HashMap<Signature, String> = verbs
            .into_iter()
            .map(|verb| (self.verb(&verb), verb))
            .collect();
        let by_place: HashMap<Signature, String> = namespaces
            .into_iter()
            .map(|name| (self.namespace(&name), name))
            .collect();
        let size = targets
            .len()
            .saturating_mul(by_verb.len())
            .saturating_mul(by_place.len());
        if size > MAX_COMBINATIONS {
            return Err(TooLarge { classes: size });
        }
        for (target_signature, (target, name)) in &targets {
            for (verb_signature, verb) in &by_verb {
                let both = target_signature.and(verb_signature);
                let kind = kind_of(verb, &target.subresource, true);
                for (place_signature, namespace) in &by_place {
                    let signature = both.and(place_signature);
                    self.add(signature, kind, IMPOSSIBLE, || {
                        attributes(target, verb, namespace, name)
                    });
                }
            }
        }
        Ok(())
    }
}

/// Whether a request with this verb can have (or lack) a name; with the cost of looking unusual.
fn name_fits(target: &Target, verb: &str, name: &str) -> Option<u32> {
    let on_collection = match verb {
        _ if !target.subresource.is_empty() => false,
        "create" | "deletecollection" | "list" | "watch" => true,
        _ => false,
    };
    match (on_collection, name.is_empty()) {
        (true, true) | (false, false) => Some(0),
        (false, true) => None,
        // A list or watch of one object, by field selector.
        (true, false) => matches!(verb, "list" | "watch").then_some(15),
    }
}

/// The namespaces a request with this verb can have.
fn places(target: &Target, verb: &str, namespaces: &[(String, u32)]) -> Vec<(String, u32)> {
    let across = target.subresource.is_empty() && matches!(verb, "list" | "watch");
    let mut places = Vec::new();
    if target.namespaced != Some(false) {
        places.extend_from_slice(namespaces);
    }
    match target.namespaced {
        Some(false) => places.push((String::new(), 0)),
        Some(true) if across => places.push((String::new(), 2)),
        Some(true) => {}
        // A custom resource may be cluster-scoped.
        None => places.push((String::new(), 2)),
    }
    places
}

fn attributes(target: &Target, verb: &str, namespace: &str, name: &str) -> Attributes {
    let mut path = if target.group.is_empty() {
        format!("/api/{}", target.version)
    } else {
        format!("/apis/{}/{}", target.group, target.version)
    };
    let itself = target.resource == "namespaces" && target.group.is_empty();
    if !(namespace.is_empty() || itself) {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    let named_by_selector = target.subresource.is_empty() && matches!(verb, "list" | "watch");
    let name_part = if named_by_selector { "" } else { name };
    for part in [
        target.resource.as_str(),
        name_part,
        target.subresource.as_str(),
    ] {
        if !part.is_empty() {
            path.push('/');
            path.push_str(part);
        }
    }
    Attributes {
        user: None,
        groups: Vec::new(),
        verb: verb.to_owned(),
        namespace: namespace.to_owned(),
        api_group: target.group.clone(),
        api_version: target.version.clone(),
        resource: target.resource.clone(),
        subresource: target.subresource.clone(),
        name: name.to_owned(),
        path,
        resource_request: true,
    }
}

fn known_targets(resource: &Resource, cost: u32) -> Vec<Target> {
    let target = |subresource: &str, verbs: &[String], cost| Target {
        group: resource.group.clone(),
        version: resource.version.clone(),
        resource: resource.name.clone(),
        subresource: subresource.to_owned(),
        verbs: verbs.to_vec(),
        namespaced: Some(resource.namespaced),
        cost,
    };
    let mut targets = vec![target("", &resource.verbs, cost)];
    for sub in &resource.subresources {
        targets.push(target(&sub.name, &sub.verbs, cost + 4));
    }
    targets
}

/// Resources that policies name and nobody knows: custom resources, perhaps.
fn unknown_targets(constants: &Constants<'_>, scope: &Scope) -> Vec<Target> {
    let known = |group: &str, resource: &str| {
        catalog::find(group, resource).is_some()
            || scope
                .resources
                .iter()
                .any(|r| r.group == group && r.name == resource)
    };
    let custom = |group: &str| !catalog::is_group(group);
    let verbs: Vec<String> = RESOURCE_VERBS
        .iter()
        .map(|verb| (*verb).to_owned())
        .collect();
    let on_object: Vec<String> = ["get", "update", "patch"].map(str::to_owned).to_vec();
    let mut found: BTreeSet<(String, String, String)> = BTreeSet::new();
    let mut add = |group: &str, resource: &str, subresource: &str| {
        let plain = |text: &str| !text.is_empty() && !text.contains(['*', '/']);
        if plain(resource)
            && (subresource.is_empty() || plain(subresource))
            && !known(group, resource)
            && custom(group)
        {
            found.insert((
                group.to_owned(),
                resource.to_owned(),
                subresource.to_owned(),
            ));
        }
    };
    let groups: Vec<&str> = constants
        .groups
        .iter()
        .copied()
        .filter(|group| *group != "*")
        .chain([constants.other_group.as_str()])
        .collect();
    for group in &groups {
        for subresource in ["", "status", "scale"] {
            add(group, &constants.other_resource, subresource);
        }
        for (spec_group, spec) in &constants.specs {
            // A resource named for every group may be one of this group.
            if *spec_group != "*" && spec_group != group {
                continue;
            }
            let (resource, subresource) = spec.split_once('/').unwrap_or((spec, ""));
            for subresource in [subresource, "", "status", "scale"] {
                add(group, resource, subresource);
                add(group, &constants.other_resource, subresource);
            }
        }
    }
    found
        .into_iter()
        .map(|(group, resource, subresource)| Target {
            group,
            version: "v1".to_owned(),
            verbs: if subresource.is_empty() {
                verbs.clone()
            } else {
                on_object.clone()
            },
            resource,
            subresource,
            namespaced: None,
            cost: 40,
        })
        .collect()
}

/// One operation for each class, with the rules whose verbs, namespaces and resources or paths it satisfies.
pub(super) fn classes(
    rules: &[&PolicyRule],
    scope: &Scope,
) -> Result<Vec<(Signature, u32, Attributes)>, TooLarge> {
    let constants = Constants::new(rules, scope);
    let unknown = unknown_targets(&constants, scope);
    let named: HashSet<&str> = constants
        .specs
        .iter()
        .map(|(_, spec)| spec.split('/').next().unwrap_or(spec))
        .collect();
    let mut targets = Vec::new();
    for resource in catalog::built_in().iter().chain(&scope.resources) {
        // What a policy names makes the best example.
        let bonus = if named.contains(resource.name.as_str()) {
            0
        } else {
            5
        };
        targets.extend(known_targets(resource, familiarity(&resource.name) + bonus));
    }
    targets.extend(unknown);
    let each = (constants.names.len() + scope.names.len() + 2)
        * (constants.namespaces.len() + scope.namespaces.len() + 2);
    let size = targets.len().saturating_mul(each).saturating_mul(8);
    if size > MAX_COMBINATIONS {
        return Err(TooLarge { classes: size });
    }
    let mut builder = Builder {
        rules,
        constants,
        found: HashMap::new(),
        verbs: HashMap::new(),
        namespaces: HashMap::new(),
    };
    for target in &targets {
        builder.add_possible(target, scope);
    }
    let any = scope.space == Space::Any;
    builder.add_paths(any);
    if any {
        builder.add_any()?;
    }
    let mut all: Vec<(Signature, u32, Attributes)> = builder
        .found
        .into_iter()
        .map(|((signature, _), (cost, attributes))| (signature, cost, attributes))
        .collect();
    all.sort_by(|a, b| {
        a.1.cmp(&b.1)
            .then_with(|| a.2.path.cmp(&b.2.path))
            .then_with(|| a.2.verb.cmp(&b.2.verb))
            .then_with(|| super::order_key(&a.2).cmp(&super::order_key(&b.2)))
    });
    Ok(all)
}
