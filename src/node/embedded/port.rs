//! A node's port, kept while its API server is down.
//!
//! A socket that is bound but does not listen refuses connections, as a port does on which nothing
//! runs; and on Linux another socket can be bound beside it only if both allow the address to be
//! reused. So a node holds its port all its life, its own API server can listen there, and whoever
//! looks for a free port finds it taken ([`is_unclaimed`]).

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port that is held; let go when dropped.
#[derive(Debug)]
pub struct Reservation {
    _socket: Socket,
}

/// Holds a loopback port, if it can be held.
#[must_use]
pub fn reserve(port: u16) -> Option<Reservation> {
    let socket = exclusive(port).or_else(|| {
        // Connections that ended a moment ago keep a port from being bound exclusively.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        socket.set_reuse_address(true).ok()?;
        socket.bind(&address(port)).ok()?;
        Some(socket)
    })?;
    socket.set_reuse_address(true).ok()?;
    Some(Reservation { _socket: socket })
}

/// Whether nobody listens on a loopback port, and nobody holds it.
#[must_use]
pub fn is_unclaimed(port: u16) -> bool {
    exclusive(port).is_some()
}

fn exclusive(port: u16) -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&address(port)).ok()?;
    Some(socket)
}

fn address(port: u16) -> socket2::SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_held_port_refuses_is_not_free_and_can_be_listened_on_by_its_node() {
        let port = (20_000..32_000).find(|port| is_unclaimed(*port)).unwrap();
        let held = reserve(port).unwrap();
        assert!(!is_unclaimed(port));
        assert_eq!(
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .unwrap_err()
                .kind(),
            std::io::ErrorKind::ConnectionRefused
        );
        for _ in 0..2 {
            // As the API server does, again and again.
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            drop(listener);
            assert!(!is_unclaimed(port));
        }
        drop(held);
    }
}
