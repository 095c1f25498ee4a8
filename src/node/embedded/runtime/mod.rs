//! The container runtime: containers, mounts, images, logs.

pub mod device;
pub mod image;
pub mod log;
pub mod rootfs;
