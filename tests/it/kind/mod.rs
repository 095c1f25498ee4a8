//! The kind engine: with programs that pretend to be `docker` and `kind`, and with a real Docker Engine
//! (ignored by default; `.ci/kind-standin/with-docker` provides one).

mod docker;
mod docker_files;
mod docker_interrupts;
mod docker_restore;
mod docker_sink;
mod pretended;
