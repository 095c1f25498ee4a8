//! Carrying out steps on a node: those of a setup and those of an attempt.

use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::manifest_text;
use super::request::ProbeUser;
use super::setup::{MANIFEST, SetupError};
use super::step::{KubeletAction, Requests, RunSink, Step, WaitFor};
use crate::node::courier::{Courier, KubeCourier, Message};
use crate::node::sink::Sink;
use crate::node::{ContainerPhase, FileChange, Node, NodeError, NodeFile, ObjectChange};

/// How long one step waits for the node.
const WAIT: Duration = Duration::from_secs(90);

impl Attempt {
    /// Plays the attempt on a lab's node.
    ///
    /// # Errors
    /// When the node refuses, a step does not fit it, or what is waited for does not happen.
    pub fn play(&self, node: &dyn Node) -> Result<(), SetupError> {
        play(node, &self.file.steps, 1)
    }
}

/// Plays steps; `first` is the number of the first one, for messages.
pub(super) fn play(node: &dyn Node, steps: &[Step], first: usize) -> Result<(), SetupError> {
    for (index, step) in steps.iter().enumerate() {
        let step_number = index + first;
        files(node, step)
            .and_then(|()| cluster(node, step))
            .map_err(|error| match error {
                Fault::Node(error) => SetupError::Node(error),
                Fault::Misfit(message) => SetupError::Step {
                    step: step_number,
                    message,
                },
            })?;
    }
    Ok(())
}

/// Why a step was not carried out.
enum Fault {
    Node(NodeError),
    Misfit(String),
}

impl From<NodeError> for Fault {
    fn from(error: NodeError) -> Self {
        Fault::Node(error)
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault::Misfit(message)
    }
}

/// A path on the node: from its root, and one.
fn path(path: &str) -> Result<&str, Fault> {
    if path.starts_with('/') && !path.contains('\0') {
        Ok(path)
    } else {
        Err(Fault::Misfit(format!(
            "`{path}` is no path from the root of the node"
        )))
    }
}

fn files(node: &dyn Node, step: &Step) -> Result<(), Fault> {
    if let Some(file) = &step.write {
        let content = file.content.as_bytes();
        node.write(path(&file.path)?, content, octal(&file.mode)?)?;
    }
    if let Some(file) = &step.append {
        let change = FileChange::Append {
            content: file.content.as_bytes(),
            mode: octal(&file.mode)?,
        };
        node.change(path(&file.path)?, change)?;
    }
    if let Some(target) = &step.remove {
        node.remove(path(&target.path)?)?;
    }
    if let Some(directory) = &step.mkdir {
        node.create_dir(path(&directory.path)?, octal(&directory.mode)?)?;
    }
    if let Some(copy) = &step.copy {
        let (content, mode) = file(node, path(&copy.from)?)?;
        // As `cp` does: the mode of a file that is there stays.
        let mode = match node.read_from(path(&copy.to)?, u64::MAX)? {
            NodeFile::File { mode, .. } => mode,
            _ => mode,
        };
        node.write(&copy.to, &content, mode)?;
    }
    if let Some(rename) = &step.rename {
        let to = path(&rename.to)?;
        node.change(path(&rename.from)?, FileChange::Rename { to })?;
    }
    if let Some(link) = &step.symlink {
        let target = link.target.as_str();
        node.change(path(&link.path)?, FileChange::Link { target })?;
    }
    if let Some(chmod) = &step.chmod {
        node.change(path(&chmod.path)?, FileChange::Mode(octal(&chmod.mode)?))?;
    }
    if let Some(replace) = &step.replace {
        let (text, mode) = text(node, path(&replace.path)?)?;
        if !text.contains(&replace.find) {
            let (find, place) = (&replace.find, &replace.path);
            return Err(Fault::Misfit(format!("`{find}` is not in `{place}`")));
        }
        let text = text.replacen(&replace.find, &replace.with, 1);
        node.write(&replace.path, text.as_bytes(), mode)?;
    }
    if let Some(answers) = &step.answers {
        for (place, text) in answers.files(node)?? {
            node.write(path(&place)?, text.as_bytes(), 0o644)?;
        }
    }
    if let Some(edit) = &step.manifest {
        let manifest = path(edit.path.as_deref().unwrap_or(MANIFEST))?;
        let (text, mode) = text(node, manifest)?;
        let text = manifest_text::edit(&text, edit)?;
        node.write(manifest, text.as_bytes(), mode)?;
    }
    Ok(())
}

