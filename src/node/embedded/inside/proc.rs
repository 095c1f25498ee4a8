//! `/proc` of the node: the processes of the namespace, and nothing with which the machine is changed.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use rustix::mount::{MountFlags, mount};

use super::mounts::bind_read_only;
use super::namespace::{Failed, tried};

/// What `/proc` inside is.
#[derive(Debug)]
pub enum Processes {
    /// The kernel's, of the process namespace.
    Kernel {
        /// Sets the process id that the kernel gives next (less one); `None` where it cannot be set.
        next: Option<File>,
    },
    /// Files of ours, where the kernel's is refused.
    Files,
}

/// Files of `/proc` that say nothing of processes.
const HOST_PROC: [&str; 9] = [
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "version",
    "vmstat",
];

/// Files of the kernel's `/proc` that tell of the machine what is nobody's business; container runtimes
/// hide the same.
const HIDDEN: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "key-users",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
];

/// Mounts `/proc`, which shows the processes of the namespace only.
///
/// It is read-only. Settings of the kernel (`/proc/sys/kernel/core_pattern`, `/proc/sysrq-trigger`) go
/// by the user id: root of the machine could change them from within any namespace.
///
/// # Errors
/// What the system does not allow.
pub(super) fn mount_proc(proc: &Path) -> Result<Processes, Failed> {
    // The machine's is still there, and is about the namespace of whoever opens it.
    let next = OpenOptions::new()
        .write(true)
        .open("/proc/sys/kernel/ns_last_pid")
        .ok();
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if mount("proc", proc, "proc", flags | MountFlags::RDONLY, None).is_ok() {
        for name in HIDDEN {
            hide(&proc.join(name))?;
        }
        return Ok(Processes::Kernel { next });
    }
    // Refused where the `/proc` of this machine is itself masked, as in most containers. The host's
    // would show its processes.
    mount("tmpfs", proc, "tmpfs", flags, Some(c"mode=555")).map_err(tried("mount /proc"))?;
    for name in HOST_PROC {
        let host = Path::new("/proc").join(name);
        let inside = proc.join(name);
        if host.is_file() {
            fs::write(&inside, "").map_err(tried(format!("make /proc/{name}")))?;
            bind_read_only(&host, &inside)?;
        }
    }
    Ok(Processes::Files)
}

fn hide(path: &Path) -> Result<(), Failed> {
    let shown = path.display().to_string();
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
            mount("tmpfs", path, "tmpfs", flags, None).map_err(tried(format!("hide {shown}")))
        }
        Ok(_) => bind_read_only(Path::new("/dev/null"), path),
        Err(_) => Ok(()),
    }
}
