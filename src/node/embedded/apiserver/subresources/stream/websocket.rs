//! The server's end of a WebSocket (RFC 6455), as exec and attach need it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest message taken from a client.
const LIMIT: u64 = 1 << 20;

/// Opcode of a binary message.
pub(super) const BINARY: u8 = 2;
/// Opcode of the closing frame.
pub(super) const CLOSE: u8 = 8;
/// Opcode of the answer to a ping.
pub(super) const PONG: u8 = 10;

/// What a client sends.
pub(super) enum Frame {
    /// A whole message.
    Message(Vec<u8>),
    /// A question whether the server is there.
    Ping(Vec<u8>),
}

/// `Sec-WebSocket-Accept` for a key.
pub(in super::super) fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    STANDARD.encode(digest.as_ref())
}

/// A frame as a server sends it.
pub(super) fn frame(opcode: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(data.len()), u16::try_from(data.len())) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(data.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(data);
    frame
}

/// The next message or ping; `None` when the client closed or broke the protocol.
pub(super) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut message = Vec::new();
    loop {
        let first = stream.read_u8().await.ok()?;
        let second = stream.read_u8().await.ok()?;
        let length = match second & 0x7f {
            126 => u64::from(stream.read_u16().await.ok()?),
            127 => stream.read_u64().await.ok()?,
            short => u64::from(short),
        };
        if length.saturating_add(message.len() as u64) > LIMIT {
            return None;
        }
        let mut mask = [0_u8; 4];
        if second & 0x80 != 0 {
            stream.read_exact(&mut mask).await.ok()?;
        }
        let mut data = vec![0_u8; usize::try_from(length).ok()?];
        stream.read_exact(&mut data).await.ok()?;
        for (byte, key) in data.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        match first & 0x0f {
            8 => return None,
            9 if message.is_empty() => return Some(Frame::Ping(data)),
            9 | 10 => {}
            _ => {
                message.extend_from_slice(&data);
                if first & 0x80 != 0 {
                    return Some(Frame::Message(message));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_key_of_the_standard() {
        assert_eq!(
            super::accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
