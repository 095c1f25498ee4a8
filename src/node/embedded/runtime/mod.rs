//! The container runtime: containers, mounts, logs.

pub mod rootfs;
