//! `ckslab audit`: questions to audit logs.

mod files;
mod table;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use crate::audit::log::filter::{Codes, Filter};
use crate::audit::log::summary::{By, Summary};
use crate::audit::log::{Read, Record, Skipped, Time};
use crate::exit::Exit;
use crate::style::{Style, printable_json};

/// Arguments of `ckslab audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab audit query audit.log --resource secrets --verb get,list
  ckslab audit summary /var/log/kubernetes/audit/*.log* --by user,code

LOG may be plain, rotated or gzipped; - is standard input, node:PATH a file of the active lab.")]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

/// The commands about audit logs.
#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Show the events that match
    #[command(after_help = "Examples:
  ckslab audit query audit.log --user jane --code 403
  ckslab audit query audit*.log* --resource pods/exec -o jsonl
  kubectl logs -n kube-system kube-apiserver-controlplane | ckslab audit query - --text db-password

Values may be repeated or separated by commas; * stands for any text.")]
    Query(QueryArgs),
    /// Count requests by user, verb, resource...
    #[command(after_help = "Examples:
  ckslab audit summary node:/var/log/kubernetes/audit/audit.log --rotated
  ckslab audit summary audit.log --by user,resource --verb delete --top 5")]
    Summary(SummaryArgs),
}

#[derive(Debug, clap::Args)]
struct QueryArgs {
    /// Audit logs
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Read the rotated files beside each log too
    #[arg(long)]
    rotated: bool,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show Audit-ID, source address and user agent too
    #[arg(long, short)]
    wide: bool,
    /// Format: a table, the lines as they are, or their number
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    output: QueryFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum QueryFormat {
    /// A table for people.
    #[default]
    #[value(alias = "table")]
    Text,
    /// One JSON document; has `schema_version`.
    Json,
    /// The lines as they are in the log.
    #[value(alias = "lines")]
    Jsonl,
    /// The number of events.
    Count,
}

#[derive(Debug, clap::Args)]
struct SummaryArgs {
    /// Audit logs
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Read the rotated files beside each log too
    #[arg(long)]
    rotated: bool,
    /// What to count by
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "user,verb,resource,code,level"
    )]
    by: Vec<ByArg>,
    /// Show this many of each; 0 shows all
    #[arg(long, default_value_t = 10, value_name = "N")]
    top: usize,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ByArg {
    User,
    Verb,
    Resource,
    Namespace,
    Name,
    Code,
    Level,
    Stage,
    SourceIp,
    UserAgent,
    Decision,
}

impl From<ByArg> for By {
    fn from(by: ByArg) -> Self {
        match by {
            ByArg::User => By::User,
            ByArg::Verb => By::Verb,
            ByArg::Resource => By::Resource,
            ByArg::Namespace => By::Namespace,
            ByArg::Name => By::Name,
            ByArg::Code => By::Code,
            ByArg::Level => By::Level,
            ByArg::Stage => By::Stage,
            ByArg::SourceIp => By::SourceIp,
            ByArg::UserAgent => By::UserAgent,
            ByArg::Decision => By::Decision,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters")]
struct FilterArgs {
    /// User, or impersonated user
    #[arg(long, value_delimiter = ',', value_name = "USER")]
    user: Vec<String>,
    /// Group of the user
    #[arg(long, value_delimiter = ',', value_name = "GROUP")]
    group: Vec<String>,
    /// Verb
    #[arg(long, value_delimiter = ',', value_name = "VERB")]
    verb: Vec<String>,
    /// Resource: pods, pods/exec, pods/* (with subresources), deployments.apps
    #[arg(long, value_delimiter = ',', value_name = "RESOURCE")]
    resource: Vec<String>,
    /// Namespace; "" is cluster scope
    #[arg(long, short, value_delimiter = ',', value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// Object name
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    name: Vec<String>,
    /// Status code: 403, 4xx, 400-499, >=400
    #[arg(long, value_delimiter = ',', value_name = "CODE")]
    code: Vec<Codes>,
    /// Level
    #[arg(long, value_delimiter = ',', value_name = "LEVEL")]
    level: Vec<String>,
    /// Stage
    #[arg(long, value_delimiter = ',', value_name = "STAGE")]
    stage: Vec<String>,
    /// Audit-ID
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    audit_id: Vec<String>,
    /// Source address
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    source_ip: Vec<String>,
    /// Part of the user agent
    #[arg(long, value_name = "TEXT")]
    user_agent: Vec<String>,
    /// Request URI
    #[arg(long, value_name = "URI")]
    uri: Vec<String>,
    /// Authorisation decision: allow or forbid
    #[arg(long, value_delimiter = ',', value_name = "DECISION")]
    decision: Vec<String>,
    /// Text anywhere in the line
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// Not before this time (2026-11-22T16:25:00Z, 2026-11-22), or this long ago (5m, 2h, 1d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl FilterArgs {
    fn filter(&self) -> anyhow::Result<Filter> {
        let time = |text: &Option<String>| text.as_deref().map(time).transpose();
        Ok(Filter {
            users: self.user.clone(),
            groups: self.group.clone(),
            verbs: self.verb.clone(),
            resources: self.resource.clone(),
            namespaces: self.namespace.clone(),
            names: self.name.clone(),
            codes: self.code.clone(),
            levels: self.level.clone(),
            stages: self.stage.clone(),
            audit_ids: self.audit_id.clone(),
            source_ips: self.source_ip.clone(),
            user_agents: self.user_agent.clone(),
            uris: self.uri.clone(),
            decisions: self.decision.clone(),
            texts: self.text.clone(),
            since: time(&self.since)?,
            until: time(&self.until)?,
        })
    }
}

/// A time from the command line.
fn time(text: &str) -> anyhow::Result<Time> {
    if let Ok(time) = text.parse::<Time>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>()
        && let Ok(time) = jiff::tz::TimeZone::UTC.to_timestamp(date)
    {
        return Ok(time);
    }
    let ago = text.char_indices().last().and_then(|(at, unit)| {
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let number: i64 = text.get(..at)?.parse().ok().filter(|number| *number >= 0)?;
        let span = jiff::SignedDuration::from_secs(number.checked_mul(seconds)?);
        Time::now().checked_sub(span).ok()
    });
    ago.ok_or_else(|| {
        Failure::usage(format!("`{text}` is no time"))
            .hint("write 2026-11-22T16:25:00Z, 2026-11-22, or 5m, 2h, 1d for so long ago")
            .into()
    })
}

/// Runs the command.
///
/// # Errors
/// When a log cannot be read or standard output cannot be written.
pub fn run(args: &AuditArgs) -> anyhow::Result<Exit> {
    match &args.command {
        AuditCommand::Query(args) => run_query(args),
        AuditCommand::Summary(args) => run_summary(args),
    }
}

#[derive(Serialize)]
struct QueryReport {
    schema_version: u32,
    read: u64,
    matched: usize,
    skipped: Skipped,
    events: Vec<Value>,
}

fn run_query(args: &QueryArgs) -> anyhow::Result<Exit> {
    let filter = args.filter.filter()?;
    let logs = files::logs(&args.logs, args.rotated)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut matched = 0usize;
    let mut events = Vec::new();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut table = table::Table::new(args.wide, Style::stdout());
    let totals = each(&logs, |record, line| {
        if matched >= limit {
            return Ok(false);
        }
        if !filter.passes(record, line) {
            return Ok(true);
        }
        matched += 1;
        match args.output {
            QueryFormat::Text => table.add(record, &mut out)?,
            QueryFormat::Jsonl => {
                match std::str::from_utf8(line) {
                    Ok(text) => out.write_all(printable_json(text).as_bytes())?,
                    Err(_) => out.write_all(line)?,
                }
                out.write_all(b"\n")?;
            }
            QueryFormat::Json => events.push(as_json(record, line)),
            QueryFormat::Count => {}
        }
        Ok(matched < limit)
    })?;
    match args.output {
        QueryFormat::Text => table.finish(&mut out)?,
        QueryFormat::Jsonl => {}
        QueryFormat::Count => writeln!(out, "{matched}")?,
        QueryFormat::Json => {
            let report = QueryReport {
                schema_version: SCHEMA_VERSION,
                read: totals.events,
                matched,
                skipped: totals.skipped,
                events,
            };
            let text = serde_json::to_string_pretty(&report).map_err(io::Error::from)?;
            writeln!(out, "{}", printable_json(&text))?;
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// The event as it is in the log; what a legacy line or a list says, as our own record.
fn as_json(record: &Record, line: &[u8]) -> Value {
    match serde_json::from_slice::<Value>(line).ok() {
        Some(event) if event.get("auditID").is_some() => event,
        _ => serde_json::to_value(record).unwrap_or(Value::Null),
    }
}

/// Reads all logs in turn; says on standard error what was left out.
fn each(
    logs: &[files::Log],
    mut visit: impl FnMut(&Record, &[u8]) -> io::Result<bool>,
) -> anyhow::Result<Read> {
    let mut totals = Read::default();
    let mut stopped = false;
    for log in logs {
        let mut reader = log.open()?;
        let done = crate::audit::log::read(&mut reader, |record, line| {
            let go_on = visit(record, line)?;
            stopped |= !go_on;
            Ok(go_on)
        });
        let done = match done {
            Ok(done) => done,
            // Our own output failing is not the log's fault.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error.into()),
            Err(error) => {
                let problem =
                    Failure::input(format!("cannot read `{}` to its end: {error}", log.shown()));
                return Err(problem.into());
            }
        };
        totals.events += done.events;
        totals.skipped.torn += done.skipped.torn;
        totals.skipped.foreign += done.skipped.foreign;
        totals.skipped.too_long += done.skipped.too_long;
        if let Some(line) = done.first_skipped {
            output::warn(&skipped(done.skipped, &log.shown(), line));
        }
        if stopped {
            break;
        }
    }
    Ok(totals)
}

fn skipped(skipped: Skipped, log: &str, first: u64) -> String {
    let parts: Vec<String> = [
        (skipped.torn, "cut off"),
        (skipped.foreign, "something else"),
        (skipped.too_long, "too long"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    let total = skipped.total();
    let lines = if total == 1 {
        "1 line is no audit event".to_owned()
    } else {
        format!("{total} lines are no audit events")
    };
    format!(
        "{lines} in `{log}` ({}), the first is line {first}",
        parts.join(", ")
    )
}

#[derive(Serialize)]
struct SummaryReport {
    schema_version: u32,
    events: u64,
    requests: u64,
    first: Option<Time>,
    last: Option<Time>,
    skipped: Skipped,
    by: serde_json::Map<String, Value>,
}

fn run_summary(args: &SummaryArgs) -> anyhow::Result<Exit> {
    let filter = args.filter.filter()?;
    let logs = files::logs(&args.logs, args.rotated)?;
    let mut by: Vec<By> = Vec::new();
    for wanted in &args.by {
        let wanted = By::from(*wanted);
        if !by.contains(&wanted) {
            by.push(wanted);
        }
    }
    let mut summary = Summary::new(by);
    let totals = each(&logs, |record, line| {
        if filter.passes(record, line) {
            summary.add(record);
        }
        Ok(true)
    })?;
    summary.finish();
    let top = if args.top == 0 { usize::MAX } else { args.top };
    match args.output.output {
        Format::Json => {
            #[derive(Serialize)]
            struct Count {
                value: String,
                count: u64,
            }
            let mut by = serde_json::Map::new();
            for wanted in summary.by() {
                let counts: Vec<Count> = summary
                    .counts(*wanted)
                    .into_iter()
                    .take(top)
                    .map(|(value, count)| Count { value, count })
                    .collect();
                by.insert(wanted.name().to_owned(), serde_json::to_value(counts)?);
            }
            output::print_json(&SummaryReport {
                schema_version: SCHEMA_VERSION,
                events: summary.events,
                requests: summary.requests,
                first: summary.first,
                last: summary.last,
                skipped: totals.skipped,
                by,
            })?;
        }
        Format::Text => output::print(&table::summary(&summary, top, Style::stdout()))?,
    }
    Ok(Exit::Ok)
}
