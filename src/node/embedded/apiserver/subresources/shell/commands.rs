//! The commands of the shell.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Outcome, Shell, append, is_shell};

impl Shell {
    pub(super) fn command(&mut self, argv: &[String], input: &str) -> Outcome {
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
