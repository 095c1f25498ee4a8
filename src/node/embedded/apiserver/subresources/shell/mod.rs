//! A very small shell that pretends to be in a container: it knows the container's environment, its
//! mounted secrets and config maps, its service-account token, and the files that were written. It runs nothing.

mod archive;
mod files;
mod programs;
mod setting;
mod syntax;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use self::files::Files;
use self::syntax::{Command, Redirection, Separator};
use crate::manifest::path::clean;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::state::ApiState;

/// What a command did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
    pub(super) code: i32,
    /// Whether the shell is to end.
    pub(super) exit: bool,
}

impl Outcome {
    /// Takes in what was done next: its output after ours, its code for ours.
    fn follow(&mut self, next: &Self) {
        append(&mut self.stdout, &next.stdout);
        append_text(&mut self.stderr, &next.stderr);
        self.code = next.code;
    }

    fn text(text: impl Into<Vec<u8>>) -> Self {
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

    fn code(code: i32) -> Self {
        Self::error("", code)
    }
}

/// The container as its shell sees it.
#[derive(Default)]
pub(super) struct Shell {
    hostname: String,
    user: i64,
    directory: String,
    environment: Vec<(String, String)>,
    files: Files,
    /// How many shells run in shells.
    depth: u8,
    /// Command and arguments of the container, or what its image starts.
    program: Vec<String>,
    /// What the first process is called.
    title: String,
    /// Whether the container's process has an open input.
    stdin: bool,
    /// Whether the image has no shell and no tools.
    bare: bool,
    /// Whether what is printed is the value of a `$(...)`.
    captured: bool,
    /// What a container printed is worked out by running its program again from its start.
    replay: Option<Replay>,
}

/// The past of a container.
struct Replay {
    clock: Timestamp,
    until: Timestamp,
    printed: Vec<(Timestamp, String)>,
}

/// Most a command prints; the rest is dropped.
const OUTPUT: usize = 24 << 20;
/// Most shells in shells.
const DEPTH: u8 = 16;
/// Most rounds of a loop; of one that goes on for ever the last ones count.
const ROUNDS: i64 = 500;
/// Longest word.
const WORD: usize = 1 << 20;

impl Shell {
    /// The shell of a container of this pod.
    pub(super) fn new(state: &Arc<ApiState>, pod: &Value, container: &str) -> Self {
        let spec = container_spec(pod, container).cloned().unwrap_or_default();
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
        let id = super::log::container_id(pod, container).unwrap_or_default();
        let mut shell = Self {
            directory: match text_at(&spec, "/workingDir") {
                "" => "/".to_owned(),
                directory => directory.to_owned(),
            },
            environment: setting::environment(state, pod, &spec, &namespace, &hostname),
            files: Files::new(state.machine.containers.layer(id)),
            hostname,
            user,
            program: program(&spec),
            title: title(&spec),
            stdin: spec.get("stdin") == Some(&Value::Bool(true)),
            bare: is_bare(text_at(&spec, "/image")),
            ..Self::default()
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
                    "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n{ip}\t{}\n",
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
            self.files.mount(path, content);
        }
        for mount in items(spec, "/volumeMounts") {
            let Some(volume) = items(pod, "/spec/volumes")
                .iter()
                .find(|volume| text_at(volume, "/name") == text_at(mount, "/name"))
            else {
                continue;
            };
            let path = text_at(mount, "/mountPath").trim_end_matches('/');
            for (name, content) in setting::volume_files(state, pod, volume, namespace) {
                self.files.mount(format!("{path}/{name}"), content);
            }
            if !self.files.is_directory(path) {
                let _ = self.files.make_directory(path);
            }
        }
    }

    /// Command and arguments of the container, or what its image starts.
    pub(super) fn program(&self) -> Vec<String> {
        self.program.clone()
    }

