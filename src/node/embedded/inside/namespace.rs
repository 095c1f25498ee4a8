//! A process of the node: private user, mount, process, IPC and host-name namespaces whose `/` is the
//! node root.
//!
//! The node root itself becomes `/`, so whatever a command writes is on the node, and the node
//! process sees it. Over it lie the host's programs (`/usr`, read-only), `/proc`, a minimal `/dev`,
//! and `/run/ckslab` with the node's tools. Mount points lie in the node root or on file systems of
//! the namespace: none is ever made on the host.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::thread::UnshareFlags;

use super::super::confine::Confined;
use super::super::daemon::Config;
use super::super::kubelet::REQUESTS;
use super::super::root::STATE_CA;
use super::limits;
use super::mounts::{bind_read_only, directory};
use super::proc::{self, Processes};

/// Where the node's tools and what they read are, inside.
pub const RUN: &str = "/run/ckslab";

/// `PATH` inside.
const PATH: &str = "/run/ckslab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables of the caller that make sense inside.
const KEPT: [&str; 11] = [
    "COLORTERM",
    "COLUMNS",
    "EDITOR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LINES",
    "NO_COLOR",
    "PAGER",
    "TERM",
    "VISUAL",
];

/// Files and directories of the host's `/etc` that its programs need, where the node has them too
/// (as empty mount points).
pub(crate) const HOST_ETC: [(&str, bool); 9] = [
    ("alternatives", true),
    ("terminfo", true),
    ("vim", true),
    ("bash.bashrc", false),
    ("inputrc", false),
    ("ld.so.cache", false),
    ("localtime", false),
    ("nanorc", false),
    ("vimrc", false),
];

/// What failed on the way in.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct Failed {
    what: String,
    source: io::Error,
}

pub(super) fn tried<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failed {
    let what = what.into();
    move |source| Failed {
        what,
        source: source.into(),
    }
}

/// Tries whether this system allows it. The caller's process is changed: only for a process of its own.
///
/// # Errors
/// What the system does not allow.
pub fn probe() -> Result<(), Failed> {
    leave("probe")?;
    // Any directory there is will do: the mount is private.
    mount("tmpfs", "/tmp", "tmpfs", MountFlags::NOSUID, None).map_err(tried("mount"))?;
    Ok(())
}

/// The command (a shell where there is none), about to be run in the namespace [`build`] made.
///
/// It is started through this program once more, which gives it a session of its own.
pub fn command(config: &Config, argv: &[OsString], terminal: bool) -> Command {
    let shell = argv.is_empty();
    let (program, arguments): (OsString, Vec<OsString>) = match argv {
        [first, rest @ ..] => (first.clone(), rest.to_vec()),
        [] if Path::new("/bin/bash").exists() => ("/bin/bash".into(), vec!["-i".into()]),
        [] => ("/bin/sh".into(), vec!["-i".into()]),
    };
    let mut command = Command::new(format!("{RUN}/ckslab"));
    command
        .env_clear()
        .arg(super::SUBCOMMAND)
        .args(["--stage", "command"]);
    if terminal {
        command.arg("--terminal");
    }
    command.args(["--", "/"]).arg(program).args(arguments);
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("USER", "root")
        .env("LOGNAME", "root")
        .env("SHELL", "/bin/bash")
        .env("HOSTNAME", &config.spec.node_name)
        .env("KUBECONFIG", "/etc/kubernetes/admin.conf")
        .env("CKSLAB_NODE_ROOT", "/")
        .env("CKSLAB_NODE_SHELL", "namespace");
    if shell {
        command.env("PS1", format!("root@{}:\\w# ", config.spec.node_name));
    }
    let home = Path::new("/root");
    command.current_dir(if home.is_dir() { home } else { Path::new("/") });
    command
}

