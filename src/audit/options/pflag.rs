//! How kube-apiserver reads its command line (`github.com/spf13/pflag` under cobra).

use std::collections::BTreeMap;

use super::number::{
    duration_text, parse_bool, parse_duration, parse_float, parse_int, parse_uint, quote,
};
use super::table::{self, Flag, Kind};

/// The value of a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A duration in nanoseconds.
    Duration(i64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<String>),
}

impl Value {
    /// As `FLAG:` lines and `--help` show it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Duration(nanos) => duration_text(*nanos),
            Value::Text(text) => text.clone(),
            Value::List(items) => format!("[{}]", items.join(",")),
        }
    }
}

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
    /// Notices printed while reading (deprecated flags).
    pub notices: Vec<String>,
}

/// Why a command line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FlagError {
    /// pflag's text.
    pub message: String,
    /// Notices printed before.
    pub notices: Vec<String>,
}

impl CommandLine {
    /// Reads the arguments of kube-apiserver (without the program name).
    ///
    /// # Errors
    /// The first thing wrong, from left to right.
    pub fn parse(arguments: &[String]) -> Result<Self, FlagError> {
        let mut line = CommandLine::default();
        match line.read(arguments) {
            Ok(()) => Ok(line),
            Err(message) => Err(FlagError {
                message,
                notices: line.notices,
            }),
        }
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
                .ok_or_else(|| format!("flag needs an argument: {whole}"))?,
        };
        self.set(flag, value)
    }

    fn read_short<'a>(
        &mut self,
        shorthands: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        let mut remaining = shorthands;
        while let Some(c) = remaining.chars().next() {
            let after = remaining.get(c.len_utf8()..).unwrap_or_default();
            let Some(flag) = table::ALL.iter().find(|f| f.shorthand == Some(c)) else {
                return Err(format!("unknown shorthand flag: '{c}' in -{remaining}"));
            };
            if let Some(value) = after.strip_prefix('=').filter(|v| !v.is_empty()) {
                return self.set(flag, value);
            }
            if let Some(value) = flag.kind.without_value() {
                self.set(flag, value)?;
                remaining = after;
                continue;
            }
            let value = if after.is_empty() {
                rest.next()
                    .map(String::as_str)
                    .ok_or_else(|| format!("flag needs an argument: '{c}' in -{remaining}"))?
            } else {
                after
            };
            return self.set(flag, value);
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, text: &str) -> Result<(), String> {
        let refuse = |reason: String| {
            let name = match flag.shorthand {
                Some(c) => format!("-{c}, --{}", flag.name),
                None => format!("--{}", flag.name),
            };
            format!(
                "invalid argument {} for {} flag: {reason}",
                quote(text),
                quote(&name)
            )
        };
        let value = match flag.kind {
            Kind::Bool => Value::Bool(parse_bool(text).map_err(refuse)?),
            Kind::Int | Kind::Int64 => Value::Int(parse_int(text, 64).map_err(refuse)?),
            Kind::Uint => Value::Int(parse_uint(text, 64).map_err(refuse)?),
            Kind::Float32 => Value::Float(parse_float(text, 32).map_err(refuse)?),
            Kind::Float64 => Value::Float(parse_float(text, 64).map_err(refuse)?),
            Kind::Duration => Value::Duration(parse_duration(text).map_err(refuse)?),
            Kind::Text => Value::Text(text.to_owned()),
            Kind::Version => Value::Text(text.to_owned()),
            Kind::Level => Value::Int(level(text).map_err(refuse)?),
            Kind::Ip => {
                let trimmed = text.trim();
                if trimmed.is_empty() {
                    Value::Text(String::new())
                } else {
                    let address: std::net::IpAddr = trimmed
                        .parse()
                        .map_err(|_| refuse(format!("failed to parse IP: {}", quote(text))))?;
                    Value::Text(address.to_string())
                }
            }
            Kind::PortRange => Value::Text(port_range(text).map_err(refuse)?),
            Kind::Pairs => Value::List(self.appended(flag, pairs(text).map_err(refuse)?)),
            Kind::List => Value::List(self.appended(flag, csv(text).map_err(refuse)?)),
            Kind::Repeated => Value::List(self.appended(flag, vec![text.to_owned()])),
        };
        if flag.name == "help" {
            self.help = value == Value::Bool(true);
        }
        self.values.insert(flag.name, value.clone());
        if !self.changed.contains(&flag.name) {
            self.changed.push(flag.name);
        }
        // Two names of one variable (`audit.go`).
        match flag.name {
            "audit-webhook-batch-initial-backoff" => {
                self.values.insert("audit-webhook-initial-backoff", value);
            }
            "audit-webhook-initial-backoff" => {
                self.values
                    .insert("audit-webhook-batch-initial-backoff", value);
            }
            _ => {}
        }
        if let Some(notice) = flag.deprecated {
            self.notices.push(format!(
                "Flag --{} has been deprecated, {notice}",
                flag.name
            ));
        }
        Ok(())
    }

    fn appended(&self, flag: &Flag, more: Vec<String>) -> Vec<String> {
        match self.values.get(flag.name) {
            Some(Value::List(items)) => items.iter().cloned().chain(more).collect(),
            _ => more,
        }
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

    /// A text flag.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text,
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

    /// A list flag.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(items) => items,
            _ => Vec::new(),
        }
    }
}

