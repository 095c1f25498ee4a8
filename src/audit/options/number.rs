//! Numbers, booleans and durations as Go's `strconv` and `time` read and write them.

pub use crate::yaml::go::{quote, quote_char};

fn syntax(function: &str, text: &str) -> String {
    format!(
        "strconv.{function}: parsing {}: invalid syntax",
        quote(text)
    )
}

fn range(function: &str, text: &str) -> String {
    format!(
        "strconv.{function}: parsing {}: value out of range",
        quote(text)
    )
}

/// `strconv.ParseBool`.
///
/// # Errors
/// Go's text.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(syntax("ParseBool", text)),
    }
}

/// Where underscores may stand in a number: only between digits, or after the base prefix
/// (`underscoreOK` of `strconv/atoi.go`).
fn underscores_fit(digits: &str, after_prefix: bool) -> bool {
    let mut previous_is_digit = after_prefix;
    let mut previous = ' ';
    for c in digits.chars() {
        if c == '_' {
            if !previous_is_digit {
                return false;
            }
            previous_is_digit = false;
        } else {
            previous_is_digit = true;
        }
        previous = c;
    }
    previous != '_'
}

fn magnitude(function: &str, whole: &str, unsigned: &str, bits: u32) -> Result<u128, String> {
    let lower = unsigned.to_ascii_lowercase();
    let (base, digits, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest.to_owned(), true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest.to_owned(), true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest.to_owned(), true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..).unwrap_or_default().to_owned(), true)
    } else {
        (10, lower.clone(), false)
    };
    if digits.is_empty() || digits.replace('_', "").is_empty() {
        return Err(syntax(function, whole));
    }
    let value = number(function, whole, &digits, base, bits)?;
    if !underscores_fit(&digits, prefixed) {
        return Err(syntax(function, whole));
    }
    Ok(value)
}

/// What does not fit `bits` is found before a bad digit behind it.
fn number(function: &str, whole: &str, digits: &str, base: u32, bits: u32) -> Result<u128, String> {
    let mut value: u128 = 0;
    for c in digits.chars().filter(|c| *c != '_') {
        let Some(digit) = c.to_digit(base) else {
            return Err(syntax(function, whole));
        };
        value = value * u128::from(base) + u128::from(digit);
        if value >= 1_u128 << bits {
            return Err(range(function, whole));
        }
    }
    Ok(value)
}

/// `strconv.ParseInt(text, 0, bits)`.
///
/// # Errors
/// Go's text.
pub fn parse_int(text: &str, bits: u32) -> Result<i64, String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = magnitude("ParseInt", text, unsigned, bits)?;
    let limit = 1_u128 << (bits - 1);
    if negative {
        if value > limit {
            return Err(range("ParseInt", text));
        }
        let value = i128::try_from(value).unwrap_or(i128::MAX);
        i64::try_from(-value).map_err(|_| range("ParseInt", text))
    } else {
        if value >= limit {
            return Err(range("ParseInt", text));
        }
        i64::try_from(value).map_err(|_| range("ParseInt", text))
    }
}

/// `strconv.ParseUint(text, 0, bits)`.
///
/// # Errors
/// Go's text.
pub fn parse_uint(text: &str, bits: u32) -> Result<i64, String> {
    let value = magnitude("ParseUint", text, text, bits)?;
    Ok(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `strconv.ParseUint(text, 10, bits)`.
///
/// # Errors
/// Go's text.
pub fn parse_uint10(text: &str, bits: u32) -> Result<i64, String> {
    if text.is_empty() || text.contains('_') {
        return Err(syntax("ParseUint", text));
    }
    let value = number("ParseUint", text, text, 10, bits)?;
    i64::try_from(value).map_err(|_| range("ParseUint", text))
}

/// `strconv.Atoi`.
///
/// # Errors
/// Go's text.
pub fn parse_decimal(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || digits.contains('_') {
        return Err(syntax("Atoi", text));
    }
    let value = number("Atoi", text, digits, 10, 63)?;
    let value = i64::try_from(value).map_err(|_| range("Atoi", text))?;
    Ok(if negative { -value } else { value })
}

/// `strconv.ParseFloat(text, bits)`.
///
/// # Errors
/// Go's text.
pub fn parse_float(text: &str, bits: u32) -> Result<f64, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.split(['e', 'E']).next().unwrap_or_default();
    if text.contains('_') && !digits.split('.').all(|part| underscores_fit(part, false)) {
        return Err(syntax("ParseFloat", text));
    }
    let plain = text.replace('_', "");
    let value: f64 = if bits == 32 {
        plain.parse::<f32>().map(f64::from)
    } else {
        plain.parse::<f64>()
    }
    .map_err(|_| syntax("ParseFloat", text))?;
    let named = unsigned.to_ascii_lowercase().starts_with("inf");
    if value.is_infinite() && !named {
        return Err(range("ParseFloat", text));
    }
    Ok(value)
}

/// A number of 32 bits as `strconv.FormatFloat(value, 'g', -1, 32)` writes it.
#[must_use]
pub fn float32_text(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number was read with 32 bits"
    )]
    let value = value as f32;
    float_text(&format!("{value:e}"))
}

