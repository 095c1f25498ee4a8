//! Colour, per stream: meaning is never carried by colour alone, `NO_COLOR` is honoured.
//!
//! The `colored` crate decides for standard output only, so that standard error in a file would get
//! escape codes; here each stream decides for itself.

use std::borrow::Cow;
use std::io::IsTerminal;

use colored::Colorize;

/// How text for one stream is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    on: bool,
}

impl Style {
    /// No colour at all.
    pub const PLAIN: Style = Style { on: false };

    /// The style of standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::for_stream(std::io::stdout().is_terminal())
    }

    /// The style of standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::for_stream(std::io::stderr().is_terminal())
    }

    fn for_stream(terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on = !set("NO_COLOR") && ((terminal && !dumb) || set("CLICOLOR_FORCE"));
        if on {
            // The decision was made here: the crate must not make its own for standard output.
            colored::control::set_override(true);
        }
        Self { on }
    }

    /// Whether colours are used.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.on
    }

    fn paint(self, text: &str, how: impl FnOnce(&str) -> colored::ColoredString) -> String {
        if self.on {
            how(text).to_string()
        } else {
            text.to_owned()
        }
    }

    /// Something that is as it should be.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.paint(text, |text| text.green())
    }

    /// Something that is wrong.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.paint(text, |text| text.red().bold())
    }

    /// Something to look at.
    #[must_use]
    pub fn warn(self, text: &str) -> String {
        self.paint(text, |text| text.yellow())
    }

    /// A heading or the important word.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.paint(text, |text| text.bold())
    }

    /// A command to type, a name.
    #[must_use]
    pub fn code(self, text: &str) -> String {
        self.paint(text, |text| text.cyan())
    }

    /// Less important text.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.paint(text, |text| text.dimmed())
    }
}

/// Text that others wrote (files and logs of the node), fit for a terminal and for one line: control
/// characters and those that reorder text become spaces.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if steers(character) { ' ' } else { character })
        .collect()
}

/// JSON that may be shown on a terminal: the same value, with control characters and those that reorder
/// text as `\u` escapes also where JSON does not ask for it. Line breaks and tabs stay.
#[must_use]
pub fn printable_json(text: &str) -> Cow<'_, str> {
    let escaped = |character: char| steers(character) && !matches!(character, '\n' | '\t');
    if !text.chars().any(escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if escaped(character) {
            // All of them are in the basic plane: four digits are enough.
            out.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Whether a character could steer a terminal, or show text in another order than it has.
fn steers(character: char) -> bool {
    matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    ) || character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_steer_a_terminal() {
        assert_eq!(
            printable("a\u{1b}[2J\u{7}\r\n\u{9b}31m\u{202e}b\tä"),
            "a [2J    31m b ä"
        );
    }

    #[test]
    fn json_keeps_its_value_and_cannot_steer_a_terminal() {
        let value = serde_json::json!({"a": "\u{9b}2J\u{202e}\u{7f}\u{1b}ä\n"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable_json(&text);
        assert_eq!(
            shown,
            "{\n  \"a\": \"\\u009b2J\\u202e\\u007f\\u001bä\\n\"\n}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }

    #[test]
    fn plain_style_adds_nothing() {
        let text: String = [
            Style::PLAIN.good("a"),
            Style::PLAIN.bad("b"),
            Style::PLAIN.warn("c"),
            Style::PLAIN.strong("d"),
            Style::PLAIN.code("e"),
            Style::PLAIN.faint("f"),
        ]
        .concat();
        assert_eq!(text, "abcdef");
    }
}
