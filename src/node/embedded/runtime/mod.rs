//! The container runtime: containers, mounts, images, logs.

pub mod device;
pub mod go_runner;
pub mod image;
pub mod log;
pub mod rootfs;
pub mod stand_in;
