//! Base64 as Go's `StdEncoding` reads it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Base64 as Go's `StdEncoding` reads it (line breaks are skipped), written again; or the offset of the first bad byte.
pub(super) fn canonical(text: &str) -> Result<String, usize> {
    let input = text.as_bytes();
    let mut at = 0;
    let mut group = 0_usize;
    let mut clean = Vec::with_capacity(input.len());
    let skip = |mut at: usize| {
        while matches!(input.get(at), Some(b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    loop {
        at = skip(at);
        let Some(byte) = input.get(at).copied() else {
            break;
        };
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                clean.push(byte);
                group = (group + 1) % 4;
                at += 1;
            }
            b'=' if group >= 2 => {
                at += 1;
                if group == 2 {
                    at = skip(at);
                    match input.get(at) {
                        Some(b'=') => at += 1,
                        Some(_) => return Err(at),
                        None => return Err(input.len()),
                    }
                }
                at = skip(at);
                if at < input.len() {
                    return Err(at);
                }
                group = 0;
                break;
            }
            _ => return Err(at),
        }
    }
    if group != 0 {
        // Go names the start of the broken group.
        return Err(input.len() - group.min(input.len()));
    }
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    engine
        .decode(&clean)
        .map(|decoded| STANDARD.encode(decoded))
        .map_err(|_| 0)
}

#[cfg(test)]
mod tests {
    use super::canonical as bytes;

    #[test]
    fn base64_errors_name_the_byte_that_go_names() {
        assert_eq!(bytes("aGVsbG8="), Ok("aGVsbG8=".to_owned()));
        assert_eq!(bytes("aGVs\nbG8="), Ok("aGVsbG8=".to_owned()));
        assert_eq!(bytes(""), Ok(String::new()));
        assert_eq!(bytes("!!!"), Err(0));
        assert_eq!(bytes("aGVsbG8"), Err(4));
        assert_eq!(bytes("aGVs bG8="), Err(4));
        assert_eq!(bytes("a==="), Err(1));
        assert_eq!(bytes("aG=a"), Err(3));
        assert_eq!(bytes("aGVsbG8=="), Err(8));
    }
}