    /// Whether the container's process has an open input.
    pub(super) fn has_stdin(&self) -> bool {
        self.stdin
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
        match argv {
            [shell, flag, script, ..] if is_shell(shell) && flag.contains('c') => {
                syntax::commands(script)
                    .iter()
                    .any(|(_, command)| match command {
                        Command::Pipe(text) => syntax::pipe(text).first().is_some_and(|first| {
                            let words = first.split_whitespace().map(str::to_owned);
                            let words = words.take_while(|word| !word.starts_with('>'));
                            self.reads_input(&words.collect::<Vec<_>>())
                        }),
                        Command::While(condition, _) => condition.starts_with("read"),
                        Command::For(..) => false,
                    })
            }
            [shell, rest @ ..] if is_shell(shell) => rest.iter().all(|word| word.starts_with('-')),
            [only] => matches!(
                only.as_str(),
                "cat" | "wc" | "base64" | "sort" | "head" | "tail"
            ),
            [first, rest @ ..] => match first.as_str() {
                "tee" | "wc" => true,
                "tar" => rest.first().is_some_and(|word| word.contains('x')),
                _ => false,
            },
            [] => false,
        }
    }

    /// What it prints before it waits.
    pub(super) fn prompt(&self) -> String {
        format!(
            "{} {} ",
            self.directory,
            if self.user == 0 { "#" } else { "$" }
        )
    }

    /// What the container runtime says of a program that is not there; `None` when it is.
    pub(super) fn cannot_start(&self, program: &str) -> Option<String> {
        let name = program.rsplit('/').next().unwrap_or(program);
        let own = self.program.first().is_some_and(|own| own == program);
        if !self.bare && programs::is_known(name) || self.files.read(program).is_some() || own {
            return None;
        }
        let quoted = crate::audit::options::number::quote(program);
        Some(if program.contains('/') {
            format!("exec: {quoted}: stat {program}: no such file or directory")
        } else {
            format!("exec: {quoted}: executable file not found in $PATH")
        })
    }

    /// Runs a command line given as words.
    pub(super) fn run(&mut self, argv: &[String], input: &[u8]) -> Outcome {
        let mut outcome = match argv {
            [shell, flag, line, ..]
                if is_shell(shell) && flag.starts_with('-') && flag.contains('c') =>
            {
                self.line(line)
            }
            [shell, words @ ..] if is_shell(shell) => {
                match words.iter().find(|word| !word.starts_with('-')) {
                    // A shell reads what it is to do from its input, or from a file.
                    None => self.line(&String::from_utf8_lossy(input)),
                    Some(script) => match self.files.read(&self.absolute(script)) {
                        Some(text) => self.line(&String::from_utf8_lossy(&text)),
                        None => Outcome::error(
                            format!("sh: can't open '{script}': No such file or directory\n"),
                            2,
                        ),
                    },
                }
            }
            _ => self.command(argv, input),
        };
        // What ended was the shell within.
        outcome.exit = false;
        outcome
    }

    /// Runs a line of the shell's language.
    pub(super) fn line(&mut self, line: &str) -> Outcome {
        self.line_with(line, b"")
    }

    fn line_with(&mut self, line: &str, input: &[u8]) -> Outcome {
        if self.depth >= DEPTH {
            return Outcome::error("sh: can't fork: Resource temporarily unavailable\n", 2);
        }
        self.depth += 1;
        let mut total = Outcome::default();
        for (separator, command) in syntax::commands(line) {
            let runs = match separator {
                Separator::Always => true,
                Separator::And => total.code == 0,
                Separator::Or => total.code != 0,
            };
            if !runs {
                continue;
            }
            let outcome = match command {
                Command::Pipe(text) => self.pipe(&text, input),
                Command::While(condition, body) => self.repeat(&condition, &body),
                Command::For(name, words, body) => self.each(&name, &words, &body),
            };
            total.follow(&outcome);
            if outcome.exit || self.is_over() {
                total.exit = true;
                break;
            }
        }
        self.depth -= 1;
        total
    }

    /// Whether what is replayed has come to the present.
    fn is_over(&self) -> bool {
        self.replay
            .as_ref()
            .is_some_and(|replay| replay.clock > replay.until)
    }

    fn repeat(&mut self, condition: &str, body: &str) -> Outcome {
        let mut total = Outcome::default();
        for round in 0..ROUNDS {
            if self.line(condition).code != 0 {
                break;
            }
            let before = (self.environment.clone(), self.now());
            let outcome = self.line(body);
            total.follow(&outcome);
            if outcome.exit {
                total.exit = true;
                break;
            }
            if round == 0 {
                self.skip_rounds(&before.0, before.1);
            }
        }
        total
    }

