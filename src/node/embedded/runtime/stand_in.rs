//! Programs of images that the node only pretends to have: they print nothing but what `echo` prints, and
//! end where their command line tells how.

use std::time::Duration;

/// How a command ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// After this long on a real node.
    pub after: Duration,
    /// With this exit code.
    pub code: i32,
    /// Having written these lines to standard output.
    pub lines: Vec<String>,
}

/// Images whose own program is a shell, which ends at once without a terminal.
const SHELLS: [&str; 8] = [
    "busybox",
    "alpine",
    "ubuntu",
    "debian",
    "bash",
    "fedora",
    "centos",
    "hello-world",
];

/// A sleep longer than this never ends as far as a lab can tell.
const FOREVER: u64 = 24 * 3600;

/// How the command of a container of this image ends by itself; `None` where it serves until it is asked
/// to end, and where nothing tells.
#[must_use]
pub fn ending(image: &str, argv: &[String]) -> Option<Ending> {
    let base = super::image::repository(image)
        .rsplit('/')
        .next()
        .unwrap_or("");
    if argv.is_empty() {
        return SHELLS.contains(&base).then(|| Ending::new(0));
    }
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    command(&words, 0)
}

impl Ending {
    fn new(code: i32) -> Self {
        Self {
            after: Duration::ZERO,
            code,
            lines: Vec::new(),
        }
    }
}

/// Runs a command without running it; `None` when it goes on for ever or is unknown.
fn command(words: &[&str], depth: u8) -> Option<Ending> {
    let (program, arguments) = words.split_first()?;
    match program.rsplit('/').next().unwrap_or(program) {
        "true" | ":" => Some(Ending::new(0)),
        "false" => Some(Ending::new(1)),
        "echo" => Some(Ending {
            lines: vec![arguments.join(" ")],
            ..Ending::new(0)
        }),
        "exit" => {
            let code = arguments.first().map_or(Ok(0), |code| code.parse::<u8>());
            code.ok().map(|code| Ending::new(i32::from(code)))
        }
        "sleep" => {
            let seconds = arguments.iter().map(|text| seconds(text));
            let total = seconds
                .sum::<Option<u64>>()
                .filter(|total| *total < FOREVER)?;
            Some(Ending {
                after: Duration::from_secs(total),
                ..Ending::new(0)
            })
        }
        "sh" | "bash" | "ash" | "dash" if depth == 0 => match arguments {
            [flags, text, ..] if flags.starts_with('-') && flags.ends_with('c') => script(text),
            // A shell without a terminal reads nothing and ends.
            [] => Some(Ending::new(0)),
            _ => None,
        },
        _ => None,
    }
}

fn seconds(text: &str) -> Option<u64> {
    let factor = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return text.parse().ok(),
    };
    let number = text.get(..text.len() - 1)?.parse::<u64>().ok()?;
    number.checked_mul(factor)
}

/// A script of simple commands, one after the other, with `&&` and `||`.
fn script(text: &str) -> Option<Ending> {
    let text = text.replace("&&", "\0+").replace("||", "\0-");
    // What a shell would have to work out tells nothing.
    if text.contains(['$', '`', '|', '&', '<', '>', '(', '{', '*', '#', '\\']) {
        return None;
    }
    let mut whole = Ending::new(0);
    for part in text.replace([';', '\n'], "\0;").split('\0') {
        let (runs, part) = match (part.strip_prefix('+'), part.strip_prefix('-')) {
            (Some(rest), _) => (whole.code == 0, rest),
            (_, Some(rest)) => (whole.code != 0, rest),
            _ => (true, part.strip_prefix(';').unwrap_or(part)),
        };
        let words: Vec<&str> = part
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']))
            .collect();
        if !runs || words.is_empty() {
            continue;
        }
        let one = command(&words, 1)?;
        whole.after += one.after;
        whole.code = one.code;
        whole.lines.extend(one.lines);
        if words.first() == Some(&"exit") {
            break;
        }
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Option<(u64, i32, String)> {
        let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let ending = ending("docker.io/library/busybox:1.37", &argv)?;
        Some((ending.after.as_secs(), ending.code, ending.lines.join("/")))
    }

    fn ends(seconds: u64, code: i32, lines: &str) -> Option<(u64, i32, String)> {
        Some((seconds, code, lines.to_owned()))
    }

    #[test]
    fn commands_that_tell_their_end() {
        assert_eq!(of(&["false"]), ends(0, 1, ""));
        assert_eq!(of(&["/bin/true"]), ends(0, 0, ""));
        assert_eq!(of(&["sleep", "2m"]), ends(120, 0, ""));
        assert_eq!(of(&["sh", "-c", "exit 3"]), ends(0, 3, ""));
        assert_eq!(
            of(&["sh", "-ec", "echo a b; sleep 5 && exit 4; echo c"]),
            ends(5, 4, "a b")
        );
        assert_eq!(of(&["sh", "-c", "false || echo 'x'"]), ends(0, 0, "x"));
        assert_eq!(of(&["sh", "-c", "false && echo x"]), ends(0, 1, ""));
        assert_eq!(of(&[]), ends(0, 0, ""));
    }

    #[test]
    fn everything_else_serves() {
        for words in [
            &["sleep", "infinity"][..],
            &["sleep", "18446744073709551615d"],
            &["nginx", "-g", "daemon off;"],
            &["sh", "-c", "while true; do sleep 1; done"],
            &["sh", "-c", "echo $HOME"],
            &["sh", "-c", "serve & exit 0"],
            &["sh", "-c", "sh -c 'exit 1'"],
            &["exit", "300"],
        ] {
            assert_eq!(of(words), None, "{words:?}");
        }
        assert_eq!(ending("nginx", &[]), None);
    }
}
