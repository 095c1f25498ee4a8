//! The static bearer tokens of `--token-auth-file`
//! (`k8s.io/apiserver/pkg/authentication/token/tokenfile`).

use std::collections::BTreeMap;

use crate::audit::options::csv;
use crate::node::embedded::apiserver::klog::Klog;
use crate::node::embedded::apiserver::request::UserInfo;

/// Users by token.
#[derive(Debug, Clone, Default)]
pub struct StaticTokens(BTreeMap<String, UserInfo>);

impl StaticTokens {
    /// Reads a file of lines `token,user,uid[,"group,group"]`.
    ///
    /// # Errors
    /// The real text.
    pub fn read(path: &str, text: &str, klog: &Klog) -> Result<Self, String> {
        let mut tokens = BTreeMap::new();
        let lines = text.lines().filter(|line| !line.is_empty());
        for (number, line) in lines.enumerate() {
            let record = csv::read(line)?;
            let [token, name, uid, more @ ..] = record.as_slice() else {
                return Err(format!(
                    "token file '{path}' must have at least 3 columns (token, user name, user uid), found {}",
                    record.len()
                ));
            };
            let number = number + 1;
            if token.is_empty() {
                klog.warning("tokenfile.go:74", &format!("empty token has been found in token file '{path}', record number '{number}'"));
                continue;
            }
            let groups = more.first().map(|groups| {
                let groups = groups.split(',').map(str::to_owned);
                groups.collect::<Vec<String>>()
            });
            let user = UserInfo {
                username: name.clone(),
                uid: uid.clone(),
                groups: groups.unwrap_or_default(),
                ..UserInfo::default()
            };
            if tokens.insert(token.clone(), user).is_some() {
                klog.warning("tokenfile.go:83", &format!("duplicate token has been found in token file '{path}', record number '{number}'"));
            }
        }
        Ok(Self(tokens))
    }

    /// The user of a token.
    #[must_use]
    pub fn user(&self, token: &str) -> Option<&UserInfo> {
        self.0.get(token)
    }
}
