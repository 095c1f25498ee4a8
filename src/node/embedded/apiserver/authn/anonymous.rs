//! Who nobody knows (`k8s.io/apiserver/pkg/authentication/request/anonymous`).

use crate::node::embedded::apiserver::request::UserInfo;

/// Whether requests that no authenticator knows are served as `system:anonymous`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anonymous {
    /// `--anonymous-auth`, or `anonymous.enabled` of the file of `--authentication-config`.
    pub enabled: bool,
    /// `anonymous.conditions[].path`: the only paths it holds for; all if there are none.
    pub paths: Vec<String>,
}

impl Anonymous {
    /// The user of a request for this path.
    #[must_use]
    pub fn user(&self, path: &str) -> Option<UserInfo> {
        let allowed = self.paths.is_empty() || self.paths.iter().any(|one| one == path);
        (self.enabled && allowed).then(|| UserInfo {
            username: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..UserInfo::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Anonymous;

    #[test]
    fn conditions_are_whole_paths() {
        let anonymous = Anonymous {
            enabled: true,
            paths: vec!["/livez".to_owned()],
        };
        assert!(anonymous.user("/livez").is_some());
        assert!(anonymous.user("/livez/ping").is_none());
        assert!(anonymous.user("/api").is_none());
        let everywhere = Anonymous {
            enabled: true,
            paths: Vec::new(),
        };
        assert!(everywhere.user("/api").is_some());
        assert!(Anonymous::default().user("/api").is_none());
    }
}
