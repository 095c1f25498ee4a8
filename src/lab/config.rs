//! The configuration file: `$CKSLAB_HOME/config.toml`, or `ckslab/config.toml` of the XDG directory.

use serde::Deserialize;

use super::Home;
use crate::node::engine::Pace;

/// What a user may set once and for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Engine of new labs: `embedded`, `kind` or `auto`.
    pub engine: Option<String>,
    /// Pace of new labs.
    pub pace: Option<Pace>,
    /// Node image of new kind clusters.
    pub kind_image: Option<String>,
    /// File with a configuration of kind for new clusters.
    pub kind_config: Option<std::path::PathBuf>,
}

impl Settings {
    /// Reads the file; no file means no settings.
    ///
    /// # Errors
    /// A message that names the file and the place.
    pub fn load(home: &Home) -> Result<Self, String> {
        let path = home.config_file();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            // What is wrong with the directory itself is for whoever makes it to say.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Self::default());
            }
            Err(error) => return Err(format!("cannot read `{}`: {error}", path.display())),
        };
        toml::from_str(&text).map_err(|error| {
            format!(
                "`{}` is not understood: {}",
                path.display(),
                error.to_string().trim_end()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_read_and_typos_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        assert_eq!(Settings::load(&home).unwrap(), Settings::default());
        std::fs::write(home.config_file(), "engine = 'embedded'\npace = 'real'\n").unwrap();
        assert_eq!(
            Settings::load(&home).unwrap(),
            Settings {
                engine: Some("embedded".to_owned()),
                pace: Some(Pace::Real),
                ..Settings::default()
            }
        );
        std::fs::write(home.config_file(), "speed = 1\n").unwrap();
        let error = Settings::load(&home).unwrap_err();
        assert!(error.contains("unknown field `speed`"), "{error}");
    }
}
