//! Command lines as crictl reads them: Go's `flag` package under urfave/cli v2. Options end at the
//! first argument that is none; `-aq` is two options where the command allows that.

/// What kind of value an option has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// None, or `=true`.
    Bool,
    /// A text.
    Text,
    /// Texts, each by an option of its own.
    List,
    /// A whole number.
    Number,
    /// A duration such as `2s`.
    Duration,
}

/// An option.
#[derive(Debug, Clone)]
pub(super) struct Flag {
    /// Name and aliases.
    pub names: Vec<&'static str>,
    /// Kind of value.
    pub kind: Kind,
    /// What the help says of its default, if anything.
    pub default: &'static str,
    /// Help.
    pub usage: String,
}

/// A command.
pub(super) struct Command {
    /// Name and aliases.
    pub names: Vec<&'static str>,
    /// Help.
    pub usage: &'static str,
    /// Its arguments in the help.
    pub arguments: &'static str,
    /// Whether `-aq` is two options.
    pub short: bool,
    /// Options, sorted by name.
    pub flags: Vec<Flag>,
}

/// What was given.
#[derive(Debug, Default)]
pub(super) struct Given {
    values: Vec<(&'static str, String)>,
    /// Arguments after the options.
    pub arguments: Vec<String>,
    /// Whether help is asked for.
    pub help: bool,
}

const HELP: &[&str] = &["help", "h"];

impl Given {
    /// Parses the words after a command.
    ///
    /// # Errors
    /// In the words of Go's `flag`.
    pub fn parse(arguments: &[String], flags: &[Flag], short: bool) -> Result<Self, String> {
        let mut given = Self::default();
        let mut rest: std::collections::VecDeque<String> = arguments.iter().cloned().collect();
        while let Some(word) = rest.pop_front() {
            let body = word.strip_prefix('-').unwrap_or("");
            if body.is_empty() {
                rest.push_front(word);
                break;
            }
            let body = body.strip_prefix('-').unwrap_or(body);
            if body.is_empty() {
                break;
            }
            if body.starts_with(['-', '=']) {
                return Err(format!("bad flag syntax: {word}"));
            }
            let (name, inline) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let Some(flag) = flags.iter().find(|f| f.names.contains(&name)) else {
                if HELP.contains(&name) {
                    given.help = true;
                    continue;
                }
                let letters = word.strip_prefix('-').unwrap_or("");
                let known = |letter: char| {
                    let letter = letter.to_string();
                    HELP.contains(&letter.as_str())
                        || flags.iter().any(|f| f.names.contains(&letter.as_str()))
                };
                if short && letters.len() > 1 && letters.chars().all(known) {
                    for letter in letters.chars().rev() {
                        rest.push_front(format!("-{letter}"));
                    }
                    continue;
                }
                return Err(format!("flag provided but not defined: -{name}"));
            };
            let first = flag.names.first().copied().unwrap_or("");
            let text = match (flag.kind, inline) {
                (Kind::Bool, None) => "true".to_owned(),
                (Kind::Bool, Some(text)) => match text.as_str() {
                    "1" | "t" | "T" | "TRUE" | "true" | "True" => "true".to_owned(),
                    "0" | "f" | "F" | "FALSE" | "false" | "False" => "false".to_owned(),
                    _ => {
                        return Err(format!(
                            "invalid boolean value {text:?} for -{name}: parse error"
                        ));
                    }
                },
                (_, Some(text)) => text,
                (_, None) => rest
                    .pop_front()
                    .ok_or_else(|| format!("flag needs an argument: -{name}"))?,
            };
            let fits = match flag.kind {
                Kind::Number => text.parse::<i64>().is_ok(),
                Kind::Duration => duration(&text).is_some(),
                _ => true,
            };
            if !fits {
                return Err(format!(
                    "invalid value {text:?} for flag -{name}: parse error"
                ));
            }
            given.values.push((first, text));
        }
        given.arguments = rest.into();
        Ok(given)
    }

    /// The last value of an option, by its first name; an empty one is as good as none.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().rev().find(|(n, _)| *n == name);
        found.map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Every value of an option, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.values.iter().filter(move |(n, _)| *n == name);
        found.map(|(_, v)| v.as_str())
    }

    /// Whether an option was given at all.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.iter().any(|(n, _)| *n == name)
    }

    /// Whether a flag is set.
    pub fn has(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }
}

