//! The classes of users.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::signature::Signature;
use super::{Identity, MAX_COMBINATIONS, Scope, Space, TooLarge};
use crate::audit::policy::PolicyRule;

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// Costs more than any readable request.
const IMPOSSIBLE: u32 = 100_000;

/// The groups a user of this name is in on a kubeadm cluster, if nobody puts it into more.
#[must_use]
pub fn implied_groups(user: &str) -> Vec<String> {
    let groups: &[&str] = if user == ANONYMOUS {
        &[UNAUTHENTICATED]
    } else if user == "kubernetes-admin" {
        &["kubeadm:cluster-admins", AUTHENTICATED]
    } else if user == "kubernetes-super-admin" || user == "system:apiserver" {
        &["system:masters", AUTHENTICATED]
    } else if user.starts_with("system:node:") {
        &["system:nodes", AUTHENTICATED]
    } else if let Some(rest) = user.strip_prefix(SERVICE_ACCOUNT) {
        let namespace = rest.split(':').next().unwrap_or_default();
        return vec![
            SERVICE_ACCOUNTS.to_owned(),
            format!("{SERVICE_ACCOUNTS}:{namespace}"),
            AUTHENTICATED.to_owned(),
        ];
    } else {
        &[AUTHENTICATED]
    };
    groups.iter().map(|group| (*group).to_owned()).collect()
}

/// Groups that come with the kind of user and cannot be given to others.
fn is_bound(group: &str) -> bool {
    group == AUTHENTICATED || group == UNAUTHENTICATED || group.starts_with(SERVICE_ACCOUNTS)
}

/// A name that none of the policies knows.
pub(super) fn fresh(known: &HashSet<&str>, candidates: &[&str]) -> String {
    for candidate in candidates {
        if !known.contains(candidate) {
            return (*candidate).to_owned();
        }
    }
    let base = candidates.last().copied().unwrap_or("other");
    (2u32..)
        .map(|n| format!("{base}-{n}"))
        .find(|name| !known.contains(name.as_str()))
        .unwrap_or_default()
}

struct Builder<'a> {
    /// The rules that name nobody, and those that name a user, by name.
    anybody: Signature,
    by_user: HashMap<&'a str, Signature>,
    /// The same of groups.
    any_group: Signature,
    by_group: HashMap<&'a str, Signature>,
    found: HashMap<Signature, (u32, Identity)>,
}

