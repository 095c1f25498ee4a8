//! Every flag of kube-apiserver 1.36, read from `flags.txt` (`cmd/kube-apiserver/app/options`,
//! `pkg/controlplane/apiserver/options`, `pkg/kubeapiserver/options`, `k8s.io/apiserver/pkg/server/options`,
//! `k8s.io/component-base/{logs,metrics,compatibility,version/verflag}`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::value::Value;

/// The release whose flags these are.
pub const RELEASE: &str = "v1.36.2";

const SOURCE: &str = include_str!("flags.txt");

/// The type of a flag: how its value is read and printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Boolean; `true` without a value.
    Bool,
    /// Integer.
    Int,
    /// 64-bit integer.
    Int64,
    /// 64-bit integer of Go's own `flag` package, whose errors say less.
    GoInt64,
    /// Unsigned integer.
    Uint,
    /// 32-bit floating point number.
    Float32,
    /// 64-bit floating point number.
    Float64,
    /// Duration.
    Duration,
    /// Text.
    Text,
    /// Log verbosity.
    Level,
    /// Log verbosity of single files.
    Vmodule,
    /// IP address.
    Ip,
    /// Range of ports.
    PortRange,
    /// `key=value` pairs, comma separated; a key alone has an empty value.
    Configuration,
    /// One `key=value` pair per use.
    Pair,
    /// `key=value` pairs of pflag's `StringToString`.
    StringToString,
    /// `component:feature=bool`, comma separated.
    Gates,
    /// Comma separated list.
    List,
    /// Comma separated 32-bit integers.
    Int32List,
    /// One element per use.
    Repeated,
    /// Certificate, key and host names.
    CertKey,
    /// Quantity of bytes.
    Quantity,
    /// `--version[=raw]`.
    Version,
}

impl Kind {
    fn named(word: &str) -> Option<Self> {
        Some(match word {
            "bool" => Kind::Bool,
            "int" => Kind::Int,
            "int64" => Kind::Int64,
            "goint64" => Kind::GoInt64,
            "uint" => Kind::Uint,
            "float32" => Kind::Float32,
            "float64" => Kind::Float64,
            "duration" => Kind::Duration,
            "string" => Kind::Text,
            "level" => Kind::Level,
            "vmodule" => Kind::Vmodule,
            "ip" => Kind::Ip,
            "portRange" => Kind::PortRange,
            "configuration" => Kind::Configuration,
            "pair" => Kind::Pair,
            "stringToString" => Kind::StringToString,
            "gates" => Kind::Gates,
            "strings" => Kind::List,
            "int32Slice" => Kind::Int32List,
            "stringArray" => Kind::Repeated,
            "namedCertKey" => Kind::CertKey,
            "quantity" => Kind::Quantity,
            "version" => Kind::Version,
            _ => return None,
        })
    }

    /// The value a flag of this type has when it is given without one.
    #[must_use]
    pub fn without_value(self) -> Option<&'static str> {
        matches!(self, Kind::Bool | Kind::Version).then_some("true")
    }

    /// The word `--help` shows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Bool => "",
            Kind::Int | Kind::Int64 | Kind::GoInt64 => "int",
            Kind::Uint => "uint",
            Kind::Float32 => "float32",
            Kind::Float64 => "float",
            Kind::Duration => "duration",
            Kind::Text => "string",
            Kind::Level => "Level",
            Kind::Vmodule => "pattern=N,...",
            Kind::Ip => "ip",
            Kind::PortRange => "portRange",
            Kind::Configuration | Kind::Pair => "mapStringString",
            Kind::StringToString => "stringToString",
            Kind::Gates => "colonSeparatedMultimapStringString",
            Kind::List => "strings",
            Kind::Int32List => "int32Slice",
            Kind::Repeated => "stringArray",
            Kind::CertKey => "namedCertKey",
            Kind::Quantity => "quantity",
            Kind::Version => "version[=true]",
        }
    }
}

/// A flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Section of the help text.
    pub section: &'static str,
    /// Name without dashes.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Default, as text.
    pub default: &'static str,
    /// Shorthand letter.
    pub shorthand: Option<char>,
    /// Help text, line by line.
    pub usage: Vec<&'static str>,
    /// The notice printed when a deprecated flag is used.
    pub deprecated: Option<&'static str>,
    /// Whether the help text leaves it out.
    pub hidden: bool,
    /// What the real flag does and the simulated server does not.
    pub not_simulated: Option<&'static str>,
}

impl Flag {
    /// The default.
    #[must_use]
    pub fn default_value(&self) -> Value {
        Value::default_of(self.kind, self.default)
    }
}

fn read() -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut section = "";
    for line in SOURCE.lines() {
        if let Some(text) = line.strip_prefix("  ") {
            let Some(flag) = flags.last_mut() else {
                continue;
            };
            if let Some(notice) = text.strip_prefix("!! ") {
                flag.deprecated = Some(notice);
            } else if let Some(notice) = text.strip_prefix("! ") {
                flag.deprecated = Some(notice);
                flag.hidden = true;
            } else if let Some(reason) = text.strip_prefix("~ ") {
                flag.not_simulated = Some(reason);
            } else {
                flag.usage.push(text);
            }
        } else if let Some(name) = line.strip_prefix('@') {
            section = name;
        } else if !line.starts_with('#') {
            let mut words = line.splitn(3, ' ');
            let name = words.next().unwrap_or_default();
            let Some(kind) = words.next().and_then(Kind::named) else {
                continue;
            };
            let (name, short) = name.split_once('/').unwrap_or((name, ""));
            flags.push(Flag {
                section,
                name,
                kind,
                default: words.next().unwrap_or_default(),
                shorthand: short.chars().next(),
                usage: Vec::new(),
                deprecated: None,
                hidden: false,
                not_simulated: None,
            });
        }
    }
    flags
}

static ALL: LazyLock<Vec<Flag>> = LazyLock::new(read);
static BY_NAME: LazyLock<BTreeMap<&'static str, &'static Flag>> =
    LazyLock::new(|| ALL.iter().map(|flag| (flag.name, flag)).collect());

/// Every flag, section by section.
#[must_use]
pub fn all() -> &'static [Flag] {
    &ALL
}

/// Every flag by name, in the order of their names.
pub fn sorted() -> impl Iterator<Item = &'static Flag> {
    BY_NAME.values().copied()
}

/// The flag of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Flag> {
    BY_NAME.get(name).copied()
}

/// The flag of this shorthand letter.
#[must_use]
pub fn find_short(letter: u8) -> Option<&'static Flag> {
    ALL.iter()
        .find(|flag| flag.shorthand == Some(char::from(letter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = SOURCE
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with(['#', '@', ' ']))
            .count();
        assert_eq!(all().len(), lines);
        assert_eq!(BY_NAME.len(), lines, "a flag is listed twice");
        for flag in all() {
            assert!(!flag.usage.is_empty(), "{} has no help text", flag.name);
            assert_eq!(
                flag.default_value().text().trim_matches(['[', ']']),
                flag.default.trim_matches(['[', ']']),
                "default of {}",
                flag.name
            );
        }
    }
}
