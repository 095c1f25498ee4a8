//! Authentication: client certificates, the front proxy, bearer tokens, anonymous.

pub mod anonymous;
pub mod bootstrap;
pub mod certificate;
pub mod configuration;
pub mod recent;
pub mod service_account;
pub mod static_tokens;
pub mod tokens;

use std::sync::Arc;

use super::pipeline::Peer;
use super::request::UserInfo;
use super::state::ApiState;
use certificate::{ClientCa, RequestHeader};

/// Who a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// The user (with `system:authenticated`, as TokenReview shows it).
    pub user: UserInfo,
    /// Audiences asked for that the token is good for.
    pub audiences: Vec<String>,
}

/// The authenticators of a server.
#[derive(Default)]
pub struct Authn {
    /// `--client-ca-file`.
    pub client_ca: Option<ClientCa>,
    /// `--requestheader-*`.
    pub request_header: Option<RequestHeader>,
    /// `--anonymous-auth`, or the file of `--authentication-config`.
    pub anonymous: anonymous::Anonymous,
    /// `--enable-bootstrap-token-auth`.
    pub bootstrap_tokens: bool,
    /// `--token-auth-file`.
    pub static_tokens: static_tokens::StaticTokens,
    /// Tokens that were good a moment ago.
    pub cache: TokenCache,
}

/// A user, and the wanted audiences a token is good for.
type Found = (UserInfo, Vec<String>);

/// Tokens that were good a moment ago: a deleted account's token works a little longer.
pub type TokenCache = recent::Recent<Found>;

const AUTHENTICATED: &str = "system:authenticated";

fn with_authenticated(mut user: UserInfo) -> UserInfo {
    if user.username != "system:anonymous" && !user.groups.iter().any(|g| g == AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

/// Authenticates a bearer token for any of these audiences (empty: the server's own).
///
/// # Errors
/// The text of the failure, as TokenReview reports it in `status.error`; `Ok(None)` when no
/// authenticator knows such tokens (which the real one reports as `invalid bearer token`).
pub async fn authenticate_token(
    state: &Arc<ApiState>,
    token: &str,
    audiences: &[String],
) -> Result<Option<Authenticated>, String> {
    Ok(
        token_user(state, token, audiences)?.map(|(user, audiences)| Authenticated {
            user: with_authenticated(user),
            audiences,
        }),
    )
}

fn token_user(
    state: &ApiState,
    token: &str,
    audiences: &[String],
) -> Result<Option<Found>, String> {
    let own = state.flags.api_audiences();
    let wanted = if audiences.is_empty() {
        &own
    } else {
        audiences
    };
    let parts = wanted.iter().map(String::as_bytes);
    let key = TokenCache::key(std::iter::once(token.as_bytes()).chain(parts));
    if let Some(found) = state.authn.cache.get(&key) {
        return Ok(Some(found));
    }
    let found = fresh_token_user(state, token, wanted, &own)?;
    if let Some(found) = &found {
        state.authn.cache.put(key, found.clone());
    }
    Ok(found)
}

fn fresh_token_user(
    state: &ApiState,
    token: &str,
    wanted: &[String],
    own: &[String],
) -> Result<Option<Found>, String> {
    if let Some(user) = state.authn.static_tokens.user(token) {
        let audiences = wanted.iter().filter(|one| own.contains(one));
        return Ok(Some((user.clone(), audiences.cloned().collect())));
    }
    if let Some(found) = service_account::authenticate(state, token, wanted)
        .map_err(|reason| format!("[invalid bearer token, {reason}]"))?
    {
        return Ok(Some(found));
    }
    if state.authn.bootstrap_tokens
        && let Some(user) = bootstrap::authenticate(&state.store, token)
    {
        let audiences = wanted
            .iter()
            .filter(|audience| own.contains(audience))
            .cloned()
            .collect();
        return Ok(Some((user, audiences)));
    }
    Ok(None)
}

/// The token of an `Authorization: Bearer` header, if there is one
/// (`authentication/request/bearertoken`).
fn bearer(headers: &http::HeaderMap) -> Option<String> {
    let header = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let mut parts = header.trim().splitn(3, ' ');
    let scheme = parts.next()?;
    let token = parts.next()?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

/// Whether a user may be trusted to ask: the authenticated user, or an error to log.
///
/// # Errors
/// The reason for the server's log; the client only learns `Unauthorized`.
pub fn authenticate(
    state: &ApiState,
    peer: &Peer,
    headers: &http::HeaderMap,
    path: &str,
) -> Result<UserInfo, String> {
    let certificates = match peer {
        Peer::Local { user, .. } => return Ok(user.clone()),
        Peer::Tls { certificates, .. } => certificates,
    };
    let mut errors = Vec::new();
    if let Some(proxy) = &state.authn.request_header {
        match proxy.authenticate(certificates, headers) {
            Ok(Some(user)) => return Ok(with_authenticated(user)),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    if let Some(ca) = &state.authn.client_ca {
        match ca.authenticate(certificates) {
            Ok(Some(user)) => return Ok(with_authenticated(user)),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    if let Some(token) = bearer(headers) {
        match token_user(state, &token, &[]) {
            Ok(Some((user, _))) => return Ok(with_authenticated(user)),
            Ok(None) => errors.push("invalid bearer token".to_owned()),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(if errors.len() == 1 {
            errors.concat()
        } else {
            format!("[{}]", errors.join(", "))
        });
    }
    let anonymous = state.authn.anonymous.user(path);
    anonymous.ok_or_else(|| "no credentials provided".to_owned())
}