    /// Leaves out rounds of a loop that nobody will read: counters go on, and so does time.
    fn skip_rounds(&mut self, before: &[(String, String)], started: Timestamp) {
        let Some(replay) = &mut self.replay else {
            return;
        };
        let period = replay.clock.duration_since(started).as_millis();
        let left = replay.until.duration_since(replay.clock).as_millis();
        let rounds = i64::try_from(left.checked_div(period).unwrap_or_default()).unwrap_or(0);
        let skipped = rounds - ROUNDS + 10;
        if skipped <= 0 {
            return;
        }
        let time = SignedDuration::from_millis(i64::try_from(period).unwrap_or_default());
        let time = time.checked_mul(i32::try_from(skipped).unwrap_or(i32::MAX));
        if let Some(later) = time.and_then(|time| replay.clock.checked_add(time).ok()) {
            replay.clock = later;
        }
        for (name, value) in &mut self.environment {
            let old = before.iter().find(|(own, _)| own == name);
            let old = old.and_then(|(_, old)| old.parse::<i64>().ok());
            if let (Some(old), Ok(new)) = (old, value.parse::<i64>()) {
                let step = new.wrapping_sub(old).wrapping_mul(skipped);
                *value = new.wrapping_add(step).to_string();
            }
        }
    }

    fn each(&mut self, name: &str, words: &str, body: &str) -> Outcome {
        let mut total = Outcome::default();
        let words = self.words(words);
        let limit = usize::try_from(ROUNDS).unwrap_or_default();
        for (word, _) in words.into_iter().take(limit) {
            self.set(name, word);
            let outcome = self.line(body);
            total.follow(&outcome);
            if outcome.exit {
                total.exit = true;
                break;
            }
        }
        total
    }

    fn pipe(&mut self, text: &str, input: &[u8]) -> Outcome {
        let mut total = Outcome::default();
        let parts = syntax::pipe(text);
        let alone = parts.len() == 1;
        let mut input = input.to_vec();
        for part in parts {
            let words = self.words(&part);
            let (words, redirections) = syntax::redirections(words);
            if words.is_empty() && redirections.is_empty() {
                continue;
            }
            let outcome = self.redirected(&words, &redirections, &input);
            input = outcome.stdout;
            append_text(&mut total.stderr, &outcome.stderr);
            total.code = outcome.code;
            total.exit = outcome.exit && alone;
        }
        if let Some(replay) = &mut self.replay {
            let text = String::from_utf8_lossy(&input);
            let clock = replay.clock;
            if !self.captured {
                let lines = text.lines().chain(total.stderr.lines());
                replay
                    .printed
                    .extend(lines.map(|line| (clock, line.to_owned())));
            }
        }
        total.stdout = input;
        total
    }

    fn redirected(
        &mut self,
        words: &[String],
        redirections: &[Redirection],
        input: &[u8],
    ) -> Outcome {
        let mut input = std::borrow::Cow::Borrowed(input);
        for redirection in redirections {
            if let Redirection::Input(path) = redirection {
                match self.files.read(&self.absolute(path)) {
                    Some(content) => input = content.into(),
                    None => {
                        return Outcome::error(format!("sh: can't open {path}: no such file\n"), 1);
                    }
                }
            }
        }
        let mut outcome = match words {
            [] => Outcome::default(),
            [word] if is_assignment(word) => {
                let (name, value) = word.split_once('=').unwrap_or_default();
                self.set(name, value.to_owned());
                Outcome::default()
            }
            words => self.command(words, &input),
        };
        for redirection in redirections {
            match redirection {
                Redirection::Input(_) => {}
                Redirection::Same(2, 1) => {
                    let text = std::mem::take(&mut outcome.stderr);
                    append(&mut outcome.stdout, text.as_bytes());
                }
                Redirection::Same(1, 2) => {
                    let text = std::mem::take(&mut outcome.stdout);
                    append_text(&mut outcome.stderr, &String::from_utf8_lossy(&text));
                }
                Redirection::Same(..) => {}
                Redirection::File(channel, path, appends) => {
                    let what = if *channel == 2 {
                        std::mem::take(&mut outcome.stderr).into_bytes()
                    } else {
                        std::mem::take(&mut outcome.stdout)
                    };
                    let full = self.absolute(path);
                    let mut content = if *appends {
                        self.files.read(&full).unwrap_or_default()
                    } else {
                        Vec::new()
                    };
                    content.extend_from_slice(&what);
                    if let Err(why) = self.files.write(&full, content) {
                        outcome =
                            Outcome::error(format!("sh: can't create {path}: {}\n", why.text()), 1);
                    }
                }
            }
        }
        outcome
    }

