//! The devices in `/dev` of a container that a program may write to.

/// A device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Standard output of the process.
    Stdout,
    /// Standard error of the process.
    Stderr,
    /// Takes everything and keeps nothing.
    Null,
    /// Never has room: every write fails with `no space left on device`.
    Full,
}

impl Device {
    /// The device with this absolute path, links in the middle resolved.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" | "/proc/1/fd/1" => Self::Stdout,
            "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" | "/proc/1/fd/2" => Self::Stderr,
            // Standard input of a static pod's container is /dev/null.
            "/dev/null" | "/dev/zero" | "/dev/random" | "/dev/urandom" | "/dev/stdin" => Self::Null,
            "/dev/full" => Self::Full,
            _ => return None,
        })
    }
}
