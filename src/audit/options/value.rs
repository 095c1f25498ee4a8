//! Values of flags: how each type is read, with Go's texts, and printed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::csv;
use super::number::{
    duration_text, float_text, parse_bool, parse_decimal, parse_duration, parse_float, parse_int,
    parse_uint, parse_uint10, quote,
};
use super::table::{Kind, RELEASE};

/// The value of a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A 32-bit floating point number.
    Float32(f32),
    /// A floating point number.
    Float(f64),
    /// A duration in nanoseconds.
    Duration(i64),
    /// Text.
    Text(String),
    /// An IP address, or none.
    Ip(Option<IpAddr>),
    /// A list.
    List(Vec<String>),
    /// Pairs by key.
    Map(BTreeMap<String, String>),
    /// Pairs by key, printed in brackets.
    BracketedMap(BTreeMap<String, String>),
    /// Component and `feature=bool`; the component is empty where none was given.
    Gates(Vec<(String, String)>),
    /// Certificates with keys and names, each as it is printed.
    CertKeys(Vec<String>),
}

impl Value {
    /// The default of a flag of this type.
    #[must_use]
    pub fn default_of(kind: Kind, text: &str) -> Self {
        match kind {
            Kind::Ip => Value::Ip(text.parse().ok()),
            Kind::Configuration | Kind::Pair => Value::Map(BTreeMap::new()),
            Kind::StringToString => Value::BracketedMap(BTreeMap::new()),
            Kind::Gates => Value::Gates(Vec::new()),
            Kind::CertKey => Value::CertKeys(Vec::new()),
            Kind::Vmodule => Value::Text(String::new()),
            Kind::List | Kind::Repeated | Kind::Int32List => {
                let items = text.trim_matches(['[', ']']);
                Value::List(csv::read(items).unwrap_or_default())
            }
            kind => Value::read(kind, text, None).unwrap_or_else(|_| Value::Text(text.to_owned())),
        }
    }

    /// Reads the text given to a flag; `before` is what earlier uses of the flag made.
    ///
    /// # Errors
    /// Go's text.
    pub fn read(kind: Kind, text: &str, before: Option<&Value>) -> Result<Self, String> {
        Ok(match kind {
            Kind::Bool => Value::Bool(parse_bool(text)?),
            Kind::Int | Kind::Int64 => Value::Int(parse_int(text, 64)?),
            Kind::GoInt64 => Value::Int(parse_int(text, 64).map_err(|error| {
                if error.ends_with("out of range") {
                    "value out of range".to_owned()
                } else {
                    "parse error".to_owned()
                }
            })?),
            Kind::Uint => Value::Int(parse_uint(text, 64)?),
            Kind::Float32 => Value::Float32(narrow(parse_float(text, 32)?)),
            Kind::Float64 => Value::Float(parse_float(text, 64)?),
            Kind::Duration => Value::Duration(parse_duration(text)?),
            Kind::Text => Value::Text(text.to_owned()),
            Kind::Level => Value::Int(parse_uint10(text, 31)?),
            Kind::Vmodule => Value::Text(vmodule(text, before)?),
            Kind::Ip => match text {
                "" => before.cloned().unwrap_or(Value::Ip(None)),
                text => Value::Ip(Some(
                    text.trim()
                        .parse::<IpAddr>()
                        .map_err(|_| format!("failed to parse IP: {}", quote(text)))?
                        .to_canonical(),
                )),
            },
            Kind::PortRange => Value::Text(port_range(text)?),
            Kind::Configuration => Value::Map(configuration(text, before)),
            Kind::Pair => {
                let mut map = map_of(before);
                let (key, value) = text
                    .split_once('=')
                    .ok_or("malformed pair, expect string=string")?;
                map.insert(key.trim().to_owned(), value.trim().to_owned());
                Value::Map(map)
            }
            Kind::StringToString => Value::BracketedMap(string_to_string(text, before)?),
            Kind::Gates => Value::Gates(gates(text, before)),
            Kind::List => Value::List(appended(before, csv::read(text)?)),
            Kind::Int32List => {
                let mut items = Vec::new();
                for item in text.split(',') {
                    items.push(parse_int(item, 32)?.to_string());
                }
                Value::List(appended(before, items))
            }
            Kind::Repeated => Value::List(appended(before, vec![text.to_owned()])),
            Kind::CertKey => {
                let mut all = match before {
                    Some(Value::CertKeys(all)) => all.clone(),
                    _ => Vec::new(),
                };
                all.push(cert_key(text)?);
                Value::CertKeys(all)
            }
            Kind::Quantity => Value::Text(quantity(text)?),
            Kind::Version => Value::Text(version(text)?),
        })
    }

