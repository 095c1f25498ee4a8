//! How answers are written: headers, content type, indentation, compression.

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Full, StreamBody};

use super::api::{ApiResponse, Body};
use super::encoding::{self, Media};
use super::request::Warnings;
use super::schema::protobuf;
use crate::audit::options::number::quote;

/// Bodies from this size on are compressed for clients that like that.
const COMPRESS_FROM: usize = 128 * 1024;

/// The body of an answer as the pipeline gives it.
pub type ResponseBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// How an answer is to be written.
pub(super) struct Form {
    pub(super) audit_id: http::HeaderValue,
    pub(super) media: Media,
    pub(super) pretty: bool,
    pub(super) gzip: bool,
    pub(super) warnings: Warnings,
}

/// Whether this says that no form the client accepts can be written. (Watches have a list of their
/// own, whose refusal is negotiated like any other.)
pub(super) fn is_unnegotiated(response: &ApiResponse) -> bool {
    response.code == 406
        && match &response.body {
            Body::Object(value) => {
                let message = value.get("message").and_then(serde_json::Value::as_str);
                let message = message.unwrap_or_default();
                message.starts_with("406: ") || !message.contains(";stream=")
            }
            _ => false,
        }
}

/// Writes an answer.
pub(super) fn encode(response: ApiResponse, form: &Form) -> http::Response<ResponseBody> {
    let unnegotiated = is_unnegotiated(&response);
    let mut out = http::Response::new(UnsyncBoxBody::default());
    *out.status_mut() = http::StatusCode::from_u16(response.code)
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = out.headers_mut();
    // An upgraded connection's answer is written by the handler alone on a real server.
    if response.code != 101 {
        headers.insert("audit-id", form.audit_id.clone());
        headers.insert(
            http::header::CACHE_CONTROL,
            http::HeaderValue::from_static("no-cache, private"),
        );
    }
    for (name, value) in response.headers {
        // Handlers may override Cache-Control, and send others more than once.
        if name == http::header::CACHE_CONTROL {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    for warning in form.warnings.take() {
        if let Ok(value) = http::HeaderValue::try_from(format!("299 - {}", quote(&warning))) {
            headers.append(http::header::WARNING, value);
        }
    }
    let message = match &response.body {
        Body::Object(value) if form.media == Media::Protobuf && !unnegotiated => {
            protobuf::encode_object(value)
        }
        _ => None,
    };
    let (content_type, bytes) = match response.body {
        Body::Object(value) => match form.media {
            Media::Protobuf if message.is_some() => (
                protobuf::CONTENT_TYPE.to_owned(),
                Bytes::from(message.unwrap_or_default()),
            ),
            // The answer to "not acceptable" is written without negotiation, always indented.
            _ if unnegotiated => (
                "application/json".to_owned(),
                Bytes::from(encoding::pretty_json(&value)),
            ),
            Media::Yaml => (
                "application/yaml".to_owned(),
                Bytes::from(encoding::yaml(&value)),
            ),
            Media::Json | Media::Protobuf if form.pretty => (
                "application/json".to_owned(),
                Bytes::from(encoding::pretty_json(&value)),
            ),
            Media::Json | Media::Protobuf => {
                let mut bytes = encoding::json(&value);
                bytes.push(b'\n');
                ("application/json".to_owned(), Bytes::from(bytes))
            }
        },
        Body::Bytes {
            content_type,
            bytes,
        } => (content_type, bytes),
        Body::Stream {
            content_type,
            chunks,
        } => {
            if let Ok(value) = http::HeaderValue::try_from(content_type) {
                headers.insert(http::header::CONTENT_TYPE, value);
            }
            let frames = chunks.map(|bytes| Ok(hyper::body::Frame::data(bytes)));
            *out.body_mut() = UnsyncBoxBody::new(StreamBody::new(frames));
            return out;
        }
        Body::Empty => return out,
    };
    if !headers.contains_key(http::header::CONTENT_TYPE)
        && let Ok(value) = http::HeaderValue::try_from(content_type)
    {
        headers.insert(http::header::CONTENT_TYPE, value);
    }
    let bytes = if form.gzip
        && bytes.len() > COMPRESS_FROM
        && !headers.contains_key(http::header::CONTENT_ENCODING)
    {
        headers.insert(
            http::header::CONTENT_ENCODING,
            http::HeaderValue::from_static("gzip"),
        );
        headers.append(
            http::header::VARY,
            http::HeaderValue::from_static("Accept-Encoding"),
        );
        gzip(&bytes)
    } else {
        bytes
    };
    *out.body_mut() = UnsyncBoxBody::new(Full::new(bytes));
    out
}

fn gzip(bytes: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing into memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

/// Whether a client takes compressed bodies.
pub(super) fn accepts_gzip(headers: &http::HeaderMap) -> bool {
    super::pipeline::text_of(headers, "accept-encoding")
        .split(',')
        .any(|part| part.split(';').next().unwrap_or_default().trim() == "gzip")
}
