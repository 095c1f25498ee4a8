//! How kube-apiserver reads its command line (`github.com/spf13/pflag` under cobra).

use std::collections::BTreeMap;

use super::number::{quote, quote_char};
use super::table::{self, Flag};
use super::value::Value;

/// A command line that could be read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CommandLine {
    values: BTreeMap<&'static str, Value>,
    /// Flags given on the command line.
    changed: Vec<&'static str>,
    /// Arguments that are no flags.
    pub arguments: Vec<String>,
    /// Whether help was asked for.
    pub help: bool,
    /// Notices of deprecated flags, printed once everything is read.
    pub notices: Vec<String>,
}

/// Why a command line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FlagError {
    /// pflag's text.
    pub message: String,
}

impl CommandLine {
    /// Reads the arguments of kube-apiserver (without the program name).
    ///
    /// # Errors
    /// The first thing wrong, from left to right.
    pub fn parse(arguments: &[String]) -> Result<Self, FlagError> {
        let mut line = CommandLine::default();
        line.read(arguments)
            .map(|()| line)
            .map_err(|message| FlagError { message })
    }

    fn read(&mut self, arguments: &[String]) -> Result<(), String> {
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                self.arguments.extend(rest.cloned());
                return Ok(());
            }
            if let Some(long) = argument.strip_prefix("--") {
                self.read_long(argument, long, &mut rest)?;
            } else if argument.len() > 1 && argument.starts_with('-') {
                self.read_short(argument.get(1..).unwrap_or_default(), &mut rest)?;
            } else {
                self.arguments.push(argument.clone());
            }
        }
        Ok(())
    }

    fn read_long<'a>(
        &mut self,
        whole: &str,
        long: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        if long.is_empty() || long.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {whole}"));
        }
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let Some(flag) = table::find(&name.replace('_', "-")) else {
            return Err(format!("unknown flag: --{name}"));
        };
        let value = match (value, flag.kind.without_value()) {
            (Some(value), _) => value,
            (None, Some(value)) => value,
            (None, None) => rest
                .next()
                .ok_or_else(|| format!("flag needs an argument: --{name}"))?,
        };
        self.set(flag, value)
    }

    fn read_short<'a>(
        &mut self,
        shorthands: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        let mut remaining = shorthands;
        // Left to Go's test flags, and so ignored.
        while !remaining.starts_with("test.") {
            let Some(letter) = remaining.bytes().next() else {
                break;
            };
            let Some(flag) = table::find_short(letter) else {
                // Of a character of more than one byte, pflag sees the first byte only.
                let letter = if letter < 0x80 {
                    char::from(letter)
                } else {
                    char::from(0xc0 | (letter >> 6))
                };
                return Err(format!(
                    "unknown shorthand flag: {} in -{remaining}",
                    quote_char(letter)
                ));
            };
            let after = remaining.get(1..).unwrap_or_default();
            if let Some(value) = after.strip_prefix('=').filter(|v| !v.is_empty()) {
                return self.set(flag, value);
            }
            if let Some(value) = flag.kind.without_value() {
                self.set(flag, value)?;
                remaining = after;
                continue;
            }
            let value = if after.is_empty() {
                rest.next().map(String::as_str).ok_or_else(|| {
                    format!(
                        "flag needs an argument: {} in -{remaining}",
                        quote_char(char::from(letter))
                    )
                })?
            } else {
                after
            };
            return self.set(flag, value);
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, text: &str) -> Result<(), String> {
        let value = Value::read(flag.kind, text, self.values.get(flag.name)).map_err(|reason| {
            let name = match flag.shorthand {
                Some(c) => format!("-{c}, --{}", flag.name),
                None => format!("--{}", flag.name),
            };
            format!(
                "invalid argument {} for {} flag: {reason}",
                quote(text),
                quote(&name)
            )
        })?;
        // A blank address leaves the default.
        let value = match value {
            Value::Ip(None) => flag.default_value(),
            value => value,
        };
        if flag.name == "help" {
            self.help = value == Value::Bool(true);
        }
        if !self.changed.contains(&flag.name) {
            self.changed.push(flag.name);
        }
        // Two names of one variable (`audit.go`).
        let twin = match flag.name {
            "audit-webhook-batch-initial-backoff" => Some("audit-webhook-initial-backoff"),
            "audit-webhook-initial-backoff" => Some("audit-webhook-batch-initial-backoff"),
            _ => None,
        };
        if let Some(twin) = twin {
            self.values.insert(twin, value.clone());
        }
        self.values.insert(flag.name, value);
        if let Some(notice) = flag.deprecated {
            self.notices.push(format!(
                "Flag --{} has been deprecated, {notice}",
                flag.name
            ));
        }
        Ok(())
    }

    /// The value of a flag, its default if it was not given.
    #[must_use]
    pub fn value(&self, name: &str) -> Value {
        if let Some(value) = self.values.get(name) {
            return value.clone();
        }
        table::find(name).map_or_else(|| Value::Text(String::new()), Flag::default_value)
    }

    /// Whether the flag was given.
    #[must_use]
    pub fn given(&self, name: &str) -> bool {
        self.changed.contains(&name)
    }

    /// The flags that were given, in the order of their first use.
    #[must_use]
    pub fn given_names(&self) -> &[&'static str] {
        &self.changed
    }

    /// A text flag; an address that is not set is empty.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text,
            Value::Ip(None) => String::new(),
            other => other.text(),
        }
    }

    /// An integer flag; 0 for a flag of another type.
    #[must_use]
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(value) | Value::Duration(value) => value,
            _ => 0,
        }
    }

    /// A boolean flag.
    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        self.value(name) == Value::Bool(true)
    }

    /// A floating point flag.
    #[must_use]
    pub fn float(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Float(value) => value,
            _ => 0.0,
        }
    }

    /// A 32-bit floating point flag.
    #[must_use]
    pub fn float32(&self, name: &str) -> f32 {
        match self.value(name) {
            Value::Float32(value) => value,
            _ => 0.0,
        }
    }

    /// A list flag.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(items) | Value::CertKeys(items) => items,
            _ => Vec::new(),
        }
    }

    /// A flag of `key=value` pairs.
    #[must_use]
    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        match self.value(name) {
            Value::Map(map) | Value::BracketedMap(map) => map,
            _ => BTreeMap::new(),
        }
    }
}