    /// As `FLAG:` lines and `--help` show it.
    #[must_use]
    pub fn text(&self) -> String {
        let pairs = |map: &BTreeMap<String, String>| -> Vec<String> {
            map.iter().map(|(k, v)| format!("{k}={v}")).collect()
        };
        match self {
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float32(value) => float_text(&format!("{value:e}")),
            Value::Float(value) => float_text(&format!("{value:e}")),
            Value::Duration(nanos) => duration_text(*nanos),
            Value::Text(text) => text.clone(),
            Value::Ip(None) => "<nil>".to_owned(),
            Value::Ip(Some(address)) => address.to_string(),
            Value::List(items) => format!("[{}]", csv::write(items)),
            Value::Map(map) => pairs(map).join(","),
            Value::BracketedMap(map) => format!("[{}]", csv::write(&pairs(map))),
            Value::Gates(gates) => {
                let mut gates: Vec<_> = gates.iter().collect();
                gates.sort_by(|a, b| a.0.cmp(&b.0));
                let all: Vec<String> = gates.iter().map(|(c, g)| format!("{c}:{g}")).collect();
                all.join(",")
            }
            Value::CertKeys(all) => format!("[{}]", all.join(";")),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "parse_float has checked that the number fits 32 bits"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

fn appended(before: Option<&Value>, more: Vec<String>) -> Vec<String> {
    match before {
        Some(Value::List(items)) => items.iter().cloned().chain(more).collect(),
        _ => more,
    }
}

fn map_of(before: Option<&Value>) -> BTreeMap<String, String> {
    match before {
        Some(Value::Map(map) | Value::BracketedMap(map)) => map.clone(),
        _ => BTreeMap::new(),
    }
}

/// `component-base/cli/flag/configuration_map.go`.
fn configuration(text: &str, before: Option<&Value>) -> BTreeMap<String, String> {
    let mut map = map_of(before);
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        map.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    map
}

/// pflag's `string_to_string.go`: with more than one `=` the text is one CSV record.
fn string_to_string(
    text: &str,
    before: Option<&Value>,
) -> Result<BTreeMap<String, String>, String> {
    let pairs = match text.matches('=').count() {
        0 => return Err(format!("{text} must be formatted as key=value")),
        1 => vec![text.trim_matches('"').to_owned()],
        _ => csv::read(text)?,
    };
    let mut map = map_of(before);
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("{pair} must be formatted as key=value"))?;
        map.insert(key.to_owned(), value.to_owned());
    }
    Ok(map)
}

/// `component-base/cli/flag/colon_separated_multimap_string_string.go`.
fn gates(text: &str, before: Option<&Value>) -> Vec<(String, String)> {
    let mut all = match before {
        Some(Value::Gates(all)) => all.clone(),
        _ => Vec::new(),
    };
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (component, gate) = pair.split_once(':').unwrap_or(("", pair));
        all.push((component.trim().to_owned(), gate.trim().to_owned()));
    }
    all
}

