//! Webhook receivers on a kind node: ckslab's own program, copied to the node and run there.
//!
//! They listen on the node's loopback, where an API server with `hostNetwork` reaches them. Nothing is downloaded
//! and no image is needed. Settings and program are below `/kind/ckslab`, which no lab's files are part of.

use std::env::consts::ARCH;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files;
use super::session::Session;
use crate::node::sink::{Settings, Sink};
use crate::node::{ExecOutput, FileChange, NodeError};

/// Where the program is on the node.
const PROGRAM: &str = "/kind/ckslab/bin/ckslab";
/// Where the settings are.
const SINKS: &str = "/kind/ckslab/sinks";
/// Names a program for the node, where this one cannot run there.
const VARIABLE: &str = "CKSLAB_NODE_BINARY";

/// Runs a receiver on the node.
///
/// # Errors
/// When the node cannot be asked or cannot run our program, with what helps.
pub fn install(session: &Session, sink: &Sink) -> Result<(), NodeError> {
    bring_program(session)?;
    let (settings, ca) = Settings::mint(sink)?;
    ended(session.ask(&["n_sinks_stop", &sink.port.to_string()], &[])?)?;
    let write = |path: &str, content: &[u8], mode| {
        files::change(session, path, FileChange::Write { content, mode })
    };
    let path = format!("{SINKS}/{}/settings.json", sink.port);
    write(&path, &settings.to_json()?, 0o600)?;
    write(&sink.ca, ca.as_bytes(), 0o644)?;
    start(session)
}

/// Starts the receivers of the node that do not run.
///
/// # Errors
/// When one cannot be started, with its own words.
pub fn start(session: &Session) -> Result<(), NodeError> {
    ended(session.ask(&["n_sinks_start"], &[])?)
}

/// Ends the receivers of the node.
///
/// # Errors
/// When the node cannot be asked.
pub fn stop(session: &Session) -> Result<(), NodeError> {
    ended(session.ask(&["n_sinks_stop"], &[])?)
}

fn ended(output: ExecOutput) -> Result<(), NodeError> {
    if output.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().find(|line| !line.trim().is_empty());
    Err(NodeError::Refused(format!(
        "the webhook receiver on the node does not start: {}",
        why.unwrap_or("it did not say why").trim()
    )))
}

/// The program that goes to the node, and whether the user named it.
fn program() -> (PathBuf, bool) {
    match std::env::var_os(VARIABLE) {
        Some(named) if !named.is_empty() => (PathBuf::from(named), true),
        _ => {
            let own = std::env::current_exe().ok().filter(|path| path.is_file());
            (own.unwrap_or_else(|| "/proc/self/exe".into()), false)
        }
    }
}

/// Brings our program to the node, unless the same one is there, and tries whether it runs.
fn bring_program(session: &Session) -> Result<(), NodeError> {
    let (path, named) = program();
    let unread = |source: io::Error| NodeError::Unreachable {
        reason: format!("cannot read `{}`: {source}", path.display()),
        hint: if named {
            format!("name the static ckslab program for Linux with {VARIABLE}")
        } else {
            "run ckslab by its path".to_owned()
        },
    };
    let sum = checksum(&path).map_err(unread)?;
    let there = session.ask(&["n_run", "20", "sha256sum", PROGRAM], &[])?;
    if !there.stdout.starts_with(sum.as_bytes()) {
        let dir = PROGRAM.trim_end_matches("/ckslab");
        files::change(session, dir, FileChange::Directory { mode: 0o755 })?;
        let mut content = File::open(&path).map_err(unread)?;
        files::put(session, PROGRAM, &mut content, 0o755).map_err(|source| NodeError::Io {
            path: PROGRAM.to_owned(),
            source,
        })?;
    }
    let tried = session.ask(&["n_run", "20", PROGRAM, "version"], &[])?;
    if tried.code == 0 {
        return Ok(());
    }
    let machine = session.ask(&["n_run", "20", "uname", "-m"], &[])?;
    let machine = String::from_utf8_lossy(&machine.stdout).trim().to_owned();
    let said = String::from_utf8_lossy(&tried.stderr);
    Err(cannot_run(
        &path,
        &Program::of(&path),
        &machine,
        said.trim(),
    ))
}

