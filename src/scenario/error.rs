//! What can be wrong with a scenario.

use std::fmt;

/// A mistake in a scenario, or no such scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// No scenario has this name.
    #[error("there is no scenario `{id}`{}\n\nhint: {}", place(.directory), next_name(.nearest))]
    Unknown {
        /// The name asked for.
        id: String,
        /// Where it was looked for besides the embedded ones.
        directory: Option<String>,
        /// The most similar name there is.
        nearest: Option<String>,
    },
    /// A file of a scenario is wrong.
    #[error("{place}: {message}\n\nhint: {hint}")]
    Invalid {
        /// The file, with the line where known.
        place: Place,
        /// What is wrong.
        message: String,
        /// What to do next.
        hint: String,
    },
    /// A directory or file cannot be read.
    #[error("cannot read `{path}`: {message}\n\nhint: check the path given to --scenarios")]
    Unreadable {
        /// The path.
        path: String,
        /// What the system said.
        message: String,
    },
}

/// A file, and the line where known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// 1-based line.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

fn place(directory: &Option<String>) -> String {
    directory
        .as_ref()
        .map(|directory| format!(" (nor in `{directory}`)"))
        .unwrap_or_default()
}

fn next_name(nearest: &Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`? `ckslab list` shows all of them"),
        None => "`ckslab list` shows all of them".to_owned(),
    }
}

impl ScenarioError {
    /// A mistake in `file`, found on the line of `needle` in `text` (the file's content).
    #[must_use]
    pub fn at(file: &str, text: &str, needle: &str, message: impl Into<String>) -> Self {
        Self::Invalid {
            place: Place {
                file: file.to_owned(),
                line: text
                    .lines()
                    .position(|line| !needle.is_empty() && line.contains(needle))
                    .map(|index| index + 1),
            },
            message: message.into(),
            hint: LINT.to_owned(),
        }
    }

    /// A YAML file that cannot be read as what it should be.
    #[must_use]
    pub fn yaml(file: &str, error: &serde_yaml::Error) -> Self {
        let line = error.location().map(|location| location.line());
        let mut message = error.to_string();
        // The place is written in front; the parser's own " at line 3 column 5" would repeat it.
        if let Some(cut) = message.find(" at line ") {
            message.truncate(cut);
        }
        if let Some(likely) = likely(&message) {
            message.push_str(&format!(" (did you mean `{likely}`?)"));
        }
        Self::Invalid {
            place: Place {
                file: file.to_owned(),
                line,
            },
            message,
            hint: SCHEMA.to_owned(),
        }
    }
}

/// The known word most like the unknown one of "unknown field `a`, expected one of `b`, `c`".
fn likely(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let known: Vec<String> = rest
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    super::load::nearest(unknown, &known)
}

/// The hint for mistakes in content.
pub const LINT: &str = "correct the file, then run `ckslab scenario lint`";
/// The hint for mistakes in form.
pub const SCHEMA: &str = "`ckslab scenario schema` prints the format";