/// `strconv.FormatFloat(value, 'g', -1, bits)`; `scientific` is the shortest text of the number
/// with one digit before the point, as Rust's `{:e}` writes it.
#[must_use]
pub fn float_text(scientific: &str) -> String {
    match scientific {
        "inf" => return "+Inf".to_owned(),
        "-inf" => return "-Inf".to_owned(),
        "NaN" => return "NaN".to_owned(),
        _ => {}
    }
    let (sign, rest) = match scientific.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", scientific),
    };
    let (mantissa, exponent) = rest.split_once('e').unwrap_or((rest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.replace('.', "");
    if !(-4..6).contains(&exponent) {
        let e_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{e_sign}{:02}", exponent.unsigned_abs());
    }
    let Ok(point) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    };
    if point == 0 {
        return format!("{sign}0.{digits}");
    }
    match (digits.get(..point), digits.get(point..)) {
        (Some(whole), Some("")) => format!("{sign}{whole}"),
        (Some(whole), Some(fraction)) => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{digits}{}", "0".repeat(point - digits.len())),
    }
}

/// `time.ParseDuration`, in nanoseconds.
///
/// # Errors
/// Go's text.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole_end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (whole, after) = rest.split_at(whole_end);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                let end = after
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(after.len());
                after.split_at(end)
            }
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale: i128 = match unit {
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            unit => {
                return Err(format!(
                    "time: unknown unit {} in duration {}",
                    quote(unit),
                    quote(text)
                ));
            }
        };
        let mut value: i128 = 0;
        for c in whole.chars() {
            value = value * 10 + i128::from(c.to_digit(10).unwrap_or(0));
            if value > i128::from(i64::MAX) {
                return Err(invalid());
            }
        }
        value *= scale;
        let mut part = scale;
        for c in fraction.chars().take(18) {
            part /= 10;
            value += part * i128::from(c.to_digit(10).unwrap_or(0));
        }
        total += value;
        if total > i128::from(i64::MAX) {
            return Err(invalid());
        }
        rest = after;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -total } else { total })
}

/// `time.Duration.String`.
#[must_use]
pub fn duration_text(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let whole = value / unit;
        let fraction = value % unit;
        if fraction == 0 {
            whole.to_string()
        } else {
            let width = unit.ilog10() as usize;
            format!("{whole}.{fraction:0width$}")
                .trim_end_matches('0')
                .to_owned()
        }
    };
    if n < 1_000 {
        return format!("{sign}{n}ns");
    }
    if n < 1_000_000 {
        return format!("{sign}{}µs", decimal(n, 1_000));
    }
    if n < 1_000_000_000 {
        return format!("{sign}{}ms", decimal(n, 1_000_000));
    }
    let seconds = n / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(n - (seconds - seconds % 60) * 1_000_000_000, 1_000_000_000);
    if hours > 0 {
        format!("{sign}{hours}h{minutes}m{rest}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m{rest}s")
    } else {
        format!("{sign}{rest}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_go_syntax() {
        for (text, want) in [
            ("0x10", 16),
            ("0b11", 3),
            ("010", 8),
            ("1_0", 10),
            ("-5", -5),
            ("+5", 5),
            ("0", 0),
            ("0o17", 15),
        ] {
            assert_eq!(parse_int(text, 64), Ok(want), "{text}");
        }
        for text in ["", "08", "1__0", "_1", "1_", "0x", "1.5", "--1", "٣"] {
            assert_eq!(parse_int(text, 64), Err(syntax("ParseInt", text)), "{text}");
        }
        assert!(
            parse_int("99999999999999999999", 64)
                .unwrap_err()
                .ends_with("value out of range")
        );
        assert_eq!(parse_int("-9223372036854775808", 64), Ok(i64::MIN));
    }

    #[test]
    fn durations_round_trip() {
        for text in [
            "0s", "30s", "1m0s", "1h0m0s", "1.5s", "250ms", "10µs", "-1s",
        ] {
            assert_eq!(
                duration_text(parse_duration(text).unwrap_or(7)),
                text,
                "{text}"
            );
        }
        assert_eq!(
            parse_duration("10"),
            Err("time: missing unit in duration \"10\"".to_owned())
        );
        assert_eq!(
            parse_duration("1d"),
            Err("time: unknown unit \"d\" in duration \"1d\"".to_owned())
        );
        assert!(parse_duration("").is_err() && parse_duration(".s").is_err());
    }
}
