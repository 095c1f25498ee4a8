//! What the commands about policies say to people.

use crate::audit::compare::Difference;
use crate::audit::evaluate::{Attributes, Decision};
use crate::audit::explain::Explanation;
use crate::audit::level::Level;
use crate::audit::lint::{Finding, Report, Severity};
use crate::style::Style;
use crate::yaml::Span;

/// Text from outside, without anything a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The report of `policy lint`.
pub(super) fn lint(file: &str, bytes: &[u8], report: &Report) -> String {
    let style = Style::stdout();
    let source = Source::new(file, bytes);
    let mut out = String::new();
    match &report.inspection.result {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                out.push_str(&format!(
                    "{} {}\n\n",
                    style.warn("loader warning:"),
                    plain(warning)
                ));
            }
        }
        Err(error) => {
            for warning in &error.warnings {
                out.push_str(&format!(
                    "{} {}\n\n",
                    style.warn("loader warning:"),
                    plain(warning)
                ));
            }
            let head = format!("{} {}", style.bad("refused:"), plain(&error.message));
            out.push_str(&format!(
                "{head}\n{}\n",
                source.excerpt(report.inspection.at, style)
            ));
        }
    }
    for finding in &report.findings {
        out.push_str(&one_finding(finding, &source, style));
    }
    out.push_str(&conclusion(file, report, style));
    out
}

fn one_finding(finding: &Finding, source: &Source<'_>, style: Style) -> String {
    let label = format!("{}[{}]", finding.severity.name(), finding.id);
    let label = match finding.severity {
        Severity::Error => style.bad(&label),
        Severity::Warning => style.warn(&label),
        Severity::Info => style.strong(&label),
    };
    let mut out = format!(
        "{label}: {}\n{}",
        plain(&finding.message),
        source.excerpt(finding.span, style)
    );
    if let Some(hint) = &finding.hint {
        out.push_str(&format!("  {} {}\n", style.strong("hint:"), plain(hint)));
    }
    out.push('\n');
    out
}

fn conclusion(file: &str, report: &Report, style: Style) -> String {
    let count = |severity| {
        report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let number = |n: usize, word: &str| {
        if n == 1 {
            format!("1 {word}")
        } else {
            format!("{n} {word}s")
        }
    };
    let found = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Info, "note"),
    ]
    .into_iter()
    .filter(|(severity, _)| count(*severity) > 0)
    .map(|(severity, word)| number(count(severity), word))
    .collect::<Vec<_>>()
    .join(", ");
    let found = if found.is_empty() {
        "nothing to say".to_owned()
    } else {
        found
    };
    let file = plain(file);
    match &report.inspection.result {
        Ok(loaded) => format!(
            "{} {file}: the API server loads it, {}; {found}\n",
            style.good("ok"),
            number(loaded.policy.rules.len(), "rule")
        ),
        Err(_) => format!(
            "{} {file}: the API server does not start with this policy; {found}\n",
            style.bad("refused")
        ),
    }
}

/// A refusal for an error message: the loader's text and the place in the source.
pub(super) fn refusal(file: &str, bytes: &[u8], message: &str, at: Option<Span>) -> String {
    let source = Source::new(file, bytes);
    let excerpt = source.excerpt(at, Style::stderr());
    let text = format!(
        "the API server refuses `{}`: {}",
        plain(file),
        plain(message)
    );
    if excerpt.is_empty() {
        text
    } else {
        format!("{text}\n{}", excerpt.trim_end_matches('\n'))
    }
}

struct Source<'a> {
    file: &'a str,
    text: std::borrow::Cow<'a, str>,
}