fn cannot_run(path: &Path, program: &Program, machine: &str, said: &str) -> NodeError {
    let why = match program {
        Program::Other => "it is no program for Linux".to_owned(),
        Program::Elf { machine: own, .. } if own != machine => {
            format!("it is made for {own}, and the node is {machine}")
        }
        Program::Elf { dynamic: true, .. } => {
            "it is not linked statically, and the node lacks what it needs".to_owned()
        }
        Program::Elf { .. } => said
            .lines()
            .last()
            .unwrap_or("it did not say why")
            .to_owned(),
    };
    NodeError::Unreachable {
        reason: format!(
            "the exercise needs a webhook receiver on the node, and `{}` cannot run there: {why}",
            path.display()
        ),
        hint: format!(
            "get the released ckslab for linux/{machine}, which is static, and name it: export {VARIABLE}=PATH; or practise on this machine: --engine embedded"
        ),
    }
}

fn checksum(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    io::copy(&mut file, &mut sum)?;
    Ok(sum
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// What a file is for a machine that is asked to run it.
#[derive(Debug, PartialEq, Eq)]
enum Program {
    /// A program of Linux: for this machine as `uname -m` names it, with or without an interpreter.
    Elf { machine: String, dynamic: bool },
    /// Something else.
    Other,
}

impl Program {
    fn of(path: &Path) -> Self {
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(64 << 10).read_to_end(&mut head));
        match read {
            Ok(_) => Self::parse(&head).unwrap_or(Program::Other),
            Err(_) => Program::Other,
        }
    }

    /// Reads the header of a 64-bit little-endian ELF file (`elf(5)`): its machine, and whether a segment
    /// names an interpreter.
    fn parse(head: &[u8]) -> Option<Self> {
        let number = |at: usize, size: usize| -> Option<u64> {
            let bytes = head.get(at..at.checked_add(size)?)?;
            Some(
                bytes
                    .iter()
                    .rev()
                    .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
            )
        };
        if !head.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let machine = match number(18, 2)? {
            62 => "x86_64".to_owned(),
            183 => "aarch64".to_owned(),
            243 => "riscv64".to_owned(),
            _ => ARCH.to_owned(),
        };
        let first = usize::try_from(number(32, 8)?).ok()?;
        let (size, count) = (
            usize::try_from(number(54, 2)?).ok()?,
            usize::try_from(number(56, 2)?).ok()?,
        );
        // A segment of type PT_INTERP.
        let dynamic =
            (0..count).any(|index| number(first.saturating_add(index * size), 4) == Some(3));
        Some(Program::Elf { machine, dynamic })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a program with one segment of this type.
    fn elf(machine: u8, segment: u8) -> Vec<u8> {
        let mut head = vec![0; 120];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = machine;
        head[32] = 64;
        head[54] = 56;
        head[56] = 1;
        head[64] = segment;
        head
    }

    #[test]
    fn a_program_is_known_by_its_header() {
        let made = |machine: &str, dynamic| {
            let machine = machine.to_owned();
            Some(Program::Elf { machine, dynamic })
        };
        assert_eq!(Program::parse(&elf(62, 1)), made("x86_64", false));
        assert_eq!(Program::parse(&elf(183, 3)), made("aarch64", true));
        assert_eq!(Program::parse(b"\xcf\xfa\xed\xfe"), None);
        assert_eq!(Program::parse(b"\x7fELF\x02\x01"), None);
    }

    #[test]
    fn it_is_said_why_a_program_cannot_run_on_the_node_and_what_to_do() {
        let path = Path::new("/bin/ckslab");
        let elf = |machine: &str, dynamic| Program::Elf {
            machine: machine.to_owned(),
            dynamic,
        };
        for (program, why) in [
            (
                elf("x86_64", false),
                "it is made for x86_64, and the node is aarch64",
            ),
            (
                elf("aarch64", true),
                "it is not linked statically, and the node lacks what it needs",
            ),
            (elf("aarch64", false), "Illegal instruction"),
            (Program::Other, "it is no program for Linux"),
        ] {
            let error = cannot_run(path, &program, "aarch64", "x\nIllegal instruction");
            let NodeError::Unreachable { reason, hint } = error else {
                panic!("{error}");
            };
            assert_eq!(
                reason,
                format!(
                    "the exercise needs a webhook receiver on the node, and `/bin/ckslab` cannot run there: {why}"
                )
            );
            assert!(hint.contains("linux/aarch64") && hint.contains("export CKSLAB_NODE_BINARY="));
        }
    }
}
