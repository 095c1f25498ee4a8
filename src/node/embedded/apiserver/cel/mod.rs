//! Expressions of the Common Expression Language as the API server compiles and evaluates them
//! (`k8s.io/apiserver/pkg/cel`, `pkg/admission/plugin/cel`). The language itself is the crate `cel`'s;
//! here is what Kubernetes adds: the texts of cel-go, functions on lists and strings, and bounds.
//!
//! Types are not checked before an expression is evaluated. Of the libraries of Kubernetes those on lists,
//! regular expressions, quantities, versions, addresses and authorisation are there; URLs, formats and
//! times are not.

mod authorizer;
mod bound;
mod kind;
mod library;
mod network;
mod quantity;
mod text;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, IdedExpr};
use cel::objects::{Key, Map};
use cel::parser::PrattParser;
use cel::{Context, Env, Value as CelValue};
use serde_json::Value;

pub use authorizer::Decide;
pub use bound::Budget;

use super::authz::Attributes;
use super::request::UserInfo;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // As in cel-go.
    env.set_error_on_duplicate_map_keys(false);
    let _ = env.add_extension(cel::extensions::strings);
    Arc::new(env)
});

/// Functions that are declared by the libraries of Kubernetes and not simulated: an expression may name
/// them, and fails where it calls them.
const NOT_SIMULATED: [&str; 13] = [
    "url",
    "isURL",
    "ip.isCanonical",
    "duration",
    "timestamp",
    "getHost",
    "getHostname",
    "getPort",
    "getScheme",
    "format.named",
    "validate",
    "sets.contains",
    "sets.intersects",
];

/// Longest expression, in bytes. cel-go takes 100,000 characters.
const LONGEST: usize = 10_000;

/// Stack for evaluating an expression as deep as [`bound::DEEPEST`], in bytes.
const STACK: usize = 32 << 20;

/// What a rule of a custom resource may name.
pub const RULE_VARIABLES: [&str; 2] = ["self", "oldSelf"];

/// What an expression of an admission policy may name.
#[must_use]
pub fn policy_variables(has_params: bool) -> Vec<&'static str> {
    let mut names = vec![
        "object",
        "oldObject",
        "request",
        "namespaceObject",
        "variables",
        "authorizer",
    ];
    if has_params {
        names.push("params");
    }
    names
}

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: String,
    parsed: IdedExpr,
}

