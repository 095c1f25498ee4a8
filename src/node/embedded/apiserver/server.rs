//! The running server: waits for etcd, serves, and ends gracefully.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::chronicle::Chronicle;
use super::expiry;
use super::hooks;
use super::http as https;
use super::lifecycle::READY;
use super::local::Local;
use super::state::ApiState;
use crate::node::embedded::machine::LocalApi;
use crate::node::embedded::pace::Pace;
use crate::node::embedded::sockets::{Listening, Socket};

/// How long a real server waits for etcd before it gives up.
const ETCD_TIME: Duration = Duration::from_secs(20);
/// How long a real server takes from its last check to its first answer. Clients can connect meanwhile.
const WARM_UP: Duration = Duration::from_millis(1300);

/// How long a real server that ends waits for clients that watch (`ShutdownTimeout` of
/// `server/config.go`): longer than the grace period of its pod, so that it is killed.
const WATCHES: Duration = Duration::from_secs(60);
/// The server's own watch, of the rules of RBAC.
const OWN_WATCHES: usize = 1;

/// A server that is ready to serve.
pub struct Server {
    pub(super) state: Arc<ApiState>,
    pub(super) listener: Option<TcpListener>,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) bind_address: IpAddr,
    pub(super) own_network: bool,
    pub(super) socket: Option<Listening>,
}

impl Server {
    /// The running state, for tests.
    #[must_use]
    pub fn state(&self) -> &Arc<ApiState> {
        &self.state
    }

    /// The same in a network of its own, which the node's clients and loopback do not lead to.
    #[must_use]
    pub fn in_own_network(mut self, own_network: bool) -> Self {
        if own_network {
            self.listener = None;
            self.own_network = true;
        }
        self
    }

    /// The same, of the process with this id: its socket is seen on the node from now on, unless it is in a network
    /// of its own. Clients that connect before it serves wait.
    #[must_use]
    pub fn of_process(mut self, pid: u32) -> Self {
        if !self.own_network {
            let address = match self.bind_address {
                address if address.is_unspecified() => "*".to_owned(),
                address => address.to_string(),
            };
            let port = u16::try_from(self.state.flags.secure_port()).unwrap_or_default();
            let socket = Socket { address, port, pid };
            self.socket = Some(self.state.machine.sockets.listen(socket));
        }
        self
    }

    /// Whether one of `--etcd-servers` is the etcd of this machine.
    fn knows_etcd(&self) -> bool {
        self.state
            .flags
            .line
            .list("etcd-servers")
            .iter()
            .any(|url| {
                let authority = url
                    .split_once("://")
                    .map_or(url.as_str(), |(_, rest)| rest)
                    .trim_end_matches('/');
                authority.rsplit_once(':').is_some_and(|(host, port)| {
                    port == "2379"
                        && (host == self.state.machine.node_ip
                            || !self.own_network
                                && ["localhost", "127.0.0.1", "[::1]"].contains(&host))
                })
            })
    }

