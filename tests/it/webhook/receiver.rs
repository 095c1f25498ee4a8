//! A server that takes what an audit webhook posts, and remembers it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

impl Post {
    pub(crate) fn items(&self) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(list["kind"], "EventList");
        list["items"].as_array().unwrap().clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An answer: status, header lines, body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }
}

/// The server. It ends when it is dropped, and its connections with it.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    posts: Arc<Mutex<Vec<Post>>>,
    count: watch::Receiver<usize>,
    tasks: tokio::task::JoinSet<()>,
}

impl Receiver {
    /// Answers with these, one after the other, then with the last for ever (200 if there is none).
    pub(crate) async fn start(replies: Vec<Reply>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, replies, tls)
    }

    pub(crate) fn on(listener: TcpListener, replies: Vec<Reply>, tls: Option<TlsAcceptor>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let posts = Arc::new(Mutex::new(Vec::new()));
        let (sender, count) = watch::channel(0);
        let replies = Arc::new(Mutex::new(VecDeque::from(replies)));
        let kept = posts.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, sender, replies) = (kept.clone(), sender.clone(), replies.clone());
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &kept, &sender, &replies).await;
                            }
                        }
                        None => serve(stream, &kept, &sender, &replies).await,
                    }
                });
            }
        });
        Self {
            port,
            posts,
            count,
            tasks,
        }
    }

    /// What came so far.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// All events so far, in the order of their posts.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.posts().iter().flat_map(Post::items).collect()
    }

    /// Waits until so many posts have come.
    pub(crate) async fn wait(&self, posts: usize) -> Vec<Post> {
        let mut count = self.count.clone();
        let come = count.wait_for(|count| *count >= posts);
        tokio::time::timeout(std::time::Duration::from_secs(60), come)
            .await
            .unwrap_or_else(|_| panic!("only {} posts, want {posts}", self.posts().len()))
            .unwrap();
        self.posts()
    }

    /// Ends at once, connections and all.
    pub(crate) async fn kill(mut self) -> Vec<Post> {
        self.tasks.shutdown().await;
        self.posts()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    posts: &Mutex<Vec<Post>>,
    count: &watch::Sender<usize>,
    replies: &Mutex<VecDeque<Reply>>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
            // A TLS handshake is no request.
            if head == [0x16] {
                let _ = stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                    .await;
                return;
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "Content-Length")
            .map_or(0, |(_, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        posts.lock().unwrap().push(Post {
            line,
            headers,
            body: String::from_utf8(body).unwrap(),
            at: Instant::now(),
        });
        let reply = {
            let mut replies = replies.lock().unwrap();
            match replies.len() {
                0 => Reply::status(200),
                1 => replies[0].clone(),
                _ => replies.pop_front().unwrap(),
            }
        };
        let mut text = format!("HTTP/1.1 {} -\r\n", reply.status);
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!(
            "Content-Length: {}\r\n\r\n{}",
            reply.body.len(),
            reply.body
        ));
        count.send_modify(|count| *count += 1);
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}
