//! The command line of kube-apiserver, completed and validated.

pub mod authorization_config;
pub mod complete;
pub mod gates;
pub mod help;
pub mod logging;
pub mod url;
pub mod validate;

use crate::audit::options::AuditOptions;
use crate::audit::options::pflag::CommandLine;

/// A parsed command line.
#[derive(Debug, Clone)]
pub struct Flags {
    /// Every flag.
    pub line: CommandLine,
    /// The audit flags.
    pub audit: AuditOptions,
    /// The modes of the file of `--authorization-config`, once it is read.
    pub configured_modes: Option<Vec<String>>,
}

impl Default for Flags {
    fn default() -> Self {
        Self::from(CommandLine::default())
    }
}

impl From<CommandLine> for Flags {
    fn from(line: CommandLine) -> Self {
        let audit = AuditOptions::from_command_line(&line);
        Self {
            line,
            audit,
            configured_modes: None,
        }
    }
}

impl Flags {
    /// The authorisation modes, in order.
    #[must_use]
    pub fn authorization_modes(&self) -> Vec<String> {
        if let Some(modes) = &self.configured_modes {
            return modes.clone();
        }
        let modes = self.line.list("authorization-mode");
        if modes.is_empty() {
            vec!["AlwaysAllow".to_owned()]
        } else {
            modes
        }
    }

    /// The audiences of the API: `--api-audiences`, else the issuers.
    #[must_use]
    pub fn api_audiences(&self) -> Vec<String> {
        let audiences = self.line.list("api-audiences");
        if audiences.is_empty() {
            self.issuers()
        } else {
            audiences
        }
    }

    /// Issuers of service-account tokens; the first one is used for new tokens.
    #[must_use]
    pub fn issuers(&self) -> Vec<String> {
        self.line.list("service-account-issuer")
    }

    /// The port to serve on.
    #[must_use]
    pub fn secure_port(&self) -> i64 {
        self.line.int("secure-port")
    }

    /// Whether an admission plugin is on: asked for, or on by itself and not turned off.
    #[must_use]
    pub fn admits_with(&self, plugin: &str) -> bool {
        let has = |name: &str| self.line.list(name).iter().any(|one| one == plugin);
        if self.line.given("admission-control") {
            return has("admission-control");
        }
        has("enable-admission-plugins")
            || !(has("disable-admission-plugins") || validate::DEFAULT_OFF.contains(&plugin))
    }
}

/// A path as the process, whose working directory is `/`, sees it.
#[must_use]
pub fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

/// Errors as Go's aggregate prints them (`apimachinery/pkg/util/errors`).
#[must_use]
pub fn aggregate(errors: &[String]) -> String {
    let mut unique: Vec<&str> = Vec::new();
    for error in errors {
        if !unique.contains(&error.as_str()) {
            unique.push(error);
        }
    }
    match unique.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}
