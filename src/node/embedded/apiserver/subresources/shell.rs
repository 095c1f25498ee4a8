//! A very small shell that pretends to be in a container: it knows the container's environment, its
//! mounted secrets and config maps, and its service-account token. It runs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::node::embedded::apiserver::authn::tokens::TokenRequest;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::state::ApiState;

/// What a command did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) code: i32,
}

impl Outcome {
    fn text(text: impl Into<String>) -> Self {
        Self {
            stdout: text.into(),
            ..Self::default()
        }
    }

    fn error(text: impl Into<String>, code: i32) -> Self {
        Self {
            stderr: text.into(),
            code,
            ..Self::default()
        }
    }
}

/// The container as its shell sees it.
pub(super) struct Shell {
    hostname: String,
    user: i64,
    directory: String,
    environment: Vec<(String, String)>,
    files: BTreeMap<String, String>,
    /// How many shells run in shells.
    depth: u8,
}

/// Most a command prints; the rest is dropped.
const OUTPUT: usize = 4 << 20;
/// Most shells in shells.
const DEPTH: u8 = 16;

/// Directories every image has.
const ROOT: [&str; 17] = [
    "bin", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr", "var",
];

impl Shell {
    /// The shell of a container of this pod.
    pub(super) fn new(state: &Arc<ApiState>, pod: &Value, container: &str) -> Self {
        let spec = ["containers", "initContainers", "ephemeralContainers"]
            .iter()
            .flat_map(|list| items(pod, &format!("/spec/{list}")))
            .find(|spec| text_at(spec, "/name") == container)
            .cloned()
            .unwrap_or_default();
        let namespace = text_at(pod, "/metadata/namespace").to_owned();
        let host_network = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
        let hostname = match text_at(pod, "/spec/hostname") {
            _ if host_network => text_at(pod, "/spec/nodeName"),
            "" => text_at(pod, "/metadata/name"),
            name => name,
        }
        .to_owned();
        let user = spec
            .pointer("/securityContext/runAsUser")
            .or_else(|| pod.pointer("/spec/securityContext/runAsUser"))
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let mut shell = Self {
            directory: match text_at(&spec, "/workingDir") {
                "" => "/".to_owned(),
                directory => directory.to_owned(),
            },
            environment: environment(state, pod, &spec, &namespace, &hostname),
            files: BTreeMap::new(),
            depth: 0,
            hostname,
            user,
        };
        shell.mount(state, pod, &spec, &namespace);
        shell
    }

    fn mount(&mut self, state: &Arc<ApiState>, pod: &Value, spec: &Value, namespace: &str) {
        let ip = text_at(pod, "/status/podIP");
        let base = [
            ("/etc/hostname", format!("{}\n", self.hostname)),
            (
                "/etc/hosts",
                format!(
                    "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n{ip}\t{}\n",
                    self.hostname
                ),
            ),
            (
                "/etc/resolv.conf",
                format!(
                    "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
                ),
            ),
            (
                "/etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
                    .to_owned(),
            ),
            (
                "/etc/os-release",
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"
                    .to_owned(),
            ),
        ];
        for (path, content) in base {
            self.files.insert(path.to_owned(), content);
        }
        for mount in items(spec, "/volumeMounts") {
            let Some(volume) = items(pod, "/spec/volumes")
                .iter()
                .find(|volume| text_at(volume, "/name") == text_at(mount, "/name"))
            else {
                continue;
            };
            let path = text_at(mount, "/mountPath").trim_end_matches('/');
            for (name, content) in volume_files(state, pod, volume, namespace) {
                self.files.insert(format!("{path}/{name}"), content);
            }
        }
    }

    /// Whether this command is a shell that waits for more.
    pub(super) fn is_interactive(&self, argv: &[String]) -> bool {
        let shell = argv.first().is_some_and(|word| is_shell(word));
        shell
            && !argv
                .iter()
                .skip(1)
                .any(|word| !word.starts_with('-') || word.contains('c'))
    }

    /// Whether this command reads its standard input to the end.
    pub(super) fn reads_input(&self, argv: &[String]) -> bool {
        matches!(argv, [only] if only == "cat")
            || matches!(argv.first().map(String::as_str), Some("tee" | "wc"))
    }

