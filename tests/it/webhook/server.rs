//! A kube-apiserver with audit flags, in process, and the files it sees.

use std::path::Path;
use std::sync::Arc;

use ckslab::node::embedded::apiserver::api::Body;
use ckslab::node::embedded::apiserver::program::KubeApiServer;
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::machine::{LocalApi, LocalRequest, Machine};
use ckslab::node::embedded::process::{Process, Program};
use ckslab::node::embedded::runtime::rootfs::{Mount, Rootfs};
use futures_util::StreamExt;
use serde_json::Value;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::flags::{Captured, base_arguments, masked};
use crate::replay;

/// The files of a node: an authority, what it signed, keys, a policy.
pub(crate) struct Node {
    pub(crate) root: tempfile::TempDir,
    ca: String,
    receiver: (rustls_pki_types::CertificateDer<'static>, Vec<u8>),
}

impl Node {
    pub(crate) fn new(policy: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let pki = root.path().join("etc/kubernetes/pki");
        std::fs::create_dir_all(&pki).unwrap();
        std::fs::create_dir_all(root.path().join("var/log/kubernetes")).unwrap();
        let (ca, issuer) = authority("kubernetes");
        let (proxy_ca, proxy) = authority("front-proxy-ca");
        std::fs::write(pki.join("ca.crt"), &ca).unwrap();
        std::fs::write(pki.join("front-proxy-ca.crt"), proxy_ca).unwrap();
        for (name, issuer) in [
            ("apiserver", &issuer),
            ("apiserver-kubelet-client", &issuer),
            ("front-proxy-client", &proxy),
        ] {
            let (certificate, key) = leaf(issuer, &["localhost"]);
            std::fs::write(pki.join(format!("{name}.crt")), certificate.pem()).unwrap();
            std::fs::write(pki.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(pki.join("sa.key"), key.serialize_pem()).unwrap();
        std::fs::write(pki.join("sa.pub"), key.public_key_pem()).unwrap();
        let (certificate, key) = leaf(&issuer, &["127.0.0.1", "localhost"]);
        let node = Self {
            receiver: (certificate.der().clone(), key.serialize_der()),
            root,
            ca,
        };
        node.write("etc/kubernetes/audit-policy.yaml", policy);
        node
    }

    pub(crate) fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path(path), text).unwrap();
    }

    /// The kubeconfig of a webhook: what stands below `cluster:` and `user:`.
    pub(crate) fn webhook(&self, cluster: &str, user: &str) {
        self.write(
            "etc/kubernetes/audit-webhook.yaml",
            &format!(
                "apiVersion: v1\nkind: Config\nclusters:\n- name: audit\n  cluster: {cluster}\nusers:\n- name: apiserver\n  user: {user}\ncontexts:\n- name: default\n  context: {{cluster: audit, user: apiserver}}\ncurrent-context: default\n"
            ),
        );
    }

    /// TLS with a certificate that the node's authority signed for 127.0.0.1. `mutual`: a client
    /// certificate of that authority is asked for.
    pub(crate) fn acceptor(&self, mutual: bool) -> TlsAcceptor {
        use rustls::pki_types::pem::PemObject;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if mutual {
            let mut roots = rustls::RootCertStore::empty();
            let ca = rustls_pki_types::CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap();
            roots.add(ca).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = &self.receiver;
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.clone()).unwrap();
        let config = builder
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Starts the server with these flags beside those of a node.
    pub(crate) fn start(&self, arguments: &[String]) -> Server {
        let machine = replay::machine(tokio::task::block_in_place(replay::base_store));
        let mut argv = vec!["kube-apiserver".to_owned()];
        argv.extend(base_arguments());
        argv.push("--audit-policy-file=/etc/kubernetes/audit-policy.yaml".to_owned());
        argv.extend(arguments.iter().cloned());
        let mount = |name: &str, path: &str| Mount {
            name: name.to_owned(),
            container_path: path.to_owned(),
            node_path: path.to_owned(),
            read_only: false,
        };
        let layer = self.path("layer");
        std::fs::create_dir_all(&layer).unwrap();
        let rootfs = Arc::new(Rootfs::new(
            self.root.path().to_path_buf(),
            layer,
            vec![
                mount("k8s", "/etc/kubernetes"),
                mount("log", "/var/log/kubernetes"),
            ],
        ));
        rootfs.prepare().unwrap();
        let output = Arc::new(Captured::default());
        let terminate = CancellationToken::new();
        let process = Process {
            argv,
            rootfs,
            output: output.clone(),
            terminate: terminate.clone(),
            pid: 4242,
            own_network: false,
        };
        let program = KubeApiServer::new(machine.clone());
        let running = tokio::spawn(async move { program.run(process).await });
        Server {
            machine,
            output,
            terminate,
            running,
        }
    }
}

type Issuer = rcgen::Issuer<'static, rcgen::KeyPair>;

pub(crate) fn authority(name: &str) -> (String, Issuer) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), rcgen::Issuer::new(parameters, key))
}