/// Makes the node's `/` that of this process, the first of its process namespace.
///
/// # Errors
/// What the system does not allow.
pub fn build(config: &Config) -> Result<Processes, Failed> {
    let root = &config.node_root;
    // Before the host's files are out of sight.
    let program = std::env::current_exe().map_err(tried("find this program"))?;
    let kubectl = find_program("kubectl");
    no_links(&Confined::new(root))?;

    // The node root becomes a mount of its own, which `pivot_root` needs.
    mount_bind(root, root).map_err(tried("bind the node root"))?;
    programs(root)?;
    etc(root)?;
    devices(root)?;
    for name in ["proc", "sys"] {
        directory(&root.join(name))?;
    }
    let shown = proc::mount_proc(&root.join("proc"))?;
    tools(config, root, &program, kubectl.as_deref(), &shown)?;

    std::env::set_current_dir(root).map_err(tried("enter the node root"))?;
    // The old root lies over the new one, and is taken away: no mount point is needed for it.
    rustix::process::pivot_root(".", ".").map_err(tried("pivot_root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(tried("leave the host's root"))?;
    std::env::set_current_dir("/").map_err(tried("enter /"))?;
    limits::drop_capabilities();
    Ok(shown)
}

/// Directories of the node that things are made or mounted in before it is entered.
const MOUNT_POINTS: [&str; 7] = ["dev", "etc", "proc", "run", RUN, "sys", "usr"];

/// Refuses a node where one of these is a link: it would be followed on the host.
fn no_links(node: &Confined) -> Result<(), Failed> {
    for path in MOUNT_POINTS {
        let found = node.symlink_metadata(path);
        if found.is_ok_and(|meta| !meta.is_dir()) {
            let path = path.trim_start_matches('/');
            let error = io::Error::other(format!(
                "`/{path}` of the node is no directory: remove it to enter the node"
            ));
            return Err(tried("mount")(error));
        }
    }
    Ok(())
}

/// Leaves the host's namespaces: root of new ones, which nobody else sees. The process namespace is
/// that of the next process this one starts.
///
/// # Errors
/// What the system does not allow.
pub fn leave(host_name: &str) -> Result<(), Failed> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    #[expect(
        deprecated,
        reason = "deprecated in favour of an unsafe twin because of shared file descriptor tables, which are not unshared here"
    )]
    rustix::thread::unshare(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWPID,
    )
    .map_err(tried("unshare"))?;
    // A group may be mapped only by who cannot drop groups.
    fs::write("/proc/self/setgroups", "deny").map_err(tried("deny setgroups"))?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).map_err(tried("map the user"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).map_err(tried("map the group"))?;
    limits::no_user_namespaces_within();
    rustix::system::sethostname(host_name.as_bytes()).map_err(tried("set the host name"))?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(tried("make mounts private"))
}

/// The host's programs, read-only: `/usr`, and what an older system keeps beside it.
fn programs(root: &Path) -> Result<(), Failed> {
    directory(&root.join("usr"))?;
    bind_read_only(Path::new("/usr"), &root.join("usr"))?;
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix"] {
        let host = Path::new("/").join(name);
        let inside = root.join(name);
        let Ok(metadata) = fs::symlink_metadata(&host) else {
            continue;
        };
        if metadata.is_symlink() {
            if fs::symlink_metadata(&inside).is_err()
                && let Ok(target) = fs::read_link(&host)
            {
                symlink(target, &inside).map_err(tried(format!("link /{name}")))?;
            }
        } else if metadata.is_dir() {
            // Made by an earlier system of another layout.
            if fs::symlink_metadata(&inside).is_ok_and(|meta| meta.is_symlink()) {
                let _ = fs::remove_file(&inside);
            }
            directory(&inside)?;
            bind_read_only(&host, &inside)?;
        }
    }
    Ok(())
}

fn etc(root: &Path) -> Result<(), Failed> {
    for (name, is_dir) in HOST_ETC {
        let host = Path::new("/etc").join(name);
        let inside = root.join("etc").join(name);
        let fits = |path: &Path| {
            fs::symlink_metadata(path).is_ok_and(|m| !m.is_symlink() && m.is_dir() == is_dir)
        };
        // `localtime` is a link on most hosts: what it leads to is bound.
        let there = fs::metadata(&host).is_ok_and(|meta| meta.is_dir() == is_dir);
        if there && fits(&inside) {
            bind_read_only(&host, &inside)?;
        }
    }
    Ok(())
}

