//! The commands and options of crictl, read from `commands.txt`.

use super::flags::{Command, Flag, Kind};

const TEXT: &str = include_str!("commands.txt");

/// What crictl knows.
pub(super) struct Commands {
    /// Options before the command.
    pub global: Vec<Flag>,
    /// Every command, sorted by name; `help` is the last.
    pub commands: Vec<Command>,
}

impl Commands {
    /// Reads them. A line that is none is left out.
    pub fn read() -> Self {
        let mut shared: Vec<(&str, Flag)> = Vec::new();
        let mut all = Self {
            global: Vec::new(),
            commands: Vec::new(),
        };
        let lines = TEXT.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let words: Vec<&str> = line.split('\t').collect();
            match words.as_slice() {
                ["", name] => {
                    let found = shared.iter().find(|(shared, _)| shared == name);
                    all.add(found.map(|(_, flag)| flag.clone()));
                }
                ["", rest @ ..] => all.add(flag(rest)),
                [name, rest @ ..] if name.starts_with('@') => {
                    shared.extend(flag(rest).map(|flag| (*name, flag)));
                }
                [names, short, arguments, usage] => all.commands.push(Command {
                    names: names.split(',').collect(),
                    usage,
                    arguments,
                    short: *short == "short",
                    flags: Vec::new(),
                }),
                _ => {}
            }
        }
        all
    }

    fn add(&mut self, flag: Option<Flag>) {
        let flags = match self.commands.last_mut() {
            Some(command) => &mut command.flags,
            None => &mut self.global,
        };
        flags.extend(flag);
    }

    /// The command of this name.
    pub fn find(&self, name: &str) -> Option<&Command> {
        let mut all = self.commands.iter();
        all.find(|command| command.names.contains(&name))
    }
}

fn flag(words: &[&'static str]) -> Option<Flag> {
    let [names, kind, default, usage] = words else {
        return None;
    };
    Some(Flag {
        names: names.split(',').collect(),
        kind: match *kind {
            "bool" => Kind::Bool,
            "text" => Kind::Text,
            "list" => Kind::List,
            "number" => Kind::Number,
            "duration" => Kind::Duration,
            _ => return None,
        },
        default,
        usage: usage.replace("\\n", "\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let all = Commands::read();
        let lines = || TEXT.lines().filter(|line| !line.starts_with('#'));
        let options = lines().filter(|line| line.starts_with('\t')).count();
        let shared = lines().filter(|line| line.starts_with('@')).count();
        let read: usize = all.commands.iter().map(|command| command.flags.len()).sum();
        assert_eq!(read + all.global.len(), options);
        assert_eq!(all.commands.len(), lines().count() - options - shared);
        for command in &all.commands {
            let mut names: Vec<&str> = command.flags.iter().map(|f| f.names[0]).collect();
            let before = names.clone();
            names.sort_unstable();
            assert_eq!(names, before, "{:?}", command.names);
        }
        assert!(
            all.find("img")
                .is_some_and(|images| images.names[0] == "images")
        );
    }
}
