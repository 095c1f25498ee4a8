//! The server's end of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, sections 2.2 to 2.6), as clients before WebSockets
//! speak it, and as port-forward speaks it within WebSocket messages. Like the real server's, this end has no
//! flow control.

use std::collections::{HashMap, HashSet};

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use tokio::sync::mpsc;

use super::Wire;

/// What both ends know of headers before the first one (section 2.6.10.1).
const DICTIONARY: &[u8] = include_bytes!("spdy.dictionary");
/// Longest frame taken.
const FRAME: usize = 1 << 20;
/// Longest block of headers taken, inflated.
const HEADERS: usize = 64 << 10;
/// Most open streams.
const STREAMS: usize = 256;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;

/// What a client does.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Event {
    /// It opens a stream.
    Open(u32, HashMap<String, String>),
    /// It sends on a stream.
    Data(u32, Vec<u8>),
    /// It sends no more on a stream.
    End(u32),
}

/// Reads frames.
pub(in super::super) struct Reader {
    incoming: mpsc::Receiver<Vec<u8>>,
    sender: Sender,
    buffer: Vec<u8>,
    inflater: Inflater,
    open: HashSet<u32>,
    /// Of one frame the second thing it says.
    next: Option<Event>,
}

/// Writes frames.
#[derive(Clone)]
pub(in super::super) struct Sender(mpsc::Sender<Vec<u8>>);

/// Takes over a connection.
pub(in super::super) fn start(wire: Wire) -> (Reader, Sender) {
    let sender = Sender(wire.outgoing);
    let reader = Reader {
        incoming: wire.incoming,
        sender: sender.clone(),
        buffer: Vec::new(),
        inflater: Inflater::new(),
        open: HashSet::new(),
        next: None,
    };
    (reader, sender)
}

impl Sender {
    /// Accepts a stream. Its answer has no headers: four zero bytes in a zlib stream that is never ended, as
    /// stored blocks, which need no compressor; the empty one says that this is all for now.
    pub(in super::super) async fn accept(&self, stream: u32, is_first: bool) -> bool {
        const START: [u8; 2] = [0x78, 0x01];
        const NOTHING: [u8; 14] = [0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let mut body = stream.to_be_bytes().to_vec();
        if is_first {
            body.extend_from_slice(&START);
        }
        body.extend_from_slice(&NOTHING);
        self.control(SYN_REPLY, 0, &body).await
    }

    /// Sends on a stream.
    pub(in super::super) async fn data(&self, stream: u32, data: &[u8], end: bool) -> bool {
        let mut frame = (stream & 0x7fff_ffff).to_be_bytes().to_vec();
        let size = u32::try_from(data.len()).unwrap_or_default() & 0x00ff_ffff;
        frame.extend_from_slice(&(u32::from(if end { FIN } else { 0 }) << 24 | size).to_be_bytes());
        frame.extend_from_slice(data);
        self.0.send(frame).await.is_ok()
    }

    /// Ends a stream in both directions.
    pub(in super::super) async fn reset(&self, stream: u32) -> bool {
        const CANCEL: u32 = 5;
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&CANCEL.to_be_bytes());
        self.control(RST_STREAM, 0, &body).await
    }

    async fn control(&self, kind: u16, flags: u8, body: &[u8]) -> bool {
        let mut frame = 0x8003_u16.to_be_bytes().to_vec();
        frame.extend_from_slice(&kind.to_be_bytes());
        let size = u32::try_from(body.len()).unwrap_or_default();
        frame.extend_from_slice(&(u32::from(flags) << 24 | size).to_be_bytes());
        frame.extend_from_slice(body);
        self.0.send(frame).await.is_ok()
    }
}

impl Reader {
    /// What the client does next; `None` when it is gone or broke the protocol.
    pub(in super::super) async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.next.take() {
            return Some(event);
        }
        loop {
            while let Some(frame) = self.frame()? {
                if let Some(event) = self.understand(&frame).await? {
                    return Some(event);
                }
            }
            let more = self.incoming.recv().await?;
            self.buffer.extend_from_slice(&more);
        }
    }

    /// A whole frame of the buffer; `None` when it is too long.
    fn frame(&mut self) -> Option<Option<Vec<u8>>> {
        let Some(size) = self.buffer.get(4..8).and_then(number) else {
            return Some(None);
        };
        let size = usize::try_from(size & 0x00ff_ffff).ok()?;
        if size > FRAME {
            return None;
        }
        if self.buffer.len() < 8 + size {
            return Some(None);
        }
        let rest = self.buffer.split_off(8 + size);
        Some(Some(std::mem::replace(&mut self.buffer, rest)))
    }

    async fn understand(&mut self, frame: &[u8]) -> Option<Option<Event>> {
        let (head, body) = frame.split_at_checked(8)?;
        let first = number(head)?;
        let end = head.get(4)? & FIN != 0;
        if first & 0x8000_0000 == 0 {
            if !self.open.contains(&first) {
                return Some(None);
            }
            if end {
                self.open.remove(&first);
            }
            return Some(match (body.is_empty(), end) {
                (true, true) => Some(Event::End(first)),
                (true, false) => None,
                (false, end) => {
                    self.next = end.then_some(Event::End(first));
                    Some(Event::Data(first, body.to_vec()))
                }
            });
        }
        let kind = u16::try_from(first & 0xffff).ok()?;
        match kind {
            SYN_STREAM => {
                let stream = number(body)? & 0x7fff_ffff;
                let headers = self.inflater.headers(body.get(10..)?)?;
                if self.open.len() >= STREAMS {
                    return None;
                }
                self.open.insert(stream);
                self.next = end.then_some(Event::End(stream));
                Some(Some(Event::Open(stream, headers)))
            }
            RST_STREAM => {
                let stream = number(body)?;
                Some(self.open.remove(&stream).then_some(Event::End(stream)))
            }
            PING => {
                self.sender.control(PING, 0, body).await;
                Some(None)
            }
            GOAWAY => None,
            _ => Some(None),
        }
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes
        .first_chunk::<4>()
        .map(|four| u32::from_be_bytes(*four))
}

