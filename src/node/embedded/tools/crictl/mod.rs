//! `crictl`: the container runtime as its command-line client shows it.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::options::{Given, Known, Problem, Style, flag, value};
use super::{Tool, inspect, table};
use crate::node::embedded::kubelet::state::Request;
use crate::node::embedded::runtime::image;
use crate::node::embedded::snapshot::{
    ContainerSnapshot, ContainerState, NodeSnapshot, PodSnapshot, tail_of_file,
};
use crate::node::embedded::version::KUBERNETES;

const USAGE: &str = "NAME:
   crictl - client for CRI

USAGE:
   crictl [global options] command [command options] [arguments...]

COMMANDS of this node:
   ps              List containers
   pods            List pods
   logs            Fetch the logs of a container
   inspect         Display the status of one or more containers
   inspectp        Display the status of one or more pods
   images, image   List images
   stop            Stop one or more running containers
   rm              Remove one or more containers
   stopp           Stop one or more running pods
   rmp             Remove one or more pods
   info            Display information of the container runtime
   version         Display runtime version information
";

const GLOBAL: &[Known] = &[
    value(&["runtime-endpoint", "r"]),
    value(&["image-endpoint", "i"]),
    value(&["timeout", "t"]),
    value(&["config", "c"]),
    flag(&["debug", "D"]),
    flag(&["help", "h"]),
    flag(&["version", "v"]),
];

pub(super) fn run(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let given = match Given::parse(arguments, GLOBAL, Style::Go, true) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    if given.has("version") {
        writeln!(tool.out, "crictl version v1.36.0")?;
        return Ok(0);
    }
    let Some((command, rest)) = given.rest.split_first().filter(|_| !given.has("help")) else {
        tool.out.write_all(USAGE.as_bytes())?;
        return Ok(0);
    };
    match command.as_str() {
        "help" | "h" => {
            tool.out.write_all(USAGE.as_bytes())?;
            Ok(0)
        }
        "version" => {
            writeln!(tool.out, "Version:  0.1.0")?;
            writeln!(tool.out, "RuntimeName:  containerd")?;
            writeln!(tool.out, "RuntimeVersion:  v2.3.4")?;
            writeln!(tool.out, "RuntimeApiVersion:  v1")?;
            Ok(0)
        }
        "info" => {
            let info = json!({"status": {"conditions": [
                {"type": "RuntimeReady", "status": true, "reason": "", "message": ""},
                {"type": "NetworkReady", "status": true, "reason": "", "message": ""}]}});
            writeln!(tool.out, "{}", pretty(&info))?;
            Ok(0)
        }
        "ps" => ps(tool, rest),
        "pods" | "pod" => pods(tool, rest),
        "logs" | "log" => logs(tool, rest),
        "inspect" => inspect_containers(tool, rest),
        "inspectp" => inspect_pods(tool, rest),
        "images" | "image" | "img" => images(tool, rest),
        "stop" | "rm" => change(tool, command, rest, false),
        "stopp" | "rmp" => change(tool, command, rest, true),
        "exec" | "attach" | "port-forward" | "run" | "runp" | "create" | "start" | "pull"
        | "rmi" | "update" | "checkpoint" | "events" | "stats" | "statsp" => fatal(
            tool,
            &format!("`{command}` is not available on the embedded node"),
        ),
        other => {
            writeln!(tool.err, "No help topic for '{other}'")?;
            Ok(3)
        }
    }
}

fn refuse(tool: &mut Tool<'_>, problem: &Problem) -> io::Result<u8> {
    match problem {
        Problem::Unknown(name) => {
            let name = name.trim_start_matches('-');
            fatal(tool, &format!("flag provided but not defined: -{name}"))
        }
        Problem::Lacks(name) => fatal(tool, &format!("flag needs an argument: {name}")),
    }
}

/// An error as crictl's logger prints it.
fn fatal(tool: &mut Tool<'_>, text: &str) -> io::Result<u8> {
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    writeln!(tool.err, "time={time:?} level=fatal msg={text:?}")?;
    Ok(1)
}

