//! Loopback ports of labs.
//!
//! A lab keeps its port for life: kubeconfigs name it. Ports are taken from below the range the
//! kernel gives to outgoing connections, and a running node holds its port while its API server is down.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use super::daemon::Config;
use super::port::is_unclaimed;

const FIRST: u16 = 20000;
const COUNT: u16 = 12000;

/// Whether nobody listens on a port now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A free port that no lab of these directories has, and no running lab elsewhere.
#[must_use]
pub fn choose(labs: &[PathBuf]) -> Option<u16> {
    let taken: Vec<u16> = labs
        .iter()
        .filter_map(|dir| Config::load(dir).ok())
        .map(|config| config.spec.api_port)
        .collect();
    let start = rand::random::<u16>() % COUNT;
    (0..COUNT)
        .map(|step| FIRST + (start + step) % COUNT)
        .find(|port| !taken.contains(port) && is_unclaimed(*port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_port_can_be_bound_and_then_is_not_free() {
        let port = choose(&[]).unwrap();
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        drop(held);
    }
}