/// The rules without names in a list, and those with a name, by name.
fn by_name<'a>(
    rules: &[&'a PolicyRule],
    names: impl Fn(&'a PolicyRule) -> &'a [String],
) -> (Signature, HashMap<&'a str, Signature>) {
    let empty = |at: usize| rules.get(at).is_some_and(|rule| names(rule).is_empty());
    let mut by_name: HashMap<&str, Signature> = HashMap::new();
    for (at, rule) in rules.iter().enumerate() {
        for name in names(rule) {
            let named = by_name
                .entry(name)
                .or_insert_with(|| Signature::of(rules.len(), |_| false));
            named.insert(at);
        }
    }
    (Signature::of(rules.len(), empty), by_name)
}

impl<'a> Builder<'a> {
    fn new(rules: &[&'a PolicyRule]) -> Self {
        let (anybody, by_user) = by_name(rules, |rule| &rule.users);
        let (any_group, by_group) = by_name(rules, |rule| &rule.user_groups);
        Self {
            anybody,
            by_user,
            any_group,
            by_group,
            found: HashMap::new(),
        }
    }

    fn add(&mut self, user: &str, groups: &[String], cost: u32) -> bool {
        let users = match self.by_user.get(user) {
            Some(named) => self.anybody.or(named),
            None => self.anybody.clone(),
        };
        let member = groups
            .iter()
            .filter_map(|group| self.by_group.get(group.as_str()))
            .fold(self.any_group.clone(), |all, named| all.or(named));
        let signature = users.and(&member);
        let identity = || Identity {
            user: user.to_owned(),
            groups: groups.to_vec(),
        };
        match self.found.get_mut(&signature) {
            Some((known, _)) if *known <= cost => false,
            Some(slot) => {
                *slot = (cost, identity());
                false
            }
            None => {
                self.found.insert(signature, (cost, identity()));
                true
            }
        }
    }

    /// Adds a user with every small set of further groups. Two policies decide by their first matching
    /// rules; at most one group each is to blame for those, and one for being in scope: larger sets tell
    /// nothing new.
    fn add_with_groups(
        &mut self,
        user: &str,
        base: &[String],
        free: &[&String],
        most: usize,
        cost: u32,
    ) {
        self.add(user, base, cost);
        let mut sets: Vec<(Vec<String>, usize)> = vec![(base.to_vec(), 0)];
        for size in 1..=most {
            let mut larger = Vec::new();
            for (set, from) in &sets {
                for (at, group) in free.iter().enumerate().skip(*from) {
                    let mut groups = vec![(*group).clone()];
                    groups.extend(set.iter().filter(|known| known != group).cloned());
                    let extra = 3 * u32::try_from(size).unwrap_or(u32::MAX);
                    self.add(user, &groups, cost + extra);
                    larger.push((groups, at + 1));
                }
            }
            sets = larger;
        }
    }
}

/// One identity for each class, with the rules whose users and groups it satisfies.
pub(super) fn classes(
    rules: &[&PolicyRule],
    scope: &Scope,
) -> Result<Vec<(Signature, u32, Identity)>, TooLarge> {
    let users: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.users).collect();
    let groups: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.user_groups).collect();
    let scoped = scope.within.iter().any(|rule| !rule.user_groups.is_empty());
    let mut most = if scoped { 3 } else { 2 };
    let pairs = |most: u32| {
        groups
            .len()
            .saturating_pow(most)
            .saturating_mul(users.len() + 8)
    };
    if most == 3 && pairs(3) > MAX_COMBINATIONS / 20 {
        most = 2;
    }
    if pairs(2) > MAX_COMBINATIONS / 10 {
        return Err(TooLarge { classes: pairs(2) });
    }
    let mut builder = Builder::new(rules);
    possible(&mut builder, scope, &users, &groups, most);
    if scope.space == Space::Any {
        let known: HashSet<&str> = users.iter().map(|user| user.as_str()).collect();
        let all: Vec<&String> = groups.iter().copied().collect();
        let other = fresh(&known, &["jane", "bob", "carol", "dave", "user"]);
        for user in users.iter().copied().chain([&other]) {
            builder.add_with_groups(user, &[], &all, most, IMPOSSIBLE);
        }
    }
    let mut all: Vec<(Signature, u32, Identity)> = builder
        .found
        .into_iter()
        .map(|(signature, (cost, identity))| (signature, cost, identity))
        .collect();
    all.sort_by(|a, b| {
        a.1.cmp(&b.1)
            .then_with(|| a.2.user.cmp(&b.2.user))
            .then_with(|| a.2.groups.cmp(&b.2.groups))
    });
    Ok(all)
}

fn possible(
    builder: &mut Builder<'_>,
    scope: &Scope,
    users: &BTreeSet<&String>,
    groups: &BTreeSet<&String>,
    most: usize,
) {
    let known: HashSet<&str> = users.iter().map(|user| user.as_str()).collect();
    let free: Vec<&String> = groups
        .iter()
        .copied()
        .filter(|group| !is_bound(group))
        .collect();
    for (at, identity) in scope.identities.iter().enumerate() {
        builder.add(
            &identity.user,
            &identity.groups,
            u32::try_from(at).unwrap_or(u32::MAX).min(10),
        );
    }
    let usual = [
        "kubernetes-admin",
        "system:serviceaccount:default:default",
        ANONYMOUS,
    ];
    for (at, user) in usual.into_iter().enumerate() {
        builder.add(
            user,
            &implied_groups(user),
            2 + u32::try_from(at).unwrap_or(0),
        );
    }
    // A user that no rule names, alone and in the groups that rules name.
    let other = fresh(&known, &["jane", "bob", "carol", "dave", "user"]);
    builder.add_with_groups(&other, &implied_groups(&other), &free, most, 1);
    for user in users {
        let base = implied_groups(user);
        let cost = 1;
        if *user == ANONYMOUS || user.starts_with(SERVICE_ACCOUNT) {
            builder.add(user, &base, cost);
        } else {
            builder.add_with_groups(user, &base, &free, most, cost);
        }
    }
    // Service accounts of the namespaces that rules name, and of others.
    let namespaces = groups
        .iter()
        .filter_map(|group| group.strip_prefix("system:serviceaccounts:"));
    for namespace in namespaces.chain(["default", "kube-system", "other"]) {
        let name = format!("{SERVICE_ACCOUNT}{namespace}:app");
        let user = fresh(&known, &[name.as_str()]);
        builder.add(&user, &implied_groups(&user), 5);
    }
    for name in [
        "system:node:node01",
        "system:kube-scheduler",
        "system:apiserver",
    ] {
        let user = fresh(&known, &[name]);
        if user == name {
            builder.add(name, &implied_groups(name), 6);
        }
    }
    // An anonymous request can only be told by its user and its one group.
    builder.add(ANONYMOUS, &implied_groups(ANONYMOUS), 4);
}
