//! Commands that show files: `cat`, `head`, `tail`, `wc`, `grep`, `ls`, `stat`, `readlink`.

use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::{Run, absolute};

impl Run<'_, '_> {
    pub(super) fn cat(&mut self) -> io::Result<()> {
        self.each(|run, _, content| io::copy(content, run.streams.stdout).map(|_| ()))
    }

    pub(super) fn head(&mut self) -> io::Result<()> {
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

    pub(super) fn tail(&mut self) -> io::Result<()> {
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

    pub(super) fn wc(&mut self) -> io::Result<()> {
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
    pub(super) fn grep(&mut self) -> io::Result<()> {
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

    pub(super) fn ls(&mut self) -> io::Result<()> {
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

    pub(super) fn stat(&mut self) -> io::Result<()> {
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

    pub(super) fn readlink(&mut self) -> io::Result<()> {
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