    /// Words of a command, quotes, variables and substitutions resolved; with each whether it was quoted.
    fn words(&mut self, text: &str) -> Vec<(String, bool)> {
        let mut words = Vec::new();
        let (mut word, mut started, mut quoted, mut quote) = (String::new(), false, false, None);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\'' | '"', None) => {
                    quote = Some(c);
                    started = true;
                    quoted = true;
                }
                (c, Some(q)) if c == q => quote = None,
                ('\\', q) if q != Some('\'') => {
                    started = true;
                    word.extend(chars.next());
                }
                ('$', q) if q != Some('\'') => {
                    let value = self.expand(&mut chars);
                    if q.is_none() {
                        // Outside of quotes a value is as many words as it has.
                        let mut parts = value.split_whitespace().peekable();
                        while let Some(part) = parts.next() {
                            append_text(&mut word, part);
                            started = true;
                            if parts.peek().is_some() {
                                words.push((std::mem::take(&mut word), quoted));
                            }
                        }
                    } else {
                        started = true;
                        append_text(&mut word, &value);
                    }
                }
                (c, None) if c.is_whitespace() => {
                    if started {
                        words.push((std::mem::take(&mut word), quoted));
                        (started, quoted) = (false, false);
                    }
                }
                (c, _) => {
                    if word.len() < WORD {
                        word.push(c);
                    }
                    started = true;
                }
            }
        }
        if started {
            words.push((word, quoted));
        }
        words
    }

    /// What stands after a dollar sign.
    fn expand(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
        if chars.next_if_eq(&'(').is_some() {
            let (mut depth, mut inner) = (1_usize, String::new());
            for c in chars.by_ref() {
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                inner.push(c);
            }
            if let Some(sum) = inner
                .strip_prefix('(')
                .and_then(|sum| sum.strip_suffix(')'))
            {
                return self.arithmetic(sum).to_string();
            }
            let outer = std::mem::replace(&mut self.captured, true);
            let outcome = self.line(&inner);
            self.captured = outer;
            let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
            return text.trim_end_matches('\n').to_owned();
        }
        if chars.next_if_eq(&'$').is_some() {
            return "1".to_owned();
        }
        if chars.next_if_eq(&'?').is_some() {
            return "0".to_owned();
        }
        let braces = chars.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
        }
        if braces {
            chars.next_if_eq(&'}');
        }
        self.variable(&name).to_owned()
    }

    /// Sums and products of numbers and variables, left to right.
    fn arithmetic(&self, text: &str) -> i64 {
        let (mut total, mut operator, mut word) = (0_i64, '+', String::new());
        for c in text.chars().chain(['+']) {
            if !matches!(c, '+' | '-' | '*' | '/' | '%') {
                word.push(c);
                continue;
            }
            let name = word.trim().trim_start_matches('$');
            let value = name
                .parse()
                .or_else(|_| self.variable(name).parse())
                .unwrap_or(0);
            word.clear();
            total = match operator {
                '-' => total.wrapping_sub(value),
                '*' => total.wrapping_mul(value),
                '/' => total.checked_div(value).unwrap_or(0),
                '%' => total.checked_rem(value).unwrap_or(0),
                _ => total.wrapping_add(value),
            };
            operator = c;
        }
        total
    }

    fn variable(&self, name: &str) -> &str {
        self.environment
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.environment.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.environment.push((name.to_owned(), value)),
        }
    }

    /// The time, which in a replay is the one it has come to.
    fn now(&self) -> Timestamp {
        self.replay
            .as_ref()
            .map_or_else(Timestamp::now, |replay| replay.clock)
    }

    /// Lets time pass, where it is only told of.
    fn sleep(&mut self, seconds: f64) {
        if let Some(replay) = &mut self.replay
            && let Ok(time) = SignedDuration::try_from_secs_f64(seconds)
            && let Ok(later) = replay.clock.checked_add(time)
        {
            replay.clock = later;
        }
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            clean(path)
        } else {
            clean(&format!("/{}/{path}", self.directory))
        }
    }
}