impl Expression {
    /// Compiles an expression that may name these variables.
    ///
    /// # Errors
    /// The issues, as cel-go words and shows them.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!(
                "ERROR: <input>:-1:0: expression code point size exceeds limit: size: {}, limit {LONGEST}",
                text.chars().count()
            ));
        }
        let parsed = PrattParser::default()
            .enable_optional_syntax(true)
            .parse(text)
            .map_err(|errors| match errors.errors.first() {
                Some(first) if first.pos.0 <= 1 => {
                    let column = usize::try_from(first.pos.1).unwrap_or(1);
                    text::syntax(text, column, &first.msg)
                }
                _ => errors.to_string(),
            })?;
        let expression = Self {
            text: text.to_owned(),
            parsed,
        };
        if bound::depth(&expression.parsed) > bound::DEEPEST {
            return Err(format!(
                "ERROR: <input>:-1:0: expression recursion limit exceeded: {}",
                bound::DEEPEST
            ));
        }
        let mut issues = Vec::new();
        let mut known: Vec<String> = variables.iter().map(|name| (*name).to_owned()).collect();
        expression.undeclared(&expression.parsed, &mut known, &mut issues);
        if issues.is_empty() {
            Ok(expression)
        } else {
            Err(issues.join("\n"))
        }
    }

    /// Checks that its value can be of one of these types.
    ///
    /// # Errors
    /// The types wanted and the type it has.
    pub fn gives(&self, wanted: &[&str]) -> Result<(), String> {
        match (kind::of(&self.parsed), wanted) {
            (Some(kind), wanted) if !wanted.contains(&kind) => Err(match wanted {
                [one] => format!("must evaluate to {one} but got {kind}"),
                _ => format!(
                    "must evaluate to one of [{}] but got {kind}",
                    wanted.join(" ")
                ),
            }),
            _ => Ok(()),
        }
    }

    /// What was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it names this variable.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        self.parsed.references().has_variable(variable)
    }

    fn undeclared(&self, node: &IdedExpr, known: &mut Vec<String>, issues: &mut Vec<String>) {
        let mut report = |name: &str, called: bool| {
            let what = format!("undeclared reference to '{name}' (in container '')");
            let offset = text::place(&self.text, name) + if called { name.len() } else { 0 };
            issues.push(text::issue(&self.text, offset, &what));
        };
        match &node.expr {
            Expr::Ident(name) => {
                let internal = name.starts_with('@') || name.starts_with("__");
                if !internal && !known.contains(name) && !library::TYPES.contains(&name.as_str()) {
                    report(name, false);
                }
            }
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let operator = name.starts_with(['_', '@', '-', '!']);
                if !operator
                    && !library::FUNCTIONS.contains(&name)
                    && !NOT_SIMULATED.contains(&name)
                {
                    report(name, true);
                }
                // `strings.quote` and the like: what stands before the point is part of the name.
                let qualifier = call.target.as_ref().is_some_and(|target| {
                    matches!(&target.expr, Expr::Ident(name) if library::QUALIFIERS.contains(&name.as_str()))
                });
                let target = call.target.iter().filter(|_| !qualifier);
                for part in target.map(AsRef::as_ref).chain(&call.args) {
                    self.undeclared(part, known, issues);
                }
            }
            Expr::Comprehension(fold) => {
                self.undeclared(&fold.iter_range, known, issues);
                self.undeclared(&fold.accu_init, known, issues);
                let before = known.len();
                known.push(fold.iter_var.clone());
                known.extend(fold.iter_var2.clone());
                known.push(fold.accu_var.clone());
                for part in [&fold.loop_cond, &fold.loop_step, &fold.result] {
                    self.undeclared(part, known, issues);
                }
                known.truncate(before);
            }
            _ => {
                for part in bound::children(node) {
                    self.undeclared(part, known, issues);
                }
            }
        }
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// What went wrong, in cel-go's words; [`bound::SPENT`] when it would cost more than is left.
    pub fn evaluate(&self, scope: &Scope, budget: &mut Budget) -> Result<Outcome, String> {
        budget.spend(&self.parsed, scope)?;
        let mut context = Context::with_env(ENV.clone());
        library::declare(&mut context);
        quantity::declare(&mut context);
        network::declare(&mut context);
        authorizer::declare(&mut context);
        for (name, value) in &scope.values {
            context.add_variable_from_value(name.clone(), value.clone());
        }
        // Nested expressions are evaluated by recursion, in large frames.
        stacker::grow(STACK, || CelValue::resolve(&self.parsed, &context))
            .map(Outcome)
            .map_err(|error| self.failure(&error, scope))
    }

    fn failure(&self, error: &cel::ExecutionError, scope: &Scope) -> String {
        if let cel::ExecutionError::NoSuchKey(key) = error
            && let Some(why) = scope.failed.get(key.as_str())
            && self.names("variables")
        {
            return format!("composited variable \"{key}\" fails to evaluate: {why}");
        }
        text::failure(error)
    }
}

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome(CelValue);

impl Outcome {
    /// Whether it is `true`.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.0 == CelValue::Bool(true)
    }

    /// Whether it is `false`.
    #[must_use]
    pub fn is_false(&self) -> bool {
        self.0 == CelValue::Bool(false)
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0 == CelValue::Null
    }

    /// Its text, if it is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            CelValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The name of its type, as cel-go writes it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        value::type_name(&self.0)
    }
}

/// The variables of an evaluation.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    values: BTreeMap<String, CelValue>,
    /// Variables of a policy that have no value, and why.
    failed: BTreeMap<String, String>,
    /// The most items of any list or map, and characters in all.
    size: value::Size,
}

impl Scope {
    /// Gives a variable the value of a JSON document.
    pub fn set(&mut self, name: &str, document: &Value) {
        self.size.add(document);
        self.values
            .insert(name.to_owned(), value::from_json(document));
    }

    /// As [`Scope::set`], as an optional: none where there is no document.
    pub fn set_optional(&mut self, name: &str, document: Option<&Value>) {
        if let Some(document) = document {
            self.size.add(document);
        }
        let optional = match document {
            Some(document) => cel::objects::OptionalValue::of(value::from_json(document)),
            None => cel::objects::OptionalValue::none(),
        };
        self.values
            .insert(name.to_owned(), CelValue::Opaque(Arc::new(optional)));
    }

    /// Sets `authorizer`, of a request of this user about this resource.
    pub fn set_authorizer(&mut self, decide: Decide, user: UserInfo, attributes: Attributes) {
        let variable = authorizer::variable(decide, user, attributes);
        self.values.insert("authorizer".to_owned(), variable);
    }

