//! What client-go makes of an answer (`rest/request.go`, `api/errors.NewGenericServerResponse`).

use serde_json::Value;

use crate::audit::options::number::quote;

/// How much of an answer is shown.
const SHOWN: usize = 2048;

/// An answer to a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// Status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// Body, decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// Seconds after which the request is to be made again.
    pub(super) fn wait(&self) -> Option<u64> {
        if self.status != 429 && self.status < 500 {
            return None;
        }
        let seconds: i64 = self.retry_after.as_deref()?.parse().ok()?;
        Some(u64::try_from(seconds).unwrap_or(0))
    }

    /// The error this answer is.
    pub(super) fn error(&self) -> Option<String> {
        if let Some(reason) = self.media_type_error() {
            return Some(format!("Internal error occurred: {reason}"));
        }
        match self.status {
            101 | 200..=206 => return None,
            _ => {}
        }
        let generic = self.generic();
        // A Status in the body tells more, but it has to be a failure.
        let status = serde_json::from_slice::<Value>(&self.body).ok();
        let field = |name: &str| {
            status
                .as_ref()
                .and_then(|status| status.get(name))
                .and_then(Value::as_str)
        };
        if field("kind") == Some("Status") && field("status") == Some("Failure") {
            return Some(field("message").unwrap_or_default().to_owned());
        }
        Some(generic)
    }

    fn media_type_error(&self) -> Option<&'static str> {
        let text = self.content_type.as_deref().filter(|t| !t.is_empty())?;
        let media = text.split(';').next().unwrap_or_default().trim();
        let token = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
        };
        match media.split_once('/') {
            _ if media.is_empty() => Some("mime: no media type"),
            None if token(media) => None,
            None => Some("mime: expected slash after first token"),
            Some((kind, _)) if !token(kind) => Some("mime: expected slash after first token"),
            Some((_, "")) => Some("mime: expected token after slash"),
            Some((_, subtype)) if !token(subtype) => {
                Some("mime: unexpected content after media subtype")
            }
            Some(_) => None,
        }
    }

    fn generic(&self) -> String {
        let is_text = self
            .content_type
            .as_deref()
            .is_none_or(|media| media.is_empty() || media.trim_start().starts_with("text/"));
        let message = if is_text {
            let shown = self.body.get(..SHOWN).unwrap_or(&self.body);
            String::from_utf8_lossy(shown).trim().to_owned()
        } else {
            "unknown".to_owned()
        };
        let fixed = match self.status {
            409 => "the server reported a conflict",
            404 => "the server could not find the requested resource",
            400 => "the server rejected our request for an unknown reason",
            401 => "the server has asked for the client to provide credentials",
            406 if message.is_empty() || message == "unknown" => {
                "the server was unable to respond with a content type that the client supports"
            }
            403 | 406 | 415 => return message,
            405 => "the server does not allow this method on the requested resource",
            422 => "the server rejected our request due to an error in our request",
            503 => "the server is currently unable to handle the request",
            504 => {
                "the server was unable to return a response in the time allotted, but may still be processing the request"
            }
            429 => "the server has received too many requests and has asked us to try again later",
            500.. => {
                return format!(
                    "an error on the server ({}) has prevented the request from succeeding",
                    quote(&message)
                );
            }
            other => {
                return format!(
                    "the server responded with the status code {other} but did not return more information"
                );
            }
        };
        fixed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        Answer {
            status,
            content_type: (!content_type.is_empty()).then(|| content_type.to_owned()),
            body: body.as_bytes().to_vec(),
            ..Answer::default()
        }
    }

    #[test]
    fn an_answer_is_an_error_in_the_words_of_client_go() {
        for (status, media, body, error) in [
            (200, "", "", None),
            (204, "text/html", "", None),
            (
                500,
                "",
                "boom\n",
                Some("an error on the server (\"boom\") has prevented the request from succeeding"),
            ),
            (
                502,
                "application/json",
                "{}",
                Some(
                    "an error on the server (\"unknown\") has prevented the request from succeeding",
                ),
            ),
            (403, "text/plain", " no \n", Some("no")),
            (
                418,
                "",
                "teapot",
                Some(
                    "the server responded with the status code 418 but did not return more information",
                ),
            ),
            (
                503,
                "application/json",
                r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"later"}"#,
                Some("later"),
            ),
            (
                200,
                "text//",
                "",
                Some("Internal error occurred: mime: unexpected content after media subtype"),
            ),
        ] {
            assert_eq!(answer(status, media, body).error().as_deref(), error);
        }
    }

    #[test]
    fn only_overload_and_server_errors_ask_to_wait() {
        for (status, after, wait) in [
            (429, "1", Some(1)),
            (503, "2", Some(2)),
            (400, "1", None),
            (429, "soon", None),
            (500, "-3", Some(0)),
        ] {
            let answer = Answer {
                status,
                retry_after: Some(after.to_owned()),
                ..Answer::default()
            };
            assert_eq!(answer.wait(), wait);
        }
    }
}
