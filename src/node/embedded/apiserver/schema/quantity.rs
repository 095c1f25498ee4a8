//! Quantities in their canonical form (`k8s.io/apimachinery/pkg/api/resource/quantity.go`).

const FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NUMERIC: &str = "unable to parse numeric part of quantity";
const SUFFIX: &str = "unable to parse quantity's suffix";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Exponent,
    Binary,
    Decimal,
}

/// A quantity as text: sign, digits before and after the point, suffix.
struct Parts<'a> {
    positive: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

/// Writes a quantity as the API server does: `1024Ki` is `1Mi`, `0.5` is `500m`.
///
/// # Errors
/// Go's text.
pub fn canonical(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err(FORMAT);
    }
    if text == "0" {
        return Ok("0".to_owned());
    }
    let parts = split(text)?;
    let (exponent, mut format) = suffix(parts.suffix).ok_or(SUFFIX)?;
    let digits = format!("{}{}", parts.whole, parts.fraction);
    let fraction = i32::try_from(parts.fraction.len()).map_err(|_| NUMERIC)?;
    if kept_as_written(&parts, &digits, exponent, format) {
        return Ok(text.to_owned());
    }
    // More digits than this mean nothing to anybody; they stay as they were written.
    let Ok(mut mantissa) = digits.parse::<i128>() else {
        return Ok(text.to_owned());
    };
    let mut scale = -fraction;
    if format == Format::Binary {
        let factor = 1_i128
            .checked_shl(u32::try_from(exponent).unwrap_or(0))
            .unwrap_or(1);
        match mantissa.checked_mul(factor) {
            Some(product) => mantissa = product,
            None => return Ok(text.to_owned()),
        }
    } else {
        scale = scale.saturating_add(exponent);
    }
    // Nothing is finer than nano: rounded up, away from zero.
    while scale < -9 && mantissa != 0 {
        mantissa = mantissa / 10 + i128::from(mantissa % 10 != 0);
        scale += 1;
    }
    if mantissa == 0 {
        return Ok("0".to_owned());
    }
    if format == Format::Binary {
        let one = if scale < 0 {
            power(10, scale.unsigned_abs())
        } else {
            1
        };
        let limit = i128::from(i64::MAX).saturating_mul(one);
        if mantissa > limit {
            (mantissa, scale) = (i128::from(i64::MAX), 0);
        }
        if mantissa < 1024_i128.saturating_mul(one) || mantissa % one != 0 {
            format = Format::Decimal;
        } else {
            mantissa /= one;
            scale = 0;
        }
    }
    if !parts.positive {
        mantissa = -mantissa;
    }
    Ok(match format {
        Format::Binary => binary(mantissa),
        _ => decimal(mantissa, scale, format),
    })
}

/// Go keeps the text where it is canonical at first sight.
fn kept_as_written(parts: &Parts<'_>, digits: &str, exponent: i32, format: Format) -> bool {
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let scale = match format {
        Format::Binary => {
            let places = length + exponent * 3 / 10 + 1;
            if !parts.fraction.is_empty() || places > 15 {
                return false;
            }
            let value: i64 = digits.parse().unwrap_or(0);
            return exponent % 10 == 0 && value & 7 != 0;
        }
        _ if length > 18 => return false,
        _ => exponent.saturating_sub(i32::try_from(parts.fraction.len()).unwrap_or(0)),
    };
    scale >= -9 && scale % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0')
}

fn split(text: &str) -> Result<Parts<'_>, &'static str> {
    let (positive, rest) = match text.strip_prefix('-') {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = rest.trim_start_matches('0');
    let (whole, rest) = leading(rest, |c| c.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => leading(rest, |c| c.is_ascii_digit()),
        None => ("", rest),
    };
    let suffix = rest;
    let (_, rest) = leading(rest, |c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if !rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FORMAT);
    }
    Ok(Parts {
        positive,
        whole: if whole.is_empty() { "0" } else { whole },
        fraction,
        suffix,
    })
}

fn leading(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn suffix(text: &str) -> Option<(i32, Format)> {
    let known = match text {
        "n" => (-9, Format::Decimal),
        "u" => (-6, Format::Decimal),
        "m" => (-3, Format::Decimal),
        "" => (0, Format::Decimal),
        "k" => (3, Format::Decimal),
        "M" => (6, Format::Decimal),
        "G" => (9, Format::Decimal),
        "T" => (12, Format::Decimal),
        "P" => (15, Format::Decimal),
        "E" => (18, Format::Decimal),
        "Ki" => (10, Format::Binary),
        "Mi" => (20, Format::Binary),
        "Gi" => (30, Format::Binary),
        "Ti" => (40, Format::Binary),
        "Pi" => (50, Format::Binary),
        "Ei" => (60, Format::Binary),
        _ => {
            let exponent = text.strip_prefix(['e', 'E'])?.parse::<i64>().ok()?;
            (i32::try_from(exponent).ok()?, Format::Exponent)
        }
    };
    Some(known)
}

fn power(base: i128, exponent: u32) -> i128 {
    base.checked_pow(exponent).unwrap_or(i128::MAX)
}

fn binary(mut mantissa: i128) -> String {
    let mut at = 0;
    while mantissa % 1024 == 0 && at < 6 {
        mantissa /= 1024;
        at += 1;
    }
    let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(at).copied();
    format!("{mantissa}{}", suffix.unwrap_or_default())
}

fn decimal(mut mantissa: i128, mut scale: i32, format: Format) -> String {
    while mantissa % 10 == 0 {
        mantissa /= 10;
        scale += 1;
    }
    while scale % 3 != 0 {
        mantissa = mantissa.saturating_mul(10);
        scale -= 1;
    }
    if format == Format::Exponent {
        return if scale == 0 {
            mantissa.to_string()
        } else {
            format!("{mantissa}e{scale}")
        };
    }
    let suffix = match scale {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    };
    format!("{mantissa}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_canonically() {
        let cases = [
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("100m", "100m"),
            ("1024Ki", "1Mi"),
            ("1000Ki", "1000Ki"),
            ("64Mi", "64Mi"),
            ("2", "2"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("1E3", "1E3"),
            ("1000e3", "1e6"),
            ("0", "0"),
            ("0.0", "0"),
            ("-1.5Gi", "-1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1.5Ki", "1536"),
            ("+5", "+5"),
            ("0.1n", "1n"),
            ("12e6", "12e6"),
            ("010", "010"),
            ("1Gi", "1Gi"),
            ("500Mi", "500Mi"),
            ("1500M", "1500M"),
            ("5000M", "5G"),
            ("8Ei", "9223372036854775807"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("0.5Mi", "512Ki"),
            ("8Gi", "8Gi"),
            ("0Mi", "0"),
            ("m", "0"),
            ("3.0", "3"),
            ("100.5Mi", "102912Ki"),
        ];
        for (given, expected) in cases {
            assert_eq!(canonical(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn errors_have_the_texts_of_go() {
        for (given, expected) in [
            ("", FORMAT),
            ("abc", FORMAT),
            ("1 Gi", FORMAT),
            ("1Gb", FORMAT),
            ("1gi", FORMAT),
            ("1KiKi", SUFFIX),
            ("10mm", SUFFIX),
        ] {
            assert_eq!(canonical(given), Err(expected), "{given}");
        }
    }
}
