//! The command line: a stable contract. Data goes to standard output, progress and warnings to
//! standard error; errors end with the exit codes of [`Exit`].

use std::time::Instant;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::exit::Exit;
use crate::style::Style;

pub mod audit_log;
pub mod catalogue;
pub mod completions;
pub mod cp;
pub mod doctor;
pub mod edit;
pub mod env;
pub mod exec;
pub mod failure;
pub mod grade;
pub mod hint;
pub mod list;
pub mod markdown;
pub mod next;
pub mod node_enter;
mod node_file;
pub mod node_process;
pub mod output;
pub mod policy;
pub mod reset;
pub mod scenario;
pub mod shell;
pub mod sink_process;
pub mod solution;
pub mod start;
pub mod status;
pub mod stop;
pub mod target;
pub mod task;
pub mod version;
pub mod welcome;

/// A practice lab for Kubernetes audit logging.
///
/// Starts a control-plane node with something broken or left out; you repair it with the tools of
/// the exam; ckslab grades what works and explains what does not.
#[derive(Debug, Parser)]
#[command(
    name = "ckslab",
    version,
    about,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Examples:
  ckslab start audit-01     start an exercise
  ckslab task               read what is asked
  ckslab shell              work on the node
  ckslab grade              see what works

Exit codes: 0 ok or passed, 1 not passed, 2 usage, 3 invalid input, 4 environment, 70 internal error"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the scenarios and the labs started from them
    List(list::ListArgs),
    /// Say which scenario to take now, and why
    Next(next::NextArgs),
    /// Start a scenario, or go on with one that was stopped
    Start(start::StartArgs),
    /// Show what is asked
    Task(task::TaskArgs),
    /// Say what works, what does not, and what to look at next
    Grade(grade::GradeArgs),
    /// Take the next hint; each has a cost
    Hint(hint::HintArgs),
    /// Show the explanation and the reference solution
    Solution(solution::SolutionArgs),
    /// Show how the node is
    Status(status::StatusArgs),
    /// Put a lab back to its start
    Reset(reset::ResetArgs),
    /// Stop a lab; it can be started again
    Stop(stop::StopArgs),
    /// Open a shell on the node
    Shell(shell::ShellArgs),
    /// Run a command on the node
    Exec(exec::ExecArgs),
    /// Copy files to and from the node
    Cp(cp::CpArgs),
    /// Edit a file of the node in an editor of this machine
    Edit(edit::EditArgs),
    /// Print shell lines that point kubectl to the lab
    Env(env::EnvArgs),
    /// Lint, evaluate, explain and compare audit policies
    Policy(Box<policy::PolicyArgs>),
    /// Search and summarise audit logs
    Audit(Box<audit_log::AuditArgs>),
    /// Write, check and test scenarios of your own
    Scenario(scenario::ScenarioArgs),
    /// Check what ckslab needs on this machine; changes nothing
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the version
    Version(version::VersionArgs),
    /// The node process of a lab.
    #[command(hide = true, name = crate::node::embedded::background::SUBCOMMAND)]
    NodeProcess(node_process::NodeProcessArgs),
    /// A process that becomes a command of the node.
    #[command(hide = true, name = crate::node::embedded::inside::SUBCOMMAND)]
    NodeEnter(node_enter::NodeEnterArgs),
    /// A webhook receiver on a node.
    #[command(hide = true, name = crate::node::sink::process::SUBCOMMAND)]
    SinkProcess(sink_process::SinkProcessArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> Exit {
    let began = Instant::now();
    #[cfg(target_os = "linux")]
    {
        use crate::node::embedded::inside;
        inside::standin::called_as_stand_in();
        if let Some(code) = inside::init::called_as_init() {
            return Exit::Passed(code);
        }
    }
    if let Some(code) = crate::node::embedded::inside::called_as_tool() {
        return Exit::Passed(code);
    }
    if let Some(exit) = on_the_node() {
        return exit;
    }
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    crate::node::engine::on_progress(output::note);
    let result = match cli.command {
        Some(command) => run(command, began),
        None => welcome::run(),
    };
    match result {
        Ok(exit) => exit,
        Err(error) if failure::is_broken_pipe(&error) => Exit::Ok,
        Err(error) => report(&error),
    }
}

/// Refuses to work inside a node; its own last step on the way in is none of that.
fn on_the_node() -> Option<Exit> {
    let entering = std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "node-enter");
    if entering || !crate::node::embedded::inside::is_inside() {
        return None;
    }
    let error = failure::Failure::usage("you are on the node: ckslab works outside of it")
        .hint("leave the node with `exit`");
    Some(report(&error.into()))
}

fn parse() -> Result<Cli, Exit> {
    let parsed = Cli::command()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        // Help and version are data, and no error.
        let _ = error.print();
        if let Some(variable) = variable_to_blame(&error) {
            output::note(&format!(
                "\nThe value comes from the environment variable {variable}."
            ));
        }
        if error.use_stderr() {
            Exit::Usage
        } else {
            Exit::Ok
        }
    })
}

/// The environment variable that an invalid value came from, if it was not the command line.
fn variable_to_blame(error: &clap::Error) -> Option<&'static str> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if !matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation
    ) {
        return None;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let (option, variable) = [
        ("--engine", "CKSLAB_ENGINE"),
        ("--scenarios", "CKSLAB_SCENARIOS"),
        ("--image", "CKSLAB_KIND_IMAGE"),
    ]
    .into_iter()
    .find(|(option, _)| argument.starts_with(option))?;
    let given = std::env::args_os().any(|word| {
        word.to_str()
            .is_some_and(|word| word == option || word.starts_with(&format!("{option}=")))
    });
    (!given).then_some(variable)
}

fn run(command: Command, began: Instant) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list::run(&args),
        Command::Next(args) => next::run(&args, began),
        Command::Start(args) => start::run(&args, began),
        Command::Task(args) => task::run(&args),
        Command::Grade(args) => grade::run(&args),
        Command::Hint(args) => hint::run(&args),
        Command::Solution(args) => solution::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Reset(args) => reset::run(&args, began),
        Command::Stop(args) => stop::run(&args),
        Command::Shell(args) => shell::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Cp(args) => cp::run(&args),
        Command::Edit(args) => edit::run(&args),
        Command::Env(args) => env::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Audit(args) => audit_log::run(&args),
        Command::Scenario(args) => scenario::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Version(args) => version::run(&args),
        Command::NodeProcess(args) => node_process::run(&args),
        Command::NodeEnter(args) => node_enter::run(&args),
        Command::SinkProcess(args) => sink_process::run(&args),
    }
}

/// An error with its causes, each said once: many of our errors name their cause themselves.
fn chain(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        let plain = text.split(" (os error").next().unwrap_or(&text);
        if !message.to_lowercase().contains(&plain.to_lowercase()) {
            message.push_str(": ");
            message.push_str(&text);
        }
    }
    message
}

/// Writes an error to standard error: the message, an empty line, the next step.
fn report(error: &anyhow::Error) -> Exit {
    let style = Style::stderr();
    let (exit, hint) = failure::verdict(error);
    let message = chain(error);
    output::note(&format!("{} {message}", style.bad("error:")));
    if let Some(hint) = hint
        && !message.contains("\nhint: ")
    {
        output::note(&format!("\n{} {hint}", style.strong("hint:")));
    }
    if exit == Exit::Internal {
        output::note("\nThis is a defect of ckslab: please report it with the command you typed.");
    }
    exit
}
