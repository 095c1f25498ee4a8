//! Clusters, through the `kind` command: made, found, started again, deleted.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::command::{self, Failure, Output};
use super::provider::{Provider, on_path};
use super::record::Place;
use super::trouble::Trouble;

/// The label that kind puts on nodes (`pkg/cluster/internal/providers/docker/constants.go`).
const LABEL: &str = "io.x-k8s.kind.cluster";
/// How long the making of a cluster may take, the download of its image included.
const CREATE: Duration = Duration::from_secs(1200);
/// How long kind waits for the node to be ready.
const READY: &str = "300s";
/// How long other things may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(5);

/// Whether a container is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It runs.
    Running,
    /// It is there, stopped.
    Stopped,
    /// It is not there.
    Missing,
}

/// Whether there is a container of this name, and whether it runs.
///
/// # Errors
/// When Docker does not answer.
pub fn presence(program: &str, container: &str) -> Result<Presence, Trouble> {
    // One that did not answer in time is not waited for again by the same command.
    static SILENT: OnceLock<Trouble> = OnceLock::new();
    if let Some(trouble) = SILENT.get() {
        return Err(trouble.clone());
    }
    look(program, container).inspect_err(|trouble| {
        if trouble.reason.contains("did not answer within") {
            let _ = SILENT.set(trouble.clone());
        }
    })
}

fn look(program: &str, container: &str) -> Result<Presence, Trouble> {
    let mut command = Command::new(program);
    command.args([
        "inspect",
        "--type",
        "container",
        "--format",
        "{{.State.Running}}",
        container,
    ]);
    let output = command::run(command, b"", LOOK)?;
    Ok(match (output.ok(), output.text().as_str()) {
        (true, "true") => Presence::Running,
        (true, _) => Presence::Stopped,
        (false, _) if says_missing(&output.complaint()) => Presence::Missing,
        (false, _) => {
            // It is Docker that is gone: whoever knows how to say it says it.
            Provider::find()?;
            return Err(Trouble::new(
                format!(
                    "`{program} inspect {container}` failed: {}",
                    output.complaint()
                ),
                "ckslab doctor",
            ));
        }
    })
}

fn says_missing(complaint: &str) -> bool {
    let lower = complaint.to_lowercase();
    lower.contains("no such container") || lower.contains("no such object")
}

/// The cluster of a node was removed by somebody else.
#[must_use]
pub fn gone(container: &str) -> Trouble {
    Trouble::new(
        format!(
            "the container `{container}` of the lab's node is gone: somebody deleted the cluster"
        ),
        "ckslab reset makes the lab anew, on a new cluster",
    )
}

/// The `kind` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// What it says of its version.
    pub version: String,
}

impl Kind {
    /// Finds it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find() -> Result<Self, Trouble> {
        let missing = || {
            Trouble::new(
                "`kind` is not on PATH",
                "install kind (https://kind.sigs.k8s.io/docs/user/quick-start/#installation), or practise without it: --engine embedded",
            )
        };
        if !on_path("kind") {
            return Err(missing());
        }
        let mut command = Command::new("kind");
        command.arg("version");
        let output = command::run(command, b"", LOOK).map_err(|error| match error {
            Failure::Missing(_) => missing(),
            other => other.into(),
        })?;
        if !output.ok() {
            return Err(Trouble::new(
                format!("`kind version` failed: {}", output.complaint()),
                "install kind anew: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
            ));
        }
        let text = output.text();
        let version = text.split_whitespace().nth(1).unwrap_or(&text).to_owned();
        Ok(Self { version })
    }

    /// Makes a cluster; `tell` gets a line for every step.
    ///
    /// # Errors
    /// When kind cannot make it, with its own words and what helps. Nothing of it is left then.
    pub fn create(
        &self,
        place: &Place,
        image: Option<&str>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), Trouble> {
        let mut command = Command::new("kind");
        command.args(["create", "cluster", "--name", &place.name, "--wait", READY]);
        command.arg("--kubeconfig").arg(place.kubeconfig());
        command.arg("--config").arg(place.file("config.yaml"));
        if let Some(image) = image {
            command.args(["--image", image]);
        }
        let output = command::run_with(command, b"", CREATE, &mut |line| {
            if let Some(step) = step(line) {
                tell(&step);
            }
        })?;
        let mut log = output.stderr.clone();
        log.extend_from_slice(&output.stdout);
        let _ = super::record::write_private(&place.file("create.log"), &log);
        if output.ok() {
            return Ok(());
        }
        let trouble = refused(&output, &place.file("create.log"));
        let _ = self.delete(place);
        Err(trouble)
    }

    /// Deletes a cluster of ours.
    ///
    /// # Errors
    /// When kind cannot.
    pub fn delete(&self, place: &Place) -> Result<(), Trouble> {
        let mut command = Command::new("kind");
        command.args(["delete", "cluster", "--name", &place.name]);
        command.arg("--kubeconfig").arg(place.kubeconfig());
        let output = command::run(command, b"", PATIENCE * 2)?;
        if output.ok() {
            return Ok(());
        }
        Err(Trouble::new(
            format!(
                "kind cannot delete the cluster `{}`: {}",
                place.name,
                last_error(&output)
            ),
            format!("kind delete cluster --name {}", place.name),
        ))
    }
}

