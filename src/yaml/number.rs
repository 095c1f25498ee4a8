//! Numbers as Go reads and writes them (`strconv`, `encoding/json`).

/// A number a scalar resolved to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Uint(u64),
    Float(f64),
}

impl Number {
    /// The literal `encoding/json` writes; nothing for what JSON cannot say.
    pub fn json(self) -> Option<String> {
        match self {
            Number::Int(n) => Some(n.to_string()),
            Number::Uint(n) => Some(n.to_string()),
            Number::Float(n) => n.is_finite().then(|| json_float(n)),
        }
    }

    /// `%#v`.
    pub fn go(self) -> String {
        match self {
            Number::Int(n) => n.to_string(),
            Number::Uint(n) => format!("{n:#x}"),
            Number::Float(n) => general(n, 21),
        }
    }
}

fn json_float(n: f64) -> String {
    let size = n.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // `1e21` is written `1e+21`.
        let text = format!("{n:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        };
    }
    format!("{n}")
}

/// Go's `%g` with the shortest digits: exponents below -4 or from `limit` on are written as such.
fn general(n: f64, limit: i32) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    with_exponent(&format!("{n:e}"), &format!("{n}"), limit)
}

fn with_exponent(scientific: &str, plain: &str, limit: i32) -> String {
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return plain.to_owned();
    };
    let value: i32 = exponent.parse().unwrap_or(0);
    if (-4..limit).contains(&value) {
        return plain.to_owned();
    }
    let sign = if value < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", value.abs())
}

/// A float that is a mapping key, as `sigs.k8s.io/yaml` writes it (`'g', -1, 32`).
#[expect(
    clippy::cast_possible_truncation,
    reason = "the real conversion rounds to 32 bits too"
)]
pub(super) fn float_key(n: f64) -> String {
    let n = n as f32;
    if n.is_nan() {
        return ".nan".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    with_exponent(&format!("{n:e}"), &format!("{n}"), 6)
}

/// `strconv.ParseInt(text, 0, 64)`, then `strconv.ParseUint`, on a text without underscores.
pub(super) fn parse_integer(text: &str) -> Option<Number> {
    let (negative, unsigned, signed) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..)?, true),
        Some(b'+') => (false, text.get(1..)?, true),
        _ => (false, text, false),
    };
    let (radix, digits) = prefix(unsigned);
    let value = if digits.is_empty() && radix == 8 {
        0
    } else {
        if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        u64::from_str_radix(digits, radix).ok()?
    };
    if negative {
        let value = i128::from(value);
        return i64::try_from(-value).ok().map(Number::Int);
    }
    match i64::try_from(value) {
        Ok(value) => Some(Number::Int(value)),
        Err(_) if signed => None,
        Err(_) => Some(Number::Uint(value)),
    }
}

fn prefix(text: &str) -> (u32, &str) {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'0') {
        return (10, text);
    }
    let radix = match bytes.get(1) {
        Some(b'b' | b'B') => 2,
        Some(b'o' | b'O') => 8,
        Some(b'x' | b'X') => 16,
        _ => 0,
    };
    if radix != 0 && bytes.len() >= 3 {
        return (radix, text.get(2..).unwrap_or_default());
    }
    (8, text.get(1..).unwrap_or_default())
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, then `strconv.ParseFloat`.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (rest.get(..at)?, Some(rest.get(at + 1..)?)),
        None => (rest, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    let exponent_ok =
        exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)));
    if !(mantissa_ok && exponent_ok) {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

impl Number {
    /// Compares by value.
    #[expect(
        clippy::cast_precision_loss,
        reason = "only the order of keys in a message depends on it"
    )]
    pub fn partial_cmp_value(&self, other: &Number) -> Option<std::cmp::Ordering> {
        let float = |number: &Number| match number {
            Number::Int(n) => *n as f64,
            Number::Uint(n) => *n as f64,
            Number::Float(n) => *n,
        };
        float(self).partial_cmp(&float(other))
    }
}