fn devices(root: &Path) -> Result<(), Failed> {
    let dev = root.join("dev");
    directory(&dev)?;
    mount(
        "tmpfs",
        &dev,
        "tmpfs",
        MountFlags::NOSUID,
        Some(c"mode=755"),
    )
    .map_err(tried("mount /dev"))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let host = Path::new("/dev").join(name);
        let inside = dev.join(name);
        if host.exists() {
            fs::write(&inside, "").map_err(tried(format!("make /dev/{name}")))?;
            // Read-only, a device can be written to all the same; its mode and owner cannot be changed.
            bind_read_only(&host, &inside)?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name)).map_err(tried(format!("link /dev/{name}")))?;
    }
    directory(&dev.join("shm"))?;
    directory(&dev.join("pts"))?;
    // Terminals of the node. Without, the command has only the streams it is given.
    let _ = mount(
        "devpts",
        dev.join("pts"),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(c"newinstance,ptmxmode=0666,mode=620"),
    );
    Ok(())
}

/// Tools of the node that only look into `/proc`.
const PROCESS_TOOLS: [&str; 5] = ["ps", "pgrep", "pkill", "pidof", "kill"];

/// `/run/ckslab`: the node's tools (this program by other names) and what they read.
fn tools(
    config: &Config,
    root: &Path,
    program: &Path,
    kubectl: Option<&Path>,
    shown: &Processes,
) -> Result<(), Failed> {
    directory(&root.join("run"))?;
    let run = root.join(RUN.trim_start_matches('/'));
    directory(&run)?;
    mount(
        "tmpfs",
        &run,
        "tmpfs",
        MountFlags::NOSUID,
        Some(c"mode=755"),
    )
    .map_err(tried("mount /run/ckslab"))?;
    let bin = run.join("bin");
    let state = run.join("state");
    directory(&bin)?;
    directory(&state)?;
    let own = run.join("ckslab");
    fs::write(&own, "").map_err(tried("make /run/ckslab/ckslab"))?;
    bind_read_only(program, &own)?;
    // With the node's processes in `/proc`, the host's `ps` and its like tell the truth.
    let real = |name: &&str| {
        matches!(shown, Processes::Kernel { .. })
            && PROCESS_TOOLS.contains(name)
            && Path::new("/usr/bin").join(name).exists()
    };
    for name in super::TOOLS.into_iter().chain([super::SUDO]) {
        if real(&name) {
            continue;
        }
        symlink("../ckslab", bin.join(name)).map_err(tried(format!("link {name}")))?;
    }
    if let Some(kubectl) = kubectl.filter(|path| !path.starts_with("/usr")) {
        let inside = bin.join("kubectl");
        fs::write(&inside, "").map_err(tried("make kubectl"))?;
        bind_read_only(kubectl, &inside)?;
    }
    // Tools read the state of the simulation, and leave requests for the kubelet.
    bind_read_only(&config.state_dir, &state)?;
    let ca = state.join(STATE_CA);
    if ca.is_dir() {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", &ca, "tmpfs", flags, None).map_err(tried("hide the records"))?;
    }
    let requests = config.state_dir.join(REQUESTS);
    if requests.is_dir() {
        mount_bind(&requests, state.join(REQUESTS)).map_err(tried("bind requests"))?;
    }
    Ok(())
}

/// A program of the host's `PATH`, links resolved.
fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .and_then(|path| path.canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_behind_a_link_of_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("node"), dir.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        let node = Confined::new(&root);
        no_links(&node).unwrap();
        directory(&root.join("run")).unwrap();
        no_links(&node).unwrap();
        symlink(&outside, root.join("run/ckslab")).unwrap();
        assert!(directory(&root.join("run/ckslab")).is_err());
        let error = no_links(&node).unwrap_err().to_string();
        assert_eq!(
            error,
            "mount: `/run/ckslab` of the node is no directory: remove it to enter the node"
        );
        fs::remove_dir_all(root.join("run")).unwrap();
        symlink(outside.join("new"), root.join("dev")).unwrap();
        assert!(directory(&root.join("dev")).is_err());
        assert!(no_links(&node).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
