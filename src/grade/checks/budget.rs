//! The limits of a log's rotation: how much room it may take, and how far back it reaches.

use super::Context;
use crate::audit::options::{AuditOptions, LogOptions, versions};
use crate::grade::report::Outcome;
use crate::scenario::check::Layer;
use crate::scenario::evidence::BudgetCheck;

/// The limits fit.
pub fn budget(context: &Context<'_>, check: &BudgetCheck, layer: Layer) -> Outcome {
    let number = |quantity: &Option<crate::scenario::quantity::Quantity>| {
        quantity
            .as_ref()
            .and_then(|quantity| quantity.number().ok())
    };
    let (room, days, rate) = (
        number(&check.megabytes),
        number(&check.days),
        number(&check.megabytes_per_day),
    );
    let mut wishes = Vec::new();
    wishes.extend(room.map(|room| format!("the log and its old files take at most {room} MB")));
    wishes.extend(days.map(|days| match rate {
        Some(rate) => format!("they reach back {days} days at {rate} MB a day"),
        None => format!("old files are kept for at least {days} days"),
    }));
    let expected = wishes.join(", and ");
    let argv = match layer {
        Layer::Manifest => match &context.facts.manifest {
            Ok(pod) => &pod.argv,
            Err(problem) => {
                let seen = format!("blocked: the manifest cannot be read: {problem}");
                return Outcome::blocked(expected, seen, context.facts.where_to_look());
            }
        },
        _ if !context.facts.running() => {
            let seen = format!("blocked: the API server is {}", context.facts.phase());
            return Outcome::blocked(expected, seen, context.facts.where_to_look());
        }
        _ => &context.facts.state.argv,
    };
    let next = "ps -ef | grep -o -- '--audit-log-max[^ ]*'";
    let log = match AuditOptions::from_argv(&versions::spelled_out(argv, context.facts.minor)) {
        Ok(options) => options.log,
        Err(error) => return Outcome::fail(expected, error.to_string(), next),
    };
    if log.path.is_empty() {
        return Outcome::fail(expected, "--audit-log-path is not set", next);
    }
    if log.path == "-" {
        let seen = "the API server writes its audit log to standard output: these limits are without effect";
        return Outcome::fail(expected, seen, next);
    }
    match problem(&log, room, days, rate) {
        None => Outcome::pass(expected, summary(&log)),
        Some(problem) => Outcome::fail(expected, format!("{}: {problem}", summary(&log)), next),
    }
}

/// The limits in words.
fn summary(log: &LogOptions) -> String {
    format!(
        "maxsize {} MB, maxbackup {}, maxage {} days",
        log.max_size, log.max_backup, log.max_age
    )
}

fn problem(
    log: &LogOptions,
    room: Option<u64>,
    days: Option<u64>,
    rate: Option<u64>,
) -> Option<String> {
    if let Some(room) = room {
        match log.worst_megabytes() {
            None if log.max_size == 0 => {
                return Some(
                    "with maxsize 0 the file is never rotated and grows without end".into(),
                );
            }
            None => return Some("with maxbackup 0 no old file is too many".into()),
            Some(worst) if worst > room => {
                return Some(format!(
                    "{} old files and the current one of {} MB each may take {worst} MB",
                    log.max_backup, log.max_size
                ));
            }
            Some(_) => {}
        }
    }
    let days = days?;
    if let Some(most) = log.days()
        && most < days
    {
        return Some(format!("old files go after {most} days"));
    }
    let (rate, kept) = (rate?, log.kept_megabytes()?);
    (kept < days.saturating_mul(rate)).then(|| {
        format!(
            "at {rate} MB a day, {kept} MB of old files reach back {} days only",
            kept.checked_div(rate).unwrap_or(0)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(flags: &[&str], room: u64, days: u64, rate: Option<u64>) -> Option<String> {
        let argv: Vec<String> = ["kube-apiserver", "--audit-log-path=/x"]
            .iter()
            .chain(flags)
            .map(|word| (*word).to_owned())
            .collect();
        let log = AuditOptions::from_argv(&argv).unwrap().log;
        problem(&log, Some(room), Some(days), rate)
    }

    #[test]
    fn the_current_file_counts_too() {
        let flags = [
            "--audit-log-maxsize=50",
            "--audit-log-maxbackup=9",
            "--audit-log-maxage=30",
        ];
        assert_eq!(said(&flags, 500, 30, None), None);
        assert_eq!(
            said(&flags, 499, 30, None).unwrap(),
            "9 old files and the current one of 50 MB each may take 500 MB"
        );
        assert_eq!(
            said(&flags, 500, 31, None).unwrap(),
            "old files go after 30 days"
        );
        assert_eq!(said(&flags, 500, 30, Some(15)), None);
        assert_eq!(
            said(&flags, 500, 30, Some(16)).unwrap(),
            "at 16 MB a day, 450 MB of old files reach back 28 days only"
        );
    }

    #[test]
    fn no_limit_is_no_zero() {
        assert_eq!(
            said(&["--audit-log-maxbackup=0"], 9999, 1, None).unwrap(),
            "with maxbackup 0 no old file is too many"
        );
        assert_eq!(
            said(&["--audit-log-maxsize=0"], 9999, 1, None).unwrap(),
            "with maxsize 0 the file is never rotated and grows without end"
        );
        assert_eq!(
            said(
                &[
                    "--audit-log-maxage=0",
                    "--audit-log-maxsize=1",
                    "--audit-log-maxbackup=1"
                ],
                2,
                400,
                None
            ),
            None
        );
    }

    /// The defaults of 1.36: 100 files of 100 MB.
    #[test]
    fn what_is_not_set_has_its_default() {
        assert_eq!(said(&[], 10_100, 366, None), None);
        assert!(said(&[], 10_099, 366, None).is_some());
    }
}
