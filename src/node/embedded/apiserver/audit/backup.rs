//! The names of rotated files: `audit-2006-01-02T15-04-05.000.log`, in UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::file_path::{directory, join, split_extension};

/// What a compressed file ends with.
pub(super) const GZIP: &str = ".gz";

/// Where the log at `path` goes when it is rotated at this moment. Two rotations within one millisecond
/// have one name; the later one replaces the earlier.
pub(super) fn name(path: &str, now: Timestamp) -> String {
    let (stem, extension) = split_extension(path);
    let stamp = now.strftime("%Y-%m-%dT%H-%M-%S%.3f");
    join(&directory(path), &format!("{stem}-{stamp}{extension}"))
}

/// When the file of this name was rotated, if it is a rotated file of the log at `path`.
pub(super) fn rotated_at(path: &str, name: &str) -> Option<Timestamp> {
    let (stem, extension) = split_extension(path);
    let rest = name.strip_prefix(stem)?.strip_prefix('-')?;
    let compressed = rest
        .strip_suffix(GZIP)
        .and_then(|rest| rest.strip_suffix(extension));
    rest.strip_suffix(extension)
        .and_then(time)
        .or_else(|| compressed.and_then(time))
}

/// A time in the format of the names, as Go's `time.Parse` reads it: the hour may have one digit, the
/// fraction may follow a comma, and the day must exist.
fn time(text: &str) -> Option<Timestamp> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let month = digits(after(&mut rest, "-")?, 2)?;
    let day = digits(after(&mut rest, "-")?, 2)?;
    after(&mut rest, "T")?;
    let wide = rest.bytes().take(2).filter(u8::is_ascii_digit).count();
    let hour = digits(&mut rest, wide.max(1))?;
    let minute = digits(after(&mut rest, "-")?, 2)?;
    let second = digits(after(&mut rest, "-")?, 2)?;
    rest = rest.strip_prefix(['.', ','])?;
    let millisecond = digits(&mut rest, 3)?;
    if !rest.is_empty() {
        return None;
    }
    let small = |number: i16| i8::try_from(number).ok();
    jiff::civil::DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        i32::from(millisecond) * 1_000_000,
    )
    .ok()?
    .to_zoned(TimeZone::UTC)
    .ok()
    .map(|time| time.timestamp())
}

/// Takes a number of exactly this many digits.
fn digits(text: &mut &str, count: usize) -> Option<i16> {
    let number = text.get(..count)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *text = text.get(count..)?;
    number.parse().ok()
}

fn after<'a, 'b>(text: &'a mut &'b str, separator: &str) -> Option<&'a mut &'b str> {
    *text = text.strip_prefix(separator)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_named_after_its_time_in_utc() {
        let now: Timestamp = "2026-11-22T15:56:24.4699Z".parse().unwrap();
        for (path, want) in [
            ("/logs/audit.log", "/logs/audit-2026-11-22T15-56-24.469.log"),
            ("/logs/audit", "/logs/audit-2026-11-22T15-56-24.469"),
            ("audit.json.log", "audit.json-2026-11-22T15-56-24.469.log"),
            ("/logs//x/../a.log", "/logs/a-2026-11-22T15-56-24.469.log"),
        ] {
            assert_eq!(name(path, now), want);
            let base = want.rsplit('/').next().unwrap();
            assert_eq!(
                rotated_at(path, base).unwrap().to_string(),
                "2026-11-22T15:56:24.469Z"
            );
            assert!(rotated_at(path, &format!("{base}.gz")).is_some());
        }
    }

    #[test]
    fn only_what_looks_like_a_backup_is_one() {
        let is = |name: &str| rotated_at("/logs/audit.log", name).is_some();
        for name in [
            "audit-2020-01-01T00-00-00.000.log",
            "audit-2020-01-01T00-00-00.000.log.gz",
            "audit-2020-02-29T7-00-00.000.log",
            "audit-2020-01-01T00-00-00,000.log",
        ] {
            assert!(is(name), "{name}");
        }
        for name in [
            "audit.log",
            "audit-.log",
            "audit-2020-01-01.log",
            "audit-2020-01-01T00-00-00.log",
            "audit-2020-01-01T00-00-00.00.log",
            "audit-2020-01-01T00-00-00.0000.log",
            "audit-2020-1-01T00-00-00.000.log",
            "audit-2021-02-29T00-00-00.000.log",
            "audit-2020-01-01T24-00-00.000.log",
            "audit-2020-01-01T00-60-00.000.log",
            "audit-2020-01-01T00-00-00.000.log.1",
            "audit-2020-01-01T00-00-00.000.log.gz.gz",
            "audit-2020-01-01T00-00-00.000",
            "other-2020-01-01T00-00-00.000.log",
            "audit2020-01-01T00-00-00.000.log",
            "audit-\u{e9}\u{e9}-01-01T00-00-00.000.log",
        ] {
            assert!(!is(name), "{name}");
        }
    }
}
