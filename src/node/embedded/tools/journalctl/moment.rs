//! Times as `--since` and `--until` take them (systemd.time(7)).

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// `2026-11-24 07:00:00`, `07:00`, `5 min ago`, `-1h`, `@1763967600`, `today`...
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let now = Timestamp::now();
    let zoned = now.to_zoned(TimeZone::UTC);
    let day = |date: jiff::civil::Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    match text {
        "now" => return Some(now),
        "today" => return day(zoned.date()),
        "yesterday" => return day(zoned.date().yesterday().ok()?),
        "tomorrow" => return day(zoned.date().tomorrow().ok()?),
        _ => {}
    }
    if let Some(seconds) = text.strip_prefix('@') {
        let span = SignedDuration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
        return Timestamp::UNIX_EPOCH.checked_add(span).ok();
    }
    if let Some(rest) = text.strip_suffix("ago") {
        return now.checked_sub(span(rest)?).ok();
    }
    if let Some(rest) = text.strip_prefix('-') {
        return now.checked_sub(span(rest)?).ok();
    }
    if let Some(rest) = text.strip_prefix('+') {
        return now.checked_add(span(rest)?).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    // A day of the week may lead.
    let text = match text.split_once(' ') {
        Some((word, rest)) if word.chars().all(char::is_alphabetic) => rest,
        _ => text,
    };
    for format in [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%y-%m-%d %H:%M:%S",
    ] {
        if let Ok(time) = DateTime::strptime(format, text) {
            return Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
        }
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return day(date);
    }
    for format in ["%H:%M:%S", "%H:%M"] {
        if let Ok(time) = jiff::civil::Time::strptime(format, text) {
            let at = zoned.date().to_datetime(time);
            return Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp());
        }
    }
    None
}

/// `5min`, `1h 30m`, `2 days`; a number alone is seconds.
fn span(text: &str) -> Option<SignedDuration> {
    let mut total = 0.0f64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let after = after.trim_start();
        let end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "us" | "usec" => 1e-6,
            "ms" | "msec" => 1e-3,
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            "w" | "week" | "weeks" => 604_800.0,
            "M" | "month" | "months" => 2_629_800.0,
            "y" | "year" | "years" => 31_557_600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = after.trim_start();
    }
    SignedDuration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_people_write() {
        for (text, seconds) in [
            ("5 min ago", 300),
            ("1 hour ago", 3600),
            ("-1h 30min", 5400),
            ("10m ago", 600),
            ("30 ago", 30),
            ("2 days ago", 172_800),
        ] {
            let age = Timestamp::now().duration_since(moment(text).unwrap());
            assert!((age.as_secs() - seconds).abs() <= 1, "{text}: {age}");
        }
        let time: Timestamp = "2026-11-24T07:00:00Z".parse().unwrap();
        for text in [
            "2026-11-24 07:00:00",
            "2026-11-24 07:00",
            "Tue 2026-11-24 07:00:00 UTC",
            "@1795503600",
            "2026-11-24T07:00:00Z",
        ] {
            assert_eq!(moment(text), Some(time), "{text}");
        }
        for text in ["nonsense", "5 lightyears ago", "", "ago", "-", "2026-13-01"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
