//! What lies on the node: permission bits and owners, what must still be there, what must be nowhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, log};
use crate::grade::argv::parent;
use crate::grade::report::Outcome;
use crate::node::{Node, NodeFile};
use crate::scenario::evidence::{
    EntryMark, Evidence, KeptCheck, ModeCheck, NeverCheck, digest, mark, octal,
};
use crate::scenario::log_files::{below, expand, family, lines_of, unpacked};

const LINT: &str = "ckslab scenario lint";

/// Files or directories have the bits and the owner.
pub fn mode(context: &Context<'_>, check: &ModeCheck) -> Outcome {
    let (bits, exact) = match (&check.exactly, &check.at_most) {
        (Some(bits), _) => (bits, true),
        (None, Some(bits)) => (bits, false),
        (None, None) => return unclear("no mode is asked for"),
    };
    let wanted = match octal(bits) {
        Ok(wanted) => wanted,
        Err(message) => return unclear(&message),
    };
    let expected = format!(
        "`{}` has {} {wanted:04o}{}",
        check.path,
        if exact { "mode" } else { "no more than mode" },
        if check.root {
            " and belongs to root"
        } else {
            ""
        }
    );
    let paths = expand(context.node, &check.path);
    if paths.is_empty() {
        let seen = format!("there is no file in `{}`", parent(&check.path));
        return Outcome::fail(expected, seen, format!("ls -la {}", parent(&check.path)));
    }
    for path in &paths {
        let look = format!("stat -c '%a %U %n' {path}");
        let mode = match mode_of(context.node, path) {
            Ok(mode) => mode,
            Err(seen) => {
                return Outcome::fail(expected, seen, format!("ls -la {}", parent(path)));
            }
        };
        let fits = if exact {
            mode == wanted
        } else {
            mode & !wanted == 0
        };
        if !fits {
            let seen = format!("`{path}` has mode {mode:04o}{}", who(mode, wanted));
            return Outcome::fail(expected, seen, look);
        }
        if check.root
            && let Ok(Some(owner)) = context.node.owner(path)
            && owner != 0
        {
            let seen = format!("`{path}` belongs to the user with id {owner}");
            return Outcome::fail(expected, seen, look);
        }
    }
    let seen = match paths.as_slice() {
        [_] => "it does".to_owned(),
        several => format!("it does, as do all {} files", several.len()),
    };
    Outcome::pass(expected, seen)
}

/// Who may do what should not be, in words.
fn who(mode: u32, wanted: u32) -> &'static str {
    let more = mode & !wanted;
    if more & 0o007 != 0 {
        ": everybody on the node may do more than asked"
    } else if more & 0o070 != 0 {
        ": its group may do more than asked"
    } else {
        ""
    }
}

fn mode_of(node: &dyn Node, path: &str) -> Result<u32, String> {
    match node
        .read_from(path, u64::MAX)
        .map_err(|error| error.to_string())?
    {
        NodeFile::File { mode, .. } | NodeFile::Directory { mode } => Ok(mode),
        NodeFile::Missing => Err(format!("there is no `{path}`")),
        NodeFile::Other(what) => Err(format!("`{path}` is {what}")),
    }
}

fn unclear(message: &str) -> Outcome {
    Outcome::blocked("the check can be made", format!("blocked: {message}"), LINT)
}

/// What was there at the start still is.
pub fn kept(context: &Context<'_>, id: &str, check: &KeptCheck) -> Outcome {
    let Some(evidence) = context.baseline.evidence.get(id) else {
        return unclear(&format!(
            "the start of the lab left nothing in `{}`",
            check.path
        ));
    };
    let mut files = Vec::new();
    if !check.moved {
        files.extend(match check.entries {
            Some(_) => family(context.node, &check.path),
            None => vec![check.path.clone()],
        });
    }
    for pattern in &check.also {
        files.extend(expand(context.node, pattern));
    }
    let place = match check.also.first() {
        Some(also) if check.moved => format!("`{also}`"),
        Some(also) => format!("`{}` or `{also}`", check.path),
        None => format!("`{}`", check.path),
    };
    if check.entries.is_some() {
        entries(context, evidence, &files, &place)
    } else {
        whole(context, evidence, check, &files, &place)
    }
}

