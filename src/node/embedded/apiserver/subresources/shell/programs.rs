//! The programs a simulated container has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Outcome, Shell, append, is_shell};

impl Shell {
    pub(super) fn command(&mut self, argv: &[String], input: &[u8]) -> Outcome {
        let Some((program, arguments)) = argv.split_first() else {
            return Outcome::default();
        };
        let name = program.rsplit('/').next().unwrap_or(program);
        let operands: Vec<&String> = arguments
            .iter()
            .filter(|word| !word.starts_with('-'))
            .collect();
        match name {
            "true" | ":" | "sync" | "chmod" | "chown" | "kill" | "wait" | "trap" => {
                Outcome::default()
            }
            "sleep" => {
                for operand in &operands {
                    self.sleep(operand.trim_end_matches('s').parse().unwrap_or(1e9));
                }
                Outcome::default()
            }
            "exit" => Outcome {
                code: operands
                    .first()
                    .and_then(|code| code.parse().ok())
                    .unwrap_or(0),
                exit: true,
                ..Outcome::default()
            },
            "touch" | "mkdir" | "rm" | "tee" => self.change(name, &operands, input),
            "test" | "[" => self.test(arguments),
            "tar" => self.tar(arguments, input),
            "false" => Outcome::code(1),
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
            "which" | "type" => match operands.first() {
                Some(name) if is_known(name) => Outcome::text(format!("/bin/{name}\n")),
                _ => Outcome::code(1),
            },
            "seq" => seq(&operands),
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
                if target == "/" || self.files.names(&target).is_some() {
                    self.directory = target;
                    Outcome::default()
                } else {
                    Outcome::error(format!("sh: cd: can't cd to {target}\n"), 2)
                }
            }
            "env" | "printenv" | "export" | "set" => match operands.first() {
                Some(name) if program != "export" => match self.variable(name) {
                    "" => Outcome::code(1),
                    value => Outcome::text(format!("{value}\n")),
                },
                Some(assignment) => {
                    if let Some((name, value)) = assignment.split_once('=') {
                        self.set(name, value.to_owned());
                    }
                    Outcome::default()
                }
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
            "date" => self.date(arguments),
            "ps" => Outcome::text(format!(
                "PID   USER     TIME  COMMAND\n    1 {0}      0:00 {1}\n   29 {0}      0:00 {2}\n",
                if self.user == 0 { "root" } else { "app" },
                self.title,
                [&[name.to_owned()], arguments].concat().join(" ")
            )),
            "cat" | "head" | "tail" | "sort" => self.cat(name, arguments, input),
            "ls" => self.ls(arguments, &operands),
            "grep" => grep(&operands, input),
            "wc" => Outcome::text(format!(
                "{}\n",
                input.iter().filter(|byte| **byte == b'\n').count()
            )),
            "base64" if arguments.iter().any(|word| word == "-d") => {
                let text: Vec<u8> = input
                    .iter()
                    .copied()
                    .filter(|byte| !byte.is_ascii_whitespace())
                    .collect();
                STANDARD.decode(text).map_or_else(
                    |_| Outcome::error("base64: invalid input\n", 1),
                    Outcome::text,
                )
            }
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
                        .paths()
                        .iter()
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
            "nginx" => Outcome::error("nginx version: nginx/1.29.0\n", 0),
            _ => Outcome::error(format!("sh: {program}: not found\n"), 127),
        }
    }

