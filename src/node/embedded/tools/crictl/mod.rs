//! `crictl` of cri-tools 1.36: the container runtime as its command-line client shows it.

mod change;
mod commands;
mod events;
mod exec;
mod flags;
mod images;
mod list;
mod logs;
mod objects;
mod output;
mod stats;
mod status;
mod template;

use std::io;

use jiff::Timestamp;

use self::commands::Commands;
use self::flags::{Flag, Given};
use super::Tool;
use crate::node::embedded::snapshot::{ContainerSnapshot, NodeSnapshot, PodSnapshot, Sandbox};
use crate::node::embedded::version::CONTAINERD;
use crate::yaml::go::quote;

/// Version of the program.
const VERSION: &str = "v1.36.0";
/// Where containerd listens.
const ENDPOINT: &str = "unix:///run/containerd/containerd.sock";
/// Where crictl looks if nobody tells it.
const DEFAULTS: &str = "[unix:///run/containerd/containerd.sock unix:///run/crio/crio.sock unix:///var/run/cri-dockerd.sock]";
/// Its configuration.
const CONFIG: &str = "/etc/crictl.yaml";

/// Why a command did not do what was asked.
enum Failed {
    /// Reading or writing failed.
    Io(io::Error),
    /// It ends with this message.
    Fatal(String),
    /// It prints its help instead, and that is no failure.
    Help,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn fatal<T>(text: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::Fatal(text.into()))
}

type Done<T = ()> = Result<T, Failed>;

pub(super) fn run(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let known = Commands::read();
    let global = match Given::parse(arguments, &known.global, false) {
        Ok(global) => global,
        Err(problem) => {
            writeln!(tool.out, "Incorrect Usage: {problem}\n")?;
            tool.out.write_all(help(&known).as_bytes())?;
            return log(tool, Level::Fatal, &problem).map(|()| 1);
        }
    };
    if global.has("version") {
        writeln!(tool.out, "crictl version {VERSION}")?;
        return Ok(0);
    }
    let Some((name, rest)) = global.arguments.split_first().filter(|_| !global.help) else {
        tool.out.write_all(help(&known).as_bytes())?;
        return Ok(0);
    };
    // urfave/cli asks for help of a command that is not there.
    let no_topic = |tool: &mut Tool<'_>, name: &str| {
        log(tool, Level::Fatal, &format!("No help topic for '{name}'")).map(|()| 1)
    };
    let Some(command) = known.find(name) else {
        return no_topic(tool, name);
    };
    let first = command.names.first().copied().unwrap_or("");
    if first == "help" {
        let name = rest.first().map(String::as_str);
        let text = match name {
            None => help(&known),
            Some(name) => match known.find(name) {
                Some(command) => command.help(),
                None => return no_topic(tool, name),
            },
        };
        return tool.out.write_all(text.as_bytes()).map(|()| 0);
    }
    let given = match Given::parse(rest, &command.flags, command.short) {
        Ok(given) => given,
        Err(problem) => {
            writeln!(tool.out, "Incorrect Usage: {problem}\n")?;
            tool.out.write_all(command.help().as_bytes())?;
            return log(tool, Level::Fatal, &problem).map(|()| 1);
        }
    };
    if given.help {
        tool.out.write_all(command.help().as_bytes())?;
        return Ok(0);
    }
    let option = |name: &str, variable: &str| {
        let given = global.get(name).map(str::to_owned);
        given.or_else(|| {
            std::env::var(variable)
                .ok()
                .filter(|value| !value.is_empty())
        })
    };
    let mut runtime = Runtime {
        tool,
        snapshot: None,
        endpoint: option("runtime-endpoint", "CONTAINER_RUNTIME_ENDPOINT"),
        config: option("config", "CRI_CONFIG_FILE").unwrap_or_else(|| CONFIG.to_owned()),
    };
    let done = match first {
        "version" => version(&mut runtime, &given),
        "info" => status::info(&mut runtime, &given),
        "ps" => list::containers(&mut runtime, &given),
        "pods" => list::pods(&mut runtime, &given),
        "logs" => logs::run(&mut runtime, &given),
        "inspect" => status::containers(&mut runtime, &given),
        "inspectp" => status::pods(&mut runtime, &given),
        "images" => images::list(&mut runtime, &given),
        "inspecti" => images::inspect(&mut runtime, &given),
        "imagefsinfo" => images::file_system(&mut runtime, &given),
        "pull" => images::pull(&mut runtime, &given),
        "stop" => change::stop(&mut runtime, &given),
        "rm" => change::remove(&mut runtime, &given),
        "stopp" => change::stop_pods(&mut runtime, &given),
        "rmp" => change::remove_pods(&mut runtime, &given),
        "events" => events::run(&mut runtime, &given),
        "exec" => exec::run(&mut runtime, &given),
        "stats" => stats::containers(&mut runtime, &given),
        "statsp" => stats::pods(&mut runtime, &given),
        "config" => config(&mut runtime, &given),
        "runtime-config" => runtime_config(&mut runtime),
        other => fatal(format!(
            "rpc error: code = Unimplemented desc = `crictl {other}` is not simulated on this node"
        )),
    };
    match done {
        Ok(()) => Ok(0),
        Err(Failed::Help) => tool.out.write_all(command.help().as_bytes()).map(|()| 0),
        Err(Failed::Fatal(text)) => log(tool, Level::Fatal, &text).map(|()| 1),
        Err(Failed::Io(error)) => Err(error),
    }
}

