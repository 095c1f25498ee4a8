//! Colour, per stream: meaning is never carried by colour alone, `NO_COLOR` is honoured.
//!
//! The `colored` crate decides for standard output only, so that standard error in a file would get
//! escape codes; here each stream decides for itself.

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
        .map(|character| match character {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
            character if character.is_control() => ' ',
            character => character,
        })
        .collect()
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
