//! `ckslab policy`: what a policy does, without a cluster.

mod input;
mod render;

use std::io::{BufRead, Write};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use crate::audit::compare::{Scope, Space, try_differences};
use crate::audit::evaluate::{Attributes, Decision, evaluate};
use crate::audit::explain::explain;
use crate::audit::lint::{self, Finding};
use crate::audit::policy::{self, Policy};
use crate::exit::Exit;

/// Arguments of `ckslab policy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab policy lint audit-policy.yaml
  ckslab policy explain audit-policy.yaml --verb get --resource secrets --namespace prod
  ckslab policy diff mine.yaml theirs.yaml

FILE may be - for standard input.")]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

/// The commands about policies.
#[derive(Debug, clap::Subcommand)]
enum PolicyCommand {
    /// Load a policy as the API server does, and say what is odd about it
    #[command(after_help = "Examples:
  ckslab policy lint audit-policy.yaml
  ckslab policy lint - -o json < audit-policy.yaml

Ends with 3 when the API server would refuse the policy, else with 0.")]
    Lint(LintArgs),
    /// Decide requests: one JSON line for each request line
    #[command(after_help = "Examples:
  ckslab policy eval audit-policy.yaml --requests requests.jsonl
  echo '{\"user\":\"jane\",\"verb\":\"get\",\"resource\":\"secrets\",\"namespace\":\"prod\",\"resourceRequest\":true}' \\
    | ckslab policy eval audit-policy.yaml --requests -")]
    Eval(EvalArgs),
    /// Say which rule decides a request, and why no earlier one does
    #[command(after_help = "Examples:
  ckslab policy explain audit-policy.yaml --verb get --resource secrets --namespace prod --user jane
  ckslab policy explain audit-policy.yaml --verb get --resource pods --subresource exec --name web
  ckslab policy explain audit-policy.yaml --verb get --path /healthz")]
    Explain(ExplainArgs),
    /// Compare two policies by meaning; each difference is shown with a request
    #[command(after_help = "Examples:
  ckslab policy diff mine.yaml theirs.yaml
  ckslab policy diff mine.yaml theirs.yaml -o json

Ends with 0 when the policies decide every request alike, with 1 when they do not.")]
    Diff(DiffArgs),
}

