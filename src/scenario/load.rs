//! Finding and reading scenarios: those embedded in the binary, and those of a directory.

use std::collections::BTreeMap;
use std::path::Path;

use include_dir::{Dir, include_dir};

use super::attempt::AttemptFile;
use super::definition::{Definition, FORMAT};
use super::error::{LINT, Place, SCHEMA, ScenarioError};

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");

/// Files a scenario may hold; a larger one is no text.
const LARGEST_FILE: u64 = 1 << 20;
/// Nesting that a file of a scenario may have.
const DEEPEST: usize = 200;
/// Attempts a scenario may have.
const MOST_ATTEMPTS: usize = 200;

/// A scenario as read, variables not yet filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// `scenario.yaml`.
    pub definition: Definition,
    /// `task.md`.
    pub task: String,
    /// `hints.md`; empty when there is none.
    pub hints: String,
    /// `explanation.md`; empty when there is none.
    pub explanation: String,
    /// `attempts/*.yaml` by name without ending.
    pub attempts: BTreeMap<String, AttemptFile>,
    /// Where the files are, for messages.
    pub origin: String,
    /// Texts of the files by relative path, for messages about their lines.
    pub(super) files: BTreeMap<String, String>,
}

impl Scenario {
    /// Every scenario: those of the directory (if any) first, then the embedded ones whose id is not among them.
    ///
    /// # Errors
    /// When a scenario of the directory is wrong or the directory cannot be read.
    pub fn all(directory: Option<&Path>) -> Result<Vec<Self>, ScenarioError> {
        let mut all = match directory {
            Some(directory) => Self::all_in(directory)?,
            None => Vec::new(),
        };
        for folder in EMBEDDED.dirs() {
            let name = folder.path().to_string_lossy().into_owned();
            if all.iter().all(|scenario| scenario.definition.id != name) {
                all.push(Self::embedded(folder)?);
            }
        }
        all.sort_by(|a, b| a.definition.id.cmp(&b.definition.id));
        Ok(all)
    }

    /// The scenario of this id.
    ///
    /// # Errors
    /// When there is none (with the nearest name), or it is wrong.
    pub fn find(id: &str, directory: Option<&Path>) -> Result<Self, ScenarioError> {
        let names = names(directory)?;
        if names.iter().any(|name| name == id) {
            if let Some(directory) = directory {
                let folder = directory.join(id);
                if folder.join("scenario.yaml").exists() {
                    return Self::read_from(&folder);
                }
            }
            if let Some(folder) = EMBEDDED.get_dir(id) {
                return Self::embedded(folder);
            }
        }
        Err(ScenarioError::Unknown {
            id: id.to_owned(),
            directory: directory.map(|directory| directory.display().to_string()),
            nearest: nearest(id, &names),
        })
    }

    /// Reads the scenario of a folder (the one that holds `scenario.yaml`).
    ///
    /// # Errors
    /// When a file cannot be read or is wrong.
    pub fn read_from(folder: &Path) -> Result<Self, ScenarioError> {
        let mut files = BTreeMap::new();
        for name in ["scenario.yaml", "task.md", "hints.md", "explanation.md"] {
            if let Some(text) = read_text(&folder.join(name))? {
                files.insert(name.to_owned(), text);
            }
        }
        let attempts = folder.join("attempts");
        // A link could lead anywhere on the machine of whoever tries the scenario.
        if std::fs::symlink_metadata(&attempts).is_ok_and(|found| found.is_dir()) {
            let mut names = entries(&attempts)?;
            names.retain(|name| name.ends_with(".yaml"));
            if names.len() > MOST_ATTEMPTS {
                return Err(ScenarioError::Invalid {
                    place: Place {
                        file: attempts.display().to_string(),
                        line: None,
                    },
                    message: format!("there are more than {MOST_ATTEMPTS} attempts"),
                    hint: LINT.to_owned(),
                });
            }
            for entry in names {
                if let Some(text) = read_text(&attempts.join(&entry))? {
                    files.insert(format!("attempts/{entry}"), text);
                }
            }
        }
        let name = folder
            .canonicalize()
            .ok()
            .and_then(|full| {
                full.file_name()
                    .map(|name| name.to_string_lossy().into_owned())
            })
            .unwrap_or_default();
        Self::from_files(&name, &folder.display().to_string(), files)
    }