impl<'a> Source<'a> {
    fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        Self { file, text }
    }

    /// A line of the source with a caret below the column.
    fn excerpt(&self, at: Option<Span>, style: Style) -> String {
        const WIDTH: usize = 100;
        let Some(at) = at.filter(|at| at.line > 0) else {
            return String::new();
        };
        let Some(line) = self.text.lines().nth(at.line - 1) else {
            return String::new();
        };
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        // Of a long line only the part around the column is shown.
        let before = at.column.saturating_sub(1);
        let skip = if before > WIDTH - 20 { before - 20 } else { 0 };
        let shown: String = line.chars().skip(skip).take(WIDTH).collect();
        let shown = plain(&shown.replace('\t', " "));
        let number = at.line.to_string();
        let margin = " ".repeat(number.len());
        let bar = style.faint("|");
        let caret = format!("{}{}", " ".repeat(before - skip), style.bad("^"));
        format!(
            "{margin}{} {}:{}:{}\n{margin} {bar}\n{number} {bar} {shown}\n{margin} {bar} {caret}\n",
            style.faint("-->"),
            plain(self.file),
            at.line,
            at.column
        )
    }
}

/// A request in a line.
fn describe(request: &Attributes) -> String {
    let user = request.user.as_deref().unwrap_or("(no user)");
    let groups = request.groups.join(", ");
    let by = format!("by {user} ({groups})");
    if !request.resource_request {
        return plain(&format!("{} {} {by}", request.verb, request.path));
    }
    let mut what = request.resource.clone();
    if !request.subresource.is_empty() {
        what = format!("{what}/{}", request.subresource);
    }
    if !request.api_group.is_empty() {
        what = format!("{what}.{}", request.api_group);
    }
    if !request.name.is_empty() {
        what = format!("{what} {}", request.name);
    }
    let place = if request.namespace.is_empty() {
        "at cluster scope".to_owned()
    } else {
        format!("in namespace {}", request.namespace)
    };
    plain(&format!("{} {what} {place} {by}", request.verb))
}

/// The answer of `policy explain`.
pub(super) fn explanation(request: &Attributes, explanation: &Explanation) -> String {
    let style = Style::stdout();
    let mut out = format!("{}\n\n", describe(request));
    for verdict in &explanation.rules {
        let matched = verdict.mismatch.is_none();
        let mark = if matched {
            style.good("match")
        } else {
            style.faint("no   ")
        };
        out.push_str(&format!(
            "  {mark} rules[{}] {:<15} {}\n",
            verdict.rule,
            verdict.level.name(),
            plain(&verdict.why)
        ));
    }
    if explanation.decision.rule.is_none() {
        out.push_str(&format!("  {}\n", style.faint("no further rules")));
    }
    out.push_str(&format!(
        "\n{}\n",
        style.strong(&plain(&explanation.summary))
    ));
    out
}

fn decision(decision: &Decision) -> String {
    let mut text = decision.level.name().to_owned();
    if decision.level != Level::None {
        if !decision.omit_stages.is_empty() {
            let stages: Vec<&str> = decision
                .omit_stages
                .iter()
                .map(|stage| stage.name())
                .collect();
            text.push_str(&format!(" without {}", stages.join(", ")));
        }
        if decision.omit_managed_fields {
            text.push_str(" without managed fields");
        }
    }
    match decision.rule {
        Some(rule) => format!("{text} (rules[{rule}])"),
        None => format!("{text} (no rule matches)"),
    }
}

/// The answer of `policy diff`.
pub(super) fn differences(a: &str, b: &str, differences: &[Difference]) -> String {
    let style = Style::stdout();
    if differences.is_empty() {
        return format!(
            "{} the policies decide every request alike\n",
            style.good("equal:")
        );
    }
    let mut out = String::new();
    let (a, b) = (plain(a), plain(b));
    let width = a.chars().count().max(b.chars().count());
    for found in differences {
        out.push_str(&format!("{}\n", style.strong(&describe(&found.request))));
        out.push_str(&format!("  {a:<width$}  {}\n", decision(&found.a)));
        out.push_str(&format!("  {b:<width$}  {}\n\n", decision(&found.b)));
    }
    let classes = if differences.len() == 1 {
        "1 kind of request is".to_owned()
    } else {
        format!("{} kinds of requests are", differences.len())
    };
    out.push_str(&format!(
        "{} {classes} decided differently\n",
        style.bad("different:")
    ));
    out
}
