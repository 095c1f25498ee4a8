//! File commands on the node root, as simple as they are needed without a shell.

mod changing;
mod reading;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use super::super::confine::Confined;
use super::super::process::go_error_text;
use super::mapped::Streams;

/// The commands.
pub const NAMES: [&str; 23] = [
    "cat", "chmod", "cp", "echo", "false", "grep", "head", "hostname", "id", "ln", "ls", "mkdir",
    "mv", "pwd", "readlink", "rm", "stat", "tail", "tee", "test", "touch", "true", "wc",
];

/// Runs one of [`NAMES`] (or `[`); `None` for any other.
pub fn run(
    node: &Confined,
    name: &str,
    arguments: &[String],
    streams: &mut Streams<'_>,
) -> Option<u8> {
    let line = Line::parse(name, arguments);
    let mut command = Run {
        node,
        name,
        line,
        streams,
        code: 0,
    };
    let result = match name {
        "cat" => command.cat(),
        "head" => command.head(),
        "tail" => command.tail(),
        "wc" => command.wc(),
        "grep" => command.grep(),
        "ls" => command.ls(),
        "stat" => command.stat(),
        "readlink" => command.readlink(),
        "test" | "[" => return Some(test(node, arguments)),
        "cp" => command.cp(),
        "mv" => command.mv(),
        "rm" => command.rm(),
        "mkdir" => command.mkdir(),
        "touch" => command.touch(),
        "chmod" => command.chmod(),
        "ln" => command.ln(),
        "tee" => command.tee(),
        "echo" => command.echo(arguments),
        "pwd" => command.say("/root\n"),
        "hostname" => {
            let text = node.read("/etc/hostname", 4096).unwrap_or_default();
            command.streams.stdout.write_all(&text)
        }
        "id" => command.say("uid=0(root) gid=0(root) groups=0(root)\n"),
        "true" => Ok(()),
        "false" => return Some(1),
        _ => return None,
    };
    if let Err(error) = result {
        // The reader of the output went away: as a command that SIGPIPE ends.
        return Some(if error.kind() == io::ErrorKind::BrokenPipe {
            141
        } else {
            1
        });
    }
    let _ = command.streams.stdout.flush();
    Some(command.code)
}

/// Options and operands of a command line.
struct Line {
    options: Vec<String>,
    count: Option<String>,
    operands: Vec<String>,
}

impl Line {
    /// Short options may be written together; `-n 5` and `-5` are counts of head and tail.
    fn parse(name: &str, arguments: &[String]) -> Self {
        let mut line = Self {
            options: Vec::new(),
            count: None,
            operands: Vec::new(),
        };
        let counts = matches!(name, "head" | "tail");
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                line.operands.extend(rest.cloned());
                break;
            }
            if counts && let Some(value) = argument.strip_prefix("-n") {
                line.count = if value.is_empty() {
                    rest.next().cloned()
                } else {
                    Some(value.trim_start_matches('=').to_owned())
                };
            } else if counts
                && argument.len() > 1
                && let Some(value) = argument.strip_prefix('-')
                && value.bytes().all(|b| b.is_ascii_digit())
            {
                line.count = Some(value.to_owned());
            } else if let Some(long) = argument.strip_prefix("--") {
                line.options.push(long.to_owned());
            } else if argument.len() > 1 && argument.starts_with('-') {
                line.options
                    .extend(argument.chars().skip(1).map(|c| c.to_string()));
            } else {
                line.operands.push(argument.clone());
            }
        }
        line
    }

    fn has(&self, options: &[&str]) -> bool {
        options
            .iter()
            .any(|option| self.options.iter().any(|have| have == option))
    }

    fn number(&self) -> usize {
        self.count
            .as_deref()
            .and_then(|count| count.parse().ok())
            .unwrap_or(10)
    }
}

/// Paths are absolute, or relative to root's home.
fn absolute(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(rest) => format!("/root/{rest}"),
        None if path == "~" => "/root".to_owned(),
        None if path.starts_with('/') => path.to_owned(),
        None => format!("/root/{path}"),
    }
}

struct Run<'a, 'b> {
    node: &'a Confined,
    name: &'a str,
    line: Line,
    streams: &'a mut Streams<'b>,
    code: u8,
}

impl Run<'_, '_> {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.streams.stdout.write_all(text.as_bytes())
    }

    /// Says what failed, as coreutils do, and goes on.
    fn failed(&mut self, path: &str, error: &io::Error) {
        self.code = if matches!(self.name, "grep" | "ls") {
            2
        } else {
            1
        };
        let mut text = go_error_text(error);
        if let Some(first) = text.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        let _ = writeln!(self.streams.stderr, "{}: {path}: {text}", self.name);
    }

    fn usage(&mut self, text: &str) {
        self.code = 2;
        let _ = writeln!(self.streams.stderr, "{}: {text}", self.name);
    }

    /// Every operand's content in turn; standard input where there is none.
    fn each(
        &mut self,
        mut use_it: impl FnMut(&mut Self, &str, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let operands = std::mem::take(&mut self.line.operands);
        if operands.is_empty() {
            let mut bytes = Vec::new();
            self.streams.stdin.read_to_end(&mut bytes)?;
            return use_it(self, "-", &mut bytes.as_slice());
        }
        for path in &operands {
            if path == "-" {
                let mut bytes = Vec::new();
                self.streams.stdin.read_to_end(&mut bytes)?;
                use_it(self, path, &mut bytes.as_slice())?;
                continue;
            }
            let opened = self.node.open(&absolute(path)).and_then(|file| {
                let kind = file.metadata()?.file_type();
                if kind.is_dir() {
                    Err(rustix::io::Errno::ISDIR.into())
                } else if kind.is_file() {
                    Ok(file)
                } else {
                    Err(io::Error::other("not a regular file"))
                }
            });
            match opened {
                Ok(mut file) => use_it(self, path, &mut file)?,
                Err(error) => self.failed(path, &error),
            }
        }
        Ok(())
    }

    fn echo(&mut self, arguments: &[String]) -> io::Result<()> {
        match arguments.split_first() {
            Some((first, rest)) if first == "-n" => self.say(&rest.join(" ")),
            _ => self.say(&format!("{}\n", arguments.join(" "))),
        }
    }
}

/// `test EXPRESSION` with one operator; 2 for anything else.
fn test(node: &Confined, arguments: &[String]) -> u8 {
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "]")
        .collect();
    let (negate, words) = match words.as_slice() {
        ["!", rest @ ..] => (true, rest),
        all => (false, all),
    };
    let holds = match words {
        ["-e", path] => node.exists(&absolute(path)),
        ["-f", path] => node.metadata(&absolute(path)).is_ok_and(|m| m.is_file()),
        ["-d", path] => node.metadata(&absolute(path)).is_ok_and(|m| m.is_dir()),
        ["-s", path] => node.metadata(&absolute(path)).is_ok_and(|m| m.len() > 0),
        ["-L" | "-h", path] => node
            .symlink_metadata(&absolute(path))
            .is_ok_and(|m| m.is_symlink()),
        ["-r" | "-w" | "-x", path] => node.exists(&absolute(path)),
        ["-z", text] => text.is_empty(),
        ["-n", text] => !text.is_empty(),
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [text] => !text.is_empty(),
        [] => false,
        _ => return 2,
    };
    u8::from(holds == negate)
}
