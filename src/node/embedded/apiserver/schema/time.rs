//! Times as the API writes them, with Go's parse errors (`time/format.go`, `metav1.Time`, `metav1.MicroTime`).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// How precise a time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// `2006-01-02T15:04:05Z07:00`.
    Seconds,
    /// `2006-01-02T15:04:05.000000Z07:00`.
    Micros,
}

impl Precision {
    fn layout(self) -> &'static str {
        match self {
            Self::Seconds => "2006-01-02T15:04:05Z07:00",
            Self::Micros => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

/// Reads a time and writes it in UTC; `None` is Go's zero time, which is JSON's null.
///
/// # Errors
/// Go's text.
pub fn canonical(text: &str, precision: Precision) -> Result<Option<String>, String> {
    let stamp = parse(text, precision)?;
    Ok(write(stamp, precision))
}

/// Writes an instant in UTC; `None` for Go's zero time.
#[must_use]
pub fn write(stamp: Timestamp, precision: Precision) -> Option<String> {
    let civil = Offset::UTC.to_datetime(stamp);
    let text = civil.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    if text == "0001-01-01T00:00:00" {
        return None;
    }
    Some(match precision {
        Precision::Seconds => format!("{text}Z"),
        Precision::Micros => format!("{text}.{:06}Z", civil.subsec_nanosecond() / 1000),
    })
}

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    layout: &'static str,
}

impl Parser<'_> {
    fn mismatch(&self, element: &str) -> String {
        let (whole, layout, rest) = (quote(self.whole), quote(self.layout), quote(self.rest));
        format!(
            "parsing time {whole} as {layout}: cannot parse {rest} as {}",
            quote(element)
        )
    }

    fn problem(&self, message: &str) -> String {
        format!("parsing time {}: {message}", quote(self.whole))
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.mismatch(text)),
        }
    }

    /// Between `least` and `most` digits.
    fn number(&mut self, least: usize, most: usize, element: &str) -> Result<i32, String> {
        let digits = self
            .rest
            .bytes()
            .take(most)
            .take_while(u8::is_ascii_digit)
            .count();
        if digits < least {
            return Err(self.mismatch(element));
        }
        let (text, rest) = self
            .rest
            .split_at_checked(digits)
            .unwrap_or(("", self.rest));
        self.rest = rest;
        text.parse().map_err(|_| self.mismatch(element))
    }

    fn fraction(&mut self, precision: Precision) -> Result<i32, String> {
        let bytes = self.rest.as_bytes();
        let point = matches!(bytes.first(), Some(b'.' | b','));
        let digits = bytes
            .iter()
            .skip(1)
            .take_while(|b| b.is_ascii_digit())
            .count();
        if precision == Precision::Micros {
            if !point || digits < 6 {
                return Err(self.mismatch(".000000"));
            }
        } else if !point || digits == 0 {
            return Ok(0);
        }
        let length = if precision == Precision::Micros {
            6
        } else {
            digits
        };
        let text: String = self.rest.chars().skip(1).take(length.min(9)).collect();
        self.rest = self.rest.get(1 + length..).unwrap_or("");
        format!("{text:0<9}")
            .parse()
            .map_err(|_| self.mismatch(".000000"))
    }

    fn offset(&mut self) -> Result<i32, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let bytes = self.rest.as_bytes();
        let digit = |at: usize| {
            bytes
                .get(at)
                .filter(|b| b.is_ascii_digit())
                .map(|b| i32::from(*b - b'0'))
        };
        let parsed = (|| {
            let sign = match bytes.first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            if bytes.get(3) != Some(&b':') {
                return None;
            }
            let hours = digit(1)? * 10 + digit(2)?;
            let minutes = digit(4)? * 10 + digit(5)?;
            Some((sign, hours, minutes))
        })();
        let Some((sign, hours, minutes)) = parsed else {
            return Err(self.mismatch("Z07:00"));
        };
        self.rest = self.rest.get(6..).unwrap_or("");
        if hours > 24 {
            return Err(self.problem("time zone offset hour out of range"));
        }
        if minutes > 60 {
            return Err(self.problem("time zone offset minute out of range"));
        }
        Ok(sign * (hours * 3600 + minutes * 60))
    }
}

