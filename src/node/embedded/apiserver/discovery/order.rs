//! The order of versions.

use std::cmp::Reverse;

/// How good a version is (`k8s.io/apimachinery/pkg/version`): GA, beta, alpha, anything else; then numbers, the higher the better.
pub(super) fn version_rank(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let parsed = (|| {
        let rest = version.strip_prefix('v')?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (major, rest) = rest.split_at_checked(end)?;
        let major = major.parse().ok()?;
        if rest.is_empty() {
            return Some((3, major, 0));
        }
        let (rank, minor) = match rest.strip_prefix("beta") {
            Some(minor) => (2, minor),
            None => (1, rest.strip_prefix("alpha")?),
        };
        Some((rank, major, minor.parse().ok()?))
    })();
    let (rank, major, minor) = parsed.unwrap_or((0, 0, 0));
    (rank, major, minor, Reverse(version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut versions = [
            "foo",
            "v1alpha1",
            "v2",
            "v1beta2",
            "v10",
            "v1",
            "v1beta10",
            "bar",
            "v11alpha2",
        ];
        versions.sort_by_cached_key(|version| Reverse(version_rank(version)));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v1beta10",
                "v1beta2",
                "v11alpha2",
                "v1alpha1",
                "bar",
                "foo"
            ]
        );
    }
}
