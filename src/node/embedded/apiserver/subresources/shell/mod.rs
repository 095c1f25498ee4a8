//! A very small shell that pretends to be in a container: it knows the container's environment, its
//! mounted secrets and config maps, and its service-account token. It runs nothing.

mod commands;
mod container;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

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
}

fn is_shell(word: &str) -> bool {
    matches!(
        word.rsplit('/').next(),
        Some("sh" | "bash" | "ash" | "dash")
    )
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

/// Appends as far as there is room.
fn append(text: &mut String, more: &str) {
    let room = OUTPUT.saturating_sub(text.len());
    let mut end = more.len().min(room);
    while !more.is_char_boundary(end) {
        end -= 1;
    }
    text.push_str(more.get(..end).unwrap_or_default());
}
