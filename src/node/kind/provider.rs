//! What runs containers on this machine: `docker`, `podman`, or what `KIND_EXPERIMENTAL_PROVIDER` names.
//!
//! kind looks for Docker first, then nerdctl, then Podman (`pkg/cluster/provider.go`); its environment
//! (`DOCKER_HOST`, `DOCKER_CONTEXT`, ...) is passed on as it is.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::command::{self, Failure};
use super::trouble::Trouble;

/// How long an answer about the daemon may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A program that runs containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The program: `docker`, `podman`, `nerdctl`.
    pub program: String,
    /// Version of what answers.
    pub version: String,
    /// Version of control groups, `1` or `2`; empty where it is not told.
    pub cgroups: String,
    /// Whether it runs without root.
    pub rootless: bool,
}

/// The name of a program in sentences.
fn title(program: &str) -> String {
    match program {
        "docker" => "Docker".to_owned(),
        "podman" => "Podman".to_owned(),
        other => other.to_owned(),
    }
}

impl Provider {
    /// Finds the program that kind would use and asks it how it is, within about three seconds.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn find() -> Result<Self, Trouble> {
        let wish = std::env::var("KIND_EXPERIMENTAL_PROVIDER").unwrap_or_default();
        let program = match wish.as_str() {
            "docker" | "podman" | "nerdctl" | "finch" | "nerdctl.lima" => wish,
            _ => ["docker", "nerdctl", "podman"]
                .into_iter()
                .find(|program| on_path(program))
                .ok_or_else(|| {
                    Trouble::new(
                        "neither Docker nor Podman is on PATH",
                        "install Docker (https://docs.docker.com/engine/install/), or practise without it: --engine embedded",
                    )
                })?
                .to_owned(),
        };
        Self::ask(&program)
    }

    fn ask(program: &str) -> Result<Self, Trouble> {
        let mut command = Command::new(program);
        let format = if program == "docker" || program == "podman" {
            "json"
        } else {
            "{{json .}}"
        };
        // `docker info --format json` is newer than Docker 20.10.
        let format = if program == "docker" {
            "{{json .}}"
        } else {
            format
        };
        command.args(["info", "--format", format]);
        let output = command::run(command, b"", PATIENCE).map_err(|error| match error {
            Failure::Missing(program) => Trouble::new(
                format!("`{program}` is not on PATH"),
                "install it, or unset KIND_EXPERIMENTAL_PROVIDER",
            ),
            other => silent(program, &other.to_string()),
        })?;
        let info: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let complaint = info
            .get("ServerErrors")
            .and_then(Value::as_array)
            .and_then(|errors| errors.first()?.as_str().map(str::to_owned))
            .or_else(|| (!output.ok()).then(|| output.complaint()));
        if let Some(complaint) = complaint {
            return Err(silent(program, &complaint));
        }
        Ok(described(program, &info))
    }

    /// Its name in sentences.
    #[must_use]
    pub fn title(&self) -> String {
        title(&self.program)
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it gives no answer in time.
    pub fn run(
        &self,
        args: &[&str],
        stdin: &[u8],
        limit: Duration,
    ) -> Result<command::Output, Failure> {
        let mut command = Command::new(&self.program);
        command.args(args);
        command::run(command, stdin, limit)
    }
}

/// What `info` says.
fn described(program: &str, info: &Value) -> Provider {
    let text = |pointer: &str| info.pointer(pointer).and_then(Value::as_str);
    let options = info.get("SecurityOptions").and_then(Value::as_array);
    Provider {
        program: program.to_owned(),
        version: text("/ServerVersion")
            .or(text("/version/Version"))
            .unwrap_or("of unknown version")
            .to_owned(),
        cgroups: text("/CgroupVersion")
            .or(text("/host/cgroupVersion"))
            .unwrap_or_default()
            .trim_start_matches('v')
            .to_owned(),
        rootless: options.is_some_and(|options| {
            options
                .iter()
                .filter_map(Value::as_str)
                .any(|option| option.split(',').any(|part| part == "name=rootless"))
        }) || info.pointer("/host/security/rootless") == Some(&Value::Bool(true)),
    }
}

/// Docker is there, but does not answer.
fn silent(program: &str, complaint: &str) -> Trouble {
    let title = title(program);
    let first = complaint
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("no answer");
    let lower = first.to_lowercase();
    if lower.contains("permission denied") {
        return Trouble::new(
            format!("this user may not use {title}: {first}"),
            "sudo usermod -aG docker \"$USER\", then log in again; or practise without it: --engine embedded",
        );
    }
    Trouble::new(
        format!("{title} does not answer: {first}"),
        format!(
            "start {title} (on Linux: sudo systemctl start {program}), then run the command again; or practise without it: --engine embedded"
        ),
    )
}

/// Whether a program is on PATH.
#[must_use]
pub fn on_path(program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|dir| {
            std::fs::metadata(dir.join(program))
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_and_podman_describe_themselves_differently() {
        let docker = serde_json::json!({
            "ServerVersion": "29.1.3", "CgroupVersion": "2",
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
        });
        assert_eq!(
            described("docker", &docker),
            Provider {
                program: "docker".into(),
                version: "29.1.3".into(),
                cgroups: "2".into(),
                rootless: true
            }
        );
        let podman = serde_json::json!({
            "host": {"cgroupVersion": "v2", "security": {"rootless": false}},
            "version": {"Version": "5.6.0"},
        });
        let podman = described("podman", &podman);
        assert_eq!(
            (
                podman.version.as_str(),
                podman.cgroups.as_str(),
                podman.rootless
            ),
            ("5.6.0", "2", false)
        );
    }

    #[test]
    fn what_docker_complains_about_leads_to_what_helps() {
        let trouble = silent(
            "docker",
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
        );
        assert!(
            trouble
                .reason
                .starts_with("Docker does not answer: Cannot connect")
        );
        assert!(
            trouble.hint.contains("systemctl start docker"),
            "{}",
            trouble.hint
        );
        let trouble = silent(
            "docker",
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
        );
        assert!(trouble.hint.contains("usermod"), "{}", trouble.hint);
    }
}