    /// Waits for etcd as long as a real server would.
    async fn etcd(&self, terminate: &CancellationToken) -> Result<(), i32> {
        let machine = &self.state.machine;
        let known = self.knows_etcd();
        let mut up = machine.etcd_up.subscribe();
        if known && *up.borrow() {
            return Ok(());
        }
        let klog = &self.state.klog;
        let server = self
            .state
            .flags
            .line
            .list("etcd-servers")
            .first()
            .and_then(|url| url.split_once("://").map(|(_, rest)| rest.to_owned()))
            .unwrap_or_default();
        let complain = |n: usize| {
            klog.warning(
                "logging.go:55",
                &format!("[core] [Channel #{} SubChannel #{}]grpc: addrConn.createTransport failed to connect to {{Addr: \"{server}\", ServerName: \"{server}\", BalancerAttributes: {{\"<%!p(pickfirstleaf.managedByPickfirstKeyType={{}})>\": \"<%!p(bool=true)>\" }}}}. Err: connection error: desc = \"transport: Error while dialing: dial tcp {server}: connect: connection refused\"", 2 * n - 1, 2 * n),
            );
        };
        complain(1);
        let deadline = tokio::time::Instant::now() + machine.pace.scale(ETCD_TIME);
        for n in 2..=6 {
            let pause = machine.pace.scale(ETCD_TIME) / 5;
            tokio::select! {
                waited = tokio::time::timeout(pause, up.wait_for(|up| *up)), if known => {
                    if let Ok(Ok(_)) = waited {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(pause), if !known => {}
                () = terminate.cancelled() => return Err(0),
            }
            complain(n);
            if tokio::time::Instant::now() >= deadline {
                break;
            }
        }
        klog.fatal(
            "instance.go:233",
            "Error creating leases: error creating storage factory: context deadline exceeded",
        );
        Err(255)
    }

    /// Serves until asked to end; gives the exit code.
    pub async fn run(self, terminate: CancellationToken) -> i32 {
        if let Err(code) = self.etcd(&terminate).await {
            return code;
        }
        let state = self.state;
        let chronicle = Chronicle::new(&state.klog, &state.flags);
        chronicle.installed();
        tokio::select! {
            () = tokio::time::sleep(state.machine.pace.scale(WARM_UP)) => {}
            () = terminate.cancelled() => return 0,
        }
        let shown = match self.bind_address {
            address if address.is_unspecified() => "[::]".to_owned(),
            address => address.to_string(),
        };
        state.klog.info(
            0,
            "secure_serving.go:211",
            &format!("Serving securely on {shown}:{}", state.flags.secure_port()),
        );
        chronicle.serving();
        state.lifecycle.hold();
        state.lifecycle.serve(std::time::Instant::now());
        let is_reachable = self.listener.is_some();
        // Both end with this program, also when it is killed: nobody is served by a dead process.
        let _end = state.shutdown.clone().drop_guard();
        let serving = self.listener.map(|listener| {
            AbortOnDropHandle::new(tokio::spawn(https::serve(
                state.clone(),
                listener,
                self.tls,
            )))
        });
        let _silence = Silence(state.audit.clone());
        let _compactor = AbortOnDropHandle::new(tokio::spawn(compact(state.clone())));
        let _expiry = AbortOnDropHandle::new(tokio::spawn(expiry::run(state.clone())));
        let local: Arc<dyn LocalApi> = Arc::new(Local::new(state.clone()));
        let ready = async {
            let waited = tokio::time::sleep(state.machine.pace.scale(READY));
            tokio::join!(hooks::bootstrap_roles(&state, local.as_ref()), waited).0
        };
        tokio::select! {
            hooked = ready => {
                if let Err(reason) = hooked {
                    let hook = format!("PostStartHook \"rbac/bootstrap-roles\" failed: {reason}");
                    state.klog.fatal("hooks.go:203", &hook);
                    return 255;
                }
                state.lifecycle.release();
                state.audit.clock().started();
                // On another port nobody finds it.
                if is_reachable {
                    state.machine.api.send_replace(Some(local.clone()));
                    chronicle.ready(&state.machine.node_ip);
                }
                terminate.cancelled().await;
            }
            () = terminate.cancelled() => {}
        }
        shut_down(&state, &chronicle, &local, (serving, self.socket), &shown).await;
        0
    }
}

/// A process that is over audits nothing, whoever still holds what it answered.
struct Silence(Arc<super::audit::Sink>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How often etcd is compacted (`--etcd-compaction-interval`).
const COMPACTION: std::time::Duration = std::time::Duration::from_secs(300);

/// Compacts etcd at what was its revision one interval before (`storage/etcd3/compact.go`).
async fn compact(state: Arc<ApiState>) {
    let mut before = state.store.revision();
    loop {
        tokio::time::sleep(COMPACTION).await;
        state.compact(before);
        before = state.store.revision();
    }
}

/// Ends gracefully: `/readyz` fails from now on, the port is open until the delay that was asked for is over,
/// then new connections are refused and the open ones come to an end.
async fn shut_down(
    state: &ApiState,
    chronicle: &Chronicle<'_>,
    local: &Arc<dyn LocalApi>,
    (serving, socket): (Option<AbortOnDropHandle<()>>, Option<Listening>),
    address: &str,
) {
    let event = |place: &str, name: &str| {
        let text = format!("\"[graceful-termination] shutdown event\" name=\"{name}\"");
        state.klog.info(1, place, &text);
    };
    state.lifecycle.shut_down();
    // Controllers, scheduler and kubelet watch as long as they are let: they are not waited for here one by
    // one, since those of the node itself let go as soon as the API is gone.
    let watched = state.machine.store.watchers() > OWN_WATCHES;
    event("genericapiserver.go:582", "ShutdownInitiated");
    let delay = state.flags.line.int("shutdown-delay-duration");
    let delay = Duration::from_nanos(u64::try_from(delay).unwrap_or_default());
    tokio::time::sleep(state.machine.pace.scale(delay)).await;
    event("genericapiserver.go:574", "AfterShutdownDelayDuration");
    // Another instance may have taken over already.
    state.machine.api.send_if_modified(|api| {
        let ours = api.as_ref().is_some_and(|api| Arc::ptr_eq(api, local));
        if ours {
            *api = None;
        }
        ours
    });
    state.shutdown.cancel();
    drop(socket);
    let port = u16::try_from(state.flags.secure_port()).unwrap_or_default();
    chronicle.stopped(address, port);
    // In fast pace it hangs up on its clients instead: an edit is live within a second.
    if watched && state.machine.pace == Pace::Real {
        tokio::time::sleep(WATCHES).await;
    }
    if let Some(serving) = serving {
        let _ = serving.await;
    }
    if state.audit.shutdown().await {
        state.klog.info(
            1,
            "genericapiserver.go:767",
            "\"[graceful-termination] audit backend shutdown completed\"",
        );
    }
}
