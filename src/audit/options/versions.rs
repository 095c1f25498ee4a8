//! What differs between minor versions of kube-apiserver. The table of flags is that of 1.36.

/// The minor version whose flags the table has.
pub const TABLE: u32 = 36;

/// Defaults before a minor version: that version, the flag, the value before.
///
/// 1.36 gave the log backend a rotation by default (`staging/src/k8s.io/apiserver/pkg/server/options/audit.go`).
const BEFORE: [(u32, &str, &str); 2] = [
    (36, "audit-log-maxage", "0"),
    (36, "audit-log-maxbackup", "0"),
];

/// The minor version of `v1.36.1`.
#[must_use]
pub fn minor(version: &str) -> Option<u32> {
    let rest = version.trim_start_matches('v').strip_prefix("1.")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The default of a flag in a minor version, where that is not the table's.
#[must_use]
pub fn other_default(flag: &str, minor: u32) -> Option<&'static str> {
    BEFORE
        .iter()
        .find(|(since, name, _)| minor < *since && *name == flag)
        .map(|(_, _, value)| *value)
}

/// A command line that means in the table's version what this one means in another: defaults that differ
/// are written out, in front of everything that is given.
#[must_use]
pub fn spelled_out(argv: &[String], minor: u32) -> Vec<String> {
    let (program, rest) = argv.split_at(argv.len().min(1));
    let defaults = BEFORE
        .iter()
        .filter(|(since, ..)| minor < *since)
        .map(|(_, name, value)| format!("--{name}={value}"));
    let program = program.iter().cloned();
    program
        .chain(defaults)
        .chain(rest.iter().cloned())
        .collect()
}

/// What somebody who practises on a minor version should know, where it differs from the table's.
#[must_use]
pub fn difference(minor: u32) -> Option<&'static str> {
    (minor < 36).then_some(
        "before 1.36 an audit log keeps every old file: maxage and maxbackup are 0 where they are not set",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::options::AuditOptions;

    #[test]
    fn a_command_line_means_what_its_version_means_by_it() {
        let argv: Vec<String> = [
            "kube-apiserver",
            "--audit-log-path=/x",
            "--audit-log-maxage=7",
        ]
        .map(str::to_owned)
        .to_vec();
        let limits = |version: &str| {
            let argv = spelled_out(&argv, minor(version).unwrap());
            let log = AuditOptions::from_argv(&argv).unwrap().log;
            (log.max_size, log.max_age, log.max_backup)
        };
        assert_eq!(limits("v1.35.4"), (100, 7, 0));
        assert_eq!(limits("v1.36.0-rc.1"), (100, 7, 100));
        assert_eq!(limits("v1.37.0"), (100, 7, 100));
        assert_eq!(other_default("audit-log-maxage", 34), Some("0"));
        assert_eq!(other_default("audit-log-maxsize", 34), None);
        assert_eq!(spelled_out(&[], 36), Vec::<String>::new());
        assert_eq!(minor("1.34"), Some(34));
        assert_eq!(minor("nonsense"), None);
    }
}
