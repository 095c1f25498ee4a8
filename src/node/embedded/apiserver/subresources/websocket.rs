//! The server's end of a WebSocket (RFC 6455), as exec and attach need it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longest message taken from a client.
const LIMIT: u64 = 1 << 20;

/// `Sec-WebSocket-Accept` for a key.
pub(super) fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    STANDARD.encode(digest.as_ref())
}

/// A connection after the upgrade.
pub(super) struct WebSocket {
    stream: TokioIo<hyper::upgrade::Upgraded>,
}

impl WebSocket {
    /// Takes over an upgraded connection.
    pub(super) fn new(upgraded: hyper::upgrade::Upgraded) -> Self {
        Self {
            stream: TokioIo::new(upgraded),
        }
    }

    /// Sends a binary message of a channel.
    pub(super) async fn send(&mut self, channel: u8, data: &[u8]) -> std::io::Result<()> {
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(channel);
        message.extend_from_slice(data);
        self.frame(2, &message).await
    }

    /// Closes normally.
    pub(super) async fn close(&mut self) -> std::io::Result<()> {
        self.frame(8, &1000_u16.to_be_bytes()).await?;
        self.stream.flush().await
    }

    async fn frame(&mut self, opcode: u8, data: &[u8]) -> std::io::Result<()> {
        let mut head = vec![0x80 | opcode];
        match (u8::try_from(data.len()), u16::try_from(data.len())) {
            (Ok(short), _) if short < 126 => head.push(short),
            (_, Ok(medium)) => {
                head.push(126);
                head.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                head.push(127);
                head.extend_from_slice(&(data.len() as u64).to_be_bytes());
            }
        }
        head.extend_from_slice(data);
        self.stream.write_all(&head).await?;
        self.stream.flush().await
    }

    /// The next message; `None` when the client closed or broke the protocol.
    pub(super) async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let first = self.stream.read_u8().await.ok()?;
            let second = self.stream.read_u8().await.ok()?;
            let length = match second & 0x7f {
                126 => u64::from(self.stream.read_u16().await.ok()?),
                127 => self.stream.read_u64().await.ok()?,
                short => u64::from(short),
            };
            if length.saturating_add(message.len() as u64) > LIMIT {
                return None;
            }
            let mut mask = [0_u8; 4];
            if second & 0x80 != 0 {
                self.stream.read_exact(&mut mask).await.ok()?;
            }
            let mut data = vec![0_u8; usize::try_from(length).ok()?];
            self.stream.read_exact(&mut data).await.ok()?;
            for (byte, key) in data.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= key;
            }
            match first & 0x0f {
                8 => return None,
                9 => self.frame(10, &data).await.ok()?,
                10 => {}
                _ => {
                    message.extend_from_slice(&data);
                    if first & 0x80 != 0 {
                        return Some(message);
                    }
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
