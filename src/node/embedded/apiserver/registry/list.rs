//! Lists: selectors, versions, chunks
//! (`pkg/storage/cacher`, `pkg/storage/continue.go` of k8s.io/apiserver).

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::options::{self, ListOptions};
use super::target::Target;
use super::{bad_request, convert, get, plain_error};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::apiserver::subresources::component_status;
use crate::node::embedded::store::{StoreError, Stored};

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let form = Form::of(request)?;
    let options = ListOptions::read(target, request, false)?;
    if target.resource.name == "componentstatuses" && target.resource.group.is_empty() {
        let all = component_status::statuses(state);
        return Ok(ApiResponse::object(
            200,
            form.list(target, request, Map::new(), all)?,
        ));
    }
    let page = match page(state, target, &options).await {
        Ok(page) => page,
        Err(Failure::Status(status)) => return Err(status),
        Err(Failure::Answer(answer)) => return Ok(*answer),
    };
    let items = page
        .items
        .iter()
        .map(|stored| convert::shown(target, stored))
        .collect();
    Ok(ApiResponse::object(
        200,
        form.list(target, request, page.meta, items)?,
    ))
}

/// A page of a list.
pub(super) struct Page {
    pub(super) items: Vec<Stored>,
    /// The ListMeta.
    pub(super) meta: Map<String, Value>,
}

/// Why there is no page.
pub(super) enum Failure {
    Status(Status),
    /// A Status with metadata of its own.
    Answer(Box<ApiResponse>),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::Status(status)
    }
}

/// The page of a list these options ask for.
pub(super) async fn page(
    state: &ApiState,
    target: &Target,
    options: &ListOptions,
) -> Result<Page, Failure> {
    let prefix = target.prefix();
    let asked = options::version(&options.resource_version)?;
    let mut start = None;
    let (all, revision) = if !options.continue_token.is_empty() {
        if !options.resource_version.is_empty() && options.resource_version != "0" {
            return Err(bad_request(
                "specifying resource version is not allowed when using continue",
            )
            .into());
        }
        let token = Token::decode(&options.continue_token)
            .map_err(|error| bad_request(format!("invalid continue token: {error}")))?;
        start = Some(format!(
            "{prefix}{}",
            token.start.strip_prefix('/').unwrap_or(&token.start)
        ));
        match u64::try_from(token.rv) {
            // A negative version: the client accepts an inconsistent continuation.
            Err(_) => state.store.list(&prefix),
            Ok(revision) => match listed_at(state, &prefix, revision) {
                Ok(list) => (list, revision),
                Err(StoreError::Compacted) => return Err(expired_continue(&token)),
                Err(error) => return Err(plain_error(error.to_string()).into()),
            },
        }
    } else if options.version_match == "Exact"
        || (options.version_match.is_empty() && asked > 0 && options.limit > 0)
    {
        get::wait_for(state, asked).await?;
        match listed_at(state, &prefix, asked) {
            Ok(list) => (list, asked),
            Err(StoreError::Compacted) => return Err(too_old().into()),
            Err(error) => return Err(plain_error(error.to_string()).into()),
        }
    } else {
        get::wait_for(state, asked).await?;
        state.store.list(&prefix)
    };
    let limit = if options.resource_version == "0" {
        0
    } else {
        options.limit
    };
    let mut selected = all
        .into_iter()
        .filter(|stored| start.as_ref().is_none_or(|start| stored.key >= *start))
        .filter(|stored| {
            options.selection.is_everything()
                || options.selection.matches(
                    &target.resource,
                    target.custom.as_ref(),
                    &selectable(target, stored),
                )
        });
    let mut meta = Map::new();
    meta.insert("resourceVersion".into(), revision.to_string().into());
    if limit == 0 {
        return Ok(Page {
            items: selected.collect(),
            meta,
        });
    }
    let items: Vec<Stored> = selected.by_ref().take(limit).collect();
    let remaining = selected.count();
    if remaining > 0
        && let Some(last) = items.last()
    {
        let token = Token {
            v: Token::VERSION.to_owned(),
            rv: i64::try_from(revision).unwrap_or(i64::MAX),
            start: format!("/{}\0", last.key.strip_prefix(&prefix).unwrap_or(&last.key)),
        };
        meta.insert("continue".into(), token.encode().into());
        if options.selection.is_everything() {
            meta.insert("remainingItemCount".into(), remaining.into());
        }
    }
    Ok(Page { items, meta })
}

