//! A report as text: readable without colour, on narrow terminals and by screen readers.

use crate::grade::report::{CheckReport, CheckStatus, Report};

/// How a part of the text is meant; the caller decides on colours. Meaning is never in colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// Good.
    Good,
    /// Bad.
    Bad,
    /// Neither: blocked.
    Muted,
    /// A heading.
    Strong,
}

/// Renders a report for a terminal of this width; `paint` colours a part, or gives it back as it is.
#[must_use]
pub fn render(report: &Report, width: usize, paint: &dyn Fn(Tone, &str) -> String) -> String {
    let width = width.clamp(40, 100);
    let mut out = String::new();
    out.push_str(&paint(
        Tone::Strong,
        &format!("{}  {}", report.scenario, report.title),
    ));
    out.push('\n');
    let mut layer = 0;
    let mut blocked_by = "";
    let mut checks: Vec<&CheckReport> = report.checks.iter().collect();
    checks.sort_by_key(|check| check.layer);
    for check in checks {
        if check.layer != layer {
            layer = check.layer;
            out.push('\n');
            out.push_str(&paint(Tone::Strong, &heading(layer)));
            out.push('\n');
        }
        one(check, width, paint, &mut out);
        // What blocks several checks is said once.
        if check.status == CheckStatus::Blocked && check.seen != blocked_by {
            blocked_by = &check.seen;
            wrap(&check.seen, "           ", "           ", width, &mut out);
        }
    }
    out.push('\n');
    for note in &report.notes {
        wrap(&format!("note: {note}"), "", "      ", width, &mut out);
    }
    if report.checks.is_empty() {
        return out;
    }
    let (word, tone) = if report.passed {
        ("PASSED", Tone::Good)
    } else {
        ("NOT PASSED", Tone::Bad)
    };
    out.push_str(&format!(
        "{}  {} of {} points, {} %\n",
        paint(tone, word),
        report.score,
        report.max,
        report.percent
    ));
    out
}

fn heading(layer: u8) -> String {
    let what = match layer {
        1 => "the manifest on disk",
        2 => "the API server that runs",
        3 => "the files as it sees them",
        4 => "the log on the node",
        _ => "fresh entries for the grader's requests",
    };
    format!("Layer {layer}: {what}")
}

fn one(check: &CheckReport, width: usize, paint: &dyn Fn(Tone, &str) -> String, out: &mut String) {
    let (word, tone) = match check.status {
        CheckStatus::Pass => ("PASS   ", Tone::Good),
        CheckStatus::Fail => ("FAIL   ", Tone::Bad),
        CheckStatus::Blocked => ("BLOCKED", Tone::Muted),
    };
    let points = if check.max == 0 {
        String::new()
    } else {
        format!(" ({}/{})", check.points, check.max)
    };
    let mut line = String::new();
    wrap(
        &format!("{}{points}", check.title),
        &format!("  {word}  "),
        "           ",
        width,
        &mut line,
    );
    out.push_str(&line.replacen(word, &paint(tone, word), 1));
    if check.status == CheckStatus::Pass {
        return;
    }
    let indent = " ".repeat(21);
    if check.status == CheckStatus::Fail {
        wrap(
            &check.expected,
            "           expected  ",
            &indent,
            width,
            out,
        );
        wrap(&check.seen, "           seen      ", &indent, width, out);
        if let Some(misconception) = &check.misconception {
            wrap(misconception, "           why       ", &indent, width, out);
        }
    }
    if let Some(next) = &check.next
        && check.status == CheckStatus::Fail
    {
        // A command is not wrapped: it is there to be copied.
        out.push_str(&format!("           next      {next}\n"));
    }
}

/// Breaks lines between words.
fn wrap(text: &str, first: &str, indent: &str, width: usize, out: &mut String) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        let length = line.chars().count() + word.chars().count() + usize::from(!empty);
        if !empty && length > width {
            out.push_str(line.trim_end());
            out.push('\n');
            line = indent.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
pub(in crate::grade) mod tests {
    use super::*;
    use crate::grade::report::SCHEMA_VERSION;

    pub(in crate::grade) fn example() -> Report {
        let check = |id: &str, layer, layer_name, status, points| CheckReport {
            id: id.into(),
            title: format!("title of {id}"),
            layer,
            layer_name,
            points: if status == CheckStatus::Pass {
                points
            } else {
                0
            },
            max: points,
            status,
            expected:
                "something that is long enough to be broken into two lines on a narrow terminal"
                    .into(),
            seen: "<none> & \"nothing\"\u{1}".into(),
            next: (status != CheckStatus::Pass).then(|| "ls -l /var/log".into()),
            misconception: (status == CheckStatus::Fail).then(|| "it is believed".into()),
            misconception_id: (status == CheckStatus::Fail).then(|| "believed".into()),
        };
        Report {
            schema_version: SCHEMA_VERSION,
            scenario: "audit-99".into(),
            title: "An example".into(),
            seed: 3,
            engine: "embedded".into(),
            score: 10,
            max: 60,
            percent: 16,
            passed: false,
            checks: vec![
                check("one", 1, "manifest", CheckStatus::Pass, 10),
                check("two", 1, "manifest", CheckStatus::Fail, 20),
                check("three", 5, "entries", CheckStatus::Blocked, 30),
            ],
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn whole_text_on_a_narrow_terminal() {
        let text = render(&example(), 60, &|_, text| text.to_owned());
        assert_eq!(
            text,
            "\
audit-99  An example

Layer 1: the manifest on disk
  PASS     title of one (10/10)
  FAIL     title of two (0/20)
           expected  something that is long enough to be
                     broken into two lines on a narrow
                     terminal
           seen      <none> & \"nothing\"\u{1}
           why       it is believed
           next      ls -l /var/log

Layer 5: fresh entries for the grader's requests
  BLOCKED  title of three (0/30)
           <none> & \"nothing\"\u{1}

note: a note
NOT PASSED  10 of 60 points, 16 %
"
        );
    }
}
