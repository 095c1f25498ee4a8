//! The answers of a request to the rules: one bit for each rule.

/// A set of rules, by index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Signature(Box<[u64]>);

impl Signature {
    /// The rules of which `answer` is true.
    pub fn of(rules: usize, answer: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0u64; rules.div_ceil(64)];
        for at in 0..rules {
            if answer(at)
                && let Some(word) = words.get_mut(at / 64)
            {
                *word |= 1 << (at % 64);
            }
        }
        Self(words.into())
    }

    /// The first rule that is in both, among the `count` rules from `from` on, counted from `from`.
    pub fn first_with(&self, other: &Self, from: usize, count: usize) -> Option<usize> {
        let end = from + count;
        let mut at = from;
        while at < end {
            let word = match (self.0.get(at / 64), other.0.get(at / 64)) {
                (Some(one), Some(other)) => (one & other) >> (at % 64),
                _ => 0,
            };
            if word != 0 {
                let found = at + usize::try_from(word.trailing_zeros()).unwrap_or(0);
                return (found < end).then_some(found - from);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// The rules in either.
    pub fn or(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect())
    }

    /// The set with another rule.
    pub fn insert(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// The rules in both.
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// The rules in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = usize::try_from(rest.trailing_zeros()).unwrap_or(0);
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// The first rule among the `count` rules from `from` on, counted from `from`.
    pub fn first(&self, from: usize, count: usize) -> Option<usize> {
        let end = from + count;
        let mut at = from;
        while at < end {
            let word = self.0.get(at / 64).copied().unwrap_or(0) >> (at % 64);
            if word != 0 {
                let found = at + usize::try_from(word.trailing_zeros()).unwrap_or(0);
                return (found < end).then_some(found - from);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_of_a_range_is_found() {
        let rules = Signature::of(200, |at| at == 3 || at == 130);
        assert_eq!(rules.first(0, 200), Some(3));
        assert_eq!(rules.first(4, 100), None);
        assert_eq!(rules.first(4, 127), Some(126));
        assert_eq!(rules.first(64, 136), Some(66));
        assert_eq!(rules.first(130, 1), Some(0));
        assert_eq!(rules.first(200, 0), None);
        let other = Signature::of(200, |at| at % 2 == 0);
        assert_eq!(rules.first_with(&other, 0, 200), Some(130));
        assert_eq!(rules.first_with(&other, 100, 30), None);
        assert_eq!(rules.iter().collect::<Vec<_>>(), [3, 130]);
    }
}
