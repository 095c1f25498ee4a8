//! Tables as Go's tabwriter prints them, and ages as `docker/go-units` words them.

use std::time::Duration;

/// Lines of a table whose columns are at least 20 wide with 3 blanks between them, as crictl's.
pub(super) fn lines(rows: &[Vec<String>]) -> Vec<String> {
    aligned(rows, 20, 3)
}

/// Lines of a table with these column rules; the last column is not padded.
pub(super) fn aligned(rows: &[Vec<String>], least: usize, padding: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max((cell.chars().count() + padding).max(least));
        }
    }
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line.push_str(cell);
                if index + 1 < row.len() {
                    let blanks = width.saturating_sub(cell.chars().count());
                    line.extend(std::iter::repeat_n(' ', blanks));
                }
            }
            line
        })
        .collect()
}

/// `Less than a second`, `5 seconds`, `About a minute`, `3 minutes`...
pub(super) fn human(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let plain_hours = seconds / 3600;
    match seconds {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if plain_hours == 0 || hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (150, "2 minutes"),
            (3700, "About an hour"),
            (7300, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn columns() {
        let rows = [
            vec!["A".into(), "B".into()],
            vec!["aaaaaaaaaaaaaaaaaaaaaaa".into(), "b".into()],
        ];
        assert_eq!(
            lines(&rows),
            ["A                         B", "aaaaaaaaaaaaaaaaaaaaaaa   b"]
        );
    }
}
