//! OpenAPI documents: `/openapi/v2`, `/openapi/v3` and below.
//!
//! Documents are made when they are asked for and kept compressed: an idle server holds none of them in plain form. They are
//! shared by every server in the process, by the hash of what they describe.

mod custom;
mod definitions;
mod document;
mod gnostic;
mod paths;
mod roots;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::api::{ApiResponse, ApiResult, Body};
use super::request::ApiRequest;
use super::state::{ApiState, CustomResource};
pub use document::{Document, Index};

/// Version 2 (Swagger) or 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/openapi/v2`.
    V2,
    /// `/openapi/v3`.
    V3,
}

impl Dialect {
    /// What a reference to a definition starts with.
    fn prefix(self) -> &'static str {
        match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        }
    }
}

/// Serves an OpenAPI path; `None` for any other path.
#[must_use]
pub fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> Option<ApiResult> {
    let custom = state.custom.all();
    answer(
        &custom,
        &request.info.path,
        request.param("hash"),
        &|name| request.header(name).unwrap_or_default(),
        state.started,
    )
    .map(Ok)
}

/// The answer for a path, if it is one of OpenAPI. `header` gives the request's headers.
#[must_use]
pub fn answer<'a>(
    custom: &[CustomResource],
    path: &str,
    hash: Option<&str>,
    header: &dyn Fn(&str) -> &'a str,
    started: Timestamp,
) -> Option<ApiResponse> {
    let index = Index::new(custom);
    let zipped = header("accept-encoding").contains("gzip");
    match path {
        "/openapi/v2" => {
            let etag = index.hash_of_all();
            if header("if-none-match").trim_matches('"') == etag {
                let mut response = empty(304);
                tag(&mut response, &etag);
                push(&mut response, header::VARY, "Accept-Encoding");
                push(&mut response, header::VARY, "Accept");
                return Some(response);
            }
            let mut response = if header("accept").starts_with(gnostic::ACCEPT) {
                let document = document::whole_as_protobuf(&index, &etag);
                found(&document, gnostic::CONTENT_TYPE, zipped, started)
            } else {
                let document = document::whole(&index, &etag);
                found(&document, "application/json", zipped, started)
            };
            tag(&mut response, &etag);
            push(&mut response, header::VARY, "Accept-Encoding");
            push(&mut response, header::VARY, "Accept");
            Some(response)
        }
        "/openapi/v3" | "/openapi/v3/" => Some(list(&index, header("if-modified-since"), started)),
        _ => {
            let name = path.strip_prefix("/openapi/v3/")?;
            let Some(etag) = index.hash_of(name) else {
                return Some(empty(404));
            };
            let matches = match hash {
                Some(hash) if !hash.is_empty() && hash != etag => {
                    let mut response = empty(301);
                    push(&mut response, header::CONTENT_TYPE, "application/json");
                    push(
                        &mut response,
                        header::LOCATION,
                        &format!("{path}?hash={etag}"),
                    );
                    tag(&mut response, &etag);
                    push(&mut response, header::VARY, "Accept");
                    return Some(response);
                }
                hash => hash.is_some_and(|hash| !hash.is_empty()),
            };
            let mut response = if header("if-none-match").trim_matches('"') == etag {
                empty(304)
            } else {
                let document = document::of_version(&index, name, &etag);
                found(&document, "application/json", zipped, started)
            };
            tag(&mut response, &etag);
            push(&mut response, header::VARY, "Accept");
            if matches {
                // The address names the content: it can be kept for ever.
                push(&mut response, header::CACHE_CONTROL, "public, immutable");
                let next_year = Timestamp::now().as_second() + 365 * 24 * 60 * 60;
                if let Ok(expires) = Timestamp::from_second(next_year) {
                    push(
                        &mut response,
                        header::EXPIRES,
                        &http_date(expires).replace("GMT", "UTC"),
                    );
                }
            }
            Some(response)
        }
    }
}

/// The list of documents; it changes with the custom resources.
fn list(index: &Index<'_>, if_modified_since: &str, started: Timestamp) -> ApiResponse {
    let changed = document::first_seen(&index.hash_of_all(), started);
    let modified = http_date(changed);
    if if_modified_since == modified {
        return empty(304);
    }
    let mut response = ApiResponse {
        code: 200,
        headers: Vec::new(),
        body: Body::Bytes {
            content_type: "text/plain; charset=utf-8".to_owned(),
            bytes: Bytes::from(index.to_json().to_string()),
        },
    };
    push(&mut response, header::ACCEPT_RANGES, "bytes");
    push(&mut response, header::LAST_MODIFIED, &modified);
    response
}

fn found(document: &Document, content_type: &str, zipped: bool, started: Timestamp) -> ApiResponse {
    let mut response = ApiResponse {
        code: 200,
        headers: Vec::new(),
        body: Body::Bytes {
            content_type: content_type.to_owned(),
            bytes: if zipped {
                document.zipped()
            } else {
                document.plain()
            },
        },
    };
    if zipped {
        push(&mut response, header::CONTENT_ENCODING, "gzip");
    }
    push(&mut response, header::ACCEPT_RANGES, "bytes");
    push(&mut response, header::LAST_MODIFIED, &http_date(started));
    response
}

fn empty(code: u16) -> ApiResponse {
    ApiResponse {
        code,
        headers: Vec::new(),
        body: Body::Empty,
    }
}

fn tag(response: &mut ApiResponse, etag: &str) {
    push(response, header::ETAG, &format!("\"{etag}\""));
}

fn push(response: &mut ApiResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers.push((name, value));
    }
}

/// `Sun, 22 Nov 2026 15:40:08 GMT`.
fn http_date(stamp: Timestamp) -> String {
    let civil = stamp.to_zoned(TimeZone::UTC);
    civil.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