    fn all_in(directory: &Path) -> Result<Vec<Self>, ScenarioError> {
        let mut all = Vec::new();
        for entry in entries(directory)? {
            let folder = directory.join(&entry);
            if folder.join("scenario.yaml").exists() {
                all.push(Self::read_from(&folder)?);
            }
        }
        Ok(all)
    }

    fn embedded(folder: &Dir<'static>) -> Result<Self, ScenarioError> {
        let name = folder.path().to_string_lossy().into_owned();
        let mut files = BTreeMap::new();
        collect(folder, folder.path(), &mut files);
        Self::from_files(&name, &format!("scenarios/{name}"), files)
    }

    fn from_files(
        name: &str,
        origin: &str,
        files: BTreeMap<String, String>,
    ) -> Result<Self, ScenarioError> {
        let text = files
            .get("scenario.yaml")
            .ok_or_else(|| missing(origin, "scenario.yaml"))?;
        let file = format!("{origin}/scenario.yaml");
        for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".yaml")) {
            if nests_too_deep(text) {
                return Err(ScenarioError::Invalid {
                    place: Place {
                        file: format!("{origin}/{path}"),
                        line: None,
                    },
                    message: format!("it nests deeper than {DEEPEST} levels"),
                    hint: LINT.to_owned(),
                });
            }
        }
        check_format(&file, text)?;
        let definition: Definition =
            serde_yaml::from_str(text).map_err(|error| ScenarioError::yaml(&file, &error))?;
        if definition.id != name {
            return Err(ScenarioError::at(
                &file,
                text,
                "id:",
                format!(
                    "the id `{}` is not the name of the directory, `{name}`",
                    definition.id
                ),
            ));
        }
        let task = files
            .get("task.md")
            .cloned()
            .ok_or_else(|| missing(origin, "task.md"))?;
        let mut attempts = BTreeMap::new();
        for (path, text) in &files {
            if let Some(name) = path
                .strip_prefix("attempts/")
                .and_then(|name| name.strip_suffix(".yaml"))
            {
                let attempt = serde_yaml::from_str(text)
                    .map_err(|error| ScenarioError::yaml(&format!("{origin}/{path}"), &error))?;
                attempts.insert(name.to_owned(), attempt);
            }
        }
        Ok(Self {
            definition,
            task,
            hints: files.get("hints.md").cloned().unwrap_or_default(),
            explanation: files.get("explanation.md").cloned().unwrap_or_default(),
            attempts,
            origin: origin.to_owned(),
            files,
        })
    }

    /// A mistake in one of this scenario's files, on the line that contains `needle`.
    #[must_use]
    pub fn mistake(&self, file: &str, needle: &str, message: impl Into<String>) -> ScenarioError {
        let text = self.files.get(file).map(String::as_str).unwrap_or_default();
        ScenarioError::at(&format!("{}/{file}", self.origin), text, needle, message)
    }
}

/// Whether a YAML text may nest so deep that reading it takes for ever: brackets, whatever they stand in, and
/// what is in front of the first word of a line.
fn nests_too_deep(text: &str) -> bool {
    let mut open = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > DEEPEST {
            return true;
        }
    }
    text.lines().any(|line| {
        let word = line.find(|c: char| !matches!(c, ' ' | '-' | '?' | ':'));
        let front = line.get(..word.unwrap_or(line.len())).unwrap_or(line);
        front.matches(' ').count() > DEEPEST
    })
}

