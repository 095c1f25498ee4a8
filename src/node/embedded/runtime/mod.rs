//! The container runtime: containers, mounts, images, logs.

<<<<<<< HEAD
pub mod device;
=======
pub mod go_runner;
>>>>>>> 58989fa (Security contexts, own networks, entry points and repeated pulls of static pods)
pub mod image;
pub mod log;
pub mod rootfs;