fn unreachable_runtime(tool: &mut Tool<'_>) -> io::Result<u8> {
    fatal(
        tool,
        "validate service connection: validate CRI v1 runtime API for endpoint \"unix:///run/containerd/containerd.sock\": rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory\"",
    )
}

fn ps(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    const KNOWN: &[Known] = &[
        flag(&["all", "a"]),
        value(&["name"]),
        value(&["state", "s"]),
        value(&["label"]),
        value(&["id"]),
        value(&["image"]),
        value(&["pod", "p"]),
        value(&["namespace"]),
        value(&["last", "n"]),
        value(&["output", "o"]),
        flag(&["latest", "l"]),
        flag(&["quiet", "q"]),
        flag(&["no-trunc"]),
        flag(&["verbose", "v"]),
        flag(&["resolve-image-path", "r"]),
    ];
    let given = match Given::parse(arguments, KNOWN, Style::Go, false) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    let Some(snapshot) = tool.snapshot()? else {
        return unreachable_runtime(tool);
    };
    let state = given.get("state").map(str::to_lowercase);
    if let Some(state) = &state
        && !["created", "running", "exited", "unknown"].contains(&state.as_str())
    {
        let text = "--state should be one of created, running, exited or unknown";
        return fatal(tool, &format!("listing containers: {text}"));
    }
    let newest_only = given.has("latest") || given.get("last").is_some();
    let all = given.has("all") || newest_only;
    let mut found: Vec<&ContainerSnapshot> = snapshot
        .containers
        .iter()
        .filter(|c| match &state {
            Some(state) => state_name(c.state).to_lowercase() == *state,
            None => all || c.state == ContainerState::Running,
        })
        .filter(|c| {
            given
                .get("name")
                .is_none_or(|wanted| matches(wanted, &c.name))
        })
        .filter(|c| {
            given
                .get("namespace")
                .is_none_or(|wanted| matches(wanted, &c.pod_namespace))
        })
        .filter(|c| given.get("id").is_none_or(|id| c.id.starts_with(id)))
        .filter(|c| {
            given
                .get("image")
                .is_none_or(|wanted| c.image.contains(wanted))
        })
        .filter(|c| {
            given
                .get("pod")
                .is_none_or(|id| c.sandbox_id.starts_with(id))
        })
        .filter(|c| {
            given
                .all("label")
                .all(|label| has_label(&snapshot, c, label))
        })
        .collect();
    found.sort_by_key(|c| std::cmp::Reverse(c.created));
    let last = given.get("last").and_then(|n| n.parse().ok());
    if let Some(last) = last.or_else(|| given.has("latest").then_some(1)) {
        found.truncate(last);
    }
    if given.has("quiet") {
        for container in found {
            writeln!(tool.out, "{}", container.id)?;
        }
        return Ok(0);
    }
    let list = || {
        let list: Vec<Value> = found
            .iter()
            .map(|c| inspect::listed(c, &snapshot))
            .collect();
        json!({ "containers": list })
    };
    if let Some(code) = encoded(tool, &given, list)? {
        return Ok(code);
    }
    let whole = given.has("no-trunc");
    let header = [
        "CONTAINER",
        "IMAGE",
        "CREATED",
        "STATE",
        "NAME",
        "ATTEMPT",
        "POD ID",
        "POD",
        "NAMESPACE",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for container in found {
        let image = if given.has("resolve-image-path") {
            container.image.clone()
        } else {
            short(
                image::digest(&container.image).trim_start_matches("sha256:"),
                whole,
            )
        };
        rows.push(vec![
            short(&container.id, whole),
            image,
            ago(container.created),
            state_name(container.state).to_owned(),
            container.name.clone(),
            container.attempt.to_string(),
            short(&container.sandbox_id, whole),
            container.pod_name.clone(),
            container.pod_namespace.clone(),
        ]);
    }
    print(tool, &rows)
}

fn pods(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    const KNOWN: &[Known] = &[
        value(&["id"]),
        value(&["name"]),
        value(&["namespace"]),
        value(&["state", "s"]),
        value(&["label"]),
        value(&["last", "n"]),
        value(&["output", "o"]),
        flag(&["latest", "l"]),
        flag(&["quiet", "q"]),
        flag(&["no-trunc"]),
        flag(&["verbose", "v"]),
    ];
    let given = match Given::parse(arguments, KNOWN, Style::Go, false) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    let Some(snapshot) = tool.snapshot()? else {
        return unreachable_runtime(tool);
    };
    let mut found: Vec<(&PodSnapshot, &crate::node::embedded::snapshot::Sandbox)> = snapshot
        .pods
        .iter()
        .filter_map(|pod| pod.sandbox.as_ref().map(|sandbox| (pod, sandbox)))
        .filter(|(_, s)| given.get("id").is_none_or(|id| s.id.starts_with(id)))
        .filter(|(pod, _)| {
            given
                .get("name")
                .is_none_or(|wanted| matches(wanted, &pod.name))
        })
        .filter(|(p, _)| {
            given
                .get("namespace")
                .is_none_or(|wanted| matches(wanted, &p.namespace))
        })
        .filter(|(_, s)| {
            given
                .get("state")
                .is_none_or(|state| s.ready == state.eq_ignore_ascii_case("ready"))
        })
        .filter(|(pod, _)| given.all("label").all(|label| pod_has_label(pod, label)))
        .collect();
    found.sort_by_key(|(_, sandbox)| std::cmp::Reverse(sandbox.created));
    let last = given.get("last").and_then(|n| n.parse().ok());
    if let Some(last) = last.or_else(|| given.has("latest").then_some(1)) {
        found.truncate(last);
    }
    if given.has("quiet") {
        for (_, sandbox) in found {
            writeln!(tool.out, "{}", sandbox.id)?;
        }
        return Ok(0);
    }
    let list = || {
        let list: Vec<Value> = found
            .iter()
            .map(|(pod, s)| inspect::listed_pod(pod, s))
            .collect();
        json!({ "items": list })
    };
    if let Some(code) = encoded(tool, &given, list)? {
        return Ok(code);
    }
    let header = [
        "POD ID",
        "CREATED",
        "STATE",
        "NAME",
        "NAMESPACE",
        "ATTEMPT",
        "RUNTIME",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (pod, sandbox) in found {
        rows.push(vec![
            short(&sandbox.id, given.has("no-trunc")),
            ago(sandbox.created),
            if sandbox.ready { "Ready" } else { "NotReady" }.to_owned(),
            pod.name.clone(),
            pod.namespace.clone(),
            sandbox.attempt.to_string(),
            "(default)".to_owned(),
        ]);
    }
    print(tool, &rows)
}

fn images(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    const KNOWN: &[Known] = &[
        value(&["output", "o"]),
        flag(&["quiet", "q"]),
        flag(&["no-trunc"]),
        flag(&["digests"]),
        flag(&["verbose", "v"]),
    ];
    let given = match Given::parse(arguments, KNOWN, Style::Go, false) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    let Some(snapshot) = tool.snapshot()? else {
        return unreachable_runtime(tool);
    };
    let mut names: Vec<String> = snapshot
        .containers
        .iter()
        .map(|c| c.image.clone())
        .collect();
    for component in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
    ] {
        names.push(format!("registry.k8s.io/{component}:{}", KUBERNETES));
    }
    names.push("registry.k8s.io/pause:3.10.1".into());
    names.sort_unstable();
    names.dedup();
    if given.has("quiet") {
        for name in names {
            writeln!(tool.out, "{}", image::digest(&name))?;
        }
        return Ok(0);
    }
    let list = || {
        let list: Vec<Value> = names
            .iter()
            .map(|name| json!({"id": image::digest(name), "repoTags": [name]}))
            .collect();
        json!({ "images": list })
    };
    if let Some(code) = encoded(tool, &given, list)? {
        return Ok(code);
    }
    let mut rows = vec![
        ["IMAGE", "TAG", "IMAGE ID", "SIZE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for name in &names {
        let size = match image::repository(name).rsplit('/').next() {
            Some("kube-apiserver") => "27.6MB",
            Some("kube-controller-manager") => "23.1MB",
            Some("kube-scheduler") => "17.4MB",
            Some("kube-proxy") => "26MB",
            Some("etcd") => "22.9MB",
            Some("pause") => "320kB",
            _ => "50MB",
        };
        rows.push(vec![
            image::repository(name).to_owned(),
            image::tag(name).to_owned(),
            short(
                image::digest(name).trim_start_matches("sha256:"),
                given.has("no-trunc"),
            ),
            size.to_owned(),
        ]);
    }
    print(tool, &rows)
}

fn logs(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    const KNOWN: &[Known] = &[
        flag(&["follow", "f"]),
        flag(&["previous", "p"]),
        flag(&["timestamps", "t"]),
        flag(&["reopen", "r"]),
        value(&["tail"]),
        value(&["since"]),
        value(&["limit-bytes"]),
    ];
    let given = match Given::parse(arguments, KNOWN, Style::Go, false) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    let Some(wanted) = given.rest.first().cloned() else {
        return fatal(tool, "ID cannot be empty");
    };
    let Some(snapshot) = tool.snapshot()? else {
        return unreachable_runtime(tool);
    };
    let Some(mut container) = find(&snapshot, &wanted) else {
        return fatal(tool, &not_found("container", &wanted));
    };
    if given.has("previous") {
        let before = snapshot.containers.iter().find(|c| {
            c.pod_uid == container.pod_uid
                && c.name == container.name
                && c.attempt + 1 == container.attempt
        });
        match before {
            Some(before) => container = before,
            None => {
                let text = format!("failed to find the previous terminated container of {wanted}");
                return fatal(tool, &text);
            }
        }
    }
    let since = match given.get("since").map(since) {
        Some(None) => return fatal(tool, "failed to parse timestamp from \"--since\" flag"),
        other => other.flatten(),
    };
    let tail = given.get("tail").and_then(|n| n.parse::<usize>().ok());
    let path = container.log_path.clone();
    let id = container.id.clone();
    let text = tail_of_file(&tool.node, &path, 16 << 20);
    let lines: Vec<&str> = text.lines().filter(|line| after(line, since)).collect();
    let skip = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    for line in lines.iter().skip(skip) {
        log_line(tool, line, given.has("timestamps"))?;
    }
    if given.has("follow") {
        follow(tool, &path, &id, given.has("timestamps"))?;
    }
    Ok(0)
}

/// Prints what is appended to a log until its container ends.
fn follow(tool: &mut Tool<'_>, path: &str, id: &str, stamps: bool) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let mut at = tool.node.metadata(path).map_or(0, |m| m.len());
    loop {
        let running = tool.snapshot()?.is_some_and(|s| {
            s.containers
                .iter()
                .any(|c| c.id == id && c.state == ContainerState::Running)
        });
        let mut text = String::new();
        if let Ok(mut file) = tool.node.open(path) {
            file.seek(SeekFrom::Start(at))?;
            let mut bytes = Vec::new();
            file.take(4 << 20).read_to_end(&mut bytes)?;
            let whole = bytes
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |end| end + 1);
            text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default()).into_owned();
            at += u64::try_from(whole).unwrap_or(0);
        }
        for line in text.lines() {
            log_line(tool, line, stamps)?;
        }
        tool.out.flush()?;
        if !running && text.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// A line of a log: standard output and error go where they came from.
fn log_line(tool: &mut Tool<'_>, line: &str, stamps: bool) -> io::Result<()> {
    let mut parts = line.splitn(4, ' ');
    let (time, stream) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let text = parts.nth(1).unwrap_or("");
    let sink = if stream == "stderr" {
        &mut tool.err
    } else {
        &mut tool.out
    };
    if stamps {
        writeln!(sink, "{time} {text}")
    } else {
        writeln!(sink, "{text}")
    }
}

fn after(line: &str, since: Option<Timestamp>) -> bool {
    let Some(since) = since else {
        return true;
    };
    let time = line.split(' ').next().unwrap_or("");
    time.parse::<Timestamp>().is_ok_and(|time| time >= since)
}

/// `5m`, `1h30m`, `10s` ago, or a time.
fn since(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let span: jiff::SignedDuration = text.parse().ok()?;
    Timestamp::now().checked_sub(span).ok()
}

fn inspect_containers(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    const KNOWN: &[Known] = &[
        value(&["output", "o"]),
        flag(&["quiet", "q"]),
        value(&["template"]),
    ];
    let given = match Given::parse(arguments, KNOWN, Style::Go, false) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    if given.rest.is_empty() {
        return fatal(tool, "ID cannot be empty");
    }
    let Some(snapshot) = tool.snapshot()? else {
        return unreachable_runtime(tool);
    };
    let root = tool.node.root().to_path_buf();
    for wanted in given.rest.clone() {
        let Some(container) = find(&snapshot, &wanted) else {
            return fatal(
                tool,
                &format!(
                    "getting the status of the container {wanted:?}: {}",
                    not_found("container", &wanted)
                ),
            );
        };
        let value = inspect::container(container, &snapshot, &root);
        print_value(tool, &given, &value)?;
    }
    Ok(0)
}

fn inspect_pods(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    const KNOWN: &[Known] = &[
        value(&["output", "o"]),
        flag(&["quiet", "q"]),
        value(&["template"]),
    ];
    let given = match Given::parse(arguments, KNOWN, Style::Go, false) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    if given.rest.is_empty() {
        return fatal(tool, "ID cannot be empty");
    }
    let Some(snapshot) = tool.snapshot()? else {
        return unreachable_runtime(tool);
    };
    for wanted in given.rest.clone() {
        let found = snapshot.pods.iter().find_map(|pod| {
            let sandbox = pod.sandbox.as_ref()?;
            sandbox.id.starts_with(&wanted).then_some((pod, sandbox))
        });
        let Some((pod, sandbox)) = found else {
            return fatal(
                tool,
                &format!(
                    "getting the pod sandbox status for {wanted:?}: {}",
                    not_found("sandbox", &wanted)
                ),
            );
        };
        let value = inspect::pod(pod, sandbox, &snapshot);
        print_value(tool, &given, &value)?;
    }
    Ok(0)
}

/// `stop`, `rm`, `stopp`, `rmp`.
fn change(tool: &mut Tool<'_>, command: &str, arguments: &[String], pods: bool) -> io::Result<u8> {
    const KNOWN: &[Known] = &[
        value(&["timeout", "t"]),
        flag(&["force", "f"]),
        flag(&["all", "a"]),
        flag(&["keep-logs"]),
    ];
    let given = match Given::parse(arguments, KNOWN, Style::Go, false) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    if given.rest.is_empty() {
        return fatal(tool, "ID cannot be empty");
    }
    for wanted in given.rest.clone() {
        let Some(snapshot) = tool.snapshot()? else {
            return unreachable_runtime(tool);
        };
        let (id, request, running) = if pods {
            let sandbox = snapshot
                .pods
                .iter()
                .filter_map(|p| p.sandbox.as_ref())
                .find(|s| s.id.starts_with(&wanted));
            let Some(sandbox) = sandbox else {
                return fatal(tool, &not_found("sandbox", &wanted));
            };
            let id = sandbox.id.clone();
            let request = match command {
                "rmp" => Request::RemoveSandbox(id.clone()),
                _ => Request::StopSandbox(id.clone()),
            };
            (id, request, sandbox.ready)
        } else {
            let Some(container) = find(&snapshot, &wanted) else {
                return fatal(tool, &not_found("container", &wanted));
            };
            let id = container.id.clone();
            let request = match command {
                "rm" => Request::RemoveContainer(id.clone()),
                _ => Request::StopContainer(id.clone(), 10),
            };
            (id, request, container.state == ContainerState::Running)
        };
        if running && !given.has("force") && ["rm", "rmp"].contains(&command) {
            let kind = if pods { "sandbox" } else { "container" };
            let text = format!(
                "removing the {kind} {wanted:?}: {kind} is running, please stop {kind} first"
            );
            return fatal(tool, &text);
        }
        let done = |s: &NodeSnapshot| {
            let container = s.containers.iter().find(|c| c.id == id);
            let sandbox = s
                .pods
                .iter()
                .filter_map(|p| p.sandbox.as_ref())
                .find(|b| b.id == id);
            let ended = container.is_none_or(|c| c.state == ContainerState::Exited);
            match command {
                "rm" if !running => container.is_none(),
                _ => ended && sandbox.is_none_or(|b| !b.ready),
            }
        };
        if !tool.request(&request, done)? {
            return fatal(
                tool,
                "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            );
        }
        let past = match command {
            "stop" => "",
            "stopp" => "Stopped sandbox ",
            "rmp" => "Removed sandbox ",
            _ => "",
        };
        writeln!(tool.out, "{past}{id}")?;
    }
    Ok(0)
}

fn find<'a>(snapshot: &'a NodeSnapshot, id: &str) -> Option<&'a ContainerSnapshot> {
    let mut found = snapshot.containers.iter().filter(|c| c.id.starts_with(id));
    let first = found.next().filter(|_| !id.is_empty());
    first.filter(|_| found.next().is_none())
}

fn not_found(kind: &str, id: &str) -> String {
    format!(
        "rpc error: code = NotFound desc = an error occurred when try to find {kind} {id:?}: not found"
    )
}

/// JSON or YAML when asked for.
fn encoded(tool: &mut Tool<'_>, given: &Given, list: impl Fn() -> Value) -> io::Result<Option<u8>> {
    match given.get("output") {
        None | Some("table") => Ok(None),
        Some("json" | "yaml") => {
            print_value(tool, given, &list())?;
            Ok(Some(0))
        }
        Some(other) => {
            let text = format!("unsupported output format {other:?}");
            fatal(tool, &text).map(Some)
        }
    }
}

fn print_value(tool: &mut Tool<'_>, given: &Given, value: &Value) -> io::Result<()> {
    if given.get("output") == Some("yaml") {
        let text = serde_yaml::to_string(value).map_err(io::Error::other)?;
        write!(tool.out, "{text}")
    } else {
        writeln!(tool.out, "{}", pretty(value))
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn print(tool: &mut Tool<'_>, rows: &[Vec<String>]) -> io::Result<u8> {
    for line in table::lines(rows) {
        writeln!(tool.out, "{line}")?;
    }
    Ok(0)
}

fn ago(time: Timestamp) -> String {
    let age = Timestamp::now().duration_since(time).unsigned_abs();
    format!("{} ago", table::human(age))
}

fn short(id: &str, whole: bool) -> String {
    if whole {
        id.to_owned()
    } else {
        id.chars().take(13).collect()
    }
}

fn state_name(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "Created",
        ContainerState::Running => "Running",
        ContainerState::Exited => "Exited",
    }
}

fn has_label(snapshot: &NodeSnapshot, container: &ContainerSnapshot, label: &str) -> bool {
    inspect::labels(container, snapshot)
        .iter()
        .any(|(k, v)| is_label(k, v, label))
}

fn pod_has_label(pod: &PodSnapshot, label: &str) -> bool {
    inspect::pod_labels(pod)
        .iter()
        .any(|(k, v)| is_label(k, v, label))
}

fn is_label(key: &str, value: &str, wanted: &str) -> bool {
    wanted
        .split_once('=')
        .map_or(key == wanted, |(k, v)| k == key && v == value)
}

/// `--name` is a regular expression; the few signs people use are understood.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.split('|').any(|alternative| {
        let start = alternative.strip_prefix('^');
        let body = start.unwrap_or(alternative);
        let end = body.strip_suffix('$');
        let body = end.unwrap_or(body);
        let parts: Vec<&str> = body.split(".*").collect();
        let mut rest = name;
        for (index, part) in parts.iter().enumerate() {
            let anchored = index == 0 && start.is_some();
            let at = if anchored {
                rest.starts_with(part).then_some(0)
            } else {
                rest.find(part)
            };
            match at.and_then(|at| rest.get(at + part.len()..)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        end.is_none() || rest.is_empty() || parts.last().is_some_and(|last| name.ends_with(last))
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn name_patterns() {
        assert!(matches("api", "kube-apiserver"));
        assert!(matches("kube-api.*", "kube-apiserver"));
        assert!(matches("^kube-.*server$", "kube-apiserver"));
        assert!(!matches("^api", "kube-apiserver"));
        assert!(!matches("etcd|sched", "kube-apiserver"));
        assert!(!matches("kube$", "kube-apiserver"));
    }
}
