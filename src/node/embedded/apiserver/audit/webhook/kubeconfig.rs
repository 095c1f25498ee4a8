//! The kubeconfig of the webhook, as client-go loads it (`tools/clientcmd`).

use std::io;

use base64::Engine;
use serde_json::Value;

use super::target::{self, Target};
use crate::audit::options::number::quote;
use crate::manifest::path::clean;
use crate::node::embedded::process::go_error_text;

/// How the webhook is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where events go.
    pub target: Target,
    /// The proxy on the way.
    pub proxy: Option<Target>,
    /// Who the API server says it is; only over TLS.
    pub credential: Credential,
    /// Headers that impersonate a user.
    pub impersonate: Vec<(&'static str, String)>,
    /// How the server is checked, and the client's certificate.
    pub tls: Tls,
    /// Whether answers may be compressed.
    pub compression: bool,
}

/// What goes into `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// User name and password.
    Basic(String, String),
    /// A token.
    Token(String),
    /// A token in a file, read anew now and then, and the token to use while it cannot be read.
    TokenFile(String, String),
}

/// The options of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM of the authorities; `None` for those of the system.
    pub authorities: Option<Vec<u8>>,
    /// Whether the server's certificate is taken as it is.
    pub insecure: bool,
    /// The name to ask for and to check, instead of the host.
    pub server_name: String,
    /// The client's certificate.
    pub client: ClientCertificate,
}

/// The client's certificate and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// None.
    #[default]
    None,
    /// PEM of certificate and key, fixed at the start.
    Data(Vec<u8>, Vec<u8>),
    /// Paths of certificate and key, read when they are asked for.
    Files(String, String),
}

/// Loads the configuration; `read` reads a file that the process sees.
///
/// # Errors
/// The text of client-go, without `initializing audit webhook: `.
pub fn load(
    path: &str,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<WebhookConfig, String> {
    let document = document(path, read)?;
    Loader {
        base: directory(path),
        read,
        document,
    }
    .load()
}

fn document(path: &str, read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> Result<Value, String> {
    let failed =
        |reason: String| format!("error loading config file {}: {reason}", quoted_plain(path));
    let bytes = read(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            format!("stat {path}: {}", go_error_text(&error))
        } else {
            failed(file_error(path, &error))
        }
    })?;
    let value = crate::yaml::to_json(&bytes)
        .map_err(|error| failed(error.to_string()))?
        .value;
    Ok(value)
}

/// Only the quotation marks: Go writes `\"%s\"` here.
fn quoted_plain(path: &str) -> String {
    format!("\"{path}\"")
}

/// `open FILE: …`, or `read FILE: is a directory`.
fn file_error(path: &str, error: &io::Error) -> String {
    let verb = if error.kind() == io::ErrorKind::IsADirectory {
        "read"
    } else {
        "open"
    };
    format!("{verb} {path}: {}", go_error_text(error))
}

/// The directory of a file; that of a relative one is below `/`, where the server runs.
fn directory(path: &str) -> String {
    let absolute = match path.strip_prefix('/') {
        Some(_) => path.to_owned(),
        None => format!("/{path}"),
    };
    absolute
        .rsplit_once('/')
        .map_or_else(String::new, |(directory, _)| directory.to_owned())
}

struct Loader<'a> {
    base: String,
    read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    document: Value,
}

