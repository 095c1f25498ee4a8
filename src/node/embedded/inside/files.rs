//! File commands on the node root, as simple as they are needed without a shell.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

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

    fn cat(&mut self) -> io::Result<()> {
        self.each(|run, _, content| io::copy(content, run.streams.stdout).map(|_| ()))
    }

    fn head(&mut self) -> io::Result<()> {
        let lines = self.line.number();
        self.each(|run, _, content| {
            let mut reader = BufReader::new(content);
            for _ in 0..lines {
                let mut line = Vec::new();
                if reader.read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                run.streams.stdout.write_all(&line)?;
            }
            Ok(())
        })
    }

    fn tail(&mut self) -> io::Result<()> {
        let lines = self.line.number();
        if self.line.has(&["f", "F", "follow"]) {
            self.usage("following is not possible here");
            return Ok(());
        }
        self.each(|run, _, content| {
            let mut kept: std::collections::VecDeque<Vec<u8>> = std::collections::VecDeque::new();
            let mut reader = BufReader::new(content);
            loop {
                let mut line = Vec::new();
                if reader.read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                kept.push_back(line);
                if kept.len() > lines {
                    kept.pop_front();
                }
            }
            for line in kept {
                run.streams.stdout.write_all(&line)?;
            }
            Ok(())
        })
    }

    fn wc(&mut self) -> io::Result<()> {
        let (l, w, c) = (
            self.line.has(&["l"]),
            self.line.has(&["w"]),
            self.line.has(&["c"]),
        );
        let all = !(l || w || c);
        self.each(|run, path, content| {
            let (mut lines, mut words, mut bytes) = (0usize, 0usize, 0usize);
            let mut reader = BufReader::new(content);
            loop {
                let mut line = Vec::new();
                let read = reader.read_until(b'\n', &mut line)?;
                if read == 0 {
                    break;
                }
                bytes += read;
                lines += usize::from(line.ends_with(b"\n"));
                words += line
                    .split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty())
                    .count();
            }
            let mut parts = Vec::new();
            for (wanted, number) in [(l, lines), (w, words), (c, bytes)] {
                if wanted || all {
                    parts.push(number.to_string());
                }
            }
            if path != "-" {
                parts.push(path.to_owned());
            }
            run.say(&format!("{}\n", parts.join(" ")))
        })
    }

    /// Fixed strings only; a pattern with operators is refused rather than misunderstood.
    fn grep(&mut self) -> io::Result<()> {
        if self.line.operands.is_empty() {
            self.usage("no pattern");
            return Ok(());
        }
        let pattern = self.line.operands.remove(0);
        let fixed = self.line.has(&["F"]) || !pattern.contains(['*', '[', '^', '$', '\\', '|']);
        if !fixed {
            self.usage("only fixed strings can be looked for here (grep -F)");
            return Ok(());
        }
        let ignore = self.line.has(&["i"]);
        let (invert, count, quiet, number) = (
            self.line.has(&["v"]),
            self.line.has(&["c"]),
            self.line.has(&["q"]),
            self.line.has(&["n"]),
        );
        let with_name = self.line.operands.len() > 1;
        let fold = |text: &str| {
            if ignore {
                text.to_lowercase()
            } else {
                text.to_owned()
            }
        };
        let needle = fold(&pattern);
        let mut any = false;
        self.each(|run, path, content| {
            let mut matches = 0usize;
            let mut reader = BufReader::new(content);
            let mut index = 0usize;
            loop {
                let mut line = Vec::new();
                if reader.read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                index += 1;
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches('\n');
                if fold(text).contains(&needle) == invert {
                    continue;
                }
                matches += 1;
                if !count && !quiet {
                    let name = if with_name {
                        format!("{path}:")
                    } else {
                        String::new()
                    };
                    let number = if number {
                        format!("{index}:")
                    } else {
                        String::new()
                    };
                    run.say(&format!("{name}{number}{text}\n"))?;
                }
            }
            any |= matches > 0;
            if count {
                run.say(&format!("{matches}\n"))?;
            }
            Ok(())
        })?;
        if self.code == 0 && !any {
            self.code = 1;
        }
        Ok(())
    }

    fn ls(&mut self) -> io::Result<()> {
        let long = self.line.has(&["l"]);
        let all = self.line.has(&["a", "A", "all"]);
        let mut operands = std::mem::take(&mut self.line.operands);
        if operands.is_empty() {
            operands.push("/root".to_owned());
        }
        let many = operands.len() > 1;
        for operand in &operands {
            let path = absolute(operand);
            let metadata = match self.node.metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) => {
                    self.failed(operand, &error);
                    continue;
                }
            };
            if !metadata.is_dir() || self.line.has(&["d", "directory"]) {
                self.entry(&path, operand, long)?;
                continue;
            }
            if many {
                self.say(&format!("{operand}:\n"))?;
            }
            match self.node.list(&path) {
                Ok(names) => {
                    for name in names {
                        if all || !name.starts_with('.') {
                            self.entry(&format!("{path}/{name}"), &name, long)?;
                        }
                    }
                }
                Err(error) => self.failed(operand, &error),
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, name: &str, long: bool) -> io::Result<()> {
        if !long {
            return self.say(&format!("{name}\n"));
        }
        let Ok(metadata) = self.node.symlink_metadata(path) else {
            return self.say(&format!("??????????  {name}\n"));
        };
        let kind = metadata.file_type();
        let letter = if kind.is_dir() {
            'd'
        } else if kind.is_symlink() {
            'l'
        } else if kind.is_file() {
            '-'
        } else {
            'p'
        };
        let modified = jiff::Timestamp::from_second(metadata.mtime())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .strftime("%b %e %H:%M");
        let target = if kind.is_symlink() {
            format!(" -> {}", self.node.read_link(path).unwrap_or_default())
        } else {
            String::new()
        };
        let bits = bits(metadata.permissions().mode());
        self.say(&format!(
            "{letter}{bits} {} root root {:>8} {modified} {name}{target}\n",
            metadata.nlink(),
            metadata.len()
        ))
    }

    fn stat(&mut self) -> io::Result<()> {
        for operand in std::mem::take(&mut self.line.operands) {
            match self.node.symlink_metadata(&absolute(&operand)) {
                Ok(metadata) => {
                    let mode = metadata.permissions().mode();
                    let kind = if metadata.is_dir() {
                        "directory"
                    } else if metadata.is_file() {
                        "regular file"
                    } else {
                        "other"
                    };
                    self.say(&format!(
                        "  File: {operand}\n  Size: {}\t{kind}\nAccess: ({:04o})  Uid: (    0/    root)   Gid: (    0/    root)\n",
                        metadata.len(),
                        mode & 0o7777
                    ))?;
                }
                Err(error) => self.failed(&operand, &error),
            }
        }
        Ok(())
    }

    fn readlink(&mut self) -> io::Result<()> {
        let follow = self.line.has(&["f", "e"]);
        for operand in std::mem::take(&mut self.line.operands) {
            let path = absolute(&operand);
            let target = if follow {
                self.node.canonical(&path)
            } else {
                self.node.read_link(&path)
            };
            match target {
                Ok(target) => self.say(&format!("{target}\n"))?,
                Err(_) => self.code = 1,
            }
        }
        Ok(())
    }

    /// Source operands and the destination; a directory takes them under their own names.
    fn targets(&mut self) -> Option<Vec<(String, String)>> {
        let mut operands = std::mem::take(&mut self.line.operands);
        let Some(destination) = operands.pop().filter(|_| !operands.is_empty()) else {
            self.usage("missing operand");
            return None;
        };
        let to = absolute(&destination);
        let is_dir = self.node.metadata(&to).is_ok_and(|meta| meta.is_dir());
        if operands.len() > 1 && !is_dir {
            self.usage(&format!("target '{destination}' is not a directory"));
            return None;
        }
        Some(
            operands
                .into_iter()
                .map(|from| {
                    let name = from.trim_end_matches('/').rsplit('/').next().unwrap_or("");
                    let to = if is_dir {
                        format!("{}/{name}", to.trim_end_matches('/'))
                    } else {
                        to.clone()
                    };
                    (from, to)
                })
                .collect(),
        )
    }

    fn cp(&mut self) -> io::Result<()> {
        let recursive = self.line.has(&["r", "R", "a", "recursive", "archive"]);
        for (from, to) in self.targets().unwrap_or_default() {
            let source = absolute(&from);
            if let Err(error) = copy(self.node, &source, &to, recursive, 0) {
                self.failed(&from, &error);
            }
        }
        Ok(())
    }

    fn mv(&mut self) -> io::Result<()> {
        for (from, to) in self.targets().unwrap_or_default() {
            if let Err(error) = self.node.rename(&absolute(&from), &to) {
                self.failed(&from, &error);
            }
        }
        Ok(())
    }

    fn rm(&mut self) -> io::Result<()> {
        let recursive = self.line.has(&["r", "R", "recursive"]);
        let force = self.line.has(&["f", "force"]);
        for operand in std::mem::take(&mut self.line.operands) {
            let path = absolute(&operand);
            let removed = match self.node.symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() && !recursive => {
                    Err(rustix::io::Errno::ISDIR.into())
                }
                Ok(_) => self.node.remove_all(&path),
                Err(error) if force && error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                self.failed(&operand, &error);
            }
        }
        Ok(())
    }

    fn mkdir(&mut self) -> io::Result<()> {
        let parents = self.line.has(&["p", "parents"]);
        for operand in std::mem::take(&mut self.line.operands) {
            let path = absolute(&operand);
            let parent = path
                .trim_end_matches('/')
                .rsplit_once('/')
                .map_or("/", |p| p.0);
            let made = if !parents && self.node.exists(&path) {
                Err(rustix::io::Errno::EXIST.into())
            } else if !parents && !parent.is_empty() && !self.node.exists(parent) {
                Err(rustix::io::Errno::NOENT.into())
            } else {
                self.node.create_dir_all(&path, 0o755)
            };
            if let Err(error) = made {
                self.failed(&operand, &error);
            }
        }
        Ok(())
    }

    fn touch(&mut self) -> io::Result<()> {
        for operand in std::mem::take(&mut self.line.operands) {
            let touched = self
                .node
                .append(&absolute(&operand), 0o644)
                .and_then(|file| file.set_modified(std::time::SystemTime::now()));
            if let Err(error) = touched {
                self.failed(&operand, &error);
            }
        }
        Ok(())
    }

    fn chmod(&mut self) -> io::Result<()> {
        let operands = std::mem::take(&mut self.line.operands);
        let Some((mode, paths)) = operands.split_first() else {
            self.usage("missing operand");
            return Ok(());
        };
        let Some(mode) = u32::from_str_radix(mode, 8).ok().filter(|m| *m <= 0o7777) else {
            self.usage(&format!("only octal modes can be used here, not '{mode}'"));
            return Ok(());
        };
        for path in paths {
            if let Err(error) = self.node.set_mode(&absolute(path), mode) {
                self.failed(path, &error);
            }
        }
        Ok(())
    }

    fn ln(&mut self) -> io::Result<()> {
        let symbolic = self.line.has(&["s"]);
        let force = self.line.has(&["f"]);
        let operands = std::mem::take(&mut self.line.operands);
        let [target, link] = operands.as_slice() else {
            self.usage("two operands are needed");
            return Ok(());
        };
        if !symbolic {
            self.usage("only symbolic links can be made here (ln -s)");
            return Ok(());
        }
        let path = absolute(link);
        if force {
            let _ = self.node.remove_file(&path);
        }
        if let Err(error) = self.node.symlink(target, &path) {
            self.failed(link, &error);
        }
        Ok(())
    }

    fn tee(&mut self) -> io::Result<()> {
        let append = self.line.has(&["a", "append"]);
        let mut bytes = Vec::new();
        self.streams.stdin.read_to_end(&mut bytes)?;
        self.streams.stdout.write_all(&bytes)?;
        for operand in std::mem::take(&mut self.line.operands) {
            let path = absolute(&operand);
            let written = if append {
                self.node
                    .append(&path, 0o644)
                    .and_then(|mut file| file.write_all(&bytes))
            } else {
                let mode = self
                    .node
                    .metadata(&path)
                    .map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
                self.node.write_atomic(&path, &bytes, mode)
            };
            if let Err(error) = written {
                self.failed(&operand, &error);
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

fn bits(mode: u32) -> String {
    let mut out = String::new();
    for shift in [6, 3, 0] {
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            out.push(if mode >> shift & bit != 0 {
                letter
            } else {
                '-'
            });
        }
    }
    out
}

fn copy(node: &Confined, from: &str, to: &str, recursive: bool, depth: usize) -> io::Result<()> {
    let metadata = node.metadata(from)?;
    if metadata.is_dir() {
        // A directory copied into itself would never end.
        let into_itself = to.starts_with(&format!("{}/", from.trim_end_matches('/')));
        if !recursive || into_itself || depth > 64 {
            return Err(rustix::io::Errno::ISDIR.into());
        }
        node.create_dir_all(to, metadata.permissions().mode() & 0o7777)?;
        for name in node.list(from)? {
            copy(
                node,
                &format!("{from}/{name}"),
                &format!("{to}/{name}"),
                recursive,
                depth + 1,
            )?;
        }
        return Ok(());
    }
    let content = node.read(from, 1 << 30)?;
    node.write_atomic(to, &content, metadata.permissions().mode() & 0o7777)
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Node {
        dir: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("node/root")).unwrap();
            std::fs::create_dir_all(dir.path().join("node/etc")).unwrap();
            std::fs::write(dir.path().join("secret"), "outside").unwrap();
            Self { dir }
        }

        /// Exit code, output and errors of a command line (words split at blanks).
        fn run(&self, line: &str, stdin: &str) -> (u8, String, String) {
            let node = Confined::new(&self.dir.path().join("node"));
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut streams = Streams {
                stdin: &mut stdin.as_bytes(),
                stdout: &mut out,
                stderr: &mut err,
            };
            let code = run(&node, &words[0], &words[1..], &mut streams).unwrap();
            (
                code,
                String::from_utf8(out).unwrap(),
                String::from_utf8(err).unwrap(),
            )
        }
    }

    #[test]
    fn commands_do_what_their_names_say_within_the_node() {
        let node = Node::new();
        let lines = [
            ("tee a.txt", "one\ntwo\nthree\n", 0, "one\ntwo\nthree\n", ""),
            ("cat /root/a.txt", "", 0, "one\ntwo\nthree\n", ""),
            ("head -n 1 a.txt", "", 0, "one\n", ""),
            ("tail -2 a.txt", "", 0, "two\nthree\n", ""),
            ("wc -l a.txt", "", 0, "3 a.txt\n", ""),
            ("grep -n t a.txt", "", 0, "2:two\n3:three\n", ""),
            ("grep -c none a.txt", "", 1, "0\n", ""),
            ("mkdir -p /opt/x/y", "", 0, "", ""),
            ("cp a.txt /opt/x", "", 0, "", ""),
            ("mv /opt/x/a.txt /opt/x/b.txt", "", 0, "", ""),
            ("cp -r /opt/x /opt/z", "", 0, "", ""),
            ("ls /opt/z", "", 0, "b.txt\ny\n", ""),
            ("chmod 600 /opt/z/b.txt", "", 0, "", ""),
            ("ln -s /opt/z/b.txt link", "", 0, "", ""),
            ("readlink -f link", "", 0, "/opt/z/b.txt\n", ""),
            ("test -f link", "", 0, "", ""),
            ("[ -d /opt/none ]", "", 1, "", ""),
            ("rm -r /opt/z", "", 0, "", ""),
            (
                "cat link",
                "",
                1,
                "",
                "cat: link: No such file or directory\n",
            ),
            ("rm /opt/x", "", 1, "", "rm: /opt/x: Is a directory\n"),
            ("rm -f none", "", 0, "", ""),
            (
                "ls none",
                "",
                2,
                "",
                "ls: none: No such file or directory\n",
            ),
            ("echo -n a b", "", 0, "a b", ""),
        ];
        for (line, stdin, code, out, err) in lines {
            assert_eq!(
                node.run(line, stdin),
                (code, out.to_owned(), err.to_owned()),
                "{line}"
            );
        }
    }

    #[test]
    fn no_path_leads_out() {
        let node = Node::new();
        let secret = node.dir.path().join("secret");
        for line in [
            "cat ../../secret".to_owned(),
            format!("cat {}", secret.display()),
            "cat /../../../../etc/passwd".to_owned(),
        ] {
            let (code, out, _) = node.run(&line, "");
            assert_eq!((code, out.as_str()), (1, ""), "{line}");
        }
        node.run("ln -s ../../../../../../../secret out", "");
        node.run("tee out", "changed");
        node.run("rm -r ../../..", "");
        assert_eq!(std::fs::read_to_string(secret).unwrap(), "outside");
    }
}
