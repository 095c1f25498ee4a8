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
/// Opcode of a question whether the other end is there.
const PING: u8 = 9;
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

/// The next message or ping; `None` when the client closed or broke the protocol (sections 5.2, 5.4 and 5.5).
pub(super) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut message = None::<Vec<u8>>;
    loop {
        let first = stream.read_u8().await.ok()?;
        let second = stream.read_u8().await.ok()?;
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0f);
        let length = match second & 0x7f {
            126 => u64::from(stream.read_u16().await.ok()?),
            127 => stream.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let before = message.as_ref().map_or(0, Vec::len) as u64;
        let is_control = opcode >= CLOSE;
        let is_sound = first & 0x70 == 0
            && second & 0x80 != 0
            && match opcode {
                0 => message.is_some(),
                1 | BINARY => message.is_none(),
                CLOSE | PING | PONG => is_last && length < 126,
                _ => false,
            };
        if !is_sound || length.saturating_add(before) > LIMIT {
            return None;
        }
        let mut mask = [0_u8; 4];
        stream.read_exact(&mut mask).await.ok()?;
        let mut data = vec![0_u8; usize::try_from(length).ok()?];
        stream.read_exact(&mut data).await.ok()?;
        for (byte, key) in data.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        match opcode {
            CLOSE => return None,
            // Within a message it is not answered.
            PING if message.is_none() => return Some(Frame::Ping(data)),
            _ if is_control => {}
            _ => {
                let mut whole = message.take().unwrap_or_default();
                whole.append(&mut data);
                if is_last {
                    return Some(Frame::Message(whole));
                }
                message = Some(whole);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, receive};

    async fn received(bytes: &[u8]) -> Option<Vec<u8>> {
        match receive(&mut &*bytes).await? {
            Frame::Message(data) => Some(data),
            Frame::Ping(data) => Some([b"ping ", data.as_slice()].concat()),
        }
    }

    #[tokio::test]
    async fn what_breaks_the_protocol_ends_the_connection() {
        const NO_MASK: [u8; 4] = [0; 4];
        let masked = |first: u8, data: &[u8]| {
            let length = u8::try_from(data.len()).unwrap() | 0x80;
            [&[first, length], &NO_MASK[..], data].concat()
        };
        let whole = masked(0x82, b"hi");
        assert_eq!(received(&whole).await.unwrap(), b"hi");
        assert_eq!(received(&masked(0x89, b"?")).await.unwrap(), b"ping ?");
        let pieces = [masked(2, b"h"), masked(0x8a, b""), masked(0x80, b"i")].concat();
        assert_eq!(received(&pieces).await.unwrap(), b"hi");
        for bytes in [
            vec![0x82, 2, b'h', b'i'],
            masked(0xc2, b"hi"),
            masked(0x80, b"hi"),
            masked(0x83, b"hi"),
            masked(0x8b, b"hi"),
            masked(0x09, b"?"),
            [masked(2, b"h"), masked(0x82, b"i")].concat(),
            [&[0x89, 0xfe, 0, 126], &NO_MASK[..], &[0; 126]].concat(),
            [&[0x82, 0xff], &[0xff; 8][..], &NO_MASK].concat(),
            whole[..whole.len() - 1].to_vec(),
        ] {
            assert_eq!(received(&bytes).await, None, "{bytes:?}");
        }
    }

    #[test]
    fn the_key_of_the_standard() {
        assert_eq!(
            super::accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
