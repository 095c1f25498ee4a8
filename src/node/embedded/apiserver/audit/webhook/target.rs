//! The URL of a server, as client-go takes it from a kubeconfig (`rest/url_utils.go`, `net/url`).

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::audit::options::number::quote;
use crate::manifest::path::clean;

/// What a path may not hold as it is.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `http`, `https` or something no request can be made with.
    pub scheme: String,
    /// User name and password of the URL.
    pub user: Option<(String, String)>,
    /// Host and port as written.
    pub authority: String,
    /// Host alone, without brackets.
    pub host: String,
    /// Port, the scheme's if none is given.
    pub port: u16,
    /// Path, without a slash at its end.
    pub path: String,
}

/// Reads `host`, `host:port` or a URL. `secure`: what is without a scheme is HTTPS.
///
/// # Errors
/// client-go's text.
pub fn parse(server: &str, secure: bool) -> Result<Target, String> {
    if let Ok(Some(target)) = url(server) {
        return Ok(target);
    }
    let scheme = if secure { "https" } else { "http" };
    let target = url(&format!("{scheme}://{server}"))?;
    match target {
        Some(target) if target.path == "/" => Ok(target),
        _ => Err(format!(
            "host must be a URL or a host:port pair: {}",
            quote(server)
        )),
    }
}

/// A whole URL; `None` when it has no scheme or no host.
fn url(text: &str) -> Result<Option<Target>, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(None);
    };
    let named = scheme
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    if !named {
        return Ok(None);
    }
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, authority) = match authority.rsplit_once('@') {
        Some((user, authority)) => (Some(credentials(user)), authority),
        None => (None, authority),
    };
    let failed = |reason: String| format!("parse {}: {reason}", quote(text));
    let (host, port) = split(authority).map_err(failed)?;
    if host.is_empty() && port.is_empty() {
        return Ok(None);
    }
    let port = match port {
        "" if scheme == "https" => 443,
        "" => 80,
        // Out of range is found out when it is dialled.
        port => port.parse().unwrap_or(0),
    };
    let path = tail.split(['?', '#']).next().unwrap_or_default();
    Ok(Some(Target {
        user,
        authority: authority.to_owned(),
        host: host.to_owned(),
        port,
        path: escaped(path),
        scheme,
    }))
}

fn credentials(text: &str) -> (String, String) {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    match text.split_once(':') {
        Some((name, password)) => (decode(name), decode(password)),
        None => (decode(text), String::new()),
    }
}

/// Host and port (`net/url.parseHost`, `validOptionalPort`).
fn split(authority: &str) -> Result<(&str, &str), String> {
    let (host, rest) = if let Some(inner) = authority.strip_prefix('[') {
        let Some((host, rest)) = inner.split_once(']') else {
            return Err("missing ']' in host".to_owned());
        };
        (host, rest)
    } else {
        match authority.rfind(':') {
            Some(colon) => authority.split_at(colon),
            None => (authority, ""),
        }
    };
    let Some(port) = rest.strip_prefix(':') else {
        if rest.is_empty() {
            return Ok((host, ""));
        }
        return Err(format!("invalid port {} after host", quote(rest)));
    };
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok((host, port))
    } else {
        Err(format!("invalid port {} after host", quote(rest)))
    }
}

/// `path.Join("/", path)`, escaped where it has to be.
fn escaped(path: &str) -> String {
    let joined = clean(&format!("/{path}"));
    percent_encode(joined.as_bytes(), PATH).to_string()
}

impl Target {
    /// The URL of the request, as errors show it: no password.
    #[must_use]
    pub fn shown(&self) -> String {
        let user = match &self.user {
            Some((name, password)) if password.is_empty() => format!("{name}@"),
            Some((name, _)) => format!("{name}:***@"),
            None => String::new(),
        };
        format!(
            "{}://{user}{}{}",
            self.scheme,
            self.authority,
            self.path_and_query()
        )
    }

    /// Path and query of the request: a query of the kubeconfig is dropped, the time limit added.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        format!("{}?timeout=30s", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_and_a_last_slash_are_dropped() {
        let target = parse("http://127.0.0.1:9443/events/?source=apiserver", false).unwrap();
        assert_eq!(target.shown(), "http://127.0.0.1:9443/events?timeout=30s");
        let target = parse("https://user:secret@[::1]/a//b/../c", false).unwrap();
        assert_eq!(target.shown(), "https://user:***@[::1]/a/c?timeout=30s");
        assert_eq!((target.host.as_str(), target.port), ("::1", 443));
    }

    #[test]
    fn without_a_scheme_it_is_a_host_and_a_port() {
        let target = parse("127.0.0.1:9443", false).unwrap();
        assert_eq!(target.shown(), "http://127.0.0.1:9443/?timeout=30s");
        assert_eq!(
            parse("webhook.example.com:443/audit", false).unwrap_err(),
            "host must be a URL or a host:port pair: \"webhook.example.com:443/audit\""
        );
        assert_eq!(
            parse("127.0.0.1:port", false).unwrap_err(),
            "parse \"http://127.0.0.1:port\": invalid port \":port\" after host"
        );
    }
}
