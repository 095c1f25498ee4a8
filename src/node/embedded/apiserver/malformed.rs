//! Clients that do not speak HTTP over TLS as they should, and what Go's `net/http` tells them.

use http::{HeaderValue, Uri, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::ext::ReasonPhrase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pipeline::ResponseBody;

/// First bytes of a request without TLS (`tlsRecordHeaderLooksLikeHTTP` of `net/http/server.go`).
const PLAIN: [&[u8; 5]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];
/// First byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// Between two looks at a client that sends its first bytes one by one.
const LOOK: std::time::Duration = std::time::Duration::from_millis(10);

/// Answers a client that speaks HTTP without TLS; gives what the log says of it.
pub(super) async fn answer_plain(stream: &mut TcpStream) -> Option<&'static str> {
    let mut first = [0; 5];
    loop {
        let length = stream.peek(&mut first).await.ok()?;
        if length == 0 || first.first() == Some(&HANDSHAKE) {
            return None;
        }
        if length == first.len() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    if !PLAIN.contains(&&first) {
        return None;
    }
    let answer =
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let _ = stream.write_all(answer.as_bytes()).await;
    // What is left unread would make the end of the connection a reset, and lose the answer.
    let mut rest = [0; 4096];
    let _ = stream.read(&mut rest).await;
    let _ = stream.shutdown().await;
    Some("client sent an HTTP request to an HTTPS server")
}

/// The answer to a request that Go does not take for one (`readRequest` of `net/http/server.go`).
pub(super) fn refuse<T>(request: &http::Request<T>) -> Option<http::Response<ResponseBody>> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let names_host = hosts > 0 || request.uri().authority().is_some();
    let text = if request.version() == Version::HTTP_11
        && !names_host
        && request.method() != http::Method::CONNECT
    {
        "400 Bad Request: missing required Host header"
    } else if hosts > 1 {
        "400 Bad Request: too many Host headers"
    } else if !is_escaped(request.uri()) {
        "400 Bad Request"
    } else {
        return None;
    };
    let body = Full::from(text).map_err(|never| match never {});
    let mut response = http::Response::new(ResponseBody::new(body));
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    if let Some(phrase) = text.strip_prefix("400 ") {
        response
            .extensions_mut()
            .insert(ReasonPhrase::from_static(phrase.as_bytes()));
    }
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if request.version() < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

/// Whether every `%` of the path begins an escape.
fn is_escaped(uri: &Uri) -> bool {
    uri.path().split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: http::request::Builder) -> Option<String> {
        let response = refuse(&request.body(()).unwrap())?;
        let phrase = response.extensions().get::<ReasonPhrase>().unwrap();
        Some(String::from_utf8(phrase.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn requests_that_go_does_not_read() {
        let get = |path: &str| http::Request::get(path);
        assert_eq!(refused(get("/api").header("host", "a")), None);
        assert_eq!(refused(get("https://a/api").version(Version::HTTP_2)), None);
        assert_eq!(refused(get("/api").version(Version::HTTP_10)), None);
        assert_eq!(
            refused(get("/api")).as_deref(),
            Some("Bad Request: missing required Host header")
        );
        assert_eq!(
            refused(get("/api").header("host", "a").header("host", "b")).as_deref(),
            Some("Bad Request: too many Host headers")
        );
        for path in ["/%zz", "/a%", "/a%2", "/%2g?x=%zz"] {
            let request = get(path).header("host", "a");
            assert_eq!(refused(request).as_deref(), Some("Bad Request"), "{path}");
        }
        assert_eq!(refused(get("/%2F%00?x=%zz").header("host", "a")), None);
    }
}