    fn cat(&self, name: &str, arguments: &[String], input: &[u8]) -> Outcome {
        let mut total = Outcome::default();
        let mut count: Option<usize> = None;
        let mut paths = Vec::new();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some("n") if name != "cat" => count = words.next().and_then(|n| n.parse().ok()),
                Some(flag) if name != "cat" => {
                    count = flag.trim_start_matches(['n', 'c', '+']).parse().ok();
                }
                Some(_) => {}
                None => paths.push(word),
            }
        }
        if paths.is_empty() {
            append(&mut total.stdout, input);
        }
        for path in paths {
            let full = self.absolute(path);
            if let Some(content) = self.files.read(&full) {
                append(&mut total.stdout, &content);
            } else if self.files.is_directory(&full) {
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
        if name == "cat" {
            return total;
        }
        let text = String::from_utf8_lossy(&total.stdout).into_owned();
        let mut lines: Vec<&str> = text.lines().collect();
        let count = count.unwrap_or(10);
        match name {
            "head" => lines.truncate(count),
            "tail" => {
                lines.drain(..lines.len().saturating_sub(count));
            }
            _ => lines.sort_unstable(),
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        total.stdout = text.into_bytes();
        total
    }

    /// Makes, removes and writes files.
    fn change(&mut self, name: &str, operands: &[&String], input: &[u8]) -> Outcome {
        let mut total = Outcome::default();
        for path in operands {
            let full = self.absolute(path);
            let done = match name {
                "mkdir" => self.files.make_directory(&full),
                "rm" => {
                    self.files.remove(&full);
                    Ok(())
                }
                "touch" => {
                    let content = self.files.read(&full).unwrap_or_default();
                    self.files.write(&full, content)
                }
                _ => self.files.write(&full, input.to_vec()),
            };
            if let Err(why) = done {
                total
                    .stderr
                    .push_str(&format!("{name}: {path}: {}\n", why.text()));
                total.code = 1;
            }
        }
        if name == "tee" {
            total.stdout = input.to_vec();
        }
        total
    }

    fn test(&self, arguments: &[String]) -> Outcome {
        let words: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .filter(|word| *word != "]")
            .collect();
        let number = |text: &str| text.parse::<i64>().unwrap_or(0);
        let holds = match words.as_slice() {
            ["!", rest @ ..] => {
                let rest: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
                self.test(&rest).code != 0
            }
            ["-d", path] => self.files.is_directory(&self.absolute(path)),
            ["-f" | "-r" | "-s", path] => self.files.read(&self.absolute(path)).is_some(),
            ["-e" | "-w" | "-x", path] => {
                let full = self.absolute(path);
                self.files.read(&full).is_some() || self.files.is_directory(&full)
            }
            ["-z", text] => text.is_empty(),
            ["-n", text] | [text] => !text.is_empty(),
            [a, "=" | "==", b] => a == b,
            [a, "!=", b] => a != b,
            [a, "-lt", b] => number(a) < number(b),
            [a, "-le", b] => number(a) <= number(b),
            [a, "-gt", b] => number(a) > number(b),
            [a, "-ge", b] => number(a) >= number(b),
            [a, "-eq", b] => number(a) == number(b),
            [a, "-ne", b] => number(a) != number(b),
            _ => false,
        };
        Outcome::code(i32::from(!holds))
    }

    /// The time, in the form that is asked for.
    fn date(&self, arguments: &[String]) -> Outcome {
        let asked = arguments.iter().find_map(|word| word.strip_prefix('+'));
        let now = self.now().to_zoned(jiff::tz::TimeZone::UTC);
        let form = asked.unwrap_or("%a %b %e %H:%M:%S UTC %Y");
        match jiff::fmt::strtime::format(form, &now) {
            Ok(text) => Outcome::text(text + "\n"),
            Err(_) => Outcome::text(format!("{form}\n")),
        }
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
            let names = match self.files.names(&full) {
                Some(names) => names,
                None if self.files.read(&full).is_some() => vec![path.clone()],
                None => {
                    total
                        .stderr
                        .push_str(&format!("ls: {path}: No such file or directory\n"));
                    total.code = 1;
                    continue;
                }
            };
            if paths.len() > 1 {
                append(&mut total.stdout, format!("{path}:\n").as_bytes());
            }
            for name in names {
                if long {
                    let file = self
                        .files
                        .read(&format!("{}/{name}", full.trim_end_matches('/')));
                    let (mode, size) = match file {
                        Some(content) => ("-rw-r--r--", content.len()),
                        None => ("drwxr-xr-x", 4096),
                    };
                    let line = format!("{mode}    1 root     root     {size:>9} {name}\n");
                    append(&mut total.stdout, line.as_bytes());
                } else {
                    append(&mut total.stdout, format!("{name}\n").as_bytes());
                }
            }
        }
        total
    }
}

fn grep(operands: &[&String], input: &[u8]) -> Outcome {
    let Some(pattern) = operands.first() else {
        return Outcome::code(2);
    };
    let found: String = String::from_utf8_lossy(input)
        .lines()
        .filter(|line| line.contains(pattern.as_str()))
        .map(|line| format!("{line}\n"))
        .collect();
    Outcome {
        code: i32::from(found.is_empty()),
        ..Outcome::text(found)
    }
}

fn seq(operands: &[&String]) -> Outcome {
    let numbers: Vec<i64> = operands
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect();
    let (first, last) = match numbers.as_slice() {
        [last] => (1, *last),
        [first, .., last] => (*first, *last),
        [] => return Outcome::code(1),
    };
    let text: String = (first..=last)
        .take(10_000)
        .map(|number| format!("{number}\n"))
        .collect();
    Outcome::text(text)
}

/// Whether there is a program of this name.
pub(super) fn is_known(name: &str) -> bool {
    const NAMES: [&str; 56] = [
        "[", "apt", "ash", "awk", "base64", "bash", "cat", "chmod", "chown", "cp", "curl", "cut",
        "dash", "date", "df", "echo", "env", "false", "find", "grep", "head", "hostname", "id",
        "kill", "ln", "ls", "mkdir", "more", "mount", "mv", "nginx", "nslookup", "ping",
        "printenv", "printf", "ps", "pwd", "rm", "sed", "seq", "sh", "sleep", "sort", "stat",
        "sync", "tail", "tar", "tee", "test", "top", "touch", "true", "uname", "wc", "wget",
        "whoami",
    ];
    NAMES.contains(&name)
}