/// The object as selectors see it.
pub(super) fn selectable<'a>(target: &Target, stored: &'a Stored) -> Cow<'a, Value> {
    if target.resource.group == "events.k8s.io" {
        Cow::Owned(convert::shown(target, stored))
    } else {
        Cow::Borrowed(&stored.value)
    }
}

/// The objects as they were.
fn listed_at(state: &ApiState, prefix: &str, revision: u64) -> Result<Vec<Stored>, StoreError> {
    if state.is_forgotten(revision) {
        return Err(StoreError::Compacted);
    }
    state.store.list_at(prefix, revision)
}

fn too_old() -> Status {
    Status::new(
        410,
        "Expired",
        "The resourceVersion for the provided list is too old.",
    )
}

/// The 410 for an expired token carries one for an inconsistent continuation.
fn expired_continue(token: &Token) -> Failure {
    let inconsistent = Token {
        rv: -1,
        ..token.clone()
    };
    let mut status = Status::new(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    )
    .to_json();
    if let Some(meta) = status.get_mut("metadata") {
        *meta = json!({"continue": inconsistent.encode()});
    }
    Failure::Answer(Box::new(ApiResponse::object(410, status)))
}

/// A continue token: where the next page starts, in which version.
#[derive(Debug, Clone, Deserialize)]
struct Token {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

impl Token {
    const VERSION: &str = "meta.k8s.io/v1";

    fn encode(&self) -> String {
        // Go writes the NUL that ends the key as \u0000, and escapes characters of HTML.
        let start = serde_json::to_string(&self.start).unwrap_or_default();
        let start = start
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026");
        let json = format!(
            "{{\"v\":\"{}\",\"rv\":{},\"start\":{start}}}",
            Self::VERSION,
            self.rv
        );
        URL_SAFE_NO_PAD.encode(json)
    }

    fn decode(text: &str) -> Result<Self, String> {
        let invalid = |why: String| format!("continue key is not valid: {why}");
        let bytes = LENIENT.decode(text).map_err(|error| {
            invalid(match error {
                base64::DecodeError::InvalidByte(at, _)
                | base64::DecodeError::InvalidLastSymbol(at, _) => {
                    format!("illegal base64 data at input byte {at}")
                }
                _ => format!("illegal base64 data at input byte {}", text.len()),
            })
        })?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| {
            invalid(match bytes.first() {
                None => "unexpected end of JSON input".to_owned(),
                Some(b'{') => "unexpected end of JSON input".to_owned(),
                Some(byte) if byte.is_ascii_graphic() || *byte == b' ' => format!(
                    "invalid character '{}' looking for beginning of value",
                    char::from(*byte)
                ),
                Some(byte) => {
                    format!("invalid character '\\u{byte:04x}' looking for beginning of value")
                }
            })
        })?;
        if token.v != Self::VERSION {
            return Err(invalid(format!(
                "server does not recognize this encoded version {:?}",
                token.v
            )));
        }
        if token.rv == 0 {
            return Err(invalid(
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned(),
            ));
        }
        if token.start.is_empty() {
            return Err(invalid(
                "encoded start key empty (version meta.k8s.io/v1)".to_owned(),
            ));
        }
        if token.start.split('/').any(|part| part == "..") {
            return Err(invalid(token.start));
        }
        Ok(token)
    }
}

/// Base64 as Go decodes it: bits beyond the last byte may be anything.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    NO_PAD.with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn tokens_are_those_of_the_real_server() {
        let token = Token {
            v: Token::VERSION.to_owned(),
            rv: 430,
            start: "/it0\0".to_owned(),
        };
        let text = token.encode();
        assert_eq!(
            text,
            "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NDMwLCJzdGFydCI6Ii9pdDBcdTAwMDAifQ"
        );
        let back = Token::decode(&text).unwrap();
        assert_eq!((back.rv, back.start.as_str()), (430, "/it0\0"));
        assert_eq!(
            Token::decode("junk").unwrap_err(),
            "continue key is not valid: invalid character '\\u008e' looking for beginning of value"
        );
    }
}
