//! The server over TLS: certificates, protocols, limits, and what is audited of them.

use std::sync::Arc;
use std::time::Duration;

use ckslab::node::embedded::apiserver::program::KubeApiServer;
use ckslab::node::embedded::machine::Machine;
use ckslab::node::embedded::process::{Output, Process, Program};
use ckslab::node::embedded::runtime::rootfs::{Mount, Rootfs};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::replay;

struct Silent;

impl Output for Silent {
    fn stdout(&self, _: &str) {}
    fn stderr(&self, line: &str) {
        if std::env::var_os("REPLAY_LOG").is_some() {
            eprintln!("{line}");
        }
    }
}

/// An authority with its key.
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

pub type Client = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let certificate = parameters.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: rcgen::Issuer::new(parameters, key),
        }
    }

    pub fn client(&self, name: &str, group: &str, valid: bool) -> Client {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, group);
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        if !valid {
            parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        (
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
    }

    fn server(&self) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters =
            rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
                .unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// A running server.
pub struct Lab {
    _directory: tempfile::TempDir,
    pub authority: Authority,
    pub machine: Arc<Machine>,
    terminate: CancellationToken,
    running: tokio::task::JoinHandle<i32>,
    log: std::path::PathBuf,
}

impl Lab {
    async fn start(policy: &str) -> Self {
        Self::start_with(policy, &[]).await
    }

    pub async fn start_with(policy: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let authority = Authority::new("kubernetes");
        let pki = root.join("etc/kubernetes/pki");
        std::fs::create_dir_all(&pki).unwrap();
        std::fs::create_dir_all(root.join("var/log/kubernetes")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(pki.join(name), text).unwrap();
        write("ca.crt", &authority.pem);
        let (certificate, key) = authority.server();
        write("apiserver.crt", &certificate);
        write("apiserver.key", &key);
        let key = rcgen::KeyPair::generate().unwrap();
        write("sa.key", &key.serialize_pem());
        write("sa.pub", &key.public_key_pem());
        std::fs::write(root.join("etc/kubernetes/audit.yaml"), policy).unwrap();
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let store = tokio::task::spawn_blocking(replay::base_store)
            .await
            .unwrap();
        let mut machine = Arc::into_inner(replay::machine(store)).unwrap();
        machine.api_port = port;
        let machine = Arc::new(machine);
        let mount = |name: &str, path: &str| Mount {
            name: name.to_owned(),
            container_path: path.to_owned(),
            node_path: path.to_owned(),
            read_only: false,
        };
        let layer = root.join("layer");
        std::fs::create_dir_all(&layer).unwrap();
        let rootfs = Arc::new(Rootfs::new(
            root.to_path_buf(),
            layer,
            vec![
                mount("k8s", "/etc/kubernetes"),
                mount("log", "/var/log/kubernetes"),
            ],
        ));
        rootfs.prepare().unwrap();
        let terminate = CancellationToken::new();
        let argv = [
            "kube-apiserver",
            "--authorization-mode=Node,RBAC",
            "--client-ca-file=/etc/kubernetes/pki/ca.crt",
            "--etcd-servers=https://127.0.0.1:2379",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-account-key-file=/etc/kubernetes/pki/sa.pub",
            "--service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--tls-cert-file=/etc/kubernetes/pki/apiserver.crt",
            "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
            "--audit-policy-file=/etc/kubernetes/audit.yaml",
            "--audit-log-path=/var/log/kubernetes/audit.log",
        ];
        let process = Process {
            argv: argv.iter().chain(flags).map(|a| (*a).to_owned()).collect(),
            rootfs,
            output: Arc::new(Silent),
            terminate: terminate.clone(),
            pid: 1,
            own_network: false,
        };
        let program = KubeApiServer::new(machine.clone());
        let mut api = machine.api.subscribe();
        let running = tokio::spawn(async move { program.run(process).await });
        tokio::time::timeout(Duration::from_secs(20), api.wait_for(Option::is_some))
            .await
            .expect("the server becomes ready")
            .unwrap();
        Self {
            log: root.join("var/log/kubernetes/audit.log"),
            _directory: directory,
            authority,
            machine,
            terminate,
            running,
        }
    }

    pub async fn connect(
        &self,
        client: Option<Client>,
        protocol: &[u8],
    ) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.machine.api_port))
            .await
            .unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await
            .unwrap()
    }

    pub async fn ask(
        &self,
        client: Option<Client>,
        http2: bool,
        request: http::Request<Full<bytes::Bytes>>,
    ) -> (u16, http::HeaderMap, bytes::Bytes) {
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let stream = TokioIo::new(self.connect(client, protocol).await);
        let response = if http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, bytes)
    }

    pub fn events(&self, id: &str) -> Vec<Value> {
        std::fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|event| event["auditID"] == id)
            .collect()
    }

    pub async fn stop(self) -> i32 {
        self.terminate.cancel();
        self.running.await.unwrap()
    }
}

