//! What a command of the node may not do, whoever it is: root of the machine too, whose user id files
//! and settings of the kernel go by, not by capabilities.

use std::fs;
use std::os::fd::RawFd;

use rustix::thread::CapabilitySet;

/// Capabilities nobody inside has: those with which mounts are changed, devices made, other processes'
/// memory read, limits lifted, or the network reconfigured.
const DROPPED: [CapabilitySet; 22] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::SYS_TIME,
    CapabilitySet::SYS_RESOURCE,
    CapabilitySet::SYS_PACCT,
    CapabilitySet::SYS_TTY_CONFIG,
    CapabilitySet::SYSLOG,
    CapabilitySet::MKNOD,
    CapabilitySet::NET_ADMIN,
    CapabilitySet::NET_RAW,
    CapabilitySet::SETFCAP,
    CapabilitySet::LINUX_IMMUTABLE,
    CapabilitySet::MAC_ADMIN,
    CapabilitySet::MAC_OVERRIDE,
    CapabilitySet::AUDIT_CONTROL,
    CapabilitySet::AUDIT_READ,
    CapabilitySet::BPF,
    CapabilitySet::PERFMON,
    CapabilitySet::CHECKPOINT_RESTORE,
];

/// Takes the capabilities from every process this one starts. It keeps them itself, so that none of
/// those can look into it.
pub(super) fn drop_capabilities() {
    for capability in DROPPED {
        // One that this kernel does not know is held by nobody.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
}

/// No user namespace within the new one: in its own, everybody has all capabilities again.
///
/// Best effort: where `/proc/sys` is read-only (containers), that container's own rules hold.
pub(super) fn no_user_namespaces_within() {
    let _ = fs::write("/proc/sys/user/max_user_namespaces", "0");
}

/// The last steps of a process that is about to become a command: no privilege from a program's file,
/// and no file but the standard streams, whatever the caller of `ckslab` had open.
pub(super) fn become_plain() {
    let _ = rustix::thread::set_no_new_privs(true);
    let open = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd"));
    let numbers: Vec<RawFd> = match open {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect(),
        // No `/proc` of this namespace: all that are likely.
        Err(_) => (3..1024).collect(),
    };
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _ = nix::unistd::close(number);
    }
}
