//! What a scalar is: YAML 1.1's booleans, numbers and nulls (`resolve.go` of goyaml.v2).

use std::sync::Arc;

use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::Error;
use super::number::{self, Number};

const PREFIX: &str = "tag:yaml.org,2002:";

/// The value of a scalar.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
}

impl Scalar {
    fn tag(&self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Bool(_) => "bool",
            Scalar::Number(Number::Float(_)) => "float",
            Scalar::Number(_) => "int",
            Scalar::Text(_) => "str",
        }
    }
}

/// Resolves a scalar.
pub(super) fn resolve(
    value: &Arc<str>,
    tag: Option<&str>,
    implicit: bool,
) -> Result<Scalar, Error> {
    let tag = match tag {
        // The unspecific tag leaves the choice to the content.
        None => {
            if implicit {
                ""
            } else {
                return Ok(Scalar::Text(Arc::clone(value)));
            }
        }
        Some(tag) => tag,
    };
    let short = if tag.is_empty() {
        ""
    } else {
        match tag.strip_prefix(PREFIX) {
            Some("binary") => return binary(value),
            Some(short @ ("str" | "bool" | "int" | "float" | "null" | "timestamp")) => short,
            _ => return Ok(Scalar::Text(Arc::clone(value))),
        }
    };
    if short == "str" {
        return Ok(Scalar::Text(Arc::clone(value)));
    }
    if matches!(short, "timestamp") && is_timestamp(value) {
        return Ok(Scalar::Text(Arc::clone(value)));
    }
    let found = plain(value);
    let kind = found.tag();
    if short.is_empty() || short == kind {
        return Ok(found);
    }
    if short == "float"
        && let Scalar::Number(Number::Int(n)) = found
    {
        #[expect(clippy::cast_precision_loss, reason = "the real conversion rounds too")]
        return Ok(Scalar::Number(Number::Float(n as f64)));
    }
    Err(Error::new(format!(
        "yaml: cannot decode !!{kind} `{value}` as a !!{short}"
    )))
}

fn plain(value: &Arc<str>) -> Scalar {
    let text: &str = value;
    let found = match text.as_bytes().first() {
        None => Some(Scalar::Null),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => {
            word(text)
        }
        Some(b'.') => special_float(text).or_else(|| {
            number::parse_float(text)
                .map(Number::Float)
                .map(Scalar::Number)
        }),
        Some(b'+' | b'-' | b'0'..=b'9') => special_float(text).or_else(|| number_like(text)),
        Some(_) => None,
    };
    found.unwrap_or_else(|| Scalar::Text(Arc::clone(value)))
}

fn word(text: &str) -> Option<Scalar> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        _ => return None,
    })
}

fn special_float(text: &str) -> Option<Scalar> {
    let value = match text {
        ".nan" | ".NaN" | ".NAN" => f64::NAN,
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => f64::INFINITY,
        "-.inf" | "-.Inf" | "-.INF" => f64::NEG_INFINITY,
        _ => return None,
    };
    Some(Scalar::Number(Number::Float(value)))
}

fn number_like(text: &str) -> Option<Scalar> {
    let plain = text.replace('_', "");
    let number =
        number::parse_integer(&plain).or_else(|| number::parse_float(&plain).map(Number::Float));
    number.map(Scalar::Number)
}

fn binary(value: &str) -> Result<Scalar, Error> {
    let clean: String = value
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n'))
        .collect();
    // Like Go's decoder, this one does not mind bits that are left over.
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let bytes = GeneralPurpose::new(&base64::alphabet::STANDARD, config)
        .decode(clean)
        .map_err(|_| Error::new("yaml: !!binary value contains invalid base64 data"))?;
    Ok(Scalar::Text(super::go::utf8_replacing(&bytes).into()))
}

/// The four layouts goyaml.v2 accepts after an explicit `!!timestamp`.
fn is_timestamp(text: &str) -> bool {
    let Some((date, clock)) = split_date(text) else {
        return false;
    };
    let mut parts = date.split('-');
    let number = |part: Option<&str>, low: u32, high: u32, longest: usize| {
        part.is_some_and(|part| {
            !part.is_empty()
                && part.len() <= longest
                && part.bytes().all(|byte| byte.is_ascii_digit())
                && part.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n))
        })
    };
    let year = parts.next();
    let date_ok = year.is_some_and(|year| year.len() == 4)
        && number(year, 0, 9999, 4)
        && number(parts.next(), 1, 12, 2)
        && number(parts.next(), 1, 31, 2)
        && parts.next().is_none();
    let Some(clock) = clock else {
        return date_ok;
    };
    let (time, zone_ok) = match clock.zoned {
        false => (clock.text, !clock.text.contains(['Z', '+', '-'])),
        true => match clock.text.find(['Z', '+', '-']) {
            Some(at) => {
                let zone = clock.text.get(at..).unwrap_or_default();
                let offset_ok = zone.len() == 6 && zone.as_bytes().get(3) == Some(&b':');
                (
                    clock.text.get(..at).unwrap_or_default(),
                    zone == "Z" || offset_ok,
                )
            }
            None => (clock.text, false),
        },
    };
    let mut fields = time.split(':');
    let (hour, minute) = (fields.next(), fields.next());
    let seconds = fields
        .next()
        .map(|text| text.split('.').next().unwrap_or_default());
    date_ok
        && zone_ok
        && number(hour, 0, 23, 2)
        && number(minute, 0, 59, 2)
        && number(seconds, 0, 59, 2)
        && fields.next().is_none()
}

struct Clock<'a> {
    text: &'a str,
    zoned: bool,
}

fn split_date(text: &str) -> Option<(&str, Option<Clock<'_>>)> {
    match text.find(['T', 't', ' ']) {
        None => Some((text, None)),
        Some(at) => {
            let zoned = text.as_bytes().get(at) != Some(&b' ');
            let clock = Clock {
                text: text.get(at + 1..)?,
                zoned,
            };
            Some((text.get(..at)?, Some(clock)))
        }
    }
}