/// Verbosity (`component-base/logs`): decimal only.
fn level(text: &str) -> Result<i64, String> {
    let error = |what: &str| format!("strconv.ParseInt: parsing {}: {what}", quote(text));
    if text.is_empty()
        || !text
            .trim_start_matches(['+', '-'])
            .bytes()
            .all(|b| b.is_ascii_digit())
    {
        return Err(error("invalid syntax"));
    }
    text.parse::<i32>()
        .map(i64::from)
        .map_err(|_| error("value out of range"))
}

fn port_range(text: &str) -> Result<String, String> {
    let port = |text: &str| text.trim().parse::<u32>().ok().filter(|p| *p <= 65535);
    let parsed = match text.trim().split_once(['-', '+']) {
        Some((low, high)) if text.contains('-') => port(low).zip(port(high)),
        Some((low, offset)) => port(low).zip(port(offset)).map(|(l, o)| (l, l + o)),
        None if text.trim().is_empty() => return Ok(String::new()),
        None => port(text).map(|p| (p, p)),
    };
    match parsed {
        Some((low, high)) if low <= high => Ok(format!("{low}-{high}")),
        Some((low, high)) => Err(format!(
            "the port range start cannot be greater than the end: {low}, {high}"
        )),
        None => Err(format!("unable to parse port range {text}: invalid syntax")),
    }
}

fn pairs(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        if !pair.contains('=') {
            return Err(format!("malformed pair, expect string=string: {pair}"));
        }
        out.push(pair.trim().to_owned());
    }
    Ok(out)
}

/// One CSV record, as pflag's `StringSlice` reads it.
fn csv(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    let mut field = String::new();
    let mut chars = text.chars().enumerate().peekable();
    let mut quoted = false;
    let mut start = true;
    while let Some((column, c)) = chars.next() {
        match c {
            '"' if start => quoted = true,
            '"' if quoted => match chars.peek() {
                Some((_, '"')) => {
                    chars.next();
                    field.push('"');
                }
                Some((_, ',')) | None => quoted = false,
                Some(_) => {
                    return Err(format!(
                        "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                        column + 1
                    ));
                }
            },
            '"' => {
                return Err(format!(
                    "parse error on line 1, column {}: bare \" in non-quoted-field",
                    column + 1
                ));
            }
            ',' if !quoted => {
                out.push(std::mem::take(&mut field));
                start = true;
                continue;
            }
            c => field.push(c),
        }
        start = false;
    }
    if quoted {
        return Err(format!(
            "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
            text.chars().count() + 1
        ));
    }
    out.push(field);
    Ok(out)
}
