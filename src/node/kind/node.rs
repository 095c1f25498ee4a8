//! The control-plane node of a kind cluster, for setup, grading and the commands of a learner.

use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::look::{Detail, Look};
use super::record::{LabRecord, Place};
use super::session::Session;
use super::{files, identity, process};
use crate::node::api;
use crate::node::engine::{Access, Entrance, Errand, LabNode, Stat};
use crate::node::sink::Sink;
use crate::node::{
    ApiServerState, ExecOutput, FileChange, Identity, Node, NodeError, NodeFile, ObjectChange,
};

/// How long a command of a scenario may take on the node.
const COMMAND: Duration = Duration::from_secs(60);
/// How often a look is taken anew when its parts tell of different moments.
const MOMENTS: u32 = 4;
/// The port of the API server that kind's manifests name.
const PORT: &str = "6443";

/// The node of a kind cluster.
pub struct KindNode {
    session: Session,
    place: Place,
    /// The lab's own kubeconfig.
    kubeconfig: PathBuf,
    /// Where in the journal the lab begins, in seconds since 1970.
    since: Option<String>,
    /// What the last look found: the process id and the port of the API server.
    seen: Mutex<(Option<u32>, String)>,
}

impl KindNode {
    /// The node of this container, for the lab whose kubeconfig that is.
    #[must_use]
    pub fn new(program: &str, container: &str, place: Place, kubeconfig: PathBuf) -> Self {
        Self {
            session: Session::new(program, container),
            place,
            kubeconfig,
            since: None,
            seen: Mutex::new((None, PORT.to_owned())),
        }
    }

    /// The same, with a journal that begins at a moment, as [`KindNode::now`] gives it.
    #[must_use]
    pub fn since(self, since: Option<String>) -> Self {
        Self { since, ..self }
    }

    /// The node's clock, in seconds since 1970.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn now(&self) -> Result<Option<String>, NodeError> {
        let output = self.session.ask(&["n_now"], &[])?;
        let now = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let plain = !now.is_empty() && now.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        Ok(plain.then_some(now))
    }

    /// The node of the lab in this directory.
    ///
    /// # Errors
    /// When its record or that of its cluster cannot be read.
    pub fn open(program: &str, dir: &Path) -> io::Result<Self> {
        let lab = LabRecord::load(dir)?;
        let place = Place::of_lab(dir, &lab.cluster);
        let container = match place.load()? {
            Some(cluster) => cluster.node,
            None => format!("{}-control-plane", lab.cluster),
        };
        let kubeconfig = dir.join("state/kubeconfig");
        Ok(Self::new(program, &container, place, kubeconfig).since(lab.since))
    }

    /// The session with it.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What is kept of its cluster.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// One look at the node. A container that changes between the list and the question about it makes
    /// the two tell of different moments: both are asked again then, a few times.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn look(&self) -> Result<(Look, Detail), NodeError> {
        let port = self.remembered().1;
        let mut asked = self.look_once(&port)?;
        for _ in 0..MOMENTS {
            if asked.2 {
                break;
            }
            asked = self.look_once(&port)?;
        }
        let (look, detail, _) = asked;
        let process = look.process();
        let port = process
            .and_then(|process| {
                let flag = |word: &String| word.strip_prefix("--secure-port=").map(str::to_owned);
                process.argv.iter().rev().find_map(flag)
            })
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            .unwrap_or_else(|| PORT.to_owned());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            (process.map(|process| process.pid), port);
        Ok((look, detail))
    }

    /// The lists, the container in question, and whether they agree on its state.
    fn look_once(&self, port: &str) -> Result<(Look, Detail, bool), NodeError> {
        let output = self
            .session
            .ask(&["n_look", port, self.journal_start()], &[])?;
        let look = Look::parse(&output.stdout);
        let inspect = |id: &str| {
            let output = self.session.ask(&["n_inspect", id], &[])?;
            Ok::<_, NodeError>(Detail::parse(&output.stdout))
        };
        let Some(container) = look.container() else {
            return Ok((look, Detail::default(), true));
        };
        let mut detail = inspect(&container.id)?;
        let mut agreed = detail.state == container.state;
        // The one before it in the same pod says how it ended.
        let before = look
            .containers
            .iter()
            .find(|other| other.sandbox == container.sandbox && other.id != container.id);
        if let Some(before) = before.filter(|_| detail.exit_code.is_none()) {
            let ended = inspect(&before.id)?;
            agreed &= ended.state == before.state;
            detail.exit_code = ended.exit_code;
        }
        Ok((look, detail, agreed))
    }

    fn journal_start(&self) -> &str {
        self.since.as_deref().unwrap_or_default()
    }

    fn remembered(&self) -> (Option<u32>, String) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// `docker exec` with the streams of this process.
    fn exec_command(&self) -> Command {
        let mut command = Command::new(self.session.program());
        command.args(["exec", "-i"]);
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            command.arg("-t");
            if let Ok(term) = std::env::var("TERM") {
                command.args(["-e", &format!("TERM={term}")]);
            }
        }
        command.args(["-e", "KUBECONFIG=/etc/kubernetes/admin.conf"]);
        command.args(["-e", "CKSLAB_NODE_SHELL=kind", "-w", "/root"]);
        command.arg(self.session.container());
        command
    }
}

