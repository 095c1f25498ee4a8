//! Informers: the lists that programs of the cluster keep up to date by watching (`client-go/tools/cache/reflector.go`).
//!
//! What they would learn the programs read from the store; here are the requests alone. A watch that is not read
//! costs its entry in the audit log and a moment at which it is over: no connection, no task, no subscription.

mod reflector;
mod sets;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::actor::Actor;
use crate::node::embedded::machine::{LocalApi, Machine};
use crate::node::embedded::pace::Pace;

use reflector::Reflector;
pub use sets::{Controllers, api_server, controllers, node, scheduler};

/// A client starts over this late at most after its server was away (`cap` of the reflector's back-off).
const LATEST: Duration = Duration::from_secs(30);
/// Watches last at least this long, at most twice as long (`defaultMinWatchTimeout`).
pub const SHORTEST: Duration = Duration::from_secs(300);

/// What an informer watches.
#[derive(Clone)]
pub struct Watched {
    /// Who watches.
    pub actor: Arc<Actor>,
    /// Path, and the selector as it is in a query: `/api/v1/pods`, `fieldSelector=spec.nodeName%3Dnode01`.
    pub path: String,
    /// See `path`; empty for everything.
    pub selector: String,
    /// The shortest its watches last.
    pub shortest: Duration,
}

impl Watched {
    /// Watches everything below a path.
    #[must_use]
    pub fn all(actor: &Arc<Actor>, path: impl Into<String>) -> Self {
        Self::selected(actor, path, "")
    }

    /// Watches what a selector lets through.
    #[must_use]
    pub fn selected(
        actor: &Arc<Actor>,
        path: impl Into<String>,
        selector: impl Into<String>,
    ) -> Self {
        Self {
            actor: actor.clone(),
            path: path.into(),
            selector: selector.into(),
            shortest: SHORTEST,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.path, &self.selector) == (&other.path, &other.selector)
            && self.actor.is_same(&other.actor)
    }
}

/// When the set of what a program watches is worked out anew.
pub struct Trigger {
    /// At every change below this key, if there is one.
    pub prefix: Option<&'static str>,
    /// A program that is started anew with every API server knows no versions.
    pub forgets: bool,
}

/// The informers of one program.
#[derive(Default)]
pub struct Informers {
    reflectors: Vec<Reflector>,
}

impl Informers {
    /// Starts what is new and ends what is not wanted any more.
    pub fn update(&mut self, wanted: Vec<Watched>, now: Instant) {
        let mut missing = wanted;
        self.reflectors.retain(|reflector| {
            let place = missing
                .iter()
                .position(|watched| watched.is_same(reflector.watched()));
            if let Some(place) = place {
                missing.remove(place);
            }
            place.is_some()
        });
        let new = missing.into_iter();
        self.reflectors
            .extend(new.map(|watched| Reflector::new(watched, now)));
    }

    /// When there is something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.reflectors.iter().map(Reflector::due).min()
    }

    /// Does what is due now.
    pub async fn turn(&mut self, machine: &Machine, api: &dyn LocalApi, now: Instant) {
        for reflector in &mut self.reflectors {
            if reflector.due() <= now {
                reflector.turn(machine, api, now).await;
            }
        }
    }

    /// Another server is there.
    fn reconnect(&mut self, pace: Pace, trigger: &Trigger) {
        for reflector in &mut self.reflectors {
            let delay = if trigger.forgets {
                reflector.forget();
                Duration::ZERO
            } else {
                pace.scale(LATEST.mul_f64(rand::rng().random::<f64>()))
            };
            reflector.reconnect(Instant::now() + delay);
        }
    }
}

/// Runs the informers of one program: `wanted` says what it watches now. Never ends by itself.
pub async fn run(
    machine: Arc<Machine>,
    trigger: Trigger,
    wanted: impl Fn() -> Vec<Watched> + Send + Sync,
) {
    let mut informers = Informers::default();
    let mut served = machine.api.subscribe();
    let follow = || {
        let prefix = trigger.prefix?;
        machine.store.watch(prefix, machine.store.revision()).ok()
    };
    loop {
        // The sender lives as long as the machine.
        let Ok(Some(api)) = served
            .wait_for(Option::is_some)
            .await
            .map(|api| api.clone())
        else {
            return;
        };
        let mut changes = follow();
        informers.reconnect(machine.pace, &trigger);
        informers.update(wanted(), Instant::now());
        loop {
            let due = informers.due();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let change = async {
                match &mut changes {
                    Some(changes) => changes.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = served.changed() => break,
                () = wait => informers.turn(&machine, api.as_ref(), Instant::now()).await,
                change = change => {
                    if !matches!(change, Some(Ok(_))) {
                        // It was too slow: what is wanted is looked at as a whole anyway.
                        changes = follow();
                    }
                    informers.update(wanted(), Instant::now());
                }
            }
        }
        // A server that ends waits for its clients, in vain: they hold their watches until it is killed.
        if machine.pace == Pace::Fast {
            for reflector in &mut informers.reflectors {
                reflector.hang_up();
            }
        }
    }
}