fn cluster(node: &dyn Node, step: &Step) -> Result<(), Fault> {
    let all = |objects: &Option<Vec<_>>, change: fn(_) -> ObjectChange| {
        let objects = objects.iter().flatten();
        objects.cloned().map(change).collect::<Vec<_>>()
    };
    let mut changes = all(&step.objects, ObjectChange::Put);
    changes.extend(all(&step.patch_objects, ObjectChange::Patch));
    changes.extend(all(&step.delete_objects, ObjectChange::Delete));
    if !changes.is_empty() {
        node.change_objects(&changes)?;
    }
    if let Some(requests) = &step.requests {
        send(node, requests)?;
    }
    if let Some(sink) = &step.sink {
        run_sink(node, sink)?;
    }
    if let Some(action) = step.kubelet {
        kubelet(node, action)?;
    }
    if step.restart == Some(true) {
        let (content, mode) = file(node, MANIFEST)?;
        node.remove(MANIFEST)?;
        wait_for(node, WaitFor::Down)?;
        node.write(MANIFEST, &content, mode)?;
    }
    if let Some(what) = step.wait {
        wait_for(node, what)?;
    }
    Ok(())
}

fn send(node: &dyn Node, requests: &Requests) -> Result<(), Fault> {
    let messages: Vec<Message> = requests
        .send
        .iter()
        .map(|request| {
            let (method, content_type) = request.method();
            let mut path = request.url_path();
            if let Some(query) = request.query() {
                path.push_str(&format!("?{query}"));
            }
            Message {
                method,
                path,
                content_type,
                body: request
                    .body
                    .as_ref()
                    .map(|body| body.to_string().into_bytes())
                    .unwrap_or_default(),
                audit_id: uuid::Uuid::new_v4().to_string(),
                endless: request.verb == "watch",
            }
        })
        .collect();
    let courier = KubeCourier {
        node,
        user_agent: &requests.user_agent,
    };
    let identity = ProbeUser::identity(requests.user.as_ref());
    let answers = courier.send(&[(identity, messages)]);
    // An answer that says no is an answer.
    match answers.into_iter().flatten().find_map(Result::err) {
        Some(error) => Err(Fault::Misfit(format!("a request got no answer: {error}"))),
        None => Ok(()),
    }
}

fn run_sink(node: &dyn Node, sink: &RunSink) -> Result<(), Fault> {
    if sink.port < 1024 {
        let port = sink.port;
        return Err(Fault::Misfit(format!("a sink cannot have port {port}")));
    }
    if !sink.url_path.starts_with('/') || sink.url_path.contains(['?', '#']) {
        let path = &sink.url_path;
        return Err(Fault::Misfit(format!("`{path}` is no path of a URL")));
    }
    node.run_sink(&Sink {
        port: sink.port,
        url_path: sink.url_path.clone(),
        entries: path(&sink.entries)?.to_owned(),
        ca: path(&sink.ca)?.to_owned(),
    })?;
    Ok(())
}

fn kubelet(node: &dyn Node, action: KubeletAction) -> Result<(), Fault> {
    let argv = ["systemctl", action.verb(), "kubelet"].map(str::to_owned);
    let output = node.exec(&argv, &[])?;
    if output.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Fault::Misfit(format!(
        "`{}` ended with {}: {}",
        argv.join(" "),
        output.code,
        said.trim()
    )))
}

/// Waits for the node, looking often: the states waited for are reached within fractions of a
/// second at fast pace.
fn wait_for(node: &dyn Node, what: WaitFor) -> Result<(), Fault> {
    let start = Instant::now();
    loop {
        let state = node.api_server()?;
        let reached = match what {
            WaitFor::Settled => !state.converging,
            WaitFor::Ready => !state.converging && state.ready,
            WaitFor::Down => {
                !state.converging && !state.ready && state.state != ContainerPhase::Running
            }
        };
        if reached {
            return Ok(());
        }
        if start.elapsed() > WAIT {
            return Err(Fault::Misfit(format!(
                "waited {} s, but the API server is {:?} (ready: {}, {})",
                WAIT.as_secs(),
                state.state,
                state.ready,
                state.message.or(state.reason).unwrap_or_default()
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn octal(mode: &str) -> Result<u32, Fault> {
    u32::from_str_radix(mode, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| Fault::Misfit(format!("`{mode}` is no octal file mode")))
}

/// The whole of a file and its mode.
fn file(node: &dyn Node, path: &str) -> Result<(Vec<u8>, u32), Fault> {
    match node.read(path)? {
        NodeFile::File {
            content,
            size,
            mode,
            ..
        } if size <= NodeFile::LIMIT => Ok((content, mode)),
        NodeFile::File { .. } => Err(Fault::Misfit(format!("`{path}` is too large"))),
        NodeFile::Missing => Err(Fault::Misfit(format!("`{path}` is not there"))),
        _ => Err(Fault::Misfit(format!("`{path}` is no regular file"))),
    }
}

fn text(node: &dyn Node, path: &str) -> Result<(String, u32), Fault> {
    let (content, mode) = file(node, path)?;
    Ok((String::from_utf8_lossy(&content).into_owned(), mode))
}
