//! What `--authentication-config` and the flags it takes the place of say of anonymous requests and JSON Web Tokens
//! (`pkg/kubeapiserver/options/authentication.go`).
//!
//! Authenticators of JSON Web Tokens are validated and then know no token: an issuer is asked for its keys, and the node
//! reaches none.

mod jwt;

use serde_json::{Value, json};

use super::anonymous::Anonymous;
use crate::audit::options::number::quote;
use crate::node::embedded::apiserver::flags::{Flags, aggregate};
use crate::node::embedded::apiserver::kinds::field::FieldError;
use crate::node::embedded::apiserver::schema::config_file::{INSTALLED, Scheme};
use crate::node::embedded::apiserver::startup::read;
use crate::node::embedded::runtime::rootfs::Rootfs;

const SCHEME: Scheme = Scheme {
    name: "pkg/kubeapiserver/options/authentication.go:799",
    versions: INSTALLED,
};

/// Most authenticators.
const MOST: usize = 64;

/// Reads and validates the configuration; gives its anonymous part.
///
/// # Errors
/// The real text.
pub fn read_anonymous(flags: &Flags, rootfs: &Rootfs) -> Result<Anonymous, String> {
    let path = flags.line.text("authentication-config");
    let config = if path.is_empty() {
        from_flags(flags, rootfs)?
    } else {
        from_file(rootfs, &path).map_err(|reason| {
            format!(
                "failed to load authentication configuration from file {}: {reason}",
                quote(&path)
            )
        })?
    };
    let configured = config.get("anonymous").filter(|value| !value.is_null());
    let anonymous = match configured {
        Some(_) if flags.line.given("anonymous-auth") => {
            return Err(FieldError::forbidden("anonymous", "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file").to_string());
        }
        Some(value) => Anonymous {
            enabled: value.get("enabled") == Some(&Value::Bool(true)),
            paths: list(value, "conditions")
                .iter()
                .map(|condition| text(condition, "path").to_owned())
                .collect(),
        },
        None => Anonymous {
            // Without authorisation an anonymous user could do everything.
            enabled: flags.line.bool("anonymous-auth")
                && !flags
                    .authorization_modes()
                    .iter()
                    .any(|m| m == "AlwaysAllow"),
            paths: Vec::new(),
        },
    };
    let errors = validate(&config);
    if !errors.is_empty() {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(format!(
            "invalid authentication configuration: {}",
            aggregate(&texts)
        ));
    }
    Ok(anonymous)
}

/// What the authenticators of JSON Web Tokens refuse when they are made (`plugin/pkg/authenticator/token/oidc`), after everything
/// that is read for authentication was.
///
/// # Errors
/// The real text.
pub fn make_token_authenticators(flags: &Flags, rootfs: &Rootfs) -> Result<(), String> {
    let path = flags.line.text("authentication-config");
    let config = if path.is_empty() {
        from_flags(flags, rootfs)?
    } else {
        from_file(rootfs, &path)?
    };
    for authenticator in list(&config, "jwt") {
        let url = authenticator.pointer("/issuer/url").and_then(Value::as_str);
        let url = url.unwrap_or_default();
        let mut issuers = flags.issuers();
        if issuers.iter().any(|issuer| issuer == url) {
            issuers.sort();
            issuers.dedup();
            return Err(FieldError::invalid(
                "issuer.url",
                &url.into(),
                format!(
                    "URL must not overlap with disallowed issuers: [{}]",
                    issuers.join(" ")
                ),
            )
            .to_string());
        }
    }
    if path.is_empty() && !list(&config, "jwt").is_empty() {
        let unknown = flags
            .line
            .list("oidc-signing-algs")
            .into_iter()
            .find(|one| !ALGORITHMS.contains(&one.as_str()));
        if let Some(unknown) = unknown {
            return Err(format!(
                "oidc: unsupported signing alg: {}",
                quote(&unknown)
            ));
        }
    }
    Ok(())
}

const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
];

fn from_file(rootfs: &Rootfs, path: &str) -> Result<Value, String> {
    let bytes = read(rootfs, path)?;
    if bytes.is_empty() {
        return Err("empty config data".to_owned());
    }
    let file = SCHEME.read(&bytes)?;
    if file.kind == "AuthenticationConfiguration" {
        Ok(file.value)
    } else {
        Err(format!(
            "expected AuthenticationConfiguration, got *apiserver.{}",
            file.kind
        ))
    }
}

/// The authenticator that `--oidc-*` describe.
fn from_flags(flags: &Flags, rootfs: &Rootfs) -> Result<Value, String> {
    let line = &flags.line;
    let (issuer, client) = (line.text("oidc-issuer-url"), line.text("oidc-client-id"));
    if issuer.is_empty() || client.is_empty() {
        return Ok(json!({}));
    }
    let authority = match line.text("oidc-ca-file") {
        path if path.is_empty() => String::new(),
        path => String::from_utf8_lossy(&read(rootfs, &path)?).into_owned(),
    };
    Ok(json!({ "jwt": [{
        "issuer": { "url": issuer, "audiences": [client], "certificateAuthority": authority },
        "claimMappings": { "username": { "claim": line.text("oidc-username-claim"), "prefix": "" } },
    }] }))
}

fn validate(config: &Value) -> Vec<FieldError> {
    let authenticators = list(config, "jwt");
    if authenticators.len() > MOST {
        let many = Value::from(authenticators.len());
        let detail = format!("must have at most {MOST} items");
        let mut error = FieldError::invalid("jwt", &many, detail.as_str());
        error.message = format!("Too many: {many}: {detail}");
        return vec![error];
    }
    let mut errors = Vec::new();
    let (mut issuers, mut discoveries) = (Vec::new(), Vec::new());
    for (index, authenticator) in authenticators.iter().enumerate() {
        let at = format!("jwt[{index}]");
        jwt::validate(authenticator, &at, &mut errors);
        let issuer = authenticator.get("issuer").unwrap_or(&Value::Null);
        let url = text(issuer, "url");
        if issuers.contains(&url) {
            errors.push(FieldError::duplicate(
                format!("{at}.issuer.url"),
                &url.into(),
            ));
        }
        issuers.push(url);
        let discovery = text(issuer, "discoveryURL");
        if !discovery.is_empty() {
            if discoveries.contains(&discovery) {
                errors.push(FieldError::duplicate(
                    format!("{at}.issuer.discoveryURL"),
                    &discovery.into(),
                ));
            }
            discoveries.push(discovery);
        }
    }
    let anonymous = config.get("anonymous").unwrap_or(&Value::Null);
    let conditions = list(anonymous, "conditions");
    if anonymous.get("enabled") == Some(&Value::Bool(false)) && !conditions.is_empty() {
        // The internal type, whose fields have no names of their own in JSON.
        let shown: Vec<Value> = conditions
            .iter()
            .map(|condition| json!({ "Path": text(condition, "path") }))
            .collect();
        errors.push(FieldError::invalid(
            "anonymous.conditions",
            &shown.into(),
            "enabled should be set to true when conditions are defined",
        ));
    }
    errors
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
