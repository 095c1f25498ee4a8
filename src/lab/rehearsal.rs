//! Rehearsals: a scenario on a node within this process, to play its recorded attempts.
//!
//! Used by `ckslab scenario test` and by the release gate of the tests. Nothing of it touches the
//! labs of the user.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::grade::{CheckStatus, GradeError, Options, Report, grade};
use crate::node::Node;
use crate::node::embedded::daemon::{self, Running};
use crate::node::embedded::engine::EmbeddedNode;
use crate::node::engine::{EngineError, Order, Pace, Wishes};
use crate::scenario::setup::SetupError;
use crate::scenario::{Attempt, AttemptKind, Baseline, Resolved};

/// Why a rehearsal could not be held.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The system said no.
    #[error("cannot make a node to rehearse on: {0}")]
    Io(#[from] io::Error),
    /// The node could not be made.
    #[error("cannot make a node to rehearse on: {0}")]
    Make(#[from] EngineError),
    /// The node did not come up.
    #[error("the node to rehearse on did not start: {0}")]
    Boot(#[from] daemon::BootError),
    /// The setup does not fit the node.
    #[error("the setup: {0}")]
    Setup(#[from] SetupError),
    /// It cannot be graded.
    #[error(transparent)]
    Grade(#[from] GradeError),
    /// The node does not come back to its start.
    #[error("the node did not come back to its start within {0} s")]
    NotBack(u64),
}

/// A scenario that attempts are played on.
pub trait Rehearse {
    /// Grades the node as it is.
    ///
    /// # Errors
    /// When it cannot be graded.
    fn grade(&self) -> Result<Report, RehearsalError>;

    /// Plays an attempt and grades it.
    ///
    /// # Errors
    /// When a step does not fit the node, or it cannot be graded.
    fn play(&self, attempt: &Attempt) -> Result<Report, RehearsalError>;

    /// Puts the node back to the start of the scenario.
    ///
    /// # Errors
    /// When it does not come back.
    fn rewind(&mut self) -> Result<(), RehearsalError>;
}

/// A scenario on a node of its own.
pub struct Rehearsal {
    resolved: Resolved,
    baseline: Baseline,
    node: EmbeddedNode,
    running: Option<Running>,
    runtime: tokio::runtime::Handle,
    start: BTreeMap<PathBuf, Entry>,
    /// Whether the manifests are away since the last rewind.
    away: std::sync::atomic::AtomicBool,
    directory: tempfile::TempDir,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory(u32),
    File(Vec<u8>, u32),
}

/// The manifests, within the node root.
const MANIFESTS: &str = "etc/kubernetes/manifests";

/// Directories that the node itself writes: they are not put back.
const OWN: [&str; 4] = [
    "var/log/pods",
    "var/log/containers",
    "var/lib/kubelet",
    "var/lib/etcd",
];

impl Rehearsal {
    /// Puts the scenario on a new node and starts it.
    ///
    /// # Errors
    /// When the node cannot be made or started.
    pub fn begin(
        resolved: &Resolved,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, RehearsalError> {
        let directory = tempfile::Builder::new()
            .prefix("ckslab-rehearsal-")
            .tempdir()?;
        let order = Order {
            lab: &resolved.definition.id,
            pace: Pace::Fast,
            replaces: None,
            others: &[],
            wishes: &Wishes::default(),
        };
        let node = EmbeddedNode::create(directory.path(), &order)?;
        let config = node.config().clone();
        let baseline = resolved.apply_setup(&node)?;
        let start = tree(&config.node_root)?;
        let running = {
            let _inside = runtime.enter();
            daemon::boot(&config)?
        };
        let mut rehearsal = Self {
            resolved: resolved.clone(),
            baseline,
            node,
            running: Some(running),
            runtime: runtime.clone(),
            start,
            away: false.into(),
            directory,
        };
        rehearsal.settle()?;
        if resolved.needs_running_node() {
            let before = std::mem::take(&mut rehearsal.baseline);
            rehearsal.baseline = resolved.finish_setup(&rehearsal.node, before)?;
            rehearsal.settle()?;
        }
        Ok(rehearsal)
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &EmbeddedNode {
        &self.node
    }

    /// The scenario.
    #[must_use]
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// The node as it was at the start.
    #[must_use]
    pub fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// The host directory that is the node's `/`.
    #[must_use]
    pub fn node_root(&self) -> PathBuf {
        self.directory.path().join("node")
    }

    /// Grades the node as it is.
    ///
    /// # Errors
    /// When it cannot be graded.
    pub fn grade(&self) -> Result<Report, RehearsalError> {
        if self.bring_back()? {
            self.settle()?;
        }
        Ok(grade(
            &self.node,
            &self.resolved,
            &self.baseline,
            Options::default(),
            &|_| {},
        )?)
    }

    /// Plays an attempt and grades it.
    ///
    /// # Errors
    /// When a step does not fit the node, or it cannot be graded.
    pub fn play(&self, attempt: &Attempt) -> Result<Report, RehearsalError> {
        // An attempt that starts the API server anew need not wait for the one it replaces.
        let renews = attempt
            .file
            .steps
            .iter()
            .take_while(|step| step.wait.is_none())
            .any(|step| step.manifest.is_some() || step.restart.is_some());
        if self.bring_back()? && !renews {
            self.settle()?;
        }
        attempt.play(&self.node)?;
        self.grade()
    }

    /// Puts every file of the node back to what it was at the start. The manifests follow with the next
    /// attempt or grade.
    ///
    /// # Errors
    /// When a file cannot be put back, or the node does not stop.
    pub fn rewind(&mut self) -> Result<(), RehearsalError> {
        if self.resolved.needs_running_node() {
            // Its past cannot be put back by files: it is lived again.
            *self = Self::begin(&self.resolved.clone(), &self.runtime.clone())?;
            return Ok(());
        }
        let root = self.node_root();
        // The API server's manifest goes away even where it is as at the start: what it mounts is not.
        let api_server = Path::new(MANIFESTS).join("kube-apiserver.yaml");
        let now = tree(&root)?;
        for path in now.keys().filter(|path| path.starts_with(MANIFESTS)) {
            if !self.start.contains_key(path) || *path == api_server {
                let _ = fs::remove_file(root.join(path));
            }
        }
        self.away.store(true, std::sync::atomic::Ordering::Relaxed);
        self.settle()?;
        for (path, entry) in tree(&root)?.iter().rev() {
            match (self.start.get(path), entry) {
                (None, Entry::Directory(_)) => fs::remove_dir_all(root.join(path))?,
                (None, Entry::File(..)) => fs::remove_file(root.join(path))?,
                _ => {}
            }
        }
        self.put_back(|path| !path.starts_with(MANIFESTS))
    }

    /// Puts the manifests back, if they are away.
    fn bring_back(&self) -> Result<bool, RehearsalError> {
        let away = self.away.swap(false, std::sync::atomic::Ordering::Relaxed);
        if away {
            self.put_back(|path| path.starts_with(MANIFESTS))?;
        }
        Ok(away)
    }

    fn put_back(&self, which: impl Fn(&Path) -> bool) -> Result<(), RehearsalError> {
        let root = self.node_root();
        let now = tree(&root)?;
        for (path, entry) in self.start.iter().filter(|(path, _)| which(path)) {
            if now.get(path) != Some(entry) {
                put(&root.join(path), entry)?;
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), RehearsalError> {
        const LIMIT: Duration = Duration::from_secs(60);
        let start = Instant::now();
        loop {
            let state = self.node.api_server().map_err(GradeError::from)?;
            let starting = state.state == crate::node::ContainerPhase::Running && !state.ready;
            if !state.converging && !starting {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                return Err(RehearsalError::NotBack(LIMIT.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Rehearse for Rehearsal {
    fn grade(&self) -> Result<Report, RehearsalError> {
        Self::grade(self)
    }

    fn play(&self, attempt: &Attempt) -> Result<Report, RehearsalError> {
        Self::play(self, attempt)
    }

    fn rewind(&mut self) -> Result<(), RehearsalError> {
        Self::rewind(self)
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // From a plain thread: the caller may be a task of the runtime.
            let runtime = self.runtime.clone();
            let _ = std::thread::spawn(move || runtime.block_on(running.stop())).join();
        }
    }
}

fn tree(root: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let mut found = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if OWN.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                found.insert(path.clone(), Entry::Directory(mode));
                left.push(path);
            } else if metadata.is_file()
                && let Ok(content) = fs::read(root.join(&path))
            {
                found.insert(path, Entry::File(content, mode));
            }
        }
    }
    Ok(found)
}

fn put(path: &Path, entry: &Entry) -> io::Result<()> {
    match entry {
        Entry::Directory(mode) => {
            if !path.is_dir() {
                let _ = fs::remove_file(path);
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(*mode)
                    .create(path)?;
            }
        }
        Entry::File(content, mode) => {
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            }
            let next = path.with_file_name(format!(
                ".{}.put",
                path.file_name().unwrap_or_default().to_string_lossy()
            ));
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(*mode)
                .open(&next)?;
            io::Write::write_all(&mut file, content)?;
            fs::rename(&next, path)?;
        }
    }
    Ok(())
}

/// What is not as the scenario says of the untouched node; empty when all is.
#[must_use]
pub fn untouched_complaints(resolved: &Resolved, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    if report.score != 0 || report.passed {
        wrong.push(format!("{} points for doing nothing", report.score));
        wrong.extend(
            report
                .checks
                .iter()
                .filter(|check| check.points > 0)
                .map(|check| format!("{} passes: {}", check.id, check.seen)),
        );
    }
    let Some(untouched) = &resolved.definition.untouched else {
        return wrong;
    };
    let named: Vec<String> = report
        .checks
        .iter()
        .filter_map(|check| {
            Some(format!(
                "{}: {}",
                check.id,
                check.misconception_id.as_ref()?
            ))
        })
        .collect();
    let mut expected: Vec<String> = untouched
        .iter()
        .map(|expected| format!("{}: {}", expected.check, expected.misconception))
        .collect();
    let place = |text: &String| {
        let check = text.split(':').next().unwrap_or_default();
        report.checks.iter().position(|other| other.id == check)
    };
    expected.sort_by_key(place);
    if named != expected {
        wrong.push(format!(
            "the misconceptions named are [{}] instead of [{}] (`untouched` of the scenario)",
            named.join(", "),
            expected.join(", ")
        ));
    }
    wrong
}

/// What is not as an attempt says it must be; empty when all is.
#[must_use]
pub fn complaints(attempt: &Attempt, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let failing: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| check.status == CheckStatus::Fail)
        .map(|check| check.id.as_str())
        .collect();
    let named: Vec<&str> = report
        .checks
        .iter()
        .filter_map(|check| check.misconception_id.as_deref())
        .collect();
    match (&attempt.file.kind, &attempt.file.expect) {
        (AttemptKind::Wrong, Some(expect)) => {
            if report.score != expect.score {
                wrong.push(format!(
                    "score {} instead of {}",
                    report.score, expect.score
                ));
            }
            if failing != expect.failing {
                wrong.push(format!(
                    "failing {} instead of {}",
                    failing.join(", "),
                    expect.failing.join(", ")
                ));
            }
            for misconception in &expect.misconceptions {
                if !named.contains(&misconception.as_str()) {
                    wrong.push(format!(
                        "the misconception `{misconception}` is not named, only {}",
                        named.join(", ")
                    ));
                }
            }
            if report.passed {
                wrong.push("it passes".to_owned());
            }
        }
        (AttemptKind::Wrong, None) => wrong.push("a wrong attempt needs `expect`".to_owned()),
        _ => {
            if report.score != report.max || !report.passed {
                wrong.push(format!("score {} of {}", report.score, report.max));
            }
        }
    }
    if !wrong.is_empty() {
        for check in &report.checks {
            if check.status != CheckStatus::Pass {
                wrong.push(format!(
                    "{} {}: expected {}; seen {}",
                    check.status.name(),
                    check.id,
                    check.expected,
                    check.seen
                ));
            }
        }
    }
    wrong
}
