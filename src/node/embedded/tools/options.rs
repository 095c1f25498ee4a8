//! Command-line options of the node tools, parsed as getopt and urfave/cli parse them.

/// An option a tool knows.
pub(super) struct Known {
    /// Names, without dashes; one letter is a short option.
    pub names: &'static [&'static str],
    /// Whether it takes a value.
    pub value: bool,
}

/// An option without a value.
pub(super) const fn flag(names: &'static [&'static str]) -> Known {
    Known {
        names,
        value: false,
    }
}

/// An option with a value.
pub(super) const fn value(names: &'static [&'static str]) -> Known {
    Known { names, value: true }
}

/// What was given.
#[derive(Debug, Default)]
pub(super) struct Given {
    options: Vec<(&'static str, String)>,
    /// Arguments that are no options.
    pub rest: Vec<String>,
}

/// How one-letter options may be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// getopt: `-xeu kubelet`, `-n20`.
    Clusters,
    /// urfave/cli: also `-o=json`, and one dash may lead a long name.
    Go,
}

impl Given {
    /// Parses arguments; options end at `--` (and, with `first_only`, at the first other argument).
    ///
    /// # Errors
    /// The name of an unknown option, or of one that lacks its value.
    pub fn parse(
        arguments: &[String],
        known: &[Known],
        style: Style,
        first_only: bool,
    ) -> Result<Self, Problem> {
        let find = |name: &str| known.iter().find(|k| k.names.contains(&name));
        let mut given = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                given.rest.extend(arguments.cloned());
                break;
            }
            let Some(body) = argument.strip_prefix('-').filter(|b| !b.is_empty()) else {
                given.rest.push(argument.clone());
                if first_only {
                    given.rest.extend(arguments.cloned());
                    break;
                }
                continue;
            };
            let long = body.strip_prefix('-');
            // crictl reads `-o=json` as one option and `-aq` as two.
            let name = body.split('=').next().unwrap_or(body);
            let whole = style == Style::Go && find(name).is_some();
            if let Some(long) = long.or_else(|| whole.then_some(body)) {
                let (name, inline) = match long.split_once('=') {
                    Some((name, inline)) => (name, Some(inline.to_owned())),
                    None => (long, None),
                };
                let option = find(name).ok_or_else(|| Problem::Unknown(argument.clone()))?;
                let first = option.names.first().copied().unwrap_or("");
                let text = match (option.value, inline) {
                    (true, Some(inline)) => inline,
                    (true, None) => arguments
                        .next()
                        .cloned()
                        .ok_or_else(|| Problem::Lacks(argument.clone()))?,
                    (false, inline) => inline.unwrap_or_else(|| "true".into()),
                };
                given.options.push((first, text));
                continue;
            }
            for (at, letter) in body.char_indices() {
                let option = find(&letter.to_string())
                    .ok_or_else(|| Problem::Unknown(format!("-{letter}")))?;
                let first = option.names.first().copied().unwrap_or("");
                if !option.value {
                    given.options.push((first, "true".into()));
                    continue;
                }
                let attached = body.get(at + letter.len_utf8()..).unwrap_or("");
                let text = if attached.is_empty() {
                    arguments
                        .next()
                        .cloned()
                        .ok_or_else(|| Problem::Lacks(format!("-{letter}")))?
                } else {
                    attached.to_owned()
                };
                given.options.push((first, text));
                break;
            }
        }
        Ok(given)
    }

    /// The last value of an option, by its first name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .rev()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Every value of an option, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Whether a flag is set.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v != "false")
    }
}

/// Why arguments were refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// No such option.
    Unknown(String),
    /// The option needs a value.
    Lacks(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Known] = &[
        flag(&["x"]),
        flag(&["e"]),
        value(&["u", "unit"]),
        value(&["n", "lines"]),
    ];

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn clusters_and_values() {
        let given = Given::parse(
            &words("-xeu kubelet -n20 a --lines=3 -- -b"),
            KNOWN,
            Style::Clusters,
            false,
        )
        .unwrap();
        assert!(given.has("x") && given.has("e"));
        assert_eq!(given.get("u"), Some("kubelet"));
        assert_eq!(given.all("n").collect::<Vec<_>>(), ["20", "3"]);
        assert_eq!(given.rest, ["a", "-b"]);
        let problem = Given::parse(&words("-z"), KNOWN, Style::Clusters, false).unwrap_err();
        assert_eq!(problem, Problem::Unknown("-z".into()));
        let problem = Given::parse(&words("-u"), KNOWN, Style::Clusters, false).unwrap_err();
        assert_eq!(problem, Problem::Lacks("-u".into()));
    }
}