/// A container's part of the spec.
pub(super) fn container_spec<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| items(pod, &format!("/spec/{list}")))
        .find(|spec| text_at(spec, "/name") == container)
}

/// Command and arguments of a container, or the shell that its image starts.
fn program(spec: &Value) -> Vec<String> {
    let words: Vec<String> = items(spec, "/command")
        .iter()
        .chain(items(spec, "/args"))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let base = base_name(text_at(spec, "/image"));
    if words.is_empty() && matches!(base, "busybox" | "alpine" | "ubuntu" | "debian" | "bash") {
        return vec!["sh".to_owned()];
    }
    words
}

/// An image's name without registry and tag.
fn base_name(image: &str) -> &str {
    let base = image.rsplit('/').next().unwrap_or(image);
    base.split([':', '@']).next().unwrap_or(base)
}

/// What the first process of a container is called.
fn title(spec: &Value) -> String {
    let words = program(spec);
    match base_name(text_at(spec, "/image")) {
        "nginx" if words.is_empty() => "nginx: master process nginx -g daemon off;".to_owned(),
        base if words.is_empty() => base.to_owned(),
        _ => words.join(" "),
    }
}

/// Images that have one program and nothing else.
fn is_bare(image: &str) -> bool {
    matches!(
        base_name(image),
        "kube-apiserver"
            | "kube-controller-manager"
            | "kube-scheduler"
            | "etcd"
            | "coredns"
            | "pause"
    ) || image.contains("distroless")
}

fn is_shell(word: &str) -> bool {
    matches!(
        word.rsplit('/').next(),
        Some("sh" | "bash" | "ash" | "dash")
    )
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// What a container of this pod printed from its start to a time, for its log.
pub(super) fn printed(
    pod: &Value,
    container: &str,
    started: Timestamp,
    until: Timestamp,
) -> Vec<(Timestamp, String)> {
    let Some(spec) = container_spec(pod, container) else {
        return Vec::new();
    };
    let mut shell = Shell {
        hostname: text_at(pod, "/metadata/name").to_owned(),
        directory: "/".to_owned(),
        environment: items(spec, "/env")
            .iter()
            .map(|variable| {
                let name = text_at(variable, "/name").to_owned();
                (name, text_at(variable, "/value").to_owned())
            })
            .collect(),
        replay: Some(Replay {
            clock: started,
            until,
            printed: Vec::new(),
        }),
        ..Shell::default()
    };
    let words = program(spec);
    match words.as_slice() {
        [shell_word, flag, script, ..] if is_shell(shell_word) && flag.contains('c') => {
            shell.line(script);
        }
        [only] if is_shell(only) => {}
        words => {
            let outcome = shell.run(words, b"");
            if outcome.code != 127 {
                let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
                if let Some(replay) = &mut shell.replay {
                    let lines = text.lines().chain(outcome.stderr.lines());
                    replay
                        .printed
                        .extend(lines.map(|line| (started, line.to_owned())));
                }
            }
        }
    }
    let mut printed = shell
        .replay
        .map(|replay| replay.printed)
        .unwrap_or_default();
    printed.retain(|(time, _)| *time <= until);
    printed
}

/// Appends as far as there is room.
fn append(bytes: &mut Vec<u8>, more: &[u8]) {
    let room = OUTPUT.saturating_sub(bytes.len());
    bytes.extend_from_slice(more.get(..more.len().min(room)).unwrap_or_default());
}

/// Appends as far as there is room.
fn append_text(text: &mut String, more: &str) {
    let room = OUTPUT.saturating_sub(text.len());
    let mut end = more.len().min(room);
    while !more.is_char_boundary(end) {
        end -= 1;
    }
    text.push_str(more.get(..end).unwrap_or_default());
}
