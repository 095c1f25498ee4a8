//! What everything inside one running API server shares.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::audit::Sink;
use super::authn::Authn;
use super::authn::tokens::Tokens;
use super::authz::abac::Abac;
use super::authz::rbac::Rbac;
use super::catalog::Resource;
use super::encryption::Encryption;
use super::flags::Flags;
use super::flow::Limits;
use super::impersonation::LastModes;
use super::klog::Klog;
use super::lifecycle::Lifecycle;
use crate::node::embedded::machine::Machine;
use crate::node::embedded::store::Store;

/// One running API server.
pub struct ApiState {
    /// Objects.
    pub store: Store,
    /// The machine it runs on.
    pub machine: Arc<Machine>,
    /// Issuer and verifier of service-account tokens.
    pub tokens: Tokens,
    /// The command line.
    pub flags: Flags,
    /// Custom resources.
    pub custom: CustomCatalog,
    /// RBAC objects, ready for decisions.
    pub rbac: Rbac,
    /// The policies of mode ABAC.
    pub abac: Abac,
    /// What `--encryption-provider-config` asks for.
    pub encryption: Encryption,
    /// Authenticators.
    pub authn: Authn,
    /// Impersonation modes that worked last.
    pub last_modes: LastModes,
    /// How much is done at once.
    pub limits: Limits,
    /// Audit policy and backends.
    pub audit: Arc<Sink>,
    /// Log.
    pub klog: Klog,
    /// Cancelled when the server shuts down: watches and other long answers end.
    pub shutdown: CancellationToken,
    /// Where in its life the server is.
    pub lifecycle: Lifecycle,
    /// When the server started.
    pub started: jiff::Timestamp,
    /// The revision its watch caches were filled at: they know nothing older.
    pub first_revision: u64,
    /// The revision etcd was compacted at last.
    pub compacted: AtomicU64,
}

impl ApiState {
    /// A server without authenticators, keys and audit: the caller adds them.
    #[must_use]
    pub fn new(machine: Arc<Machine>, flags: Flags, klog: Klog) -> Self {
        Self {
            store: machine.store.clone(),
            lifecycle: Lifecycle::new(machine.pace),
            first_revision: machine.store.revision(),
            compacted: AtomicU64::new(0),
            machine,
            tokens: Tokens::default(),
            limits: Limits::new(&flags),
            flags,
            custom: CustomCatalog::default(),
            rbac: Rbac::default(),
            abac: Abac::default(),
            encryption: Encryption::default(),
            authn: Authn::default(),
            last_modes: LastModes::default(),
            audit: Arc::new(Sink::default()),
            klog,
            shutdown: CancellationToken::new(),
            started: jiff::Timestamp::now(),
        }
    }

    /// Forgets what was before a revision, but for what the watch caches still know.
    pub fn compact(&self, revision: u64) {
        self.compacted.fetch_max(revision, Ordering::AcqRel);
    }

    /// Whether lists as of this revision are neither in the watch caches nor in etcd.
    #[must_use]
    pub fn is_forgotten(&self, revision: u64) -> bool {
        revision < self.first_revision && revision < self.compacted.load(Ordering::Acquire)
    }

    /// A served resource: built in, or custom.
    #[must_use]
    pub fn resource(&self, group: &str, version: &str, name: &str) -> Option<Arc<Resource>> {
        if let Some(resource) = super::catalog::find(group, version, name) {
            return Some(resource.clone());
        }
        self.custom
            .find(group, version, name)
            .map(|custom| custom.resource.clone())
    }

    /// Whether anything of this group and version is served.
    #[must_use]
    pub fn serves(&self, group: &str, version: &str) -> bool {
        super::catalog::built_in()
            .iter()
            .any(|resource| resource.group == group && resource.version == version)
            || self
                .custom
                .all()
                .iter()
                .any(|custom| custom.resource.group == group && custom.resource.version == version)
    }
}

/// A version of a custom resource that is served.
#[derive(Debug, Clone)]
pub struct CustomResource {
    /// As discovery describes it.
    pub resource: Arc<Resource>,
    /// Kind of its lists.
    pub list_kind: String,
    /// The CustomResourceDefinition.
    pub definition: Arc<Value>,
    /// `spec.versions[]` entry of this version.
    pub version: Arc<Value>,
}

/// The custom resources that are served now. The controller of CustomResourceDefinitions replaces
/// the list; readers keep what they took.
#[derive(Debug, Default)]
pub struct CustomCatalog(
    RwLock<Arc<Vec<CustomResource>>>,
    AtomicBool,
    Mutex<HashSet<String>>,
);

impl CustomCatalog {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<CustomResource>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes that somebody waits for the objects of this definition to go; `false` when somebody does already.
    pub fn start_waiting(&self, definition: &str) -> bool {
        let mut waiting = self.2.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(definition.to_owned())
    }

    /// Nobody waits any more.
    pub fn stop_waiting(&self, definition: &str) {
        let mut waiting = self.2.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(definition);
    }

    /// Whether the list was ever filled in.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }

    /// Replaces the list.
    pub fn replace(&self, all: Vec<CustomResource>) {
        self.1.store(true, Ordering::Release);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
    }

    /// The custom resource of this group, version and plural name.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, name: &str) -> Option<CustomResource> {
        self.all()
            .iter()
            .find(|c| {
                c.resource.group == group
                    && c.resource.version == version
                    && c.resource.name == name
            })
            .cloned()
    }
}