    /// Adds a member to the map `variables`: the outcome of an expression, or why it has none.
    pub fn add_variable(&mut self, name: &str, outcome: Result<Outcome, String>) {
        let mut members: HashMap<Key, CelValue> = match self.values.get("variables") {
            Some(CelValue::Map(map)) => (*map.map).clone(),
            _ => HashMap::new(),
        };
        match outcome {
            Ok(Outcome(value)) => {
                self.size.add_value(&value);
                members.insert(Key::String(Arc::new(name.to_owned())), value);
            }
            Err(why) => {
                self.failed.insert(name.to_owned(), why);
            }
        }
        let map = Map {
            map: Arc::new(members),
        };
        self.values
            .insert("variables".to_owned(), CelValue::Map(map));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn evaluated(text: &str) -> Result<Outcome, String> {
        let mut scope = Scope::default();
        scope.set(
            "object",
            &json!({"data": {"color": "red"}, "list": [1, 2, 3], "names": ["a", "b"], "n": 1.5}),
        );
        scope.set("oldObject", &Value::Null);
        Expression::compile(text, &["object", "oldObject"])?
            .evaluate(&scope, &mut Budget::default())
    }

    fn holds(text: &str) -> bool {
        evaluated(text).unwrap().is_true()
    }

    #[test]
    fn expressions_are_evaluated() {
        assert!(holds("object.data.color == 'red'"));
        assert!(holds("has(object.data) && !has(object.metadata)"));
        assert!(holds("'color' in object.data && oldObject == null"));
        assert!(holds(
            "object.list.all(i, i > 0) && object.list.exists(i, i == 3)"
        ));
        assert!(holds("object.names.map(n, n + '!').join(',') == 'a!,b!'"));
        assert!(holds("object.n > 1 && size(object.list) == 3"));
        assert!(holds("'a-b'.split('-')[1].upperAscii() == 'B'"));
        assert!(holds("object.?metadata.?name.orValue('none') == 'none'"));
    }

    #[test]
    fn functions_of_kubernetes_are_there() {
        assert!(holds("object.list.sum() == 6 && object.list.max() == 3"));
        assert!(holds("object.list.min() == 1 && object.list.isSorted()"));
        assert!(holds("'a12b3'.find('[0-9]+') == '12'"));
        assert!(holds("'a12b3'.findAll('[0-9]+') == ['12', '3']"));
        assert!(holds("'a12b3'.findAll('[0-9]+', 1).size() == 1"));
    }

    #[test]
    fn quantities_and_versions_are_ordered() {
        assert!(holds("quantity('1Gi').isGreaterThan(quantity('1000M'))"));
        assert!(holds("quantity('500m').compareTo(quantity('0.5')) == 0"));
        assert!(holds(
            "quantity('1').add(quantity('500m')).sub(1).isLessThan(quantity('1'))"
        ));
        assert!(holds(
            "quantity('2k').asInteger() == 2000 && quantity('-1').sign() == -1"
        ));
        assert!(holds(
            "!quantity('100m').isInteger() && isQuantity('1e3') && !isQuantity('1x')"
        ));
        assert!(holds("quantity('1500m').asApproximateFloat() == 1.5"));
        assert!(holds(
            "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.2.3').minor() == 2"
        ));
        assert!(holds(
            "semver('1.0.0-rc.2').compareTo(semver('1.0.0')) == -1 && !isSemver('v1')"
        ));
        assert_eq!(
            evaluated("quantity(1).sign() == 1").unwrap_err(),
            "no such overload"
        );
        assert!(
            evaluated("quantity('a').sign() == 1")
                .unwrap_err()
                .starts_with("quantities must match")
        );
    }

    #[test]
    fn addresses_belong_to_networks() {
        assert!(holds(
            "ip('10.1.2.3').family() == 4 && isIP('::1') && !isIP('10.0.0.256')"
        ));
        assert!(holds(
            "ip('127.0.0.1').isLoopback() && ip('8.8.8.8').isGlobalUnicast()"
        ));
        assert!(holds(
            "cidr('10.0.0.0/8').containsIP('10.9.8.7') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))"
        ));
        assert!(holds(
            "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/16').masked().ip() == ip('10.1.0.0')"
        ));
        assert!(holds(
            "cidr('::/0').containsIP('2001:db8::1') && cidr('::/0').prefixLength() == 0 && !isCIDR('10.0.0.0')"
        ));
    }

    #[test]
    fn an_authorizer_is_asked_for_others_and_for_oneself() {
        let decide: Decide = Arc::new(|user, attributes| super::super::authz::Decision {
            allowed: user.username == "jane" && attributes.verb == "get"
                || user.username == "system:serviceaccount:ns:robot"
                    && attributes.namespace == "ns"
                || attributes.path == "/healthz",
            reason: format!("{}/{}", attributes.resource, attributes.name),
        });
        let holds = |text: &str| {
            let mut scope = Scope::default();
            let user = UserInfo {
                username: "jane".to_owned(),
                ..UserInfo::default()
            };
            let own = Attributes {
                resource: "pods".to_owned(),
                name: "web".to_owned(),
                ..Attributes::default()
            };
            scope.set_authorizer(decide.clone(), user, own);
            let expression = Expression::compile(text, &["authorizer"]).unwrap();
            expression
                .evaluate(&scope, &mut Budget::default())
                .map(|outcome| outcome.is_true())
        };
        for text in [
            "authorizer.group('apps').resource('deployments').namespace('a').check('get').allowed()",
            "!authorizer.group('').resource('pods').check('create').allowed()",
            "authorizer.requestResource.check('get').reason() == 'pods/web'",
            "!authorizer.requestResource.check('get').errored()",
            "authorizer.path('/healthz').check('post').allowed()",
            "authorizer.serviceAccount('ns', 'robot').group('').resource('pods').namespace('ns').check('list').allowed()",
        ] {
            assert_eq!(holds(text), Ok(true), "{text}");
        }
        assert_eq!(
            holds("authorizer.path('').check('get').allowed()"),
            Err("path must not be empty".to_owned())
        );
        assert_eq!(
            holds("authorizer.group('').check('get').allowed()"),
            Err("no such overload".to_owned())
        );
    }

    #[test]
    fn failures_are_worded_as_by_cel_go() {
        let why = |text: &str| evaluated(text).unwrap_err();
        assert_eq!(why("object.data.size > 1"), "no such key: size");
        assert_eq!(why("object.list[7] == 1"), "index out of bounds: 7");
        assert_eq!(why("1 / (object.list[0] - 1) == 1"), "division by zero");
        assert_eq!(why("object.data.color > 1"), "no such overload");
    }

    #[test]
    fn issues_show_the_place() {
        assert_eq!(
            evaluated("object.a == fob").unwrap_err(),
            "ERROR: <input>:1:13: undeclared reference to 'fob' (in container '')\n | object.a == fob\n | ............^"
        );
        assert_eq!(
            evaluated("nothing(object)").unwrap_err().lines().next(),
            Some("ERROR: <input>:1:8: undeclared reference to 'nothing' (in container '')")
        );
        let error = evaluated("1 +").unwrap_err();
        assert!(
            error.starts_with(
                "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting"
            ),
            "{error}"
        );
        assert!(error.ends_with("\n | 1 +\n | ...^"), "{error}");
    }

    #[test]
    fn types_that_can_be_told_are_checked() {
        let gives =
            |text: &str, wanted: &[&str]| Expression::compile(text, &["object"])?.gives(wanted);
        assert_eq!(gives("object.a", &["bool"]), Ok(()));
        assert_eq!(gives("1 == object.a", &["bool"]), Ok(()));
        assert_eq!(
            gives("2", &["string"]),
            Err("must evaluate to string but got int".to_owned())
        );
        assert_eq!(
            gives("object.a ? 'x' + 'y' : 'z'", &["bool"]),
            Err("must evaluate to bool but got string".to_owned())
        );
        assert_eq!(
            gives("size(object.a)", &["string", "null_type"]),
            Err("must evaluate to one of [string null_type] but got int".to_owned())
        );
    }

    #[test]
    fn what_would_take_too_long_is_not_begun() {
        let mut scope = Scope::default();
        scope.set("object", &json!({"list": vec![1; 2000]}));
        let nested = "object.list.all(a, object.list.all(b, object.list.all(c, a + b + c > 0)))";
        let expression = Expression::compile(nested, &["object"]).unwrap();
        assert_eq!(
            expression.evaluate(&scope, &mut Budget::default()),
            Err(bound::SPENT.to_owned())
        );
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_and_else_evaluated() {
        for (before, middle, after) in [
            ("(", "true", ")"),
            ("!", "true", ""),
            ("", "true", " && true"),
            ("[", "1", "]"),
            ("", "object", ".a"),
            ("", "object", "[0]"),
            ("true ? ", "true", " : true"),
            ("[1].all(a, ", "true", ")"),
        ] {
            for times in [1, 10, 90, 400, 4000, 100_000] {
                let text = format!("{}{middle}{}", before.repeat(times), after.repeat(times));
                if let Ok(expression) = Expression::compile(&text, &["object"]) {
                    let mut scope = Scope::default();
                    scope.set("object", &json!([]));
                    let _ = expression.evaluate(&scope, &mut Budget::default());
                }
            }
        }
        assert!(holds(&format!("true{}", " && true".repeat(100))));
    }
}