    /// What it prints before it waits.
    pub(super) fn prompt(&self) -> String {
        format!(
            "{} {} ",
            self.directory,
            if self.user == 0 { "#" } else { "$" }
        )
    }

    /// Runs a command line given as words.
    pub(super) fn run(&mut self, argv: &[String], input: &str) -> Outcome {
        match argv {
            [shell, flag, line, ..]
                if is_shell(shell) && flag.starts_with('-') && flag.contains('c') =>
            {
                self.line(line)
            }
            [shell, words @ ..] if is_shell(shell) => {
                match words.iter().find(|word| !word.starts_with('-')) {
                    // A shell reads what it is to do from its input, or from a file.
                    None => self.line(input),
                    Some(script) => match self.files.get(&self.absolute(script)).cloned() {
                        Some(text) => self.line(&text),
                        None => Outcome::error(
                            format!("sh: can't open '{script}': No such file or directory\n"),
                            2,
                        ),
                    },
                }
            }
            _ => self.command(argv, input),
        }
    }

    /// Runs a line: commands with `;`, `&&`, `||` and simple pipes.
    pub(super) fn line(&mut self, line: &str) -> Outcome {
        if self.depth >= DEPTH {
            return Outcome::error("sh: can't fork: Resource temporarily unavailable\n", 2);
        }
        self.depth += 1;
        let outcome = self.commands(line);
        self.depth -= 1;
        outcome
    }

    fn commands(&mut self, line: &str) -> Outcome {
        let mut total = Outcome::default();
        let mut run_next = true;
        for (separator, text) in split_line(line) {
            run_next = match separator {
                Separator::Always => true,
                Separator::And => run_next && total.code == 0,
                Separator::Or => total.code != 0,
            };
            if !run_next {
                continue;
            }
            let mut input = String::new();
            let mut last = Outcome::default();
            for part in text.split('|') {
                let words = self.words(part);
                if words.is_empty() {
                    continue;
                }
                let mut outcome = self.command(&words, &input);
                input = std::mem::take(&mut outcome.stdout);
                append(&mut total.stderr, &outcome.stderr);
                last = outcome;
            }
            append(&mut total.stdout, &input);
            total.code = last.code;
        }
        total
    }