fn parse(text: &str, precision: Precision) -> Result<Timestamp, String> {
    let mut parser = Parser {
        whole: text,
        rest: text,
        layout: precision.layout(),
    };
    let year = parser.number(4, 4, "2006")?;
    parser.literal("-")?;
    let month = parser.number(2, 2, "01")?;
    if !(1..=12).contains(&month) {
        return Err(parser.problem("month out of range"));
    }
    parser.literal("-")?;
    let day = parser.number(2, 2, "02")?;
    parser.literal("T")?;
    let hour = parser.number(1, 2, "15")?;
    if hour > 23 {
        return Err(parser.problem("hour out of range"));
    }
    parser.literal(":")?;
    let minute = parser.number(2, 2, "04")?;
    if minute > 59 {
        return Err(parser.problem("minute out of range"));
    }
    parser.literal(":")?;
    let second = parser.number(2, 2, "05")?;
    if second > 59 {
        return Err(parser.problem("second out of range"));
    }
    let nanos = parser.fraction(precision)?;
    let offset = parser.offset()?;
    if !parser.rest.is_empty() {
        return Err(parser.problem(&format!("extra text: {}", quote(parser.rest))));
    }
    let small = |n: i32| i8::try_from(n).unwrap_or(0);
    let civil = DateTime::new(
        i16::try_from(year).unwrap_or(0),
        small(month),
        small(day),
        small(hour),
        small(minute),
        small(second),
        nanos,
    )
    .map_err(|_| parser.problem("day out of range"))?;
    let offset = Offset::from_seconds(offset)
        .map_err(|_| parser.problem("time zone offset out of range"))?;
    offset
        .to_timestamp(civil)
        .map_err(|_| parser.problem("year out of range"))
}

/// Go's `time` package quotes with hexadecimal escapes.
fn quote(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    _ = write!(out, "\\x{byte:02x}");
                }
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let seconds = |text| canonical(text, Precision::Seconds).unwrap();
        assert_eq!(
            seconds("2026-11-22T15:33:53Z").as_deref(),
            Some("2026-11-22T15:33:53Z")
        );
        assert_eq!(
            seconds("2026-11-22T15:33:53.25+02:00").as_deref(),
            Some("2026-11-22T13:33:53Z")
        );
        assert_eq!(seconds("0001-01-01T00:00:00Z"), None);
        let micros = canonical("2026-11-22T15:33:53.123456+01:00", Precision::Micros);
        assert_eq!(micros, Ok(Some("2026-11-22T14:33:53.123456Z".to_owned())));
    }

    #[test]
    fn errors_have_the_texts_of_go() {
        let error = |text| canonical(text, Precision::Seconds).unwrap_err();
        assert_eq!(
            error("notadate"),
            r#"parsing time "notadate" as "2006-01-02T15:04:05Z07:00": cannot parse "notadate" as "2006""#
        );
        assert_eq!(
            error("2026-13-01T00:00:00Z"),
            r#"parsing time "2026-13-01T00:00:00Z": month out of range"#
        );
        assert_eq!(
            error("2026-02-30T00:00:00Z"),
            r#"parsing time "2026-02-30T00:00:00Z": day out of range"#
        );
        assert_eq!(
            error("2026-02-03"),
            r#"parsing time "2026-02-03" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#
        );
        assert_eq!(
            error("2026-02-03T00:00:00Zx"),
            r#"parsing time "2026-02-03T00:00:00Zx": extra text: "x""#
        );
        assert!(
            canonical("2026-11-22T15:33:53Z", Precision::Micros)
                .unwrap_err()
                .ends_with(r#"cannot parse "Z" as ".000000""#)
        );
    }
}
