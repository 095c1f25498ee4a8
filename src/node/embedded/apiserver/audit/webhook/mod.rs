//! The webhook backend: events posted to a server (`plugin/pkg/audit/webhook`, `pkg/util/webhook`).

mod answer;
mod client;
mod connection;
pub mod kubeconfig;
pub mod network;
pub mod target;
pub(in crate::node::embedded::apiserver) mod tls;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use self::client::Client;
use self::kubeconfig::WebhookConfig;
use self::network::Network;
use super::clock::StartClock;
use super::errors::PluginErrors;
use super::{Backend, Record};
use crate::node::embedded::apiserver::encoding;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// The plugin's name in errors.
const PLUGIN: &str = "webhook";
/// How often a batch is posted before it is given up.
const ATTEMPTS: u32 = 5;
/// How much longer every delay is than the one before, and how much chance adds at most.
const FACTOR: f64 = 1.5;
const JITTER: f64 = 0.2;

/// The webhook backend.
pub struct Webhook {
    client: Client,
    backoff: Duration,
    errors: PluginErrors,
    clock: Arc<StartClock>,
}

impl Webhook {
    /// A backend that posts as configured. `backoff`: the delay after the first failure.
    #[must_use]
    pub fn new(
        config: WebhookConfig,
        network: Network,
        rootfs: Arc<Rootfs>,
        backoff: Duration,
        errors: PluginErrors,
        clock: Arc<StartClock>,
    ) -> Self {
        Self {
            client: Client::new(config, network, rootfs, clock.clone()),
            clock,
            backoff,
            errors,
        }
    }

    async fn post(&self, records: &[&Record]) -> Result<(), String> {
        let body = body(records);
        let mut delay = self.backoff;
        let mut attempt = 1;
        loop {
            let sent = match &body {
                Ok(body) => self.client.post(body.clone()).await,
                Err(reason) => Err(reason.clone()),
            };
            // Whatever the error is, the receiver may get over it.
            match sent {
                Err(_) if attempt < ATTEMPTS => {}
                sent => return sent,
            }
            let wait = longer(delay, 1.0 + JITTER * rand::random::<f64>());
            self.clock.sleep(wait).await;
            delay = longer(delay, FACTOR);
            attempt += 1;
        }
    }
}

fn longer(delay: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(Duration::MAX / 4)
}

/// An `EventList` as Go writes it: its items have no kind of their own.
fn body(records: &[&Record]) -> Result<Bytes, String> {
    let mut out =
        b"{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":["
            .to_vec();
    for (at, record) in records.iter().enumerate() {
        if let Some(reason) = &record.unencodable {
            return Err(reason.clone());
        }
        if at > 0 {
            out.push(b',');
        }
        let event = encoding::json(&record.event);
        let head: &[u8] = b"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",";
        match event.strip_prefix(head) {
            Some(rest) => {
                out.push(b'{');
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(&event),
        }
    }
    out.extend_from_slice(b"]}\n");
    Ok(out.into())
}

impl Backend for Webhook {
    fn name(&self) -> String {
        PLUGIN.to_owned()
    }

    fn process<'a>(&'a self, records: &'a [&'a Record]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match self.post(records).await {
                Ok(()) => true,
                Err(reason) => {
                    self.errors.report(PLUGIN, &reason, records);
                    false
                }
            }
        })
    }
}