#[derive(Debug, clap::Args)]
struct LintArgs {
    /// The policy; - for standard input, node:PATH for a file of the active lab
    file: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct EvalArgs {
    /// The policy; - for standard input, node:PATH for a file of the active lab
    file: String,
    /// File of requests, a JSON object on each line; - for standard input
    #[arg(long, value_name = "FILE")]
    requests: String,
}

#[derive(Debug, clap::Args)]
struct ExplainArgs {
    /// The policy; - for standard input, node:PATH for a file of the active lab
    file: String,
    /// Verb: get, list, watch, create, update, patch, delete, deletecollection, or an HTTP method
    #[arg(long, default_value = "get")]
    verb: String,
    /// Resource, plural; RESOURCE/SUBRESOURCE is understood
    #[arg(long, conflicts_with = "path")]
    resource: Option<String>,
    /// Subresource
    #[arg(long, requires = "resource")]
    subresource: Option<String>,
    /// API group; found out from the resource when left out
    #[arg(long, requires = "resource")]
    api_group: Option<String>,
    /// Namespace; none is cluster scope
    #[arg(long, short, default_value = "")]
    namespace: String,
    /// Object name
    #[arg(long, default_value = "")]
    name: String,
    /// URL path of a request that is not for a resource
    #[arg(long)]
    path: Option<String>,
    /// User
    #[arg(long, default_value = "kubernetes-admin")]
    user: String,
    /// Group of the user; may be given several times
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct DiffArgs {
    /// The first policy
    a: String,
    /// The second policy
    b: String,
    /// Compare levels and stages only, not `omitManagedFields`
    #[arg(long)]
    ignore_managed_fields: bool,
    /// Look only at requests that can reach an API server
    #[arg(long)]
    possible: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or is no policy, or standard output cannot be written.
pub fn run(args: &PolicyArgs) -> anyhow::Result<Exit> {
    match &args.command {
        PolicyCommand::Lint(args) => run_lint(args),
        PolicyCommand::Eval(args) => run_eval(args),
        PolicyCommand::Explain(args) => run_explain(args),
        PolicyCommand::Diff(args) => run_diff(args),
    }
}

#[derive(Serialize)]
struct LintReport<'a> {
    schema_version: u32,
    ok: bool,
    error: Option<&'a str>,
    error_span: Option<crate::yaml::Span>,
    warnings: &'a [String],
    rules: usize,
    findings: &'a [Finding],
}

fn run_lint(args: &LintArgs) -> anyhow::Result<Exit> {
    let bytes = input::read(&args.file)?;
    let report = lint::lint(&bytes);
    let (error, warnings, rules) = match &report.inspection.result {
        Ok(loaded) => (None, &loaded.warnings, loaded.policy.rules.len()),
        Err(error) => (Some(error.message.as_str()), &error.warnings, 0),
    };
    match args.output.output {
        Format::Json => output::print_json(&LintReport {
            schema_version: SCHEMA_VERSION,
            ok: error.is_none(),
            error,
            error_span: error.and(report.inspection.at),
            warnings,
            rules,
            findings: &report.findings,
        })?,
        Format::Text => output::print(&render::lint(&args.file, &bytes, &report))?,
    }
    Ok(if error.is_none() {
        Exit::Ok
    } else {
        Exit::InvalidInput
    })
}

/// Loads a policy, or fails with the loader's text drawn into its source.
fn load(file: &str) -> anyhow::Result<Policy> {
    let bytes = input::read(file)?;
    let inspection = policy::inspect(&bytes);
    match inspection.result {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output::warn(&render::plain(warning));
            }
            Ok(loaded.policy)
        }
        Err(error) => {
            let text = render::refusal(file, &bytes, &error.message, inspection.at);
            Err(Failure::input(text)
                .hint(format!("ckslab policy lint {}", render::plain(file)))
                .into())
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecisionLine {
    level: &'static str,
    omit_stages: Vec<&'static str>,
    omit_managed_fields: bool,
    rule: Option<usize>,
}

impl From<&Decision> for DecisionLine {
    fn from(decision: &Decision) -> Self {
        Self {
            level: decision.level.name(),
            omit_stages: decision
                .omit_stages
                .iter()
                .map(|stage| stage.name())
                .collect(),
            omit_managed_fields: decision.omit_managed_fields,
            rule: decision.rule,
        }
    }
}

fn run_eval(args: &EvalArgs) -> anyhow::Result<Exit> {
    if args.file == "-" && args.requests == "-" {
        return Err(Failure::usage(
            "the policy and the requests cannot both come from standard input",
        )
        .into());
    }
    let policy = load(&args.file)?;
    let mut reader = input::lines(&args.requests)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut line = Vec::new();
    let mut number = 0usize;
    loop {
        line.clear();
        let read = input::line(&mut reader, &mut line)
            .with_context(|| format!("cannot read `{}`", args.requests))?;
        if !read {
            break;
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let request = match request(&line) {
            Ok(request) => request,
            Err(problem) => {
                out.flush()?;
                let file = render::plain(&args.requests);
                return Err(Failure::input(format!(
                    "line {number} of `{file}` is no request: {problem}"
                ))
                .into());
            }
        };
        let decision = DecisionLine::from(&evaluate(&policy, &request));
        serde_json::to_writer(&mut out, &decision).map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
        // Somebody who types requests wants each answer at once.
        if reader.fill_buf()?.is_empty() {
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// A request from its line: the attributes, or an object that has them as `attrs`.
fn request(line: &[u8]) -> Result<Attributes, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let attributes = match value {
        Value::Object(mut map) => match map.remove("attrs") {
            Some(attributes @ Value::Object(_)) => attributes,
            _ => Value::Object(map),
        },
        _ => return Err("expected a JSON object".to_owned()),
    };
    // Null stands for "not set".
    let attributes = match attributes {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
        ),
        other => other,
    };
    let told = attributes.get("resourceRequest").is_some();
    let mut request: Attributes =
        serde_json::from_value(attributes).map_err(|error| error.to_string())?;
    if !told {
        request.resource_request = !request.resource.is_empty();
    }
    Ok(request)
}

fn run_explain(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let policy = load(&args.file)?;
    let request = input::request(
        &args.verb,
        args.resource.as_deref(),
        args.subresource.as_deref(),
        args.api_group.as_deref(),
        args.path.as_deref(),
    )?;
    let request = Attributes {
        user: Some(args.user.clone()),
        groups: input::groups(&args.user, &args.groups),
        namespace: args.namespace.clone(),
        name: args.name.clone(),
        ..request
    };
    let explanation = explain(&policy, &request);
    match args.output.output {
        Format::Json => {
            #[derive(Serialize)]
            struct Report<'a> {
                schema_version: u32,
                request: &'a Attributes,
                #[serde(flatten)]
                decision: DecisionLine,
                summary: &'a str,
                rules: &'a [crate::audit::explain::Verdict],
            }
            output::print_json(&Report {
                schema_version: SCHEMA_VERSION,
                request: &request,
                decision: DecisionLine::from(&explanation.decision),
                summary: &explanation.summary,
                rules: &explanation.rules,
            })?;
        }
        Format::Text => output::print(&render::explanation(&request, &explanation))?,
    }
    Ok(Exit::Ok)
}

fn run_diff(args: &DiffArgs) -> anyhow::Result<Exit> {
    if args.a == "-" && args.b == "-" {
        return Err(Failure::usage("only one of the policies can come from standard input").into());
    }
    let a = load(&args.a)?;
    let b = load(&args.b)?;
    let scope = Scope {
        space: if args.possible {
            Space::Possible
        } else {
            Space::Any
        },
        managed_fields: !args.ignore_managed_fields,
        ..Scope::default()
    };
    let differences =
        try_differences(&a, &b, &scope).map_err(|error| Failure::input(error.to_string()))?;
    match args.output.output {
        Format::Json => {
            #[derive(Serialize)]
            struct Entry<'a> {
                request: &'a Attributes,
                a: DecisionLine,
                b: DecisionLine,
            }
            #[derive(Serialize)]
            struct Report<'a> {
                schema_version: u32,
                equal: bool,
                differences: Vec<Entry<'a>>,
            }
            output::print_json(&Report {
                schema_version: SCHEMA_VERSION,
                equal: differences.is_empty(),
                differences: differences
                    .iter()
                    .map(|found| Entry {
                        request: &found.request,
                        a: DecisionLine::from(&found.a),
                        b: DecisionLine::from(&found.b),
                    })
                    .collect(),
            })?;
        }
        Format::Text => output::print(&render::differences(&args.a, &args.b, &differences))?,
    }
    Ok(if differences.is_empty() {
        Exit::Ok
    } else {
        Exit::NotPassed
    })
}
