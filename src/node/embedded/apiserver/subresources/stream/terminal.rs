//! Standard input, output and error of a session, whatever carries them.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Wire;
use super::spdy::{self, Event};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const CLOSE: u8 = 255;

/// How long the streams of a session may take to be opened
/// (`remotecommandconsts.DefaultStreamCreationTimeout`).
const OPENED: Duration = Duration::from_secs(30);
/// How long the client has to take note of the end.
const FAREWELL: Duration = Duration::from_secs(5);
/// What a container runtime takes at least to start something. Clients rely on it: kubectl 1.32 reads messages
/// before it has the streams they belong to, and then loses them.
const START: Duration = Duration::from_millis(25);
/// Most in one SPDY frame.
const CHUNK: usize = 32 << 10;

/// What a client sends to a session.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Input {
    /// Bytes of standard input.
    Data(Vec<u8>),
    /// No more standard input.
    End,
}

/// Where a session reads and writes.
pub(in super::super) struct Terminal {
    input: mpsc::Receiver<Input>,
    output: Output,
}

enum Output {
    Messages(mpsc::Sender<Vec<u8>>),
    Streams {
        sender: spdy::Sender,
        stdout: Option<u32>,
        stderr: Option<u32>,
        error: u32,
    },
}

impl Terminal {
    /// Over WebSocket messages, whose first byte is a channel.
    pub(in super::super) async fn messages(wire: Wire) -> Self {
        let (into, input) = mpsc::channel(1);
        let mut incoming = wire.incoming;
        tokio::spawn(async move {
            while let Some(message) = incoming.recv().await {
                let what = match message.split_first() {
                    Some((&STDIN, data)) => Input::Data(data.to_vec()),
                    Some((&CLOSE, [STDIN])) => Input::End,
                    _ => continue,
                };
                if into.send(what).await.is_err() {
                    break;
                }
            }
        });
        let mut terminal = Self {
            input,
            output: Output::Messages(wire.outgoing),
        };
        tokio::time::sleep(START).await;
        // The real server starts with an empty message, so that the client knows it is there.
        terminal.stdout(b"").await;
        terminal
    }

    /// Over SPDY streams, of which the client opens so many; `None` when it does not.
    pub(in super::super) async fn streams(wire: Wire, wanted: usize) -> Option<Self> {
        let (mut reader, sender) = spdy::start(wire);
        let mut named = std::collections::HashMap::new();
        let opened = async {
            while named.len() < wanted {
                match reader.next().await? {
                    Event::Open(stream, headers) => {
                        sender.accept(stream, named.is_empty()).await;
                        let kind = headers
                            .iter()
                            .find(|(name, _)| name.eq_ignore_ascii_case("streamtype"))
                            .map(|(_, value)| value.clone())?;
                        named.insert(kind, stream);
                    }
                    Event::Data(..) | Event::End(_) => {}
                }
            }
            Some(())
        };
        tokio::time::timeout(OPENED, opened).await.ok()??;
        let (into, input) = mpsc::channel(1);
        let stdin = named.get("stdin").copied();
        tokio::spawn(async move {
            while let Some(event) = reader.next().await {
                let what = match event {
                    Event::Data(stream, data) if Some(stream) == stdin => Input::Data(data),
                    Event::End(stream) if Some(stream) == stdin => Input::End,
                    _ => continue,
                };
                if into.send(what).await.is_err() {
                    break;
                }
            }
        });
        Some(Self {
            input,
            output: Output::Streams {
                sender,
                stdout: named.get("stdout").copied(),
                stderr: named.get("stderr").copied(),
                error: named.get("error").copied()?,
            },
        })
    }

    /// What the client sends next; `None` when it is gone.
    pub(in super::super) async fn receive(&mut self) -> Option<Input> {
        self.input.recv().await
    }

    /// Writes to standard output.
    pub(in super::super) async fn stdout(&mut self, data: &[u8]) {
        self.write(STDOUT, data).await;
    }

    /// Writes to standard error.
    pub(in super::super) async fn stderr(&mut self, data: &[u8]) {
        self.write(STDERR, data).await;
    }

    async fn write(&mut self, channel: u8, data: &[u8]) {
        match &self.output {
            Output::Messages(outgoing) => {
                let mut pieces: Vec<&[u8]> = data.chunks(CHUNK).collect();
                if pieces.is_empty() {
                    pieces.push(b"");
                }
                for piece in pieces {
                    let message = [&[channel], piece].concat();
                    let _ = outgoing.send(message).await;
                }
            }
            Output::Streams {
                sender,
                stdout,
                stderr,
                ..
            } => {
                let stream = if channel == STDOUT { stdout } else { stderr };
                for piece in data.chunks(CHUNK) {
                    if let Some(stream) = stream {
                        sender.data(*stream, piece, false).await;
                    }
                }
            }
        }
    }

    /// Ends the session with this Status.
    pub(in super::super) async fn finish(mut self, status: &[u8]) {
        match self.output {
            Output::Messages(outgoing) => {
                let _ = outgoing.send([&[ERROR], status].concat()).await;
            }
            Output::Streams {
                sender,
                stdout,
                stderr,
                error,
            } => {
                sender.data(error, status, true).await;
                for stream in [stdout, stderr].into_iter().flatten() {
                    sender.data(stream, b"", true).await;
                }
                let _ = tokio::time::timeout(FAREWELL, async {
                    while self.input.recv().await.is_some() {}
                })
                .await;
            }
        }
    }
}
