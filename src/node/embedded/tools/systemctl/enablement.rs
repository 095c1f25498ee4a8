//! Whether a service is started when the node comes up: links below `/etc/systemd/system`.

use std::io;

use super::super::Tool;
use super::Unit;
use crate::node::embedded::confine::Confined;

/// Where links are of what the node starts.
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

/// State of a unit's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is started.
    Enabled,
    /// It is not.
    Disabled,
    /// It cannot be started.
    Masked,
}

impl State {
    /// As `is-enabled` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Masked => "masked",
        }
    }
}

fn mask(name: &str) -> String {
    format!("/etc/systemd/system/{name}.service")
}

fn want(name: &str) -> String {
    format!("{WANTS}/{name}.service")
}

/// The state of a service.
pub(super) fn of(node: &Confined, name: &str) -> State {
    if node
        .read_link(&mask(name))
        .is_ok_and(|target| target == "/dev/null")
    {
        return State::Masked;
    }
    // Nodes made by an earlier version have no links at all.
    if node.symlink_metadata(&want(name)).is_ok() || !node.exists(WANTS) {
        State::Enabled
    } else {
        State::Disabled
    }
}

/// `enable`, `disable`, `mask`, `unmask`.
pub(super) fn change(tool: &mut Tool<'_>, verb: &str, unit: &Unit) -> io::Result<()> {
    let (mask, want) = (mask(unit.name), want(unit.name));
    let has = |path: &str| tool.node.symlink_metadata(path).is_ok();
    let (path, target) = match verb {
        "enable" => (
            want,
            format!("/usr/lib/systemd/system/{}.service", unit.name),
        ),
        "disable" => (want, String::new()),
        "mask" => (mask, "/dev/null".to_owned()),
        _ => (mask, String::new()),
    };
    match (target.as_str(), has(&path)) {
        ("", true) => {
            tool.node.remove_file(&path)?;
            writeln!(tool.err, "Removed \"{path}\".")
        }
        ("", false) | (_, true) => Ok(()),
        (target, false) => {
            tool.node.create_dir_all(WANTS, 0o755)?;
            tool.node.symlink(target, &path)?;
            writeln!(tool.err, "Created symlink {path} → {target}.")
        }
    }
}
