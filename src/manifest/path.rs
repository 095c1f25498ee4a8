//! Paths as Go cleans them: by their text alone.

/// The path without repeated slashes, `.` and `..` (`filepath.Clean`).
#[must_use]
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned_as_by_go() {
        for (path, cleaned) in [
            ("/a//b/./c/../d/", "/a/b/d"),
            ("/../..", "/"),
            ("/", "/"),
            ("", "."),
            ("a/..", "."),
            ("../a/../..", "../.."),
        ] {
            assert_eq!(clean(path), cleaned, "{path:?}");
        }
    }
}
