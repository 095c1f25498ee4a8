//! Which rules decide: for every class of requests the deciding rule of each of two policies.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{Classes, Scope, TooLarge};
use crate::audit::evaluate::Attributes;
use crate::audit::policy::Policy;

/// Requests that the same two rules decide, with the most readable one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The request.
    pub request: Attributes,
    /// Index of the rule of the first policy; nothing where none matches.
    pub a: Option<usize>,
    /// Index of the rule of the second policy.
    pub b: Option<usize>,
    /// How unusual the request is; common ones have small numbers.
    pub cost: u32,
}

/// For each pair of rules that decide any request together, and each kind of request, the most readable
/// one; the most readable first. Every class of requests in scope is looked at: whatever depends on the
/// two rules and the kind alone is known for all requests when it is known for these.
///
/// # Errors
/// When the policies are absurdly large.
pub fn try_decided(
    a: &Policy,
    b: &Policy,
    scope: &Scope,
    kind: impl Fn(&Attributes) -> u8,
) -> Result<Vec<Decided>, TooLarge> {
    let classes = Classes::new(&[a, b], scope)?;
    let kinds: Vec<u8> = classes
        .operations
        .iter()
        .map(|(_, _, request)| kind(request))
        .collect();
    let (a_rules, b_rules) = (a.rules.len(), b.rules.len());
    let mut found: HashMap<u64, (u32, usize, usize), BuildHasherDefault<Fold>> = HashMap::default();
    for (who, (who_rules, who_cost, _)) in classes.identities.iter().enumerate() {
        for (what, (what_rules, what_cost, _)) in classes.operations.iter().enumerate() {
            if !classes.in_scope(who_rules, what_rules) {
                continue;
            }
            let first = who_rules.first_with(what_rules, 0, a_rules);
            let second = who_rules.first_with(what_rules, a_rules, b_rules);
            let kind = kinds.get(what).copied().unwrap_or(0);
            let key = (number(first) << 36) | (number(second) << 8) | u64::from(kind);
            let cost = who_cost.saturating_add(*what_cost);
            let slot = found.entry(key).or_insert((u32::MAX, 0, 0));
            if cost < slot.0 {
                *slot = (cost, who, what);
            }
        }
    }
    let mut all: Vec<Decided> = found
        .into_iter()
        .filter_map(|(key, (cost, who, what))| {
            Some(Decided {
                request: classes.request(who, what)?,
                a: rule(key >> 36),
                b: rule((key >> 8) & 0xfff_ffff),
                cost,
            })
        })
        .collect();
    all.sort_by(|x, y| {
        x.cost
            .cmp(&y.cost)
            .then_with(|| super::order_key(&x.request).cmp(&super::order_key(&y.request)))
            .then_with(|| (x.a, x.b).cmp(&(y.a, y.b)))
    });
    Ok(all)
}

/// A rule as a number: 0 is none.
fn number(rule: Option<usize>) -> u64 {
    rule.map_or(0, |rule| u64::try_from(rule).unwrap_or(0) + 1)
}

fn rule(number: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

/// Hashes a number by a multiplication: the keys are few and nobody's to choose.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }
}