/// The containers of a cluster's nodes.
///
/// # Errors
/// When Docker does not answer.
pub fn nodes(provider: &Provider, cluster: &str) -> Result<Vec<String>, Trouble> {
    let label = format!("label={LABEL}={cluster}");
    let output = provider.run(
        &["ps", "-a", "--filter", &label, "--format", "{{.Names}}"],
        b"",
        PATIENCE,
    )?;
    if !output.ok() {
        return Err(Trouble::new(
            format!("`{} ps` failed: {}", provider.program, output.complaint()),
            "ckslab doctor",
        ));
    }
    Ok(output.text().lines().map(str::to_owned).collect())
}

/// Starts a container that was stopped.
///
/// # Errors
/// When Docker cannot.
pub fn start(provider: &Provider, container: &str) -> Result<(), Trouble> {
    let output = provider.run(&["start", container], b"", PATIENCE)?;
    if output.ok() {
        return Ok(());
    }
    Err(Trouble::new(
        format!(
            "`{} start {container}` failed: {}",
            provider.program,
            output.complaint()
        ),
        "ckslab reset makes the lab anew, on a new cluster",
    ))
}

/// When a container was last started, in seconds since 1970; 0 where that is not told.
#[must_use]
pub fn started_at(provider: &Provider, container: &str) -> f64 {
    let format = "{{.State.StartedAt}}";
    let output = provider.run(
        &[
            "inspect",
            "--type",
            "container",
            "--format",
            format,
            container,
        ],
        b"",
        LOOK,
    );
    output
        .ok()
        .and_then(|output| output.text().parse::<jiff::Timestamp>().ok())
        .map_or(0.0, |time| time.as_duration().as_secs_f64())
}

/// A step as kind tells it: ` • Preparing nodes 📦   ...` and ` ✓ Preparing nodes 📦 `.
fn step(line: &str) -> Option<String> {
    let line = line.trim();
    let text = line
        .strip_prefix('•')?
        .trim()
        .trim_end_matches("...")
        .trim();
    let plain: String = text
        .chars()
        .filter(|c| c.is_ascii() || c.is_alphanumeric() || *c == '≤')
        .collect();
    Some(plain.trim().to_owned())
}

/// The words that kind ended with: after the last `ERROR: `.
fn last_error(output: &Output) -> String {
    let text = output.complaint();
    let last = text
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("ERROR: "))
        .or(text.lines().rev().find(|line| !line.trim().is_empty()))
        .unwrap_or("it said nothing");
    last.trim().to_owned()
}

/// Why no cluster was made, and what helps.
fn refused(output: &Output, log: &Path) -> Trouble {
    let text = output.complaint().to_lowercase();
    let hint = if text.contains("failed to pull image") || text.contains("pull access denied") {
        "the node image cannot be downloaded: load one (docker load), then name it with --image; docs/kind.md says how, also behind a proxy".to_owned()
    } else if text.contains("no space left") {
        "free some space (docker system df), then run the command again".to_owned()
    } else if text.contains("cgroup v1") || text.contains("cgroupv1") {
        "this machine has control groups v1: give kind a configuration with `failCgroupV1: false` (--kind-config); docs/kind.md shows one".to_owned()
    } else if text.contains("port is already allocated") || text.contains("address already in use")
    {
        "another program has the port that the configuration asks for".to_owned()
    } else if text.contains("unable to decode config") || text.contains("unknown apiversion") {
        "correct the file given with --kind-config".to_owned()
    } else {
        format!("the whole output of kind is in {}", log.display())
    };
    Trouble::new(
        format!("kind could not make the cluster: {}", last_error(output)),
        hint,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stderr: &str) -> Output {
        Output {
            code: Some(1),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        }
    }

    #[test]
    fn steps_of_kind_are_told_without_pictures() {
        assert_eq!(
            step(" • Ensuring node image (kindest/node:v1.36.1) 🖼️  ...").as_deref(),
            Some("Ensuring node image (kindest/node:v1.36.1)")
        );
        assert_eq!(
            step(" • Waiting ≤ 5m0s for control-plane = Ready ⏳  ...").as_deref(),
            Some("Waiting ≤ 5m0s for control-plane = Ready")
        );
        assert_eq!(step(" ✓ Preparing nodes 📦 "), None);
        assert_eq!(step("Creating cluster \"ckslab\" ..."), None);
    }

    #[test]
    fn what_kind_complains_about_leads_to_what_helps() {
        let log = Path::new("/h/create.log");
        for (text, reason, hint) in [
            (
                "Creating cluster \"a\" ...\n ✗ Ensuring node image\nERROR: failed to create cluster: failed to pull image \"kindest/node:v1.36.1\": command \"docker pull\" failed with error: exit status 1\n\nCommand Output: Error response from daemon\n",
                "failed to create cluster: failed to pull image \"kindest/node:v1.36.1\": command \"docker pull\" failed with error: exit status 1",
                "docs/kind.md",
            ),
            ("", "it said nothing", "/h/create.log"),
            (
                "ERROR: failed to init node with kubeadm\nCommand Output: kubelet is configured to not run on a host using cgroup v1",
                "failed to init node with kubeadm",
                "failCgroupV1",
            ),
        ] {
            let trouble = refused(&output(text), log);
            assert_eq!(
                trouble.reason,
                format!("kind could not make the cluster: {reason}")
            );
            assert!(trouble.hint.contains(hint), "{}", trouble.hint);
        }
    }
}