/// The help of crictl itself.
fn help(known: &Commands) -> String {
    let names = known.commands.iter().map(|c| c.names.join(", "));
    let width = names.clone().map(|names| names.len()).max().unwrap_or(0) + 2;
    let mut text = format!(
        "NAME:\n   crictl - client for CRI\n\nUSAGE:\n   crictl [global options] command [command options]\n\nVERSION:\n   {VERSION}\n\nCOMMANDS:\n"
    );
    for (names, command) in names.zip(&known.commands) {
        text.push_str(&format!("   {names:<width$}{}\n", command.usage));
    }
    text.push_str("\nGLOBAL OPTIONS:\n");
    // Its own line is among the last.
    let is_version = |flag: &&Flag| flag.names.contains(&"version");
    let others: Vec<Flag> = known
        .global
        .iter()
        .filter(|f| !is_version(f))
        .cloned()
        .collect();
    let version = ("--version, -v", "print the version");
    text.push_str(&flags::options(&others, &[version]));
    text
}

/// Levels of logrus.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Info,
    Warning,
    Error,
    Fatal,
}

/// A line as logrus writes it: coloured at a terminal, else `key=value`.
fn log(tool: &mut Tool<'_>, level: Level, text: &str) -> io::Result<()> {
    let (word, short, colour) = match level {
        Level::Info => ("info", "INFO", 36),
        Level::Warning => ("warning", "WARN", 33),
        Level::Error => ("error", "ERRO", 31),
        Level::Fatal => ("fatal", "FATA", 31),
    };
    if tool.terminal {
        return writeln!(
            tool.err,
            "\u{1b}[{colour}m{short}\u{1b}[0m[0000] {text:<44} "
        );
    }
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._/@^+".contains(&b));
    let text = if plain { text.to_owned() } else { quote(text) };
    writeln!(tool.err, "time=\"{time}\" level={word} msg={text}")
}

/// The connection to the container runtime.
struct Runtime<'a, 'b> {
    tool: &'a mut Tool<'b>,
    snapshot: Option<NodeSnapshot>,
    endpoint: Option<String>,
    config: String,
}

