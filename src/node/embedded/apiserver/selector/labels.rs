//! Label selectors (`k8s.io/apimachinery/pkg/labels/selector.go`).

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// A parsed label selector; the empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// Why a selector cannot be parsed, in the words of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn error<T>(text: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(text.into()))
}

impl Selector {
    /// Parses `a=b,c in (d,e),!f`.
    ///
    /// # Errors
    /// The API server's text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser {
            tokens: lex(text),
            position: 0,
        };
        let mut requirements = parser.parse()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self(requirements))
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `metadata.labels` satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: Option<&Value>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels
                .and_then(|labels| labels.get(&requirement.key))
                .and_then(Value::as_str);
            requirement.matches(value)
        })
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => {
                value.is_some_and(|value| self.values.contains(value))
            }
            Operator::NotIn | Operator::NotEquals => {
                value.is_none_or(|value| !self.values.contains(value))
            }
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let Some(have) = value.and_then(|value| value.parse::<i64>().ok()) else {
                    return false;
                };
                self.values
                    .iter()
                    .filter_map(|v| v.parse::<i64>().ok())
                    .all(|limit| match self.operator {
                        Operator::GreaterThan => have > limit,
                        _ => have < limit,
                    })
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    Word(String),
    End,
    /// Special characters that are no operator.
    Error(String),
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Token::Open => "(",
            Token::Close => ")",
            Token::Comma => ",",
            Token::Not => "!",
            Token::Equals => "=",
            Token::DoubleEquals => "==",
            Token::NotEquals => "!=",
            Token::Greater => ">",
            Token::Less => "<",
            Token::Word(word) => word,
            Token::End => "",
            Token::Error(text) => text,
        }
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn symbol(text: &str) -> Option<Token> {
    Some(match text {
        "(" => Token::Open,
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "=" => Token::Equals,
        "==" => Token::DoubleEquals,
        "!=" => Token::NotEquals,
        ">" => Token::Greater,
        "<" => Token::Less,
        _ => return None,
    })
}