pub(crate) fn leaf(issuer: &Issuer, names: &[&str]) -> (rcgen::Certificate, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let parameters = rcgen::CertificateParams::new(names).unwrap();
    (parameters.signed_by(&key, issuer).unwrap(), key)
}

/// A running server.
pub(crate) struct Server {
    pub(crate) machine: Arc<Machine>,
    pub(crate) output: Arc<Captured>,
    terminate: CancellationToken,
    running: tokio::task::JoinHandle<i32>,
}

impl Server {
    /// Waits until it serves.
    pub(crate) async fn ready(&self) -> Arc<dyn LocalApi> {
        let mut api = self.machine.api.subscribe();
        let served = tokio::time::timeout(
            std::time::Duration::from_secs(60),
            api.wait_for(Option::is_some),
        );
        match served.await {
            Ok(api) => api.unwrap().clone().unwrap(),
            Err(_) => panic!("not ready: {:?}", self.stderr()),
        }
    }

    /// A request of kubernetes-super-admin; its status and body, when all of it is there.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, String) {
        let api = self.ready().await;
        let response = api
            .call(LocalRequest {
                user: UserInfo {
                    username: "kubernetes-super-admin".to_owned(),
                    groups: vec![
                        "system:masters".to_owned(),
                        "system:authenticated".to_owned(),
                    ],
                    ..UserInfo::default()
                },
                user_agent: "client/1.0".to_owned(),
                source_ip: "127.0.0.1".to_owned(),
                method: method.parse().unwrap(),
                path_and_query: path.to_owned(),
                content_type: String::new(),
                body,
            })
            .await;
        let text = match response.body {
            Body::Object(value) => value.to_string(),
            Body::Bytes { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
            Body::Stream { mut chunks, .. } => {
                let mut text = String::new();
                while let Some(chunk) = chunks.next().await {
                    text.push_str(&String::from_utf8_lossy(&chunk));
                }
                text
            }
            _ => String::new(),
        };
        (response.code, text)
    }

    /// `GET` of a list that is there: two events.
    pub(crate) async fn get(&self, query: &str) -> u16 {
        let path = format!("/api/v1/namespaces/default/configmaps{query}");
        self.request("GET", &path, None).await.0
    }

    /// Standard error so far, headers masked.
    pub(crate) fn stderr(&self) -> Vec<String> {
        let lines = self.output.stderr.lock().unwrap();
        lines
            .iter()
            .flat_map(|line| line.split('\n'))
            .map(masked)
            .collect()
    }

    /// Lines about audit plugins so far.
    pub(crate) fn plugin_errors(&self) -> Vec<String> {
        let mut lines = self.stderr();
        lines.retain(|line| line.contains("Error in audit plugin"));
        lines
    }

    /// SIGTERM; the exit code.
    pub(crate) async fn terminate(self) -> (i32, Arc<Captured>) {
        self.terminate.cancel();
        (self.running.await.unwrap(), self.output)
    }

    /// Waits until it ends by itself.
    pub(crate) async fn end(self) -> (i32, Arc<Captured>) {
        (self.running.await.unwrap(), self.output)
    }

    /// SIGKILL.
    pub(crate) async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

/// Lines of a file.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}
