//! Engines: what provides the nodes of labs.
//!
//! Labs and commands know engines by this interface only. A new engine adds its arms to [`Engine`] and
//! implements [`LabNode`]; grading, scenarios, labs and commands stay as they are.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::embedded::{background, engine::EmbeddedNode};
use super::kind;
use super::{Node, NodeError};

pub use super::embedded::pace::Pace;
pub use super::embedded::version::KUBERNETES as EMBEDDED_KUBERNETES;

/// What provides a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A node simulated by ckslab itself.
    Embedded,
    /// The control-plane node of a kind cluster.
    Kind,
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
    /// Something of this machine that the engine needs is missing or does not answer.
    #[error("{reason}")]
    Missing {
        /// What.
        reason: String,
        /// The next step.
        hint: String,
    },
    /// What the user gave for a new node is wrong.
    #[error("{reason}")]
    Invalid {
        /// What.
        reason: String,
        /// The next step.
        hint: String,
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
    /// What the user wishes for it.
    pub wishes: &'a Wishes,
}

/// What a user may wish for a new node; engines take what concerns them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Which kind cluster it is on: the part of its name after `ckslab-`.
    pub cluster: Option<String>,
    /// Node image of a kind cluster.
    pub image: Option<String>,
    /// A configuration of kind to merge with ours.
    pub kind_config: Option<PathBuf>,
}

/// Sets who is told of what takes a while.
pub fn on_progress(listener: fn(&str)) {
    kind::progress::listen(listener);
}

/// Tells a line to whoever listens.
pub fn tell(line: &str) {
    kind::progress::tell(line);
}

/// How many programs this process has called to reach a node.
#[must_use]
pub fn calls() -> usize {
    kind::command::calls()
}

/// One thing that the kind engine needs of this machine, and how it is: else what helps.
pub type Need = (&'static str, Result<String, (String, String)>);

/// What the kind engine needs of this machine.
#[must_use]
pub fn kind_needs() -> Vec<Need> {
    let kind = kind::cluster::Kind::find().map(|kind| kind.version);
    let provider = kind::provider::Provider::find().map(|provider| {
        let mut text = format!("{} {}", provider.title(), provider.version);
        if !provider.cgroups.is_empty() {
            text.push_str(&format!(", control groups v{}", provider.cgroups));
        }
        if provider.rootless {
            text.push_str(", rootless");
        }
        text
    });
    let told = |trouble: kind::trouble::Trouble| (trouble.reason, trouble.hint);
    vec![
        ("kind", kind.map_err(told)),
        ("containers", provider.map_err(told)),
    ]
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
            Choice::Embedded => Ok(Engine::Embedded),
            Choice::Auto => Ok(match kind::engine::available() {
                Ok(_) => Engine::Kind,
                Err(_) => Engine::Embedded,
            }),
            Choice::Kind => {
                kind::engine::available()?;
                Ok(Engine::Kind)
            }
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Embedded => "embedded",
            Engine::Kind => "kind",
        }
    }

    /// Makes a pristine node for the lab in this directory. It need not run yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(self, dir: &Path, order: &Order<'_>) -> Result<Box<dyn LabNode>, EngineError> {
        match self {
            Engine::Embedded => Ok(Box::new(EmbeddedNode::create(dir, order)?)),
            Engine::Kind => Ok(Box::new(kind::engine::create(dir, order)?)),
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
            Engine::Kind => kind::engine::open(dir)
                .map(|node| Box::new(node) as Box<dyn LabNode>)
                .map_err(|error| EngineError::Damaged(format!("state/kind.json: {error}"))),
        }
    }

    /// Whether the node of the lab in this directory runs.
    #[must_use]
    pub fn is_running(self, dir: &Path) -> bool {
        match self {
            Engine::Embedded => background::is_running(dir),
            Engine::Kind => kind::engine::is_running(dir),
        }
    }

    /// Whether the node of the lab in this directory is gone for good, and the work in it: the lab can
    /// only be made anew.
    #[must_use]
    pub fn is_lost(self, dir: &Path) -> bool {
        match self {
            Engine::Embedded => false,
            Engine::Kind => kind::engine::is_lost(dir),
        }
    }

    /// The first wish that the node of the lab in this directory does not fulfil: the option, and the value
    /// that the lab has.
    #[must_use]
    pub fn differs(self, dir: &Path, wishes: &Wishes) -> Option<(&'static str, String)> {
        match self {
            Engine::Embedded => None,
            Engine::Kind => kind::engine::differs(dir, wishes),
        }
    }

    /// Deletes what the node of the lab in this directory runs on; gives its name.
    ///
    /// # Errors
    /// When the engine has nothing of that kind, or it cannot be deleted.
    pub fn delete(self, dir: &Path) -> Result<String, EngineError> {
        match self {
            Engine::Embedded => Err(EngineError::Missing {
                reason: "the lab is on the embedded engine: it has no cluster to delete".to_owned(),
                hint: "ckslab stop --remove removes the lab with everything in it".to_owned(),
            }),
            Engine::Kind => kind::engine::delete(dir),
        }
    }

    /// Makes sure that nobody else has what the node needs of this machine. Nobody may choose at the same time.
    ///
    /// # Errors
    /// When there is nothing else to take.
    pub fn claim(self, dir: &Path, others: &[PathBuf]) -> Result<(), EngineError> {
        match self {
            Engine::Embedded => background::settle_port(dir, others),
            Engine::Kind => Ok(()),
        }
    }

    /// Starts the node and waits for the first settled truth about it: ready, or provably not.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(self, lab: &str, dir: &Path) -> Result<(), EngineError> {
        match self {
            Engine::Embedded => background::start(lab, dir),
            Engine::Kind => kind::engine::start(lab, dir),
        }
    }

    /// Waits until a node that runs has settled.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn settle(self, lab: &str, dir: &Path) -> Result<(), EngineError> {
        match self {
            Engine::Embedded => background::wait_settled(lab, dir, None).map(|_| ()),
            Engine::Kind => kind::engine::settle(dir),
        }
    }

    /// As [`Engine::settle`], for a node that another command may have started a moment ago.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn settle_fresh(self, lab: &str, dir: &Path) -> Result<(), EngineError> {
        match self {
            Engine::Embedded => background::wait_booted(lab, dir),
            // Whoever asks it waits for what it needs.
            Engine::Kind => Ok(()),
        }
    }

    /// Stops the node of the lab in this directory; says whether it ran.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(self, dir: &Path) -> Result<bool, EngineError> {
        match self {
            Engine::Embedded => background::stop(dir),
            Engine::Kind => Ok(kind::engine::stop(dir)),
        }
    }

    /// Removes a directory of a lab, whatever modes a learner gave to things in it. The node is stopped.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(self, dir: &Path) -> io::Result<()> {
        match self {
            Engine::Embedded | Engine::Kind => background::remove(dir),
        }
    }
}