    /// Words of a command, quotes and variables resolved.
    fn words(&self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let (mut word, mut started, mut quote) = (String::new(), false, None);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\'' | '"', None) => {
                    quote = Some(c);
                    started = true;
                }
                (c, Some(q)) if c == q => quote = None,
                ('$', q) if q != Some('\'') => {
                    started = true;
                    let braces = chars.next_if_eq(&'{').is_some();
                    let mut name = String::new();
                    while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                        name.push(c);
                    }
                    if braces {
                        chars.next_if_eq(&'}');
                    }
                    append(&mut word, self.variable(&name));
                }
                (c, None) if c.is_whitespace() => {
                    if started {
                        words.push(std::mem::take(&mut word));
                        started = false;
                    }
                }
                (c, _) => {
                    word.push(c);
                    started = true;
                }
            }
        }
        if started {
            words.push(word);
        }
        words
    }

    fn variable(&self, name: &str) -> &str {
        self.environment
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    }

    fn absolute(&self, path: &str) -> String {
        let joined = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.directory)
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }

    /// Names directly in a directory; `None` when there is none.
    fn names(&self, path: &str) -> Option<Vec<String>> {
        let prefix = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        let mut names: Vec<String> = self
            .files
            .keys()
            .filter_map(|file| file.strip_prefix(&prefix))
            .filter_map(|rest| rest.split('/').next())
            .map(str::to_owned)
            .collect();
        if path == "/" {
            names.extend(ROOT.iter().map(|name| (*name).to_owned()));
        }
        names.sort();
        names.dedup();
        let known = ROOT.iter().any(|name| path == format!("/{name}"));
        (known || !names.is_empty()).then_some(names)
    }

    fn command(&mut self, argv: &[String], input: &str) -> Outcome {
        let Some((program, arguments)) = argv.split_first() else {
            return Outcome::default();
        };
        let name = program.rsplit('/').next().unwrap_or(program);
        let operands: Vec<&String> = arguments
            .iter()
            .filter(|word| !word.starts_with('-'))
            .collect();
        match name {
            "true" | ":" | "sleep" | "sync" | "touch" | "mkdir" | "rm" | "chmod" | "kill" => {
                Outcome::default()
            }
            "false" => Outcome::error("", 1),
            "echo" => {
                let plain = arguments.first().is_some_and(|word| word == "-n");
                let words: Vec<&str> = arguments
                    .iter()
                    .skip(usize::from(plain))
                    .map(String::as_str)
                    .collect();
                let end = if plain { "" } else { "\n" };
                Outcome::text(format!("{}{end}", words.join(" ")))
            }
            "printf" => Outcome::text(
                arguments
                    .first()
                    .map(|text| text.replace("\\n", "\n"))
                    .unwrap_or_default(),
            ),
            "hostname" => Outcome::text(format!("{}\n", self.hostname)),
            "whoami" if self.user == 0 => Outcome::text("root\n"),
            "whoami" => Outcome::error(format!("whoami: unknown uid {}\n", self.user), 1),
            "id" => {
                let user = self.user;
                Outcome::text(match (arguments.first().map(String::as_str), user) {
                    (Some("-u" | "-g"), _) => format!("{user}\n"),
                    (_, 0) => "uid=0(root) gid=0(root) groups=0(root)\n".to_owned(),
                    _ => format!("uid={user} gid=0(root) groups=0(root)\n"),
                })
            }
            "pwd" => Outcome::text(format!("{}\n", self.directory)),
            "cd" => {
                let target = self.absolute(operands.first().map_or("/", |path| path.as_str()));
                if target == "/" || self.names(&target).is_some() {
                    self.directory = target;
                    Outcome::default()
                } else {
                    Outcome::error(format!("sh: cd: can't cd to {target}\n"), 2)
                }
            }
            "env" | "printenv" | "export" | "set" => match operands.first() {
                Some(name) if program != "export" => match self.variable(name) {
                    "" => Outcome::error("", 1),
                    value => Outcome::text(format!("{value}\n")),
                },
                Some(_) => Outcome::default(),
                None => Outcome::text(
                    self.environment
                        .iter()
                        .map(|(key, value)| format!("{key}={value}\n"))
                        .collect::<String>(),
                ),
            },
            "uname" => Outcome::text(if arguments.iter().any(|word| word == "-a") {
                format!("Linux {} 6.1.0 #1 SMP x86_64 GNU/Linux\n", self.hostname)
            } else if arguments.iter().any(|word| word == "-r") {
                "6.1.0\n".to_owned()
            } else {
                "Linux\n".to_owned()
            }),
            "date" => Outcome::text(
                jiff::Timestamp::now()
                    .strftime("%a %b %e %H:%M:%S UTC %Y\n")
                    .to_string(),
            ),
            "ps" => Outcome::text(format!(
                "PID   USER     TIME  COMMAND\n    1 {0}      0:00 pause\n   29 {0}      0:00 ps\n",
                if self.user == 0 { "root" } else { "app" }
            )),
            "cat" if operands.is_empty() => Outcome::text(input),
            "cat" | "head" | "tail" => self.cat(name, &operands, input),
            "ls" => self.ls(arguments, &operands),
            "grep" => grep(&operands, input),
            "wc" => Outcome::text(format!("{}\n", input.lines().count())),
            "base64" => Outcome::text(format!("{}\n", STANDARD.encode(input))),
            "find" => {
                let start = self.absolute(operands.first().map_or(".", |path| path.as_str()));
                let prefix = if start == "/" {
                    "/".to_owned()
                } else {
                    format!("{start}/")
                };
                Outcome::text(
                    self.files
                        .keys()
                        .filter(|file| file.starts_with(&prefix))
                        .map(|file| format!("{file}\n"))
                        .collect::<String>(),
                )
            }
            "curl" => Outcome::error("curl: (7) Failed to connect: Connection refused\n", 7),
            "wget" => Outcome::error(
                "wget: can't connect to remote host: Connection refused\n",
                1,
            ),
            shell if is_shell(shell) => self.run(argv, input),
            "nginx" => Outcome::error("nginx version: nginx/1.27.5\n", 0),
            _ => Outcome::error(format!("sh: {program}: not found\n"), 127),
        }
    }

    fn cat(&self, name: &str, operands: &[&String], input: &str) -> Outcome {
        let mut total = Outcome::default();
        if operands.is_empty() {
            append(&mut total.stdout, input);
        }
        for path in operands.iter().filter(|path| path.parse::<i64>().is_err()) {
            let full = self.absolute(path);
            if let Some(content) = self.files.get(&full) {
                append(&mut total.stdout, content);
            } else if self.names(&full).is_some() {
                total
                    .stderr
                    .push_str(&format!("{name}: {path}: Is a directory\n"));
                total.code = 1;
            } else {
                total.stderr.push_str(&format!(
                    "{name}: can't open '{path}': No such file or directory\n"
                ));
                total.code = 1;
            }
        }
        total
    }

    fn ls(&self, arguments: &[String], operands: &[&String]) -> Outcome {
        let long = arguments
            .iter()
            .any(|word| word.starts_with('-') && word.contains('l'));
        let mut total = Outcome::default();
        let here = self.directory.clone();
        let paths: Vec<String> = if operands.is_empty() {
            vec![here]
        } else {
            operands.iter().map(|path| (*path).clone()).collect()
        };
        for path in &paths {
            let full = self.absolute(path);
            let names = match self.names(&full) {
                Some(names) => names,
                None if self.files.contains_key(&full) => vec![path.clone()],
                None => {
                    total
                        .stderr
                        .push_str(&format!("ls: {path}: No such file or directory\n"));
                    total.code = 1;
                    continue;
                }
            };
            if paths.len() > 1 {
                total.stdout.push_str(&format!("{path}:\n"));
            }
            for name in names {
                if long {
                    let file = self
                        .files
                        .get(&format!("{}/{name}", full.trim_end_matches('/')));
                    let (mode, size) = match file {
                        Some(content) => ("-rw-r--r--", content.len()),
                        None => ("drwxr-xr-x", 4096),
                    };
                    total
                        .stdout
                        .push_str(&format!("{mode}    1 root     root     {size:>9} {name}\n"));
                } else {
                    total.stdout.push_str(&name);
                    total.stdout.push('\n');
                }
            }
        }
        total
    }
}