/// `component-base/cli/flag/namedcertkey_flag.go`.
fn cert_key(text: &str) -> Result<String, String> {
    let (files, names) = match text.split_once(':') {
        Some((files, names)) => (files.trim(), Some(names.trim())),
        None => (text.trim(), None),
    };
    if names == Some("") {
        return Err("empty names list is not allowed".to_owned());
    }
    let both: Vec<&str> = files.split(',').map(str::trim).collect();
    if both.len() != 2 {
        return Err("expected comma separated certificate and key file paths".to_owned());
    }
    let mut out = both.join(",");
    if let Some(names) = names {
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        out.push(':');
        out.push_str(&names.join(","));
    }
    Ok(out)
}

/// `component-base/logs/api/v1/pflags.go`.
fn vmodule(text: &str, before: Option<&Value>) -> Result<String, String> {
    let mut all = match before {
        Some(Value::Text(text)) if !text.is_empty() => vec![text.clone()],
        _ => Vec::new(),
    };
    for pattern in text.split(',').filter(|pattern| !pattern.is_empty()) {
        let malformed = || format!("{} does not have the pattern=N format", quote(pattern));
        let parts: Vec<&str> = pattern.split('=').collect();
        let [files, level] = parts.as_slice() else {
            return Err(malformed());
        };
        if files.is_empty() || level.is_empty() {
            return Err(malformed());
        }
        let level = parse_uint10(level, 31)
            .map_err(|error| format!("parsing verbosity in {}: {error}", quote(pattern)))?;
        all.push(format!("{files}={level}"));
    }
    Ok(all.join(","))
}

/// `apimachinery/pkg/util/net/port_range.go`.
fn port_range(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    let (low, high) = match (text.split_once('-'), text.split_once('+')) {
        (Some(_), Some(_)) => return Err(format!("unable to parse port range: {text}")),
        (None, None) => {
            let port = parse_decimal(text)?;
            (port, port)
        }
        (Some((low, high)), None) => (parse_decimal(low)?, parse_decimal(high)?),
        (None, Some((low, offset))) => {
            let low = parse_decimal(low)?;
            (low, low.saturating_add(parse_decimal(offset)?))
        }
    };
    if low > 65535 || high > 65535 {
        return Err(format!(
            "the port range cannot be greater than 65535: {text}"
        ));
    }
    if high < low {
        return Err(format!("end port cannot be less than start port: {text}"));
    }
    Ok(format!("{low}-{high}"))
}

/// `apimachinery/pkg/api/resource/quantity.go`, as far as it is told from no quantity.
fn quantity(text: &str) -> Result<String, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let dots = number.matches('.').count();
    if number.len() == dots || dots > 1 {
        return Err("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned());
    }
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .is_some_and(|rest| !rest.is_empty() && parse_decimal(rest).is_ok());
    let known = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    if !exponent && !known.contains(&suffix) {
        return Err("unable to parse quantity's suffix".to_owned());
    }
    Ok(text.to_owned())
}

/// `component-base/version/{verflag/verflag.go,dynamic.go}`.
fn version(text: &str) -> Result<String, String> {
    if text == "raw" {
        return Ok("raw".to_owned());
    }
    if !text.starts_with('v') {
        return Ok(parse_bool(text)?.to_string());
    }
    if text == RELEASE {
        return Ok(text.to_owned());
    }
    let digits = text.strip_prefix('v').unwrap_or_default();
    let end = digits
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(digits.len());
    let core = digits.get(..end).unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("could not parse {} as version", quote(text)));
    }
    if parts.len() != 3 || parts.iter().any(|part| part.is_empty()) {
        return Err(format!("illegal version string {}", quote(text)));
    }
    if let Some(part) = parts
        .iter()
        .find(|part| part.len() > 1 && part.starts_with('0'))
    {
        return Err(format!(
            "illegal zero-prefixed version component {} in {}",
            quote(part),
            quote(text)
        ));
    }
    if RELEASE.strip_prefix('v') != Some(core) {
        return Err(format!(
            "version {} must match major/minor/patch of default version {}",
            quote(text),
            quote(RELEASE)
        ));
    }
    Ok(text.to_owned())
}