impl Node for KindNode {
    fn engine(&self) -> &'static str {
        "kind"
    }

    fn read(&self, path: &str) -> Result<NodeFile, NodeError> {
        files::read(&self.session, "", path, 0)
    }

    fn read_from(&self, path: &str, offset: u64) -> Result<NodeFile, NodeError> {
        files::read(&self.session, "", path, offset)
    }

    fn change(&self, path: &str, change: FileChange<'_>) -> Result<(), NodeError> {
        files::change(&self.session, path, change)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, NodeError> {
        files::list(&self.session, path)
    }

    fn owner(&self, path: &str) -> Result<Option<u32>, NodeError> {
        let argv = ["stat", "-L", "-c", "%u", "--", path].map(str::to_owned);
        let output = self.exec(&argv, &[])?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.trim().parse().ok().filter(|_| output.code == 0))
    }

    fn exec(&self, argv: &[String], stdin: &[u8]) -> Result<ExecOutput, NodeError> {
        let seconds = COMMAND.as_secs().to_string();
        let mut words = vec!["n_run", &seconds];
        words.extend(argv.iter().map(String::as_str));
        let limit = COMMAND + Duration::from_secs(5);
        self.session.ask_within(&words, stdin, limit)
    }

    fn api_server(&self) -> Result<ApiServerState, NodeError> {
        let (look, detail) = self.look()?;
        Ok(process::assess(&look, &detail, self.session.container()))
    }

    fn retry_patience(&self) -> Duration {
        // A real back-off: 10 s, 20 s, 40 s and on to five minutes.
        Duration::from_secs(90)
    }

    fn read_as_api_server(&self, path: &str) -> Result<NodeFile, NodeError> {
        let pid = match self.remembered().0 {
            Some(pid) => Some(pid),
            None => {
                self.look()?;
                self.remembered().0
            }
        };
        let pid =
            pid.ok_or_else(|| NodeError::NotRunning("no API server process runs".to_owned()))?;
        files::read(&self.session, &format!("/proc/{pid}/root"), path, 0)
    }

    fn kubelet_journal(&self, lines: usize) -> Result<Vec<String>, NodeError> {
        let output = self.session.ask(
            &["n_journal", &lines.to_string(), self.journal_start()],
            &[],
        )?;
        let text = String::from_utf8_lossy(&output.stdout);
        let all: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with("-- "))
            .map(str::to_owned)
            .collect();
        let skip = all.len().saturating_sub(lines);
        Ok(all.into_iter().skip(skip).collect())
    }

    fn change_objects(&self, changes: &[ObjectChange]) -> Result<(), NodeError> {
        api::know(changes)?;
        api::change(self.client_config(&Identity::SuperAdmin)?, changes)
    }

    fn kubernetes(&self) -> Option<String> {
        // Every node image has it (`pkg/cluster/nodeutils/util.go`).
        match self.read("/kind/version") {
            Ok(NodeFile::File { content, .. }) => {
                let version = String::from_utf8_lossy(&content).trim().to_owned();
                version.starts_with('v').then_some(version)
            }
            _ => None,
        }
    }

    fn run_sink(&self, sink: &Sink) -> Result<(), NodeError> {
        super::sinks::install(&self.session, sink)
    }

    fn client_config(&self, identity: &Identity) -> Result<kube::Config, NodeError> {
        identity::config(&self.place, &self.session, identity)
    }
}

impl LabNode for KindNode {
    fn access(&self) -> Access {
        Access {
            node_root: None,
            kubeconfig: self.kubeconfig.clone(),
            server: identity::server(&self.place).unwrap_or_default(),
            name: self.session.container().to_owned(),
        }
    }

    fn entrance(&self) -> Entrance {
        Entrance::Whole
    }

    fn enter(&self, errand: Errand<'_>) -> Result<u8, NodeError> {
        let mut command = self.exec_command();
        match errand {
            Errand::Shell => command.args(["bash", "-l"]),
            // The shell's own answer to a missing command is 127; Docker's differs from version to version.
            Errand::Command(argv) => command
                .args(["bash", "-c", "exec -- \"$@\"", "ckslab"])
                .args(argv),
        };
        // This process becomes Docker: signals and the terminal are the command's own.
        let source = command.exec();
        Err(NodeError::Io {
            path: self.session.program().to_owned(),
            source,
        })
    }

    fn stat(&self, path: &str, follow: bool) -> io::Result<Stat> {
        files::stat(&self.session, path, follow)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn io::Read>> {
        // Of any size: a stream of its own, not an answer that is held in memory.
        let mut command = Command::new(self.session.program());
        command.args(["exec", self.session.container(), "cat", "--", path]);
        match self
            .read_from(path, i64::MAX as u64)
            .map_err(files::plain)?
        {
            NodeFile::File { size, .. } if size <= NodeFile::LIMIT => {
                match self.read(path).map_err(files::plain)? {
                    NodeFile::File { content, .. } => Ok(Box::new(io::Cursor::new(content))),
                    _ => Err(io::ErrorKind::NotFound.into()),
                }
            }
            NodeFile::File { .. } => {
                let (mut child, guard) =
                    super::command::spawn(&mut command).map_err(io::Error::other)?;
                let stream = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
                Ok(Box::new(Stream {
                    stream,
                    _child: child,
                    _guard: guard,
                }))
            }
            NodeFile::Missing => Err(io::ErrorKind::NotFound.into()),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn put(&self, path: &str, content: &mut dyn io::Read, mode: u32) -> io::Result<()> {
        files::put(&self.session, path, content, mode)
    }
}

/// The output of a program, as long as it is read.
struct Stream {
    stream: std::process::ChildStdout,
    _child: std::process::Child,
    _guard: super::interrupt::Guard,
}

impl io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}
