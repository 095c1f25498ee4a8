//! Engines: what provides the nodes of labs.
//!
//! Labs and commands know engines by this interface only. A new engine adds its arms to [`Engine`] and
//! implements [`LabNode`]; grading, scenarios, labs and commands stay as they are.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::embedded::{background, engine::EmbeddedNode};
use super::{Node, NodeError};

pub use super::embedded::pace::Pace;
pub use super::embedded::version::KUBERNETES as EMBEDDED_KUBERNETES;

/// What provides a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A node simulated by ckslab itself.
    Embedded,
}

/// What a user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// kind where it can be used, else embedded
    Auto,
    /// A real cluster in Docker
    Kind,
    /// A node simulated by ckslab itself
    Embedded,
}

/// Why an engine could not do what it was asked. The lab is known to the caller.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine cannot be used here.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// The engine to use instead.
        instead: Engine,
    },
    /// The node did not come up.
    #[error("the node did not start: {0}")]
    NotStarted(String),
    /// The node does not end.
    #[error("the node does not end")]
    Busy,
    /// What the engine keeps of the node is not understood.
    #[error("{0}")]
    Damaged(String),
    /// The system said no.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl EngineError {
    /// An input or output error, with what was tried.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| EngineError::Io { what, source }
    }

    /// The same for a path: `open` and a path give "open `PATH`".
    pub(super) fn at(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{verb} `{}`", path.display()))
    }
}

/// A new node.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The lab, for messages.
    pub lab: &'a str,
    /// How fast it lives, on engines that can choose.
    pub pace: Pace,
    /// The lab directory whose node it replaces: what kubeconfigs in use elsewhere name stays.
    pub replaces: Option<&'a Path>,
    /// The directories of all labs: what their nodes have of this machine is not taken.
    pub others: &'a [PathBuf],
}

/// How the node of a lab is reached from this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The host directory that is the node's `/`, where there is one.
    pub node_root: Option<PathBuf>,
    /// The host file of the administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Address of the API server.
    pub server: String,
    /// Name of the node.
    pub name: String,
}

/// How commands get on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entrance {
    /// They see the node, and nothing else.
    Whole,
    /// This machine does not let ckslab confine them: only what can be mapped to the node is run.
    Mapped {
        /// Why.
        reason: String,
        /// Whether the user was told before, when a command was run.
        told: bool,
    },
}

/// Whether commands on nodes of the embedded engine are confined on this machine; else why not.
///
/// # Errors
/// The reason.
pub fn confinement() -> Result<(), String> {
    use super::embedded::inside::Way;
    match Way::find() {
        Way::Namespace => Ok(()),
        Way::Mapped { reason } => Err(reason),
    }
}

/// What is to be run on the node.
#[derive(Debug, Clone, Copy)]
pub enum Errand<'a> {
    /// A login shell.
    Shell,
    /// A command.
    Command(&'a [String]),
}

/// What is at a path of the node, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stat {
    /// A regular file, with its permission bits.
    File(u32),
    /// A directory, with its permission bits.
    Directory(u32),
    /// A symbolic link, with its target.
    Link(String),
    /// A device, socket or pipe.
    Other,
}

/// The node of a lab: [`Node`] for setup and grading, the rest for the commands of a learner.
pub trait LabNode: Node {
    /// How it is reached.
    fn access(&self) -> Access;

    /// How commands get on it.
    fn entrance(&self) -> Entrance;

    /// What whoever uses the lab should know of its past, one sentence each.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Runs something on the node with the streams of this process; gives the exit code.
    ///
    /// # Errors
    /// When it cannot be run at all.
    fn enter(&self, errand: Errand<'_>) -> Result<u8, NodeError>;

    /// What is at a path of the node; a link at its end is followed where `follow` says so.
    ///
    /// # Errors
    /// As `stat(2)` on the node.
    fn stat(&self, path: &str, follow: bool) -> io::Result<Stat>;

    /// The content of a regular file of any size.
    ///
    /// # Errors
    /// As `open(2)` on the node.
    fn open(&self, path: &str) -> io::Result<Box<dyn io::Read>>;

    /// Writes a file of any size: a hidden temporary file, then a rename, so that the kubelet never sees
    /// half a manifest. The directory must be there; a link at the path is followed.
    ///
    /// # Errors
    /// When the content cannot be read or the node refuses; nothing is left behind then.
    fn put(&self, path: &str, content: &mut dyn io::Read, mode: u32) -> io::Result<()>;
}

impl Engine {
    /// The engine for what a user asks for.
    ///
    /// # Errors
    /// When it cannot be used here.
    pub fn choose(choice: Choice) -> Result<Self, EngineError> {
        match choice {
            Choice::Auto | Choice::Embedded => Ok(Engine::Embedded),
            Choice::Kind => Err(EngineError::Unavailable {
                reason: "the kind engine is not in this version of ckslab".to_owned(),
                instead: Engine::Embedded,
            }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Embedded => "embedded",
        }
    }

    /// Makes a pristine node for the lab in this directory. It need not run yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(self, dir: &Path, order: &Order<'_>) -> Result<Box<dyn LabNode>, EngineError> {
        match self {
            Engine::Embedded => Ok(Box::new(EmbeddedNode::create(dir, order)?)),
        }
    }

    /// The node of the lab in this directory, whether it runs or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(self, dir: &Path) -> Result<Box<dyn LabNode>, EngineError> {
        match self {
            Engine::Embedded => EmbeddedNode::open(dir)
                .map(|node| Box::new(node) as Box<dyn LabNode>)
                .map_err(|error| EngineError::Damaged(format!("state/node.json: {error}"))),
        }
    }

    /// Whether the node of the lab in this directory runs.
    #[must_use]
    pub fn is_running(self, dir: &Path) -> bool {
        match self {
            Engine::Embedded => background::is_running(dir),
        }
    }

    /// Makes sure that nobody else has what the node needs of this machine. Nobody may choose at the same time.
    ///
    /// # Errors
    /// When there is nothing else to take.
    pub fn claim(self, dir: &Path, others: &[PathBuf]) -> Result<(), EngineError> {
        match self {
            Engine::Embedded => background::settle_port(dir, others),
        }
    }

    /// Starts the node and waits for the first settled truth about it: ready, or provably not.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(self, lab: &str, dir: &Path) -> Result<(), EngineError> {
        match self {
            Engine::Embedded => background::start(lab, dir),
        }
    }

    /// Waits until a node that runs has settled.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn settle(self, lab: &str, dir: &Path) -> Result<(), EngineError> {
        match self {
            Engine::Embedded => background::wait_settled(lab, dir, None).map(|_| ()),
        }
    }

    /// As [`Engine::settle`], for a node that another command may have started a moment ago.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn settle_fresh(self, lab: &str, dir: &Path) -> Result<(), EngineError> {
        match self {
            Engine::Embedded => background::wait_booted(lab, dir),
        }
    }

    /// Stops the node of the lab in this directory; says whether it ran.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(self, dir: &Path) -> Result<bool, EngineError> {
        match self {
            Engine::Embedded => background::stop(dir),
        }
    }

    /// Removes a directory of a lab, whatever modes a learner gave to things in it. The node is stopped.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(self, dir: &Path) -> io::Result<()> {
        match self {
            Engine::Embedded => background::remove(dir),
        }
    }
}