/// A Go duration.
pub(super) fn duration(text: &str) -> Option<jiff::SignedDuration> {
    if text == "0" {
        return Some(jiff::SignedDuration::ZERO);
    }
    let mut total = 0.0f64;
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = after;
    }
    jiff::SignedDuration::try_from_secs_f64(sign * total).ok()
}

impl Command {
    /// The help of the command.
    pub fn help(&self) -> String {
        let name = self.names.first().copied().unwrap_or("");
        let space = if self.arguments.is_empty() { "" } else { " " };
        let mut text = format!(
            "NAME:\n   crictl {name} - {}\n\nUSAGE:\n   crictl {name} [command options]{space}{}\n\nOPTIONS:\n",
            self.usage, self.arguments
        );
        text.push_str(&options(&self.flags, &[]));
        text
    }
}

/// Options as the help lists them.
pub(super) fn options(flags: &[Flag], more: &[(&str, &str)]) -> String {
    let mut rows: Vec<(String, String)> = flags
        .iter()
        .map(|flag| {
            let value = if flag.kind == Kind::Bool {
                ""
            } else {
                " value"
            };
            let names: Vec<String> = flag
                .names
                .iter()
                .map(|name| {
                    let dashes = if name.len() == 1 { "-" } else { "--" };
                    format!("{dashes}{name}{value}")
                })
                .collect();
            let mut names = names.join(", ");
            if flag.kind == Kind::List {
                names = format!("{names} [ {names} ]");
            }
            let default = match (flag.kind, flag.default) {
                (Kind::Bool, "") => " (default: false)".to_owned(),
                (Kind::Number, "") => " (default: 0)".to_owned(),
                (Kind::Duration, "") => " (default: 0s)".to_owned(),
                (_, "") => String::new(),
                (_, text) => format!(" (default: {text})"),
            };
            (names, format!("{}{default}", flag.usage))
        })
        .collect();
    rows.push(("--help, -h".to_owned(), "show help".to_owned()));
    rows.extend(more.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())));
    let width = rows.iter().map(|(names, _)| names.len()).max().unwrap_or(0) + 2;
    rows.iter()
        .map(|(names, usage)| format!("   {names:<width$}{usage}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(names: &[&'static str], kind: Kind) -> Flag {
        Flag {
            names: names.to_vec(),
            kind,
            default: "",
            usage: String::new(),
        }
    }

    fn parse(line: &str, short: bool) -> Result<Given, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let flags = [
            flag(&["all", "a"], Kind::Bool),
            flag(&["quiet", "q"], Kind::Bool),
            flag(&["name"], Kind::Text),
            flag(&["tail"], Kind::Number),
        ];
        Given::parse(&words, &flags, short)
    }

    #[test]
    fn options_end_at_the_first_argument() {
        let given = parse("-a --name=x -name y id --tail 3", true).unwrap();
        assert!(given.has("all") && !given.has("quiet"));
        assert_eq!(given.get("name"), Some("y"));
        assert_eq!(given.arguments, ["id", "--tail", "3"]);
        assert_eq!(given.number("tail"), None);
        assert!(parse("-aq", true).unwrap().has("quiet"));
    }

    #[test]
    fn refusals_are_those_of_go() {
        for (line, short, text) in [
            ("--nope", true, "flag provided but not defined: -nope"),
            ("-aq", false, "flag provided but not defined: -aq"),
            ("-ax", true, "flag provided but not defined: -ax"),
            ("--name", true, "flag needs an argument: -name"),
            ("---x", true, "bad flag syntax: ---x"),
            (
                "--tail=x",
                true,
                "invalid value \"x\" for flag -tail: parse error",
            ),
            (
                "-a=yes",
                true,
                "invalid boolean value \"yes\" for -a: parse error",
            ),
        ] {
            assert_eq!(parse(line, short).unwrap_err(), text, "{line}");
        }
    }

    #[test]
    fn go_durations() {
        assert_eq!(
            duration("1h30m"),
            Some(jiff::SignedDuration::from_secs(5400))
        );
        assert_eq!(
            duration("1.5s"),
            Some(jiff::SignedDuration::from_millis(1500))
        );
        assert_eq!(duration("5"), None);
        assert_eq!(duration("5 m"), None);
    }
}
