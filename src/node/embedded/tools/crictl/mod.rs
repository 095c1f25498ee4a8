//! `crictl` of cri-tools 1.36: the container runtime as its command-line client shows it.

mod change;
mod commands;
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

use self::flags::{Command, Given};
use super::Tool;
use crate::node::embedded::snapshot::{ContainerSnapshot, NodeSnapshot};
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
    let global = match Given::parse(arguments, commands::GLOBAL, false) {
        Ok(global) => global,
        Err(problem) => {
            writeln!(tool.out, "Incorrect Usage: {problem}\n")?;
            tool.out.write_all(help().as_bytes())?;
            return log(tool, Level::Fatal, &problem).map(|()| 1);
        }
    };
    if global.has("version") {
        writeln!(tool.out, "crictl version {VERSION}")?;
        return Ok(0);
    }
    let Some((name, rest)) = global.arguments.split_first().filter(|_| !global.help) else {
        tool.out.write_all(help().as_bytes())?;
        return Ok(0);
    };
    let find = |name: &str| {
        let mut all = commands::COMMANDS.iter();
        all.find(|command| command.names.contains(&name))
    };
    let Some(command) = find(name) else {
        // urfave/cli asks for help of a command that is not there.
        return log(tool, Level::Fatal, &format!("No help topic for '{name}'")).map(|()| 1);
    };
    let first = command.names.first().copied().unwrap_or("");
    if first == "help" {
        let text = rest
            .first()
            .map_or_else(|| Some(help()), |name| find(name).map(Command::help));
        return match text {
            Some(text) => tool.out.write_all(text.as_bytes()).map(|()| 0),
            None => {
                let name = rest.first().map_or("", String::as_str);
                log(tool, Level::Fatal, &format!("No help topic for '{name}'")).map(|()| 1)
            }
        };
    }
    let given = match Given::parse(rest, command.flags, command.short) {
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
    let mut runtime = Runtime {
        tool,
        snapshot: None,
        endpoint: global.get("runtime-endpoint").map(str::to_owned),
        config: global.get("config").unwrap_or(CONFIG).to_owned(),
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
fn help() -> String {
    let width = commands::COMMANDS
        .iter()
        .map(|c| c.names.join(", ").len())
        .max()
        .unwrap_or(0)
        + 2;
    let mut text = format!(
        "NAME:\n   crictl - client for CRI\n\nUSAGE:\n   crictl [global options] command [command options]\n\nVERSION:\n   {VERSION}\n\nCOMMANDS:\n"
    );
    for command in commands::COMMANDS {
        let names = command.names.join(", ");
        text.push_str(&format!("   {names:<width$}{}\n", command.usage));
    }
    text.push_str("\nGLOBAL OPTIONS:\n");
    let (version, others): (Vec<_>, Vec<_>) = commands::GLOBAL
        .iter()
        .partition(|flag| flag.names.contains(&"version"));
    drop(version);
    let others: Vec<flags::Flag> = others
        .into_iter()
        .map(|f| flags::Flag {
            names: f.names,
            kind: f.kind,
            default: f.default,
            usage: f.usage,
        })
        .collect();
    text.push_str(&flags::options(
        &others,
        &[("--version, -v", "print the version")],
    ));
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
        let mut found = snapshot.containers.iter().filter(|c| c.id.starts_with(id));
        match (found.next().filter(|_| !id.is_empty()), found.next()) {
            (Some(container), None) => Ok(container.clone()),
            _ => {
                let text = format!(
                    "rpc error: code = NotFound desc = an error occurred when try to find container {}: not found",
                    quote(id)
                );
                self.call_failed(569, "ContainerStatus", "containerID", id, text)
            }
        }
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
    writeln!(out, "RuntimeVersion:  {}", status::CONTAINERD)?;
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
    let value = serde_json::json!({"linux": {"cgroupDriver": "SYSTEMD"}});
    output::value(runtime, &value, "json", None)
}
