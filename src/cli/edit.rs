//! `ckslab edit`: a file of the node in an editor of this machine.

use std::fs;
use std::io::Read;
use std::process::Command;

use super::failure::Failure;
use super::{output, target};
use crate::exit::Exit;
use crate::node::engine::Stat;

/// Arguments of `ckslab edit`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The editor is $VISUAL or $EDITOR, else vim, vi or nano. The file is written back at once when the
editor ends well and the content has changed; its mode is kept.

Examples:
  ckslab edit /etc/kubernetes/manifests/kube-apiserver.yaml
  EDITOR=nano ckslab edit /etc/kubernetes/audit/policy.yaml"
)]
pub struct EditArgs {
    /// File on the node of the active lab; one that is not there yet is made
    #[arg(value_name = "PATH")]
    path: String,
}

/// Files larger than this are not for an editor.
const LARGEST: u64 = 16 << 20;

/// Runs the command.
///
/// # Errors
/// When there is no lab, the file cannot be read or written, or no editor can be run.
pub fn run(args: &EditArgs) -> anyhow::Result<Exit> {
    let path = args.path.strip_prefix("node:").unwrap_or(&args.path);
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(
            Failure::usage(format!("`{path}` is no path of a file on the node"))
                .hint("ckslab edit /etc/kubernetes/manifests/kube-apiserver.yaml")
                .into(),
        );
    }
    let lab = target::running(None)?;
    target::tell(&lab);
    let node = lab.node()?;
    let failed = |error: std::io::Error| Failure::environment(format!("`node:{path}`: {error}"));
    let (before, mode) = match node.stat(path, true) {
        Ok(Stat::File(mode)) => {
            let mut content = Vec::new();
            let file = node.open(path).map_err(failed)?;
            file.take(LARGEST + 1).read_to_end(&mut content)?;
            if content.len() as u64 > LARGEST {
                return Err(Failure::environment(format!(
                    "`node:{path}` is too large to be edited"
                ))
                .hint("ckslab cp copies files of any size")
                .into());
            }
            (Some(content), mode)
        }
        Ok(_) => {
            return Err(Failure::environment(format!("`node:{path}` is no regular file")).into());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, 0o644),
        Err(error) => return Err(failed(error).into()),
    };
    let dir = tempfile::Builder::new().prefix("ckslab-edit-").tempdir()?;
    let name = path.rsplit('/').next().unwrap_or("file");
    let copy = dir.path().join(name);
    fs::write(&copy, before.as_deref().unwrap_or_default())?;
    let editor = editor().ok_or_else(|| {
        Failure::environment("no editor is found")
            .hint("set EDITOR, for example: export EDITOR=nano")
    })?;
    // An editor may be given with arguments, as `code --wait`: the shell takes them apart.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(&copy)
        .status()?;
    if !status.success() {
        return Err(
            Failure::environment(format!("the editor `{editor}` ended with {status}"))
                .hint("nothing was written; set EDITOR to choose another one")
                .into(),
        );
    }
    let after = fs::read(&copy)?;
    if before.as_deref() == Some(after.as_slice()) || (before.is_none() && after.is_empty()) {
        output::note("nothing was changed");
        return Ok(Exit::Ok);
    }
    node.put(path, &mut after.as_slice(), mode)
        .map_err(failed)?;
    Ok(Exit::Ok)
}

/// The user's editor, else one that is there.
fn editor() -> Option<String> {
    ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|editor| !editor.trim().is_empty())
        .or_else(|| {
            let path = std::env::var_os("PATH")?;
            ["vim", "vi", "nano"]
                .into_iter()
                .find(|name| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
                .map(str::to_owned)
        })
}