fn is_shell(word: &str) -> bool {
    matches!(
        word.rsplit('/').next(),
        Some("sh" | "bash" | "ash" | "dash")
    )
}

fn grep(operands: &[&String], input: &str) -> Outcome {
    let Some(pattern) = operands.first() else {
        return Outcome::error("", 2);
    };
    let found: String = input
        .lines()
        .filter(|line| line.contains(pattern.as_str()))
        .map(|line| format!("{line}\n"))
        .collect();
    Outcome {
        code: i32::from(found.is_empty()),
        stdout: found,
        stderr: String::new(),
    }
}

enum Separator {
    Always,
    And,
    Or,
}

/// The commands of a line with what stands before each; quotes are respected.
fn split_line(line: &str) -> Vec<(Separator, String)> {
    let mut all = Vec::new();
    let (mut current, mut quote, mut before) = (String::new(), None, Separator::Always);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let next = match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                None
            }
            (c, Some(q)) if c == q => {
                quote = None;
                None
            }
            (';' | '\n', None) => Some(Separator::Always),
            ('&', None) if chars.next_if_eq(&'&').is_some() => Some(Separator::And),
            ('|', None) if chars.next_if_eq(&'|').is_some() => Some(Separator::Or),
            _ => None,
        };
        match next {
            Some(separator) => {
                all.push((
                    std::mem::replace(&mut before, separator),
                    std::mem::take(&mut current),
                ));
            }
            None => current.push(c),
        }
    }
    all.push((before, current));
    all.retain(|(_, text)| !text.trim().is_empty());
    all
}

/// What a container with this command prints, for its log.
pub(super) fn printed(words: &[&str]) -> Vec<String> {
    let script = match words {
        [shell, flag, script, ..] if is_shell(shell) && flag.starts_with('-') => script,
        ["echo", rest @ ..] => return vec![rest.join(" ")],
        _ => return Vec::new(),
    };
    let mut shell = Shell {
        hostname: String::new(),
        user: 0,
        directory: "/".to_owned(),
        environment: Vec::new(),
        files: BTreeMap::new(),
        depth: 0,
    };
    // Loops are beyond this shell; their first round is what shows.
    let script = script.replace("while true; do", "").replace("; done", "");
    shell
        .line(&script)
        .stdout
        .lines()
        .map(str::to_owned)
        .collect()
}

