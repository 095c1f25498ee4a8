//! The command line of kube-apiserver, completed and validated.

pub mod help;
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
}

impl Default for Flags {
    fn default() -> Self {
        Self::from(CommandLine::default())
    }
}

impl From<CommandLine> for Flags {
    fn from(line: CommandLine) -> Self {
        let audit = AuditOptions::from_command_line(&line);
        Self { line, audit }
    }
}

impl Flags {
    /// The authorisation modes, in order.
    #[must_use]
    pub fn authorization_modes(&self) -> Vec<String> {
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
}
