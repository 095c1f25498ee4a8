//! The way to an API server whose published port this process cannot reach: Docker on another machine or
//! in another network namespace. A listener on loopback, and `docker exec` for each connection.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::command;

/// How long a connection to the published port may take to be made.
const PATIENCE: Duration = Duration::from_millis(700);
/// What carries one connection on the node; its port is a word of its own.
const SCRIPT: &str = "exec 3<>\"/dev/tcp/127.0.0.1/$1\" || exit 1
cat <&3 & from=$!
cat >&3
kill $from 2>/dev/null";
/// The port of the API server on the node.
const PORT: &str = "6443";

/// Addresses that were asked for, and what leads there.
static WAYS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The address by which this process reaches a server (`https://HOST:PORT`): its own, or that of a tunnel
/// to its node.
#[must_use]
pub fn way(server: &str, program: &str, container: &str) -> String {
    let mut ways = WAYS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(way) = ways.get(server) {
        return way.clone();
    }
    if reachable(server) {
        return server.to_owned();
    }
    let Ok(port) = open(program, container) else {
        return server.to_owned();
    };
    let way = format!("https://127.0.0.1:{port}");
    ways.insert(server.to_owned(), way.clone());
    way
}

fn reachable(server: &str) -> bool {
    let host = server.trim_start_matches("https://").trim_end_matches('/');
    let addresses = host.to_socket_addrs();
    addresses.is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
    })
}

/// Listens for connections as long as this process lives; gives the port.
fn open(program: &str, container: &str) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let (program, container) = (program.to_owned(), container.to_owned());
    thread::Builder::new()
        .name("tunnel".to_owned())
        .spawn(move || {
            for client in listener.incoming().flatten() {
                let mut command = Command::new(&program);
                command.args([
                    "exec", "-i", &container, "bash", "-c", SCRIPT, "ckslab", PORT,
                ]);
                // Without the other end the client sees its connection end.
                let _ = carry(client, &mut command);
            }
        })?;
    Ok(port)
}

/// Carries one connection, on threads of its own.
fn carry(client: TcpStream, command: &mut Command) -> io::Result<()> {
    let (mut child, guard) = command::spawn(command).map_err(io::Error::other)?;
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let mut from = client.try_clone()?;
    let mut to = client;
    let child: Arc<Mutex<Child>> = Arc::new(Mutex::new(child));
    let ended = Arc::clone(&child);
    thread::spawn(move || {
        copy(&mut from, &mut input);
        drop(input);
        // The script ends with its input; whatever else holds it must not outlive the connection.
        thread::sleep(Duration::from_millis(500));
        command::kill(&mut ended.lock().unwrap_or_else(PoisonError::into_inner));
        drop(guard);
    });
    thread::spawn(move || {
        copy(&mut output, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        drop(child);
    });
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = [0; 16384];
    while let Ok(read) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_reached_needs_no_tunnel() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap());
        assert_eq!(way(&server, "no-such-program", "node"), server);
        assert!(!reachable("https://127.0.0.1:1"));
        assert!(!reachable("no address"));
    }

    #[test]
    fn both_directions_of_a_connection_are_carried() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut command = Command::new("cat");
        carry(listener.accept().unwrap().0, &mut command).unwrap();
        client.write_all(b"there and back").unwrap();
        let mut back = [0; 14];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"there and back");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut back).unwrap(), 0);
    }
}