fn environment(
    state: &Arc<ApiState>,
    pod: &Value,
    spec: &Value,
    namespace: &str,
    hostname: &str,
) -> Vec<(String, String)> {
    let mut all = vec![
        (
            "PATH".to_owned(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
    ];
    for variable in items(spec, "/env") {
        let value = match variable.get("valueFrom") {
            None => text_at(variable, "/value").to_owned(),
            Some(source) => referenced(state, pod, source, namespace).unwrap_or_default(),
        };
        all.push((text_at(variable, "/name").to_owned(), value));
    }
    for source in items(spec, "/envFrom") {
        let (kind, name) = match source.get("secretRef") {
            Some(reference) => ("secrets", text_at(reference, "/name")),
            None => ("configmaps", text_at(source, "/configMapRef/name")),
        };
        all.extend(data(state, kind, namespace, name));
    }
    for (key, value) in [
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("KUBERNETES_SERVICE_PORT", "443"),
        ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
        ("KUBERNETES_PORT", "tcp://10.96.0.1:443"),
        ("KUBERNETES_PORT_443_TCP", "tcp://10.96.0.1:443"),
        ("KUBERNETES_PORT_443_TCP_PROTO", "tcp"),
        ("KUBERNETES_PORT_443_TCP_PORT", "443"),
        ("KUBERNETES_PORT_443_TCP_ADDR", "10.96.0.1"),
        ("HOME", "/root"),
    ] {
        all.push((key.to_owned(), value.to_owned()));
    }
    all
}

fn referenced(
    state: &Arc<ApiState>,
    pod: &Value,
    source: &Value,
    namespace: &str,
) -> Option<String> {
    if let Some(reference) = source.get("secretKeyRef") {
        let key = text_at(reference, "/key");
        return data(state, "secrets", namespace, text_at(reference, "/name"))
            .into_iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value);
    }
    if let Some(reference) = source.get("configMapKeyRef") {
        let key = text_at(reference, "/key");
        return data(state, "configmaps", namespace, text_at(reference, "/name"))
            .into_iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value);
    }
    let path = text_at(source, "/fieldRef/fieldPath");
    let pointer = format!("/{}", path.replace('.', "/"));
    Some(text_at(pod, &pointer).to_owned())
}

/// Keys and values of a secret or config map.
fn data(state: &Arc<ApiState>, plural: &str, namespace: &str, name: &str) -> Vec<(String, String)> {
    let Some(object) = state
        .store
        .get(&format!("/registry/core/{plural}/{namespace}/{name}"))
    else {
        return Vec::new();
    };
    object
        .value
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let text = value.as_str().unwrap_or_default();
            let text = if plural == "secrets" {
                String::from_utf8_lossy(&STANDARD.decode(text).unwrap_or_default()).into_owned()
            } else {
                text.to_owned()
            };
            (key.clone(), text)
        })
        .collect()
}

/// The files of a volume.
fn volume_files(
    state: &Arc<ApiState>,
    pod: &Value,
    volume: &Value,
    namespace: &str,
) -> Vec<(String, String)> {
    if let Some(secret) = volume.get("secret") {
        return data(state, "secrets", namespace, text_at(secret, "/secretName"));
    }
    if let Some(map) = volume.get("configMap") {
        return data(state, "configmaps", namespace, text_at(map, "/name"));
    }
    let mut all = Vec::new();
    for source in items(volume, "/projected/sources") {
        if let Some(token) = source.get("serviceAccountToken") {
            let path = text_at(token, "/path").to_owned();
            all.extend(account_token(state, pod, token, namespace).map(|token| (path, token)));
        }
        if let Some(map) = source.get("configMap") {
            all.extend(data(state, "configmaps", namespace, text_at(map, "/name")));
        }
        if let Some(secret) = source.get("secret") {
            all.extend(data(state, "secrets", namespace, text_at(secret, "/name")));
        }
        for item in items(source, "/downwardAPI/items") {
            let pointer = format!(
                "/{}",
                text_at(item, "/fieldRef/fieldPath").replace('.', "/")
            );
            all.push((
                text_at(item, "/path").to_owned(),
                text_at(pod, &pointer).to_owned(),
            ));
        }
    }
    all
}