impl Runtime<'_, '_> {
    /// What the runtime knows. Says what crictl says of endpoints on the way.
    fn connect(&mut self, images: bool) -> Done<NodeSnapshot> {
        let configured = self.option("runtime-endpoint");
        let endpoint = self.endpoint.clone().or(configured);
        if endpoint.is_none() {
            for kind in ["runtime", "Image"].iter().take(1 + usize::from(images)) {
                let text = format!(
                    "{kind} connect using default endpoints: {DEFAULTS}. As the default settings are now deprecated, you should set the endpoint instead."
                );
                log(self.tool, Level::Warning, &text)?;
            }
        }
        let endpoint = endpoint.unwrap_or_else(|| ENDPOINT.to_owned());
        let path = endpoint
            .strip_prefix("unix://")
            .unwrap_or(&endpoint)
            .to_owned();
        let known = [
            "/run/containerd/containerd.sock",
            "/var/run/containerd/containerd.sock",
        ];
        let snapshot = self.refresh()?;
        match snapshot {
            Some(snapshot) if known.contains(&path.as_str()) => Ok(snapshot),
            _ => fatal(format!(
                "validate service connection: validate CRI v1 runtime API for endpoint {}: rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix {path}: connect: no such file or directory\"",
                quote(&endpoint)
            )),
        }
    }

    fn refresh(&mut self) -> io::Result<Option<NodeSnapshot>> {
        self.snapshot = self.tool.snapshot()?;
        Ok(self.snapshot.clone())
    }

    /// A setting of the configuration file.
    fn option(&self, name: &str) -> Option<String> {
        let bytes = self.tool.node.read(&self.config, 64 << 10).ok()?;
        let value: serde_json::Value = serde_yaml::from_slice(&bytes).ok()?;
        match value.get(name)? {
            serde_json::Value::String(text) if text.is_empty() => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// A line of the client library's own log, and the error.
    fn call_failed<T>(
        &mut self,
        line: u32,
        call: &str,
        key: &str,
        id: &str,
        error: String,
    ) -> Result<T, String> {
        let now = Timestamp::now();
        let text = format!(
            "E{} {:>7} remote_runtime.go:{line}] \"{call} from runtime service failed\" err={} {key}={}",
            now.strftime("%m%d %H:%M:%S%.6f"),
            std::process::id(),
            quote(&error),
            quote(id)
        );
        let _ = writeln!(self.tool.err, "{text}");
        Err(error)
    }

    /// The container of an id, or of its unique beginning.
    fn container(
        &mut self,
        snapshot: &NodeSnapshot,
        id: &str,
    ) -> Result<ContainerSnapshot, String> {
        match by_id(&snapshot.containers, |container| &container.id, id) {
            Ok(container) => Ok(container.clone()),
            Err(problem) => {
                let text = problem.of(&format!("container {}", quote(id)));
                self.call_failed(569, "ContainerStatus", "containerID", id, text)
            }
        }
    }
}

/// Why an id means nothing.
enum NoSuch {
    /// Nothing begins like it.
    Unknown,
    /// It is not even the beginning of one.
    Empty,
    /// More than one begins like it.
    Ambiguous(String),
}

impl NoSuch {
    /// What the runtime says of it (containerd `internal/truncindex`, `internal/cri/store`).
    fn of(&self, what: &str) -> String {
        let (code, why) = match self {
            Self::Unknown => ("NotFound", "not found".to_owned()),
            Self::Empty => ("Unknown", "prefix can't be empty".to_owned()),
            Self::Ambiguous(id) => (
                "Unknown",
                format!("Multiple IDs found with provided prefix: {id}"),
            ),
        };
        format!("rpc error: code = {code} desc = an error occurred when try to find {what}: {why}")
    }
}

/// What has this id, or alone begins with it.
fn by_id<'a, T>(all: &'a [T], id_of: impl Fn(&T) -> &str, id: &str) -> Result<&'a T, NoSuch> {
    if id.is_empty() {
        return Err(NoSuch::Empty);
    }
    let mut found = all.iter().filter(|one| id_of(one).starts_with(id));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(NoSuch::Unknown),
        (Some(_), Some(_)) => Err(NoSuch::Ambiguous(id.to_owned())),
    }
}

