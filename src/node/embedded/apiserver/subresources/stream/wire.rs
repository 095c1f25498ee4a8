//! An upgraded connection as two queues: what came, and what is to be sent.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::websocket::{self, Frame};

/// Messages that wait at most, in each direction.
const QUEUE: usize = 4;
/// Most that is read at once of a connection without messages.
const CHUNK: usize = 32 << 10;

/// The two queues; of a WebSocket they hold messages, else pieces of a byte stream.
pub(in super::super) struct Wire {
    /// What the client sends; closed when the client is gone.
    pub(in super::super) incoming: mpsc::Receiver<Vec<u8>>,
    /// What the client gets; the connection is closed when all senders are gone.
    pub(in super::super) outgoing: mpsc::Sender<Vec<u8>>,
}

impl Wire {
    /// A connection as it is.
    pub(in super::super) fn bytes(upgraded: Upgraded) -> Self {
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        let (into, incoming) = mpsc::channel(QUEUE);
        let (outgoing, from) = mpsc::channel(QUEUE);
        tokio::spawn(read_bytes(reader, into));
        tokio::spawn(write_bytes(writer, from));
        Self { incoming, outgoing }
    }

    /// A connection that carries WebSocket messages.
    pub(in super::super) fn messages(upgraded: Upgraded) -> Self {
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        let (into, incoming) = mpsc::channel(QUEUE);
        let (outgoing, from) = mpsc::channel(QUEUE);
        let (pongs, pings) = mpsc::channel(QUEUE);
        tokio::spawn(read_messages(reader, into, pongs));
        tokio::spawn(write_messages(writer, from, pings));
        Self { incoming, outgoing }
    }
}

type Reader = ReadHalf<TokioIo<Upgraded>>;
type Writer = WriteHalf<TokioIo<Upgraded>>;

async fn read_bytes(mut reader: Reader, into: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let size = tokio::select! {
            () = into.closed() => return,
            size = reader.read(&mut buffer) => size,
        };
        let Some(bytes) = size.ok().and_then(|size| buffer.get(..size)) else {
            return;
        };
        if bytes.is_empty() || into.send(bytes.to_vec()).await.is_err() {
            return;
        }
    }
}

async fn write_bytes(mut writer: Writer, mut from: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = from.recv().await {
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

async fn read_messages(
    mut reader: Reader,
    into: mpsc::Sender<Vec<u8>>,
    pongs: mpsc::Sender<Vec<u8>>,
) {
    loop {
        let frame = tokio::select! {
            () = into.closed() => return,
            frame = websocket::receive(&mut reader) => frame,
        };
        let sent = match frame {
            Some(Frame::Message(message)) => into.send(message).await.is_ok(),
            Some(Frame::Ping(data)) => {
                let _ = pongs.send(data).await;
                true
            }
            None => false,
        };
        if !sent {
            return;
        }
    }
}

async fn write_messages(
    mut writer: Writer,
    mut from: mpsc::Receiver<Vec<u8>>,
    mut pings: mpsc::Receiver<Vec<u8>>,
) {
    loop {
        let frame = tokio::select! {
            message = from.recv() => match message {
                Some(message) => websocket::frame(websocket::BINARY, &message),
                None => break,
            },
            Some(data) = pings.recv() => websocket::frame(websocket::PONG, &data),
        };
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    let close = websocket::frame(websocket::CLOSE, &1000_u16.to_be_bytes());
    let _ = writer.write_all(&close).await;
    let _ = writer.shutdown().await;
}