/// A token as the kubelet would have put it there.
fn account_token(
    state: &Arc<ApiState>,
    pod: &Value,
    source: &Value,
    namespace: &str,
) -> Option<String> {
    let account = text_at(pod, "/spec/serviceAccountName");
    let object = state.store.get(&format!(
        "/registry/core/serviceaccounts/{namespace}/{account}"
    ))?;
    let node = text_at(pod, "/spec/nodeName").to_owned();
    let node_uid = state
        .store
        .get(&format!("/registry/core/nodes/{node}"))
        .map(|node| text_at(&node.value, "/metadata/uid").to_owned())
        .unwrap_or_default();
    let audience = text_at(source, "/audience");
    state
        .tokens
        .issue(&TokenRequest {
            namespace: namespace.to_owned(),
            service_account: account.to_owned(),
            service_account_uid: text_at(&object.value, "/metadata/uid").to_owned(),
            audiences: if audience.is_empty() {
                Vec::new()
            } else {
                vec![audience.to_owned()]
            },
            expiration_seconds: source
                .get("expirationSeconds")
                .and_then(Value::as_i64)
                .unwrap_or(3607),
            bound: Some((
                "Pod".to_owned(),
                text_at(pod, "/metadata/name").to_owned(),
                text_at(pod, "/metadata/uid").to_owned(),
            )),
            node: Some((node, node_uid)),
        })
        .ok()
        .map(|issued| issued.token)
}

/// Appends as far as there is room.
fn append(text: &mut String, more: &str) {
    let room = OUTPUT.saturating_sub(text.len());
    let mut end = more.len().min(room);
    while !more.is_char_boundary(end) {
        end -= 1;
    }
    text.push_str(more.get(..end).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Shell {
        Shell {
            hostname: "web-0".into(),
            user: 0,
            directory: "/".into(),
            environment: vec![("KEY".into(), "value".into())],
            files: BTreeMap::from([("/etc/secret/password".into(), "hunter2".into())]),
            depth: 0,
        }
    }

    #[test]
    fn lines_have_variables_quotes_and_conditions() {
        assert_eq!(
            shell().line("echo \"$KEY\" '$KEY' && hostname").stdout,
            "value $KEY\nweb-0\n"
        );
        assert_eq!(
            shell().line("false || echo no; true && echo yes").stdout,
            "no\nyes\n"
        );
    }

    #[test]
    fn mounted_files_are_there() {
        assert_eq!(shell().line("cat /etc/secret/password").stdout, "hunter2");
        assert_eq!(shell().line("ls /etc/secret").stdout, "password\n");
        assert_eq!(shell().line("cat /nothing").code, 1);
    }

    #[test]
    fn unknown_programs_are_not_found() {
        assert_eq!(shell().run(&["frobnicate".into()], "").code, 127);
    }

    #[test]
    fn shells_in_shells_come_to_an_end() {
        let mut shell = shell();
        let missing = shell.run(&["sh".into(), "/run.sh".into()], "");
        assert_eq!(missing.code, 2);
        assert_eq!(
            missing.stderr,
            "sh: can't open '/run.sh': No such file or directory\n"
        );
        shell.files.insert("/ok.sh".into(), "hostname".into());
        assert_eq!(shell.line("sh /ok.sh").stdout, "web-0\n");
        shell.files.insert("/run.sh".into(), "sh /run.sh".into());
        assert_eq!(shell.line("sh -x /run.sh").code, 2);
        shell
            .environment
            .push(("AGAIN".into(), "sh -c \"$AGAIN\"".into()));
        assert_eq!(shell.line("sh -c \"$AGAIN\"").code, 2);
        assert_eq!(shell.line("echo still here").stdout, "still here\n");
    }

    #[test]
    fn output_has_an_end() {
        let mut shell = shell();
        shell.files.insert("/big".into(), "x".repeat(1 << 20));
        assert_eq!(shell.line(&"cat /big;".repeat(20)).stdout.len(), OUTPUT);
        assert_eq!(
            shell
                .line(&format!("cat {}", "/big ".repeat(20)))
                .stdout
                .len(),
            OUTPUT
        );
        shell.environment.push(("BIG".into(), "y".repeat(1 << 20)));
        assert!(
            shell
                .line(&format!("echo {}", "$BIG".repeat(20)))
                .stdout
                .len()
                <= OUTPUT + 1
        );
    }
}