impl Loader<'_> {
    fn load(&self) -> Result<WebhookConfig, String> {
        let current = text(&self.document, "current-context");
        let context = self.named("contexts", &current, "context");
        let (cluster_name, user_name) = match &context {
            Some(context) => (text(context, "cluster"), text(context, "user")),
            None => (String::new(), String::new()),
        };
        let cluster = self
            .named("clusters", &cluster_name, "cluster")
            .unwrap_or_default();
        let user = self.named("users", &user_name, "user").unwrap_or_default();
        let mut problems = Vec::new();
        if !current.is_empty() && context.is_none() {
            problems.push(format!(
                "context was not found for specified context: {current}"
            ));
        }
        self.check_user(&user_name, &user, &mut problems);
        let before = problems.len();
        self.check_cluster(&cluster_name, &cluster, &mut problems);
        if before == 0 && problems == [NO_CLUSTER] {
            problems = vec![
                "no configuration has been provided, try setting KUBERNETES_MASTER environment variable"
                    .to_owned(),
            ];
        }
        invalid(problems)?;
        self.config(&cluster, &user)
    }

    fn named(&self, list: &str, name: &str, field: &str) -> Option<Value> {
        self.document
            .get(list)?
            .as_array()?
            .iter()
            .find(|entry| text(entry, "name") == name)
            .map(|entry| entry.get(field).cloned().unwrap_or_default())
    }

    /// The path of a file named in the kubeconfig: relative ones are beside it.
    fn path(&self, object: &Value, field: &str) -> String {
        let path = text(object, field);
        if path.is_empty() || path.starts_with('/') {
            return path;
        }
        clean(&format!("/{}/{path}", self.base))
    }

    fn check_file(&self, path: &str, what: &str, name: &str, problems: &mut Vec<String>) {
        if path.is_empty() {
            return;
        }
        match (self.read)(path) {
            Err(error) if error.kind() != io::ErrorKind::IsADirectory => problems.push(format!(
                "unable to read {what} {path} for {name} due to open {path}: {}",
                go_error_text(&error)
            )),
            _ => {}
        }
    }

    /// `validateClusterInfo`.
    fn check_cluster(&self, name: &str, cluster: &Value, problems: &mut Vec<String>) {
        if cluster
            .as_object()
            .is_none_or(|cluster| cluster.values().all(is_zero))
        {
            problems.push(NO_CLUSTER.to_owned());
            return;
        }
        if text(cluster, "server").is_empty() {
            problems.push(if name.is_empty() {
                "default cluster has no server defined".to_owned()
            } else {
                format!("no server found for cluster {}", quote(name))
            });
        }
        let proxy = text(cluster, "proxy-url");
        if !proxy.is_empty()
            && let Err(reason) = proxy_target(&proxy)
        {
            problems.push(format!(
                "invalid 'proxy-url' {} for cluster {}: {reason}",
                quote(&proxy),
                quote(name)
            ));
        }
        let file = self.path(cluster, "certificate-authority");
        if !file.is_empty() && !text(cluster, "certificate-authority-data").is_empty() {
            problems.push(format!(
                "certificate-authority-data and certificate-authority are both specified for {name}. certificate-authority-data will override."
            ));
        }
        self.check_file(&file, "certificate-authority", name, problems);
    }

    /// `validateAuthInfo`.
    fn check_user(&self, name: &str, user: &Value, problems: &mut Vec<String>) {
        let certificate = self.path(user, "client-certificate");
        let certificate_data = text(user, "client-certificate-data");
        if !certificate.is_empty() || !certificate_data.is_empty() {
            let key = self.path(user, "client-key");
            let key_data = text(user, "client-key-data");
            if !certificate.is_empty() && !certificate_data.is_empty() {
                problems.push(format!(
                    "client-cert-data and client-cert are both specified for {name}. client-cert-data will override."
                ));
            }
            if !key.is_empty() && !key_data.is_empty() {
                problems.push(format!(
                    "client-key-data and client-key are both specified for {name}; client-key-data will override"
                ));
            }
            if key.is_empty() && key_data.is_empty() {
                problems.push(format!(
                    "client-key-data or client-key must be specified for {name} to use the clientCert authentication method."
                ));
            }
            self.check_file(&certificate, "client-cert", name, problems);
            self.check_file(&key, "client-key", name, problems);
        }
        let token = !text(user, "token").is_empty();
        let basic = !text(user, "username").is_empty() || !text(user, "password").is_empty();
        if token && basic {
            problems.push(format!(
                "more than one authentication method found for {name}; found [token basicAuth], only one is allowed"
            ));
        }
        let impersonates = ["as-uid", "as-groups", "as-user-extra"]
            .iter()
            .any(|field| user.get(field).is_some_and(|value| !is_zero(value)));
        if impersonates && text(user, "as").is_empty() {
            problems.push(format!(
                "requesting uid, groups or user-extra for {name} without impersonating a user"
            ));
        }
    }

    fn config(&self, cluster: &Value, user: &Value) -> Result<WebhookConfig, String> {
        let server = text(cluster, "server");
        // What kind of connection it is, is decided before certificates are looked at.
        let plain = target::parse(&server, false)?;
        let secure = plain.scheme == "https";
        let truth = |field: &str| cluster.get(field).and_then(Value::as_bool) == Some(true);
        let proxy = match text(cluster, "proxy-url") {
            url if url.is_empty() => None,
            url => Some(proxy_target(&url)?),
        };
        let mut impersonate = Vec::new();
        let named = text(user, "as");
        if !named.is_empty() {
            impersonate.push(("Impersonate-User", named));
            let uid = text(user, "as-uid");
            if !uid.is_empty() {
                impersonate.push(("Impersonate-Uid", uid));
            }
            let groups = user.get("as-groups").and_then(Value::as_array);
            for group in groups.into_iter().flatten().filter_map(Value::as_str) {
                impersonate.push(("Impersonate-Group", group.to_owned()));
            }
        }
        let (credential, tls) = if secure {
            (self.credential(user)?, self.tls(cluster, user)?)
        } else {
            (Credential::None, Tls::default())
        };
        Ok(WebhookConfig {
            target: plain,
            proxy,
            credential,
            impersonate,
            tls,
            compression: !truth("disable-compression"),
        })
    }

    fn credential(&self, user: &Value) -> Result<Credential, String> {
        let token = text(user, "token");
        let file = self.path(user, "tokenFile");
        let (name, password) = (text(user, "username"), text(user, "password"));
        let mut initial = token;
        if initial.is_empty() && !file.is_empty() {
            let bytes = (self.read)(&file).map_err(|error| file_error(&file, &error))?;
            initial = String::from_utf8_lossy(&bytes).trim().to_owned();
        }
        let has_basic = !name.is_empty() || !password.is_empty();
        if !file.is_empty() {
            if has_basic {
                return Err("username/password or bearer token may be set, but not both".to_owned());
            }
            if initial.is_empty() {
                return Err(format!("read empty token from file {}", quote(&file)));
            }
            return Ok(Credential::TokenFile(file, initial));
        }
        Ok(if !initial.is_empty() {
            Credential::Token(initial)
        } else if has_basic {
            Credential::Basic(name, password)
        } else {
            Credential::None
        })
    }

    /// `transport.TLSConfigFor`.
    fn tls(&self, cluster: &Value, user: &Value) -> Result<Tls, String> {
        let file_or_data = |object: &Value, file: &str, data: &str| {
            let encoded = text(object, data);
            if !encoded.is_empty() {
                return decode(&encoded).map(Some);
            }
            match self.path(object, file) {
                path if path.is_empty() => Ok(None),
                path => (self.read)(&path)
                    .map(Some)
                    .map_err(|error| file_error(&path, &error)),
            }
        };
        let insecure = cluster
            .get("insecure-skip-tls-verify")
            .and_then(Value::as_bool)
            == Some(true);
        let has_authority = !text(cluster, "certificate-authority").is_empty()
            || !text(cluster, "certificate-authority-data").is_empty();
        if insecure && has_authority {
            return Err(
                "specifying a root certificates file with the insecure flag is not allowed"
                    .to_owned(),
            );
        }
        let authorities = file_or_data(
            cluster,
            "certificate-authority",
            "certificate-authority-data",
        )?;
        let certificate = file_or_data(user, "client-certificate", "client-certificate-data")?;
        let key = file_or_data(user, "client-key", "client-key-data")?;
        // An empty file is no authority: those of the system are asked.
        let authorities = authorities.filter(|pem| !pem.is_empty());
        if let Some(pem) = &authorities {
            super::tls::authorities(pem)
                .map_err(|reason| format!("unable to load root certificates: {reason}"))?;
        }
        let from_files = text(user, "client-certificate-data").is_empty()
            && text(user, "client-key-data").is_empty();
        let client = match (certificate, key) {
            (Some(_), Some(_)) if from_files => ClientCertificate::Files(
                self.path(user, "client-certificate"),
                self.path(user, "client-key"),
            ),
            (Some(certificate), Some(key)) => {
                super::tls::pair(&certificate, &key)?;
                ClientCertificate::Data(certificate, key)
            }
            _ => ClientCertificate::None,
        };
        Ok(Tls {
            authorities,
            insecure,
            server_name: text(cluster, "tls-server-name"),
            client,
        })
    }
}

const NO_CLUSTER: &str = "cluster has no server defined";

fn invalid(problems: Vec<String>) -> Result<(), String> {
    let mut unique: Vec<String> = Vec::new();
    for problem in problems {
        if !unique.contains(&problem) {
            unique.push(problem);
        }
    }
    match unique.as_slice() {
        [] => Ok(()),
        [one] => Err(format!("invalid configuration: {one}")),
        many => Err(format!("invalid configuration: [{}]", many.join(", "))),
    }
}

fn proxy_target(url: &str) -> Result<Target, String> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !matches!(scheme, "http" | "https" | "socks5") {
        return Err(format!(
            "unsupported scheme {}, must be http, https, or socks5",
            quote(scheme)
        ));
    }
    target::parse(url, false).map_err(|_| format!("could not parse: {url}"))
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    let packed: String = text.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD
        .decode(&packed)
        .map_err(|error| match error {
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol(at, _)
            | base64::DecodeError::InvalidLength(at) => {
                format!("illegal base64 data at input byte {at}")
            }
            base64::DecodeError::InvalidPadding => {
                format!("illegal base64 data at input byte {}", packed.len())
            }
        })
}

fn text(object: &Value, field: &str) -> String {
    object
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
