//! URLs as Go's `net/url` reads them, as far as flags need it.

use crate::audit::options::number::quote;

/// The scheme of a URL, in lower case.
///
/// # Errors
/// The text of `url.Parse`.
pub fn scheme(text: &str) -> Result<String, String> {
    let failed = |reason: &str| Err(format!("parse {}: {reason}", quote(text)));
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return failed("net/url: invalid control character in URL");
    }
    let without_fragment = text.split('#').next().unwrap_or_default();
    let (scheme, rest) = match without_fragment.find(|c: char| !is_scheme(c)) {
        Some(0) if without_fragment.starts_with(':') => return failed("missing protocol scheme"),
        Some(at)
            if without_fragment
                .get(at..)
                .is_some_and(|rest| rest.starts_with(':'))
                && without_fragment.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            (without_fragment.get(..at), without_fragment.get(at + 1..))
        }
        _ => (Some(""), Some(without_fragment)),
    };
    let (scheme, rest) = (scheme.unwrap_or_default(), rest.unwrap_or_default());
    if let Some(authority) = rest.strip_prefix("//") {
        let end = authority.find(['/', '?']).unwrap_or(authority.len());
        let authority = authority.get(..end).unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if let Some(reason) = bad_host(host) {
            return failed(&reason);
        }
    } else if scheme.is_empty() {
        let first = rest.split(['/', '?']).next().unwrap_or_default();
        if first.contains(':') {
            return failed("first path segment in URL cannot contain colon");
        }
    }
    let path = rest.split('?').next().unwrap_or_default();
    if let Some(escape) = bad_escape(path) {
        return failed(&format!("invalid URL escape {}", quote(&escape)));
    }
    Ok(scheme.to_ascii_lowercase())
}

fn is_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

fn bad_host(host: &str) -> Option<String> {
    let port = if let Some(inner) = host.strip_prefix('[') {
        let Some((_, after)) = inner.split_once(']') else {
            return Some("missing ']' in host".to_owned());
        };
        after
    } else {
        host.find(':').and_then(|at| host.get(at..)).unwrap_or("")
    };
    let digits = port.strip_prefix(':');
    if !port.is_empty() && !digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit())) {
        return Some(format!("invalid port {} after host", quote(port)));
    }
    host.chars()
        .find(|c| {
            matches!(
                c,
                ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'
            )
        })
        .map(|c| format!("invalid character {} in host name", quote(&c.to_string())))
}

fn bad_escape(path: &str) -> Option<String> {
    for (at, _) in path.match_indices('%') {
        let after: String = path.get(at..)?.chars().take(3).collect();
        let is_hex = after.chars().skip(1).all(|c| c.is_ascii_hexdigit());
        if after.len() != 3 || !is_hex {
            return Some(after);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::scheme;

    #[test]
    fn urls_are_refused_in_the_words_of_go() {
        assert_eq!(scheme("HTTPS://x:1/a%20b"), Ok("https".to_owned()));
        assert_eq!(scheme("plain"), Ok(String::new()));
        for (text, want) in [
            (":x", "parse \":x\": missing protocol scheme"),
            (
                "a b:c",
                "parse \"a b:c\": first path segment in URL cannot contain colon",
            ),
            (
                "https://x:y",
                "parse \"https://x:y\": invalid port \":y\" after host",
            ),
            (
                "https://[::1",
                "parse \"https://[::1\": missing ']' in host",
            ),
            (
                "https://a/%zz",
                "parse \"https://a/%zz\": invalid URL escape \"%zz\"",
            ),
            (
                "https://a\n",
                "parse \"https://a\\n\": net/url: invalid control character in URL",
            ),
        ] {
            assert_eq!(scheme(text), Err(want.to_owned()));
        }
    }
}