fn lex(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
        } else if is_special(c) {
            // The longest run of special characters that is a symbol.
            let mut run = String::new();
            let mut last: Option<(Token, usize)> = None;
            let mut ahead = chars.clone();
            while let Some(&c) = ahead.peek() {
                if !is_special(c) {
                    break;
                }
                run.push(c);
                ahead.next();
                match symbol(&run) {
                    Some(token) => last = Some((token, run.len())),
                    None if last.is_some() => break,
                    None => {}
                }
            }
            match last {
                Some((token, length)) => {
                    for _ in 0..length {
                        chars.next();
                    }
                    tokens.push(token);
                }
                None => {
                    for _ in 0..run.len() {
                        chars.next();
                    }
                    tokens.push(Token::Error(run));
                }
            }
        } else {
            let mut word = String::new();
            while let Some(&c) = chars.peek() {
                if is_special(c) || c.is_whitespace() {
                    break;
                }
                word.push(c);
                chars.next();
            }
            tokens.push(Token::Word(word));
        }
    }
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn look(&self) -> Token {
        self.tokens
            .get(self.position)
            .cloned()
            .unwrap_or(Token::End)
    }

    fn consume(&mut self) -> Token {
        let token = self.look();
        self.position += 1;
        token
    }

    fn parse(&mut self) -> Result<Vec<Requirement>, ParseError> {
        let mut requirements = Vec::new();
        loop {
            match self.look() {
                Token::Word(_) | Token::Not => {
                    let requirement = self.requirement().map_err(|error| {
                        ParseError(format!("unable to parse requirement: {error}"))
                    })?;
                    requirements.push(requirement);
                    match self.consume() {
                        Token::End => return Ok(requirements),
                        Token::Comma => {
                            let next = self.look();
                            if !matches!(next, Token::Word(_) | Token::Not) {
                                return error(format!(
                                    "found '{}', expected: identifier after ','",
                                    next.text()
                                ));
                            }
                        }
                        other => {
                            return error(format!(
                                "found '{}', expected: ',' or 'end of string'",
                                other.text()
                            ));
                        }
                    }
                }
                Token::End => return Ok(requirements),
                other => {
                    return error(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.text()
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        let mut operator = None;
        let mut token = self.consume();
        if token == Token::Not {
            operator = Some(Operator::DoesNotExist);
            token = self.consume();
        }
        let Token::Word(key) = token else {
            return error(format!("found '{}', expected: identifier", token.text()));
        };
        check_key(&key)?;
        if operator.is_none() && matches!(self.look(), Token::End | Token::Comma) {
            operator = Some(Operator::Exists);
        }
        if let Some(operator) = operator {
            return Ok(Requirement {
                key,
                operator,
                values: BTreeSet::new(),
            });
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        check_values(&key, operator, &values)?;
        Ok(Requirement {
            key,
            operator,
            values,
        })
    }

    fn operator(&mut self) -> Result<Operator, ParseError> {
        let token = self.consume();
        Ok(match &token {
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            Token::Word(word) if word == "in" => Operator::In,
            Token::Word(word) if word == "notin" => Operator::NotIn,
            other => {
                return error(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    other.text()
                ));
            }
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, ParseError> {
        let open = self.consume();
        if open != Token::Open {
            return error(format!("found '{}' expected: '('", open.text()));
        }
        match self.look() {
            Token::Word(_) | Token::Comma => {
                let values = self.identifiers()?;
                let close = self.consume();
                if close != Token::Close {
                    return error(format!("found '{}', expected: ')'", close.text()));
                }
                Ok(values)
            }
            Token::Close => {
                self.consume();
                Ok(BTreeSet::new())
            }
            other => error(format!(
                "found '{}', expected: ',', ')' or identifier",
                other.text()
            )),
        }
    }

    fn identifiers(&mut self) -> Result<BTreeSet<String>, ParseError> {
        let mut values = BTreeSet::new();
        loop {
            match self.consume() {
                Token::Word(word) => {
                    values.insert(word);
                    match self.look() {
                        Token::Comma => {}
                        Token::Close => return Ok(values),
                        other => {
                            return error(format!(
                                "found '{}', expected: ',' or ')'",
                                other.text()
                            ));
                        }
                    }
                }
                Token::Comma => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.look() {
                        Token::Close => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            self.consume();
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                other => {
                    return error(format!(
                        "found '{}', expected: ',', or identifier",
                        other.text()
                    ));
                }
            }
        }
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, ParseError> {
        if matches!(self.look(), Token::End | Token::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.consume() {
            Token::Word(word) => Ok(BTreeSet::from([word])),
            other => error(format!("found '{}', expected: identifier", other.text())),
        }
    }
}

fn check_values(
    key: &str,
    operator: Operator,
    values: &BTreeSet<String>,
) -> Result<(), ParseError> {
    let mut errors = Vec::new();
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => errors.push(
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                .to_owned(),
        ),
        Operator::GreaterThan | Operator::LessThan => {
            for (index, value) in values.iter().enumerate() {
                if value.parse::<i64>().is_err() {
                    errors.push(format!(
                        "values[{index}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                    ));
                }
            }
        }
        _ => {}
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(problem) = label_value_problem(value) {
            errors.push(format!(
                "values[{index}][{key}]: Invalid value: {value:?}: {problem}"
            ));
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => error(one.clone()),
        many => error(format!("[{}]", many.join(", "))),
    }
}

const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX_PART: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_name(text: &str) -> bool {
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    alphanumeric(text.chars().next())
        && alphanumeric(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|label| {
        let edge =
            |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(label.chars().next())
            && edge(label.chars().last())
            && label
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    })
}

fn check_key(key: &str) -> Result<(), ParseError> {
    let mut problems: Vec<String> = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => Some(*name),
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else if !is_subdomain(prefix) {
                problems.push(PREFIX_PART.to_owned());
            } else if prefix.len() > 253 {
                problems.push("prefix part must be no more than 253 characters".to_owned());
            }
            Some(*name)
        }
        _ => {
            problems.push(QUALIFIED.to_owned());
            None
        }
    };
    if let Some(name) = name {
        if name.is_empty() {
            problems.push("name part must be non-empty".to_owned());
        } else if name.len() > 63 {
            problems.push("name part must be no more than 63 bytes".to_owned());
        }
        if !is_name(name) {
            problems.push(NAME_PART.to_owned());
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    error(format!(
        "<nil>: Invalid value: {key:?}: {}",
        problems.join("; ")
    ))
}

fn label_value_problem(value: &str) -> Option<String> {
    let mut problems = Vec::new();
    if value.len() > 63 {
        problems.push("must be no more than 63 bytes".to_owned());
    }
    if !value.is_empty() && !is_name(value) {
        problems.push(LABEL_VALUE.to_owned());
    }
    (!problems.is_empty()).then(|| problems.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_select() {
        let labels = json!({"app": "web", "tier": "front", "n": "5"});
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("missing!=x", true),
            ("app in (web, db)", true),
            ("app notin (db)", true),
            ("!app", false),
            ("!missing", true),
            ("n>4", true),
            ("n<5", false),
            ("missing", false),
            ("app in (,)", false),
            ("x=", false),
            ("in in (in)", false),
        ] {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.matches(Some(&labels)), expected, "{text}");
        }
    }

    #[test]
    fn errors_have_the_real_texts() {
        for (text, expected) in [
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            (
                "a in ",
                "unable to parse requirement: found '' expected: '('",
            ),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            ("a=b,", "found '', expected: identifier after ','"),
            (
                "=b",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err().to_string(), expected);
        }
        assert!(
            Selector::parse("-bad-=x")
                .unwrap_err()
                .to_string()
                .starts_with("unable to parse requirement: <nil>: Invalid value: \"-bad-\": name part must consist")
        );
    }
}
