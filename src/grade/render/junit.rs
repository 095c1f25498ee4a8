//! A report as JUnit XML: one test case per check, blocked ones skipped.

use crate::grade::report::{CheckStatus, Report};

/// Renders a report.
#[must_use]
pub fn render(report: &Report) -> String {
    let count = |status| {
        report
            .checks
            .iter()
            .filter(|check| check.status == status)
            .count()
    };
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\"",
        report.checks.len(),
        count(CheckStatus::Fail),
        count(CheckStatus::Blocked)
    );
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str(&format!("<testsuites name=\"ckslab\" {counts}>\n"));
    out.push_str(&format!(
        "  <testsuite name=\"{}\" {counts}>\n    <properties>\n",
        escape(&report.scenario)
    ));
    for (name, value) in [
        ("seed", report.seed.to_string()),
        ("engine", report.engine.clone()),
        ("score", report.score.to_string()),
        ("max", report.max.to_string()),
        ("percent", report.percent.to_string()),
        ("passed", report.passed.to_string()),
    ] {
        out.push_str(&format!(
            "      <property name=\"{name}\" value=\"{}\"/>\n",
            escape(&value)
        ));
    }
    out.push_str("    </properties>\n");
    for check in &report.checks {
        out.push_str(&format!(
            "    <testcase classname=\"{}.{}\" name=\"{}\"",
            escape(&report.scenario),
            check.layer_name,
            escape(&check.id)
        ));
        let mut details = format!("expected: {}\nseen: {}\n", check.expected, check.seen);
        if let Some(next) = &check.next {
            details.push_str(&format!("next: {next}\n"));
        }
        if let Some(misconception) = &check.misconception {
            details.push_str(&format!("misconception: {misconception}\n"));
        }
        match check.status {
            CheckStatus::Pass => out.push_str("/>\n"),
            CheckStatus::Fail => out.push_str(&format!(
                ">\n      <failure message=\"{}\" type=\"{}\">{}</failure>\n    </testcase>\n",
                escape(&check.title),
                escape(check.misconception_id.as_deref().unwrap_or("failed")),
                escape(&details)
            )),
            CheckStatus::Blocked => out.push_str(&format!(
                ">\n      <skipped message=\"{}\"/>\n    </testcase>\n",
                escape(&check.seen)
            )),
        }
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// Escapes for XML, and drops characters XML 1.0 cannot hold.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            character if character.is_control() => {}
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::render::text::tests::example;

    #[test]
    fn counts_and_escapes() {
        let xml = render(&example());
        assert!(
            xml.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""),
            "{xml}"
        );
        assert!(
            xml.contains("&lt;none&gt; &amp; &quot;nothing&quot;"),
            "{xml}"
        );
        assert!(!xml.contains('\u{1}'));
    }
}
