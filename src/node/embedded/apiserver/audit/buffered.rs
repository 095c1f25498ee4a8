//! Events in batches, sent by a worker of their own: mode `batch` (`plugin/pkg/audit/buffered`).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::errors::PluginErrors;
use super::{Backend, Record};
use crate::audit::options::BatchOptions;

/// The plugin's name in errors.
const PLUGIN: &str = "buffered";
/// No buffer holds more, whatever the flag says: memory is not without end.
const MOST: usize = 1 << 20;

/// A queue before a backend.
pub struct Buffered {
    name: String,
    /// Closed when the worker has ended.
    queue: RwLock<Option<mpsc::Sender<Box<Record>>>>,
    errors: PluginErrors,
    stop: CancellationToken,
    /// Dropped with the backend: a killed server sends nothing more.
    worker: Mutex<JoinSet<()>>,
}

impl Buffered {
    /// A queue before this backend, and its worker, which starts at once. `concurrent`: the next batch
    /// does not wait until one is sent.
    #[must_use]
    pub fn start(
        inner: Box<dyn Backend>,
        options: &BatchOptions,
        concurrent: bool,
        errors: PluginErrors,
    ) -> Self {
        let count = |n: i64| usize::try_from(n).unwrap_or(1).clamp(1, MOST);
        let (sender, receiver) = mpsc::channel(count(options.buffer_size));
        let name = format!("{PLUGIN}<{}>", inner.name());
        let stop = CancellationToken::new();
        let worker = Worker {
            queue: receiver,
            inner: Arc::from(inner),
            max_size: count(options.max_size),
            max_wait: Duration::from_nanos(u64::try_from(options.max_wait).unwrap_or(0)),
            throttle: options.throttle_enable.then(|| {
                Throttle::new(options.throttle_qps, options.throttle_burst, Instant::now())
            }),
            concurrent,
            sending: JoinSet::new(),
            stop: stop.clone(),
        };
        let mut workers = JoinSet::new();
        workers.spawn(worker.run());
        Self {
            name,
            queue: RwLock::new(Some(sender)),
            errors,
            stop,
            worker: Mutex::new(workers),
        }
    }

    /// Queues an event, or says why it is lost.
    fn queue(&self, record: &Record) -> Result<(), &'static str> {
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        let sent = queue
            .as_ref()
            .filter(|_| !self.stop.is_cancelled())
            .map(|queue| queue.try_send(Box::new(record.clone())));
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err("audit buffer queue blocked"),
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => {
                Err("audit backend shut down")
            }
        }
    }
}

impl Backend for Buffered {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn process<'a>(&'a self, records: &'a [&'a Record]) -> BoxFuture<'a, bool> {
        for (at, record) in records.iter().enumerate() {
            if let Err(reason) = self.queue(record) {
                // The rest is lost with it.
                let lost = records.get(at..).unwrap_or_default();
                self.errors.report(PLUGIN, reason, lost);
                break;
            }
        }
        Box::pin(std::future::ready(true))
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.queue
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            while self.worker.lock().await.join_next().await.is_some() {}
        })
    }
}

struct Worker {
    queue: mpsc::Receiver<Box<Record>>,
    inner: Arc<dyn Backend>,
    max_size: usize,
    max_wait: Duration,
    throttle: Option<Throttle>,
    concurrent: bool,
    sending: JoinSet<()>,
    stop: CancellationToken,
}

impl Worker {
    async fn run(mut self) {
        while !self.stop.is_cancelled() {
            let batch = self.collect().await;
            self.send(batch).await;
        }
        self.queue.close();
        loop {
            let mut batch = Vec::new();
            while batch.len() < self.max_size
                && let Ok(record) = self.queue.try_recv()
            {
                batch.push(*record);
            }
            if batch.is_empty() {
                break;
            }
            self.send(batch).await;
        }
        while self.sending.join_next().await.is_some() {}
        self.inner.shutdown().await;
    }

    /// The next batch: full, or as far as it came within the time. The time runs whether anything
    /// comes or not, so the first event of a batch waits for less than all of it.
    async fn collect(&mut self) -> Vec<Record> {
        let mut batch = Vec::new();
        // Without a time a real one looks again and again; an event is sent as soon as it is there.
        let timed = self.max_size > 1 && !self.max_wait.is_zero();
        let end = Instant::now().checked_add(self.max_wait).filter(|_| timed);
        let timer = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(timer);
        while batch.len() < self.max_size {
            if !timed && !batch.is_empty() {
                match self.queue.try_recv() {
                    Ok(record) => batch.push(*record),
                    Err(_) => break,
                }
                continue;
            }
            tokio::select! {
                record = self.queue.recv() => match record {
                    Some(record) => batch.push(*record),
                    None => break,
                },
                () = &mut timer => break,
                () = self.stop.cancelled() => break,
            }
        }
        batch
    }

    async fn send(&mut self, batch: Vec<Record>) {
        if batch.is_empty() {
            return;
        }
        if let Some(throttle) = &mut self.throttle {
            let wait = throttle.reserve(Instant::now());
            tokio::time::sleep(wait).await;
        }
        while self.sending.try_join_next().is_some() {}
        let inner = self.inner.clone();
        let sent = async move {
            let records: Vec<&Record> = batch.iter().collect();
            inner.process(&records).await;
        };
        if self.concurrent {
            self.sending.spawn(sent);
        } else {
            sent.await;
        }
    }
}

/// A token bucket (`client-go/util/flowcontrol`).
#[derive(Debug, Clone, Copy)]
struct Throttle {
    qps: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Throttle {
    /// A full bucket.
    fn new(qps: f64, burst: i64, now: Instant) -> Self {
        let burst = burst.max(1) as f64;
        Self {
            qps,
            burst,
            tokens: burst,
            at: now,
        }
    }

    /// Takes a token; how long to wait until it is there.
    fn reserve(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.qps).min(self.burst) - 1.0;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.tokens / self.qps).unwrap_or(Duration::MAX / 4)
    }
}
