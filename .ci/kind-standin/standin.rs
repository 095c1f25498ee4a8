//! Two small programs of the stand-in node image, told apart by the name they are called by.
//!
//! `forward FROM TO`: a TCP forwarder. Anything else: sleeps under that name until it is ended.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16384];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let name = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(""));
    if name != "forward" {
        loop {
            thread::park();
        }
    }
    let listener = TcpListener::bind(&words[1]).expect("the port is free");
    for client in listener.incoming().flatten() {
        let Ok(server) = TcpStream::connect(&words[2]) else {
            continue;
        };
        let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        thread::spawn(move || copy(client, server));
        thread::spawn(move || copy(server2, client2));
    }
}
