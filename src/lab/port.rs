//! Loopback ports of labs.
//!
//! A lab keeps its port for life: kubeconfigs name it. Ports are taken from below the range the
//! kernel gives to outgoing connections, and a running node holds its port while its API server is down.

use std::net::{Ipv4Addr, TcpListener};

use super::Home;
use crate::node::embedded::daemon::Config;
use crate::node::embedded::port::is_unclaimed;

const FIRST: u16 = 20000;
const COUNT: u16 = 12000;

/// The lock under which ports are chosen; no lab can have this name.
pub(super) const LOCK: &str = ".ports";

/// Whether nobody listens on a port now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A free port that no lab of this home has, and no running lab of another one.
#[must_use]
pub fn choose(home: &Home) -> Option<u16> {
    let taken: Vec<u16> = home
        .ids()
        .iter()
        .filter_map(|id| Config::load(&home.lab(id)).ok())
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
        let dir = tempfile::tempdir().unwrap();
        let port = choose(&Home::at(dir.path())).unwrap();
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        drop(held);
    }
}
