//! Receivers that cannot be reached, are not trusted, or do not want the events; kubeconfigs.

use super::modes::{POLICY, arguments, to};
use super::receiver::{Receiver, Reply};
use super::server::{Node, authority, leaf};

const CONFIG: &str = "--audit-webhook-config-file=/etc/kubernetes/audit-webhook.yaml";
const BLOCKING: [&str; 3] = [
    CONFIG,
    "--audit-webhook-mode=blocking",
    "--audit-webhook-initial-backoff=1ms",
];

/// A port at which nobody listens.
async fn closed_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// The reason of the first error of the plugin, after one request through this kubeconfig.
async fn reason(node: &Node, cluster: &str, user: &str) -> String {
    node.webhook(cluster, user);
    let server = node.start(&arguments(&BLOCKING));
    assert_eq!(server.get("").await, 200);
    let errors = server.plugin_errors();
    server.terminate().await;
    let first = errors.first().expect("no error");
    let (_, reason) = first.split_once("affecting 1 audit events: ").unwrap();
    reason.to_owned()
}

/// How the start fails with this kubeconfig.
async fn refusal(node: &Node, cluster: &str, user: &str) -> String {
    node.webhook(cluster, user);
    let (code, output) = node.start(&arguments(&[CONFIG])).end().await;
    assert_eq!(code, 1);
    let stderr = output.stderr.lock().unwrap();
    let line = stderr.last().unwrap();
    let (_, error) = line
        .split_once("\"command failed\" err=\"initializing audit webhook: ")
        .unwrap();
    error.strip_suffix('"').unwrap().replace("\\\"", "\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_reaches_nobody_else() {
    let node = Node::new(POLICY);
    let port = closed_port().await;
    for (server, error) in [
        (
            format!("http://127.0.0.1:{port}/audit"),
            format!("dial tcp 127.0.0.1:{port}: connect: connection refused"),
        ),
        (
            "http://audit.default.svc:9443".to_owned(),
            "dial tcp: lookup audit.default.svc on 127.0.0.53:53: no such host".to_owned(),
        ),
        (
            "https://203.0.113.9/x".to_owned(),
            "dial tcp 203.0.113.9:443: connect: network is unreachable".to_owned(),
        ),
        (
            "ftp://127.0.0.1/x".to_owned(),
            "unsupported protocol scheme \"ftp\"".to_owned(),
        ),
    ] {
        let got = reason(&node, &format!("{{server: \"{server}\"}}"), "{}").await;
        let shown = match server.as_str() {
            "http://audit.default.svc:9443" => format!("{server}/"),
            _ => server,
        };
        assert_eq!(got, format!("Post \"{shown}?timeout=30s\": {error}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_checked_as_go_checks_it() {
    let node = Node::new(POLICY);
    let tls = Receiver::start(Vec::new(), Some(node.acceptor(false))).await;
    let mutual = Receiver::start(Vec::new(), Some(node.acceptor(true))).await;
    let plain = Receiver::start(vec![Reply::status(400)], None).await;
    let (other, _) = authority("kubernetes");
    node.write("etc/kubernetes/pki/other.crt", &other);
    let ca = "certificate-authority: pki/ca.crt";
    for (receiver, options, error) in [
        (
            &tls,
            "insecure-skip-tls-verify: false",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        (
            &tls,
            "certificate-authority: pki/other.crt",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority (possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority certificate \"kubernetes\")",
        ),
        (
            &tls,
            "certificate-authority: pki/ca.crt, tls-server-name: audit.example",
            "tls: failed to verify certificate: x509: certificate is valid for localhost, not audit.example",
        ),
        (
            &tls,
            "certificate-authority: pki/ca.crt, tls-server-name: 10.0.0.1",
            "tls: failed to verify certificate: x509: certificate is valid for 127.0.0.1, not 10.0.0.1",
        ),
        (&mutual, ca, "remote error: tls: certificate required"),
        (
            &plain,
            ca,
            "http: server gave HTTP response to HTTPS client",
        ),
    ] {
        let url = format!("https://127.0.0.1:{}/", receiver.port);
        let cluster = format!("{{server: \"{url}\", {options}}}");
        let got = reason(&node, &cluster, "{}").await;
        assert_eq!(got, format!("Post \"{url}?timeout=30s\": {error}"));
    }
    assert!(tls.posts().is_empty() && mutual.posts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_and_names_of_certificates_count() {
    let (ca, issuer) = authority("audit-ca");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let node = Node::new(POLICY);
    node.write("etc/kubernetes/pki/audit-ca.crt", &ca);
    let key = rcgen::KeyPair::generate().unwrap();
    let of = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut parameters);
        parameters.signed_by(&key, &issuer).unwrap()
    };
    let expired = of(&|p| p.not_after = rcgen::date_time_ymd(2001, 2, 3));
    let nameless = of(&|p| p.subject_alt_names = Vec::new());
    let client = of(&|p| {
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let named = leaf(&issuer, &["a.example", "b.example"]);
    for (certificate, key, error) in [
        (
            &expired,
            &key,
            "x509: certificate has expired or is not yet valid: current time ",
        ),
        (
            &nameless,
            &key,
            "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
        ),
        (
            &client,
            &key,
            "x509: certificate specifies an incompatible key usage",
        ),
        (
            &named.0,
            &named.1,
            "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
        ),
    ] {
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        let receiver = Receiver::start(Vec::new(), Some(acceptor)).await;
        let url = format!("https://127.0.0.1:{}/", receiver.port);
        let cluster = format!("{{server: \"{url}\", certificate-authority: pki/audit-ca.crt}}");
        let got = reason(&node, &cluster, "{}").await;
        let want =
            format!("Post \"{url}?timeout=30s\": tls: failed to verify certificate: {error}");
        assert!(got.starts_with(&want), "{got}\nwant {want}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_of_the_kubeconfig_are_sent() {
    let node = Node::new(POLICY);
    std::fs::create_dir_all(node.path("etc/kubernetes/tokens")).unwrap();
    node.write("etc/kubernetes/tokens/audit", "from-a-file\n");
    for (user, authorization) in [
        ("{tokenFile: tokens/audit}", Some("Bearer from-a-file")),
        (
            "{tokenFile: ./pki/../tokens/audit, token: older}",
            Some("Bearer from-a-file"),
        ),
        ("{token: plain}", Some("Bearer plain")),
        ("{username: u, password: p}", Some("Basic dTpw")),
        ("{}", None),
    ] {
        let receiver = Receiver::start(Vec::new(), Some(node.acceptor(false))).await;
        let cluster = format!(
            "{{server: \"https://127.0.0.1:{}\", certificate-authority: pki/ca.crt}}",
            receiver.port
        );
        node.webhook(&cluster, user);
        let server = node.start(&arguments(&BLOCKING));
        server.get("").await;
        assert_eq!(receiver.posts()[0].header("Authorization"), authorization);
        server.terminate().await;
    }
    // Without TLS nothing of it is sent.
    let receiver = Receiver::start(Vec::new(), None).await;
    node.webhook(
        &format!("{{server: \"http://127.0.0.1:{}\"}}", receiver.port),
        "{token: plain}",
    );
    let server = node.start(&arguments(&BLOCKING));
    server.get("").await;
    assert_eq!(receiver.posts()[0].header("Authorization"), None);
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_spoken_where_the_receiver_speaks_it() {
    use http_body_util::{BodyExt, Full};
    let node = Node::new(POLICY);
    let acceptor = node.acceptor(false);
    let mut config = acceptor.config().as_ref().clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, mut came) = tokio::sync::mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let service =
            hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let sender = sender.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    sender.send((parts, body)).unwrap();
                    Ok::<_, std::convert::Infallible>(http::Response::new(
                        Full::<bytes::Bytes>::default(),
                    ))
                }
            });
        let executor = hyper_util::rt::TokioExecutor::new();
        let _ = hyper::server::conn::http2::Builder::new(executor)
            .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
            .await;
    });
    let cluster =
        format!("{{server: \"https://127.0.0.1:{port}/h\", certificate-authority: pki/ca.crt}}");
    node.webhook(&cluster, "{}");
    let server = node.start(&arguments(&BLOCKING));
    server.get("").await;
    // Both over one connection.
    for stage in ["RequestReceived", "ResponseComplete"] {
        let (parts, body) = came.recv().await.unwrap();
        assert_eq!(parts.version, http::Version::HTTP_2);
        assert_eq!(parts.uri.path_and_query().unwrap(), "/h?timeout=30s");
        assert_eq!(parts.headers["user-agent"], "Go-http-client/2.0");
        let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(list["items"][0]["stage"], stage);
    }
    server.terminate().await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubeconfigs_that_cannot_be_used_end_the_start() {
    let node = Node::new(POLICY);
    node.write("etc/kubernetes/pki/empty", "");
    node.write("etc/kubernetes/pki/text", "no certificate\n");
    let ca = "server: \"https://127.0.0.1\", certificate-authority: pki/ca.crt";
    for (cluster, user, error) in [
        (
            format!("{{{ca}}}"),
            "{client-certificate: pki/no.crt, client-key: pki/no.key}",
            "invalid configuration: [unable to read client-cert /etc/kubernetes/pki/no.crt for apiserver due to open /etc/kubernetes/pki/no.crt: no such file or directory, unable to read client-key /etc/kubernetes/pki/no.key for apiserver due to open /etc/kubernetes/pki/no.key: no such file or directory]",
        ),
        (
            format!("{{{ca}}}"),
            "{client-certificate: pki/apiserver.crt}",
            "invalid configuration: client-key-data or client-key must be specified for apiserver to use the clientCert authentication method.",
        ),
        (
            format!("{{{ca}}}"),
            "{token: t, username: u}",
            "invalid configuration: more than one authentication method found for apiserver; found [token basicAuth], only one is allowed",
        ),
        (
            format!("{{{ca}, insecure-skip-tls-verify: true}}"),
            "{}",
            "specifying a root certificates file with the insecure flag is not allowed",
        ),
        (
            "{server: \"https://127.0.0.1\", certificate-authority: pki/text}".to_owned(),
            "{}",
            "unable to load root certificates: unable to parse bytes as PEM block",
        ),
        (
            "{certificate-authority: pki/ca.crt}".to_owned(),
            "{}",
            "invalid configuration: no server found for cluster \"audit\"",
        ),
        (
            format!("{{{ca}}}"),
            "{tokenFile: pki/no-token}",
            "open /etc/kubernetes/pki/no-token: no such file or directory",
        ),
        (
            format!("{{{ca}}}"),
            "{tokenFile: pki/empty}",
            "read empty token from file \"/etc/kubernetes/pki/empty\"",
        ),
        (
            format!("{{{ca}, proxy-url: \"gopher://x\"}}"),
            "{}",
            "invalid configuration: invalid 'proxy-url' \"gopher://x\" for cluster \"audit\": unsupported scheme \"gopher\", must be http, https, or socks5",
        ),
    ] {
        assert_eq!(refusal(&node, &cluster, user).await, error);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_webhook_delays_requests_but_a_fast_one_does_not_end_the_start() {
    // All is audited, the server's own requests too; refused at once, five times, they go on.
    let node = Node::new("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n");
    let port = closed_port().await;
    node.webhook(&format!("{{server: \"http://127.0.0.1:{port}\"}}"), "{}");
    let server = node.start(&arguments(&BLOCKING));
    server.ready().await;
    assert!(server.plugin_errors().len() > 100);
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_killed_between_posts_is_an_error_of_the_next() {
    let node = Node::new(POLICY);
    let receiver = Receiver::start(Vec::new(), None).await;
    let port = receiver.port;
    let flags = [
        "--audit-webhook-mode=blocking-strict",
        "--audit-webhook-initial-backoff=1ms",
    ];
    let server = to(&node, &receiver, &flags).await;
    assert_eq!(server.get("").await, 200);
    assert_eq!(receiver.kill().await.len(), 2);
    assert_eq!(server.get("").await, 500);
    let stderr = server.stderr();
    let refused = format!(
        "Error in audit plugin 'webhook' affecting 1 audit events: Post \"http://127.0.0.1:{port}/audit?timeout=30s\": dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    assert!(stderr.iter().any(|line| line.ends_with(&refused)));
    assert!(stderr.iter().any(|line| line.ends_with(
        "errors.go:86] \"Unhandled Error\" err=\"failed to store audit event\" logger=\"UnhandledError\""
    )));
    let (_, metrics) = server.request("GET", "/metrics", None).await;
    assert!(metrics.contains("apiserver_audit_requests_rejected_total 1\n"));
    server.terminate().await;
}
