//! The part of the shell's language that is understood: lists, pipes, redirections, `while` and `for`.

/// What stands before a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Always,
    And,
    Or,
}

impl Separator {
    fn text(self) -> &'static str {
        match self {
            Self::Always => "; ",
            Self::And => " && ",
            Self::Or => " || ",
        }
    }
}

/// A command of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Programs, the output of each the input of the next.
    Pipe(String),
    /// `while CONDITION; do BODY; done`.
    While(String, String),
    /// `for NAME in WORDS; do BODY; done`.
    For(String, String, String),
}

/// Where a program writes, in the order of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirection {
    /// One of the outputs to a file; `true` appends.
    File(u8, String, bool),
    /// One of the outputs to where the other goes.
    Same(u8, u8),
    /// Input from a file.
    Input(String),
}

/// Walks a text; `visit` is told each character that is neither quoted nor within `$(...)`, and the rest.
fn unquoted(
    text: &str,
    mut visit: impl FnMut(char, bool, &mut std::iter::Peekable<std::str::Chars<'_>>),
) {
    let (mut quote, mut depth) = (None, 0_usize);
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let mut plain = quote.is_none() && depth == 0;
        match (c, quote) {
            ('\'' | '"', None) if depth == 0 => {
                quote = Some(c);
                plain = false;
            }
            (c, Some(q)) if c == q => quote = None,
            ('(', q) if (before == '$' || depth > 0) && q != Some('\'') => {
                depth += 1;
                plain = false;
            }
            (')', _) if depth > 0 => {
                depth -= 1;
                plain = false;
            }
            _ => {}
        }
        visit(c, plain, &mut chars);
        before = c;
    }
}

/// The commands of a text with what stands before each.
fn simple(text: &str) -> Vec<(Separator, String)> {
    let mut all = Vec::new();
    let (mut current, mut before) = (String::new(), Separator::Always);
    unquoted(text, |c, plain, chars| {
        let next = match c {
            ';' | '\n' if plain => Some(Separator::Always),
            '&' if plain && !current.ends_with('>') && chars.peek() != Some(&'>') => {
                if chars.next_if_eq(&'&').is_some() {
                    Some(Separator::And)
                } else {
                    Some(Separator::Always)
                }
            }
            '|' if plain && chars.next_if_eq(&'|').is_some() => Some(Separator::Or),
            _ => None,
        };
        match next {
            Some(separator) => {
                let separator = std::mem::replace(&mut before, separator);
                all.push((separator, std::mem::take(&mut current)));
            }
            None => current.push(c),
        }
    });
    all.push((before, current));
    all.retain(|(_, text)| !text.trim().is_empty());
    all
}

/// The commands of a text, loops as a whole.
pub(super) fn commands(text: &str) -> Vec<(Separator, Command)> {
    let mut all = Vec::new();
    let mut parts = simple(text).into_iter();
    while let Some((before, text)) = parts.next() {
        let text = text.trim().to_owned();
        let word = text.split_whitespace().next().unwrap_or_default();
        if !matches!(word, "while" | "for") {
            all.push((before, Command::Pipe(text)));
            continue;
        }
        let (mut head, mut body, mut depth, mut in_body) = (text.clone(), String::new(), 1, false);
        for (separator, part) in parts.by_ref() {
            let part = part.trim();
            let first = part.split_whitespace().next().unwrap_or_default();
            if matches!(first, "while" | "for")
                || part.starts_with("do while")
                || part.starts_with("do for")
            {
                depth += 1;
            }
            if first == "done" {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            if !in_body && first == "do" {
                in_body = true;
                body.push_str(part.strip_prefix("do").unwrap_or(part).trim());
            } else {
                let target = if in_body { &mut body } else { &mut head };
                target.push_str(separator.text());
                target.push_str(part);
            }
        }
        let head = head.strip_prefix(word).unwrap_or(&head).trim().to_owned();
        let command = if word == "while" {
            Command::While(head, body)
        } else {
            let (name, words) = head.split_once(" in ").unwrap_or((head.as_str(), ""));
            Command::For(name.trim().to_owned(), words.to_owned(), body)
        };
        all.push((before, command));
    }
    all
}

/// The programs of a pipe.
pub(super) fn pipe(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    unquoted(text, |c, plain, _| {
        if c == '|' && plain {
            all.push(String::new());
        } else if let Some(last) = all.last_mut() {
            last.push(c);
        }
    });
    all
}

/// Takes the redirections out of the words of a program; quoted ones came as words of their own and stay.
pub(super) fn redirections(words: Vec<(String, bool)>) -> (Vec<String>, Vec<Redirection>) {
    let (mut kept, mut all) = (Vec::new(), Vec::new());
    let mut words = words.into_iter();
    while let Some((word, quoted)) = words.next() {
        let Some(at) = word.find(['<', '>']).filter(|_| !quoted) else {
            kept.push(word);
            continue;
        };
        let (from, rest) = word.split_at(at);
        let channel = match from {
            "" | "1" => 1,
            "2" => 2,
            "&" => 3,
            _ => {
                kept.push(word);
                continue;
            }
        };
        let appends = rest.starts_with(">>");
        let target = rest.trim_start_matches(['<', '>']);
        if let Some(number) = target.strip_prefix('&') {
            all.push(Redirection::Same(
                channel,
                if number == "2" { 2 } else { 1 },
            ));
            continue;
        }
        let file = if target.is_empty() {
            words.next().map(|(word, _)| word).unwrap_or_default()
        } else {
            target.to_owned()
        };
        if rest.starts_with('<') {
            all.push(Redirection::Input(file));
        } else if channel == 3 {
            all.push(Redirection::File(1, file, appends));
            all.push(Redirection::Same(2, 1));
        } else {
            all.push(Redirection::File(channel, file, appends));
        }
    }
    (kept, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_one_command() {
        assert_eq!(
            commands("i=0; while true; do echo $i; i=$((i+1)); sleep 1; done && hostname"),
            [
                (Separator::Always, Command::Pipe("i=0".into())),
                (
                    Separator::Always,
                    Command::While("true".into(), "echo $i; i=$((i+1)); sleep 1".into())
                ),
                (Separator::And, Command::Pipe("hostname".into())),
            ]
        );
    }

    #[test]
    fn quotes_hide_separators() {
        assert_eq!(pipe("echo 'a|b' | cat"), ["echo 'a|b' ", " cat"]);
        assert_eq!(
            commands("echo 'a;b'"),
            [(Separator::Always, Command::Pipe("echo 'a;b'".into()))]
        );
    }
}