fn whole(
    context: &Context<'_>,
    evidence: &Evidence,
    check: &KeptCheck,
    files: &[String],
    place: &str,
) -> Outcome {
    let expected = format!(
        "what was in `{}` at the start is in {place}, byte for byte",
        check.path
    );
    let mut seen = format!("no file of {place} is there");
    for path in files {
        let Ok(NodeFile::File { content, .. }) = context.node.read(path) else {
            continue;
        };
        let size = usize::try_from(evidence.size).unwrap_or(usize::MAX);
        let same = content
            .get(..size.min(content.len()))
            .is_some_and(|head| head.len() == size && digest(head) == evidence.digest);
        if same {
            return Outcome::pass(expected, format!("it is in `{path}`"));
        }
        seen = format!("`{path}` does not begin with what was there");
    }
    let look = files.first().cloned().unwrap_or_default();
    Outcome::fail(expected, seen, format!("ls -la {}", parent(&look)))
}

fn entries(context: &Context<'_>, evidence: &Evidence, files: &[String], place: &str) -> Outcome {
    let count = evidence.entries.len();
    let expected = format!("the {count} entries that matter are still in {place}, unchanged");
    let lines = match lines_of(context.node, files) {
        Ok(lines) => lines,
        Err(error) => return unclear(&error.to_string()),
    };
    let found: BTreeSet<String> = lines
        .iter()
        .map(|line| digest(line.trim_end().as_bytes()))
        .collect();
    let lost: Vec<&EntryMark> = evidence
        .entries
        .iter()
        .filter(|entry| !found.contains(&entry.digest))
        .collect();
    let Some(first) = lost.first() else {
        return Outcome::pass(expected, "they are");
    };
    let changed: BTreeMap<String, ()> = lines
        .iter()
        .filter_map(|line| mark(line, |_| true))
        .map(|mark| (mark.name, ()))
        .collect();
    let fate = if changed.contains_key(&first.name) {
        "was changed"
    } else {
        "is gone"
    };
    let more = match lost.len() {
        1 => String::new(),
        lost => format!(" ({lost} of {count} are not as they were)"),
    };
    let look = files.last().cloned().unwrap_or_default();
    Outcome::fail(
        expected,
        format!(
            "the entry of `{}` {fate}{more}",
            first.words.replace('`', "")
        ),
        format!("ls -la {}", parent(&look)),
    )
}

/// A text is in no file, but in protected ones.
pub fn never(context: &Context<'_>, check: &NeverCheck) -> Outcome {
    let place = check.under.join("`, `");
    let (but, most) = (&check.but, octal(&check.but_at_most).unwrap_or(0));
    let expected = match but.first() {
        None => format!("no file below `{place}` has the secret text"),
        Some(but) => format!(
            "no file below `{place}` has the secret text, other than `{but}`, with no more than mode {most:04o}"
        ),
    };
    let allowed: BTreeSet<String> = but
        .iter()
        .flat_map(|pattern| expand(context.node, pattern))
        .collect();
    for directory in &check.under {
        let files = match below(context.node, directory) {
            Ok(files) => files,
            Err(seen) => {
                return Outcome::fail(expected, seen, format!("du -ah {directory} | tail"));
            }
        };
        for path in files {
            let Ok(NodeFile::File { content, mode, .. }) = context.node.read(&path) else {
                continue;
            };
            let content = unpacked(&path, content);
            let text = String::from_utf8_lossy(&content);
            if !check.texts.iter().any(|secret| log::carries(&text, secret)) {
                continue;
            }
            if !allowed.contains(&path) {
                return Outcome::fail(
                    expected,
                    format!("it is in `{path}`"),
                    format!("ls -la {}", parent(&path)),
                );
            }
            if mode & !most != 0 {
                return Outcome::fail(
                    expected,
                    format!("it is in `{path}`, which has mode {mode:04o}"),
                    format!("stat -c '%a %U %n' {path}"),
                );
            }
        }
    }
    Outcome::pass(expected, "it is so")
}