/// The ids of every scenario, sorted; cheap enough for shell completion.
///
/// # Errors
/// When the directory cannot be read.
pub fn names(directory: Option<&Path>) -> Result<Vec<String>, ScenarioError> {
    let mut names: Vec<String> = EMBEDDED
        .dirs()
        .map(|folder| folder.path().to_string_lossy().into_owned())
        .collect();
    if let Some(directory) = directory {
        for entry in entries(directory)? {
            if directory.join(&entry).join("scenario.yaml").exists() {
                names.push(entry);
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The name most like `id`, if one is like it at all: the same number in other digits before any other.
#[must_use]
pub fn nearest(id: &str, names: &[String]) -> Option<String> {
    let same = names.iter().find(|name| numbered(name) == numbered(id));
    if let (Some(same), Some(_)) = (same, numbered(id)) {
        return Some(same.clone());
    }
    names
        .iter()
        .map(|name| {
            (
                strsim::jaro_winkler(id, name),
                strsim::damerau_levenshtein(id, name),
                name,
            )
        })
        .filter(|(likeness, distance, _)| *likeness > 0.7 || *distance <= 2)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
        .map(|(_, _, name)| name.clone())
}

/// `audit-03` as its word and its number.
fn numbered(name: &str) -> Option<(&str, u64)> {
    let (word, number) = name.rsplit_once('-')?;
    Some((word, number.parse().ok()?))
}

/// A newer format is told apart from a mistake before anything else is looked at.
fn check_format(file: &str, text: &str) -> Result<(), ScenarioError> {
    let value: serde_yaml::Value =
        serde_yaml::from_str(text).map_err(|error| ScenarioError::yaml(file, &error))?;
    let invalid = |message: String, hint: &str| ScenarioError::Invalid {
        place: Place {
            file: file.to_owned(),
            line: text
                .lines()
                .position(|line| line.starts_with("format:"))
                .map(|index| index + 1),
        },
        message,
        hint: hint.to_owned(),
    };
    match value.get("format") {
        None => Err(invalid(
            "the field `format` is missing".to_owned(),
            &format!("put `format: {FORMAT}` on the first line"),
        )),
        Some(format) => match format.as_u64() {
            Some(format) if format == u64::from(FORMAT) => Ok(()),
            Some(format) if format > u64::from(FORMAT) => Err(invalid(
                format!(
                    "the scenario has format {format}; this program knows formats up to {FORMAT}"
                ),
                "use a newer ckslab for this scenario",
            )),
            _ => Err(invalid(format!("`format` must be {FORMAT}"), SCHEMA)),
        },
    }
}

fn missing(origin: &str, name: &str) -> ScenarioError {
    ScenarioError::Invalid {
        place: Place {
            file: format!("{origin}/{name}"),
            line: None,
        },
        message: "the file is missing".to_owned(),
        hint: LINT.to_owned(),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ScenarioError {
    ScenarioError::Unreadable {
        path: path.display().to_string(),
        message: error.to_string().to_lowercase(),
    }
}

fn read_text(path: &Path) -> Result<Option<String>, ScenarioError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
        Ok(metadata) if !metadata.is_file() || metadata.len() > LARGEST_FILE => {
            return Err(ScenarioError::Invalid {
                place: Place {
                    file: path.display().to_string(),
                    line: None,
                },
                message: "not a file of text of at most 1 MiB, or a link".to_owned(),
                hint: LINT.to_owned(),
            });
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| ScenarioError::Invalid {
            place: Place {
                file: path.display().to_string(),
                line: None,
            },
            message: "the text is not UTF-8".to_owned(),
            hint: LINT.to_owned(),
        })
}

fn entries(directory: &Path) -> Result<Vec<String>, ScenarioError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| unreadable(directory, &error))? {
        let entry = entry.map_err(|error| unreadable(directory, &error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn collect(folder: &Dir<'static>, top: &Path, files: &mut BTreeMap<String, String>) {
    for file in folder.files() {
        if let (Ok(path), Some(text)) = (file.path().strip_prefix(top), file.contents_utf8()) {
            files.insert(path.to_string_lossy().into_owned(), text.to_owned());
        }
    }
    for inner in folder.dirs() {
        collect(inner, top, files);
    }
}