/// Headers of a connection are one zlib stream, whose window starts with the dictionary.
struct Inflater {
    core: Box<DecompressorOxide>,
    /// The last 32 KiB, a ring.
    window: Box<[u8]>,
    at: usize,
    /// What is left of the zlib header: two bytes, and four that name the dictionary.
    head: usize,
}

impl Inflater {
    fn new() -> Self {
        let mut window = vec![0; 32 << 10].into_boxed_slice();
        let at = DICTIONARY.len();
        if let Some(start) = window.get_mut(..at) {
            start.copy_from_slice(DICTIONARY);
        }
        Self {
            core: Box::default(),
            window,
            at,
            head: 6,
        }
    }

    /// One block of headers, names as sent.
    fn headers(&mut self, block: &[u8]) -> Option<HashMap<String, String>> {
        let text = self.inflate(block)?;
        let mut rest = text.as_slice();
        let count = take_number(&mut rest)?;
        let mut headers = HashMap::new();
        for _ in 0..count {
            let (name, value) = (take_text(&mut rest)?, take_text(&mut rest)?);
            headers.insert(name, value);
        }
        Some(headers)
    }

    fn inflate(&mut self, block: &[u8]) -> Option<Vec<u8>> {
        let skipped = self.head.min(block.len());
        self.head -= skipped;
        let mut input = block.get(skipped..)?;
        let mut out = Vec::new();
        loop {
            let (status, read, written) = decompress(
                &mut self.core,
                input,
                &mut self.window,
                self.at,
                inflate_flags::TINFL_FLAG_HAS_MORE_INPUT,
            );
            input = input.get(read..)?;
            out.extend_from_slice(self.window.get(self.at..self.at + written)?);
            self.at = (self.at + written) % self.window.len();
            if out.len() > HEADERS {
                return None;
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => return Some(out),
                _ => return None,
            }
        }
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<u32> {
    let value = number(bytes)?;
    *bytes = bytes.get(4..)?;
    Some(value)
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let size = usize::try_from(take_number(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks of headers of one connection, `streamtype` `error` and `stdout`, as zlib writes them.
    const BLOCKS: [&str; 2] = [
        "78f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff",
        "c22a054ccc29f9a52500000000ffff",
    ];

    fn block(number: usize) -> Vec<u8> {
        let text = BLOCKS[number];
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn open(stream: u32, block: &[u8]) -> Vec<u8> {
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(block);
        let mut frame = vec![0x80, 3, 0, 1];
        frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&body);
        frame
    }

    fn connection() -> (
        mpsc::Sender<Vec<u8>>,
        mpsc::Receiver<Vec<u8>>,
        Reader,
        Sender,
    ) {
        let (client, incoming) = mpsc::channel(16);
        let (outgoing, answers) = mpsc::channel(16);
        let (reader, sender) = start(Wire { incoming, outgoing });
        (client, answers, reader, sender)
    }

    fn opened(stream: u32, kind: &str) -> Event {
        Event::Open(
            stream,
            HashMap::from([("streamtype".to_owned(), kind.to_owned())]),
        )
    }

    #[tokio::test]
    async fn streams_are_opened_written_and_ended() {
        let (client, mut answers, mut reader, sender) = connection();
        let bytes = [
            open(1, &block(0)),
            open(3, &block(1)),
            vec![0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i'],
        ]
        .concat();
        // However the bytes arrive.
        for piece in bytes.chunks(7) {
            client.send(piece.to_vec()).await.unwrap();
            if client.capacity() == 0 {
                break;
            }
        }
        tokio::spawn(async move {
            for piece in bytes.chunks(7).skip(16) {
                client.send(piece.to_vec()).await.unwrap();
            }
        });
        assert_eq!(reader.next().await, Some(opened(1, "error")));
        assert_eq!(reader.next().await, Some(opened(3, "stdout")));
        assert_eq!(reader.next().await, Some(Event::Data(3, b"hi".to_vec())));
        assert_eq!(reader.next().await, Some(Event::End(3)));
        assert_eq!(reader.next().await, None);
        sender.accept(1, true).await;
        let reply = answers.recv().await.unwrap();
        assert_eq!(reply[..8], [0x80, 3, 0, 2, 0, 0, 0, 20]);
        sender.data(3, b"ho", true).await;
        assert_eq!(
            answers.recv().await.unwrap(),
            [0, 0, 0, 3, 1, 0, 0, 2, b'h', b'o']
        );
    }

    #[tokio::test]
    async fn nonsense_ends_the_connection() {
        for bytes in [
            open(1, b"\x78\xbb\xe3\xc6\xa7\xc2\xff\xff\xff\xff"),
            open(1, b""),
            vec![0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff],
            vec![0x80, 3, 0, 1, 0, 0, 0, 0],
            vec![0, 0, 0, 1, 0, 0xff, 0xff, 0xff],
        ] {
            let (client, _answers, mut reader, _) = connection();
            client.send(bytes.clone()).await.unwrap();
            drop(client);
            assert_eq!(reader.next().await, None, "{bytes:?}");
        }
    }
}