pub fn get(path: &str, id: &str) -> http::Request<Full<bytes::Bytes>> {
    http::Request::builder()
        .uri(format!("https://localhost{path}"))
        .header("host", "localhost")
        .header("audit-id", id)
        .body(Full::default())
        .unwrap()
}

pub const EVERYTHING: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_who_their_certificates_say() {
    let lab = Lab::start(EVERYTHING).await;
    let admin = || lab.authority.client("root", "system:masters", true);
    for http2 in [false, true] {
        let id = format!("masters-{http2}");
        let (status, headers, body) = lab
            .ask(Some(admin()), http2, get("/api/v1/namespaces", &id))
            .await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        assert_eq!(headers["audit-id"], id.as_str());
        let events = lab.events(&id);
        let stages: Vec<&Value> = events.iter().map(|event| &event["stage"]).collect();
        assert_eq!(stages, ["RequestReceived", "ResponseComplete"]);
        assert_eq!(events[1]["user"]["username"], "root");
        assert_eq!(events[1]["sourceIPs"][0], "127.0.0.1");
        assert!(
            events[1]["user"]["extra"]["authentication.kubernetes.io/credential-id"][0]
                .as_str()
                .unwrap()
                .starts_with("X509SHA256=")
        );
    }
    // Known, but without rights.
    let (status, _, body) = lab
        .ask(
            Some(lab.authority.client("jane", "developers", true)),
            false,
            get("/api/v1/secrets", "jane"),
        )
        .await;
    assert_eq!(status, 403);
    assert!(String::from_utf8_lossy(&body).contains("cannot list resource"));
    assert_eq!(
        lab.events("jane")[1]["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    // Expired, or of somebody else: no TLS alert, but a 401 that leaves one event.
    let stranger = Authority::new("stranger");
    for (id, client) in [
        (
            "expired",
            lab.authority.client("root", "system:masters", false),
        ),
        ("stranger", stranger.client("root", "system:masters", true)),
    ] {
        let (status, _, _) = lab.ask(Some(client), false, get("/version", id)).await;
        assert_eq!(status, 401, "{id}");
        let events = lab.events(id);
        assert_eq!(events.len(), 1, "{id}");
        assert_eq!(events[0]["stage"], "ResponseStarted");
        assert_eq!(events[0]["user"], serde_json::json!({}));
    }
    // Nobody in particular.
    let (status, _, body) = lab.ask(None, true, get("/readyz", "probe")).await;
    assert_eq!((status, &body[..]), (200, &b"ok"[..]));
    assert_eq!(lab.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_and_bad_requests_are_refused() {
    let lab = Lab::start(EVERYTHING).await;
    let admin = || Some(lab.authority.client("root", "system:masters", true));
    let post = |body: Vec<u8>| {
        http::Request::builder()
            .method("POST")
            .uri("https://localhost/api/v1/namespaces/default/configmaps")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("audit-id", "large")
            .body(Full::new(bytes::Bytes::from(body)))
            .unwrap()
    };
    let (status, _, body) = lab.ask(admin(), true, post(vec![b' '; 3 << 20 | 1])).await;
    assert_eq!(status, 413, "{}", String::from_utf8_lossy(&body));
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = "Request entity too large: limit is 3145728";
    assert_eq!(
        body,
        serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": text, "reason": "RequestEntityTooLarge", "code": 413})
    );
    let events = lab.events("large");
    assert_eq!(events.len(), 2);
    assert_eq!(
        events[1]["responseStatus"],
        serde_json::json!({"metadata": {}, "status": "Failure", "message": text,
            "reason": "RequestEntityTooLarge", "code": 413})
    );
    let (status, _, _) = lab
        .ask(admin(), false, get("/api/v1/watch", "malformed"))
        .await;
    assert!(status == 404 || status == 500, "{status}");
    let (status, _, body) = lab
        .ask(admin(), false, get("/apis/no.such.group/v1/things", "404"))
        .await;
    assert_eq!((status, &body[..]), (404, &b"404 page not found\n"[..]));
    // Garbage instead of TLS only ends that connection.
    {
        use tokio::io::AsyncWriteExt;
        let mut raw = tokio::net::TcpStream::connect(("127.0.0.1", lab.machine.api_port))
            .await
            .unwrap();
        raw.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    }
    let (status, _, _) = lab.ask(None, false, get("/livez", "after")).await;
    assert_eq!(status, 200);
    assert_eq!(lab.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_audited_when_it_starts_and_when_it_ends() {
    let lab = Lab::start(EVERYTHING).await;
    let admin = lab.authority.client("root", "system:masters", true);
    let stream = TokioIo::new(lab.connect(Some(admin), b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let response = sender
        .send_request(get("/api/v1/namespaces?watch=true", "watch"))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("ADDED"));
    let stages = |lab: &Lab| {
        lab.events("watch")
            .iter()
            .map(|event| event["stage"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(stages(&lab), ["RequestReceived", "ResponseStarted"]);
    // SIGTERM ends watches; their last event is written before the server is gone.
    let log = lab.log.clone();
    lab.terminate.cancel();
    while body.frame().await.is_some() {}
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        text.lines()
            .any(|line| line.contains("\"watch\"") && line.contains("ResponseComplete")),
        "{text}"
    );
    assert_eq!(lab.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_is_free_again_after_the_end() {
    let lab = Lab::start(EVERYTHING).await;
    let port = lab.machine.api_port;
    assert_eq!(lab.stop().await, 0);
    std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_readyz_fails_while_a_shutdown_is_delayed() {
    // Longer than the test.
    let lab = Lab::start_with(EVERYTHING, &["--shutdown-delay-duration=10h"]).await;
    let (status, _, _) = lab.ask(None, false, get("/readyz", "before")).await;
    assert_eq!(status, 200);
    lab.terminate.cancel();
    let report = loop {
        let (status, _, body) = lab.ask(None, false, get("/readyz", "after")).await;
        if status == 500 {
            break String::from_utf8(body.to_vec()).unwrap();
        }
    };
    assert!(
        report.ends_with("\n[-]shutdown failed: reason withheld\nreadyz check failed\n"),
        "{report}"
    );
    assert_eq!(report.matches("[-]").count(), 1);
    for path in ["/livez", "/healthz", "/version"] {
        let (status, _, _) = lab.ask(None, true, get(path, "meanwhile")).await;
        assert_eq!(status, 200, "{path}");
    }
    let admin = lab.authority.client("root", "system:masters", true);
    let (status, _, body) = lab
        .ask(Some(admin), true, get("/readyz/shutdown", "single"))
        .await;
    assert_eq!(
        (status, &body[..]),
        (
            500,
            &b"internal server error: process is shutting down\n"[..]
        )
    );
    assert!(!lab.running.is_finished());
    lab.running.abort();
}