/// The pod with this sandbox.
fn pod_by_id<'a>(
    snapshot: &'a NodeSnapshot,
    id: &str,
) -> Result<(&'a PodSnapshot, &'a Sandbox), String> {
    let pods = snapshot.pods.iter();
    let up: Vec<(&PodSnapshot, &Sandbox)> = pods
        .filter_map(|pod| Some((pod, pod.sandbox.as_ref()?)))
        .collect();
    match by_id(&up, |(_, sandbox)| &sandbox.id, id) {
        Ok(found) => Ok(*found),
        Err(problem) => Err(problem.of("sandbox")),
    }
}

fn version(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    if !given.arguments.is_empty() {
        return Err(Failed::Help);
    }
    runtime.connect(false)?;
    let out = &mut runtime.tool.out;
    writeln!(out, "Version:  0.1.0")?;
    writeln!(out, "RuntimeName:  containerd")?;
    writeln!(out, "RuntimeVersion:  v{CONTAINERD}")?;
    writeln!(out, "RuntimeApiVersion:  v1")?;
    Ok(())
}

/// Settings crictl knows, with what they are if nothing is set.
const OPTIONS: [(&str, &str); 6] = [
    ("runtime-endpoint", ""),
    ("image-endpoint", ""),
    ("timeout", "0"),
    ("debug", "false"),
    ("pull-image-on-create", "false"),
    ("disable-pull-on-run", "false"),
];

fn config(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let known = |name: &str| OPTIONS.iter().find(|(option, _)| *option == name);
    let path = runtime.config.clone();
    if let Some(name) = given.get("get") {
        let Some((_, default)) = known(name) else {
            return fatal(format!("no configuration option named {name}"));
        };
        let value = runtime
            .option(name)
            .unwrap_or_else(|| (*default).to_owned());
        writeln!(runtime.tool.out, "{value}")?;
        return Ok(());
    }
    if given.has("list") {
        let mut rows = vec![vec!["KEY".to_owned(), "VALUE".to_owned()]];
        for (name, default) in OPTIONS {
            let value = runtime.option(name).unwrap_or_else(|| default.to_owned());
            rows.push(vec![name.to_owned(), value]);
        }
        return output::table(runtime, &rows);
    }
    let mut settings: Vec<String> = given
        .all("set")
        .flat_map(|s| s.split(',').map(str::to_owned))
        .collect();
    if settings.is_empty() {
        match given.arguments.as_slice() {
            [name, value] => settings.push(format!("{name}={value}")),
            _ => return Err(Failed::Help),
        }
    }
    let mut values: Vec<(String, String)> = OPTIONS
        .iter()
        .map(|(name, default)| {
            let value = runtime
                .option(name)
                .unwrap_or_else(|| (*default).to_owned());
            ((*name).to_owned(), value)
        })
        .collect();
    for setting in settings {
        let Some((name, value)) = setting.split_once('=') else {
            return fatal(format!("incorrectly specified option: {setting}"));
        };
        match values.iter_mut().find(|(option, _)| option == name) {
            Some((_, old)) => *old = value.to_owned(),
            None => return fatal(format!("no configuration option named {name}")),
        }
    }
    let text: String = values
        .iter()
        .map(|(name, value)| match value.as_str() {
            "" => format!("{name}: \"\"\n"),
            value => format!("{name}: {value}\n"),
        })
        .collect();
    runtime
        .tool
        .node
        .write_atomic(&path, text.as_bytes(), 0o644)?;
    Ok(())
}

fn runtime_config(runtime: &mut Runtime<'_, '_>) -> Done {
    runtime.connect(false)?;
    writeln!(runtime.tool.out, "cgroup driver:   SYSTEMD")?;
    Ok(())
}
