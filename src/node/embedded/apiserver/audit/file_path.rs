//! Paths taken apart and put together as Go's `path/filepath` does: by their text alone.

use crate::manifest::path::clean;

/// All but the last element, cleaned (`filepath.Dir`).
pub(super) fn directory(path: &str) -> String {
    match path.rfind('/') {
        Some(slash) => clean(path.get(..=slash).unwrap_or_default()),
        None => ".".to_owned(),
    }
}

/// The last element (`filepath.Base`).
pub(super) fn base(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or_default()
}

/// The last element in front of its extension, and the extension with its dot (`filepath.Ext`).
pub(super) fn split_extension(path: &str) -> (&str, &str) {
    let name = base(path);
    name.split_at(name.rfind('.').unwrap_or(name.len()))
}

/// A name in a directory (`filepath.Join`).
pub(super) fn join(directory: &str, name: &str) -> String {
    clean(&format!("{directory}/{name}"))
}

/// The path as a process sees it whose working directory is `/`, as that of the API server's image is.
pub(super) fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_split() {
        for (path, cleaned, parent, name) in [
            (
                "/var/log/audit.log",
                "/var/log/audit.log",
                "/var/log",
                ("audit", ".log"),
            ),
            (
                "/var//log/./x/../audit",
                "/var/log/audit",
                "/var/log",
                ("audit", ""),
            ),
            ("audit.log", "audit.log", ".", ("audit", ".log")),
            (
                "./a/audit.tar.gz",
                "a/audit.tar.gz",
                "a",
                ("audit.tar", ".gz"),
            ),
            ("../../x", "../../x", "../..", ("x", "")),
            ("/../x", "/x", "/", ("x", "")),
            ("/logs/.audit", "/logs/.audit", "/logs", ("", ".audit")),
            ("/logs/", "/logs", "/logs", ("logs", "")),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
            assert_eq!(directory(path), parent, "{path}");
            assert_eq!(split_extension(path), name, "{path}");
        }
        assert_eq!(join(".", "audit-1.log"), "audit-1.log");
        assert_eq!(join("/", "audit-1.log"), "/audit-1.log");
    }
}
