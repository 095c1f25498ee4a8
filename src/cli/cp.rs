//! `ckslab cp`: files to and from the node.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::exit::Exit;
use crate::lab::{Home, Lab};
use crate::node::engine::{LabNode, Stat};
use crate::node::{FileChange, NodeError, go_error_text};

/// Arguments of `ckslab cp`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Paths on the node have the prefix `node:`: the node of the active lab, the one started, graded or
named last. Modes are kept.

Examples:
  ckslab cp policy.yaml node:/etc/kubernetes/audit/policy.yaml
  ckslab cp node:/var/log/kubernetes/audit/audit.log .
  ckslab cp -r node:/etc/kubernetes/manifests ./backup"
)]
pub struct CpArgs {
    /// Copy directories with everything in them
    #[arg(short, long)]
    recursive: bool,
    /// Make missing directories above the destination on the node
    #[arg(short, long)]
    parents: bool,
    /// From where; `-` is standard input
    #[arg(value_name = "SRC")]
    source: String,
    /// To where; `-` is standard output
    #[arg(value_name = "DST")]
    destination: String,
}

/// A side of a copy.
enum Side {
    Node(String),
    Host(PathBuf),
    Stream,
}

impl Side {
    fn parse(text: &str) -> anyhow::Result<Self> {
        if text == "-" {
            return Ok(Side::Stream);
        }
        match text.strip_prefix("node:") {
            Some(path) if path.starts_with('/') => Ok(Side::Node(path.to_owned())),
            // As a shell of root would: its home directory.
            Some(path) => Ok(Side::Node(format!("/root/{path}"))),
            None if text.is_empty() => Err(Failure::usage("an empty path").into()),
            None => Ok(Side::Host(PathBuf::from(text))),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When there is no lab, or a file cannot be read or written.
pub fn run(args: &CpArgs) -> anyhow::Result<Exit> {
    let (source, destination) = (Side::parse(&args.source)?, Side::parse(&args.destination)?);
    let lab = Lab::find(&Home::find()?, None)?;
    super::target::tell(&lab);
    let node = lab.node()?;
    let files = &*node;
    if let Side::Node(to) = &destination {
        prepare_parent(files, to, args.parents)?;
    }
    match (source, destination) {
        (Side::Host(from), Side::Node(to)) => put(files, &from, &to, args.recursive)?,
        (Side::Node(from), Side::Host(to)) => get(files, &from, &to, args.recursive)?,
        (Side::Node(from), Side::Node(to)) => {
            let to = into_directory(files, &to, name_of(&from));
            let (mut file, mode) = open_file(files, &from)?;
            write(files, &to, &mut file, mode)?;
        }
        (Side::Stream, Side::Node(to)) => write(files, &to, &mut io::stdin().lock(), 0o644)?,
        (Side::Node(from), Side::Stream) => {
            let (mut file, _) = open_file(files, &from)?;
            io::copy(&mut file, &mut io::stdout().lock())?;
        }
        _ => {
            return Err(Failure::usage("neither path is on the node")
                .hint("put `node:` in front of the path on the node: ckslab cp policy.yaml node:/etc/kubernetes/audit/policy.yaml")
                .into());
        }
    }
    Ok(Exit::Ok)
}

fn failed(path: &str, error: &io::Error) -> anyhow::Error {
    let text = go_error_text(error);
    let failure = Failure::environment(format!("`{path}`: {text}"));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure
            .hint("free some space, then run the command again")
            .into(),
        _ => failure.into(),
    }
}

fn on_node(path: &str) -> impl FnOnce(io::Error) -> anyhow::Error {
    let path = format!("node:{path}");
    move |error| failed(&path, &error)
}

fn on_host(path: &Path) -> impl FnOnce(io::Error) -> anyhow::Error {
    let path = path.display().to_string();
    move |error| failed(&path, &error)
}

fn name_of(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or("")
}

fn needs_recursive(path: &str) -> anyhow::Error {
    Failure::usage(format!("`{path}` is a directory"))
        .hint("ckslab cp -r copies directories")
        .into()
}

/// Opens a regular file of the node; gives its permission bits too.
fn open_file(files: &dyn LabNode, path: &str) -> anyhow::Result<(Box<dyn io::Read>, u32)> {
    match files.stat(path, true).map_err(on_node(path))? {
        Stat::File(mode) => Ok((files.open(path).map_err(on_node(path))?, mode)),
        Stat::Directory(_) => Err(needs_recursive(&format!("node:{path}"))),
        _ => Err(Failure::environment(format!("`node:{path}` is no regular file")).into()),
    }
}

fn is_directory(files: &dyn LabNode, path: &str) -> bool {
    matches!(files.stat(path, true), Ok(Stat::Directory(_)))
}

/// Changes something on the node.
fn change(files: &dyn LabNode, path: &str, change: FileChange<'_>) -> anyhow::Result<()> {
    files.change(path, change).map_err(of_node(path))
}

fn of_node(path: &str) -> impl FnOnce(NodeError) -> anyhow::Error {
    let on_node = on_node(path);
    move |error| match error {
        NodeError::Io { source, .. } => on_node(source),
        other => other.into(),
    }
}

/// The path within a directory, where the path is one (or is written as one).
fn into_directory(files: &dyn LabNode, path: &str, name: &str) -> String {
    if path.ends_with('/') || is_directory(files, path) {
        format!("{}/{name}", path.trim_end_matches('/'))
    } else {
        path.to_owned()
    }
}

/// Makes sure that there is a directory to put something into.
fn prepare_parent(files: &dyn LabNode, to: &str, parents: bool) -> anyhow::Result<()> {
    // `a/b/` names a directory, `a/b` something in one.
    let directory = match to.strip_suffix('/') {
        Some(directory) => directory,
        None => to.rsplit_once('/').map_or("", |(directory, _)| directory),
    };
    let mut path = String::new();
    for part in directory.split('/').filter(|part| !part.is_empty()) {
        path.push('/');
        path.push_str(part);
        if let Ok(Stat::Link(target)) = files.stat(&path, false)
            && files.stat(&path, true).is_err()
        {
            return Err(Failure::environment(format!(
                "`node:{path}` is a link to `{target}`, which does not exist on the node"
            ))
            .hint("links of a node lead to paths of that node: ckslab cp straight to where the file belongs")
            .into());
        }
    }
    if directory.is_empty() || files.stat(directory, true).is_ok() {
        return Ok(());
    }
    if parents {
        return change(files, directory, FileChange::Directory { mode: 0o755 });
    }
    Err(
        Failure::environment(format!("there is no directory `{directory}` on the node"))
            .hint(format!(
                "ckslab cp --parents makes it, or: ckslab exec -- mkdir -p {directory}"
            ))
            .into(),
    )
}

/// Writes a file of the node from a stream.
fn write(
    files: &dyn LabNode,
    path: &str,
    content: &mut dyn io::Read,
    mode: u32,
) -> anyhow::Result<()> {
    if name_of(path).is_empty() {
        return Err(Failure::usage(format!("`node:{path}` names no file")).into());
    }
    files.put(path, content, mode).map_err(on_node(path))
}

fn put(files: &dyn LabNode, from: &Path, to: &str, recursive: bool) -> anyhow::Result<()> {
    let metadata = fs::metadata(from).map_err(on_host(from))?;
    let name = from
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if metadata.is_dir() {
        if !recursive {
            return Err(needs_recursive(&from.display().to_string()));
        }
        let to = if is_directory(files, to) && !name.is_empty() {
            format!("{}/{name}", to.trim_end_matches('/'))
        } else {
            to.trim_end_matches('/').to_owned()
        };
        return put_tree(files, from, &to);
    }
    if !metadata.is_file() {
        return Err(
            Failure::environment(format!("`{}` is no regular file", from.display())).into(),
        );
    }
    let to = into_directory(files, to, &name);
    let mut file = File::open(from).map_err(on_host(from))?;
    write(files, &to, &mut file, metadata.permissions().mode())
}

fn put_tree(files: &dyn LabNode, from: &Path, to: &str) -> anyhow::Result<()> {
    let mode = fs::metadata(from)
        .map_err(on_host(from))?
        .permissions()
        .mode();
    if !is_directory(files, to) {
        change(files, to, FileChange::Directory { mode: 0o755 })?;
    }
    for entry in fs::read_dir(from).map_err(on_host(from))? {
        let entry = entry.map_err(on_host(from))?;
        let target = format!("{to}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(on_host(&entry.path()))?;
        if kind.is_dir() {
            put_tree(files, &entry.path(), &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(entry.path()).map_err(on_host(&entry.path()))?;
            let link = link.to_string_lossy();
            change(files, &target, FileChange::Link { target: &link })?;
        } else if kind.is_file() {
            let mut file = File::open(entry.path()).map_err(on_host(&entry.path()))?;
            let mode = file.metadata().map_err(on_host(&entry.path()))?;
            write(files, &target, &mut file, mode.permissions().mode())?;
        }
    }
    change(files, to, FileChange::Mode(mode & 0o7777))
}

fn get(files: &dyn LabNode, from: &str, to: &Path, recursive: bool) -> anyhow::Result<()> {
    let stat = files.stat(from, true).map_err(on_node(from))?;
    let name = name_of(from);
    let to = if to.is_dir() && !name.is_empty() {
        to.join(name)
    } else {
        to.to_path_buf()
    };
    if let Stat::Directory(mode) = stat {
        if !recursive {
            return Err(needs_recursive(&format!("node:{from}")));
        }
        return get_tree(files, from, &to, mode);
    }
    get_file(files, from, &to)
}

fn get_file(files: &dyn LabNode, from: &str, to: &Path) -> anyhow::Result<()> {
    let (mut file, mode) = open_file(files, from)?;
    let mut out = File::create(to).map_err(on_host(to))?;
    io::copy(&mut file, &mut out).map_err(on_host(to))?;
    out.set_permissions(fs::Permissions::from_mode(mode & 0o7777))
        .map_err(on_host(to))
}

fn get_tree(files: &dyn LabNode, from: &str, to: &Path, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(to).map_err(on_host(to))?;
    for name in files.list(from).map_err(of_node(from))? {
        let source = format!("{}/{name}", from.trim_end_matches('/'));
        let target = to.join(&name);
        match files.stat(&source, false).map_err(on_node(&source))? {
            Stat::Directory(mode) => get_tree(files, &source, &target, mode)?,
            Stat::Link(link) => {
                // A link of the node means something on the node only: it is copied as it is written.
                let _ = fs::remove_file(&target);
                std::os::unix::fs::symlink(link, &target).map_err(on_host(&target))?;
            }
            Stat::File(_) => get_file(files, &source, &target)?,
            Stat::Other => {}
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(mode & 0o7777)).map_err(on_host(to))
}
