//! Quantities, and what they share with other types that are ordered (`k8s.io/apiserver/pkg/cel/library`:
//! `quantity.go`, `semver.go`).

use std::cmp::Ordering;
use std::sync::Arc;

use cel::extractors::{Arguments, This};
use cel::objects::Opaque;
use cel::{Context, ExecutionError, Value};

use crate::node::embedded::apiserver::kinds::quantity::Quantity;

/// The error of `ParseQuantity` for most of what is none.
const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// Parts of one.
const NANO: i128 = 1_000_000_000;

/// A quantity in billionths.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Amount(i128);

impl Opaque for Amount {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Quantity"
    }
}

/// A version of three numbers, and of words for what is before it.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    before: Vec<String>,
}

impl Opaque for Version {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Semver"
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let core = text.split('+').next()?;
        let (core, before) = match core.split_once('-') {
            Some((core, before)) => (core, before.split('.').map(str::to_owned).collect()),
            None => (core, Vec::new()),
        };
        let mut numbers = [0; 3];
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() != numbers.len() || before.iter().any(String::is_empty) {
            return None;
        }
        for (number, part) in numbers.iter_mut().zip(parts) {
            let is_plain = part.bytes().all(|byte| byte.is_ascii_digit())
                && (part.len() == 1 || !part.starts_with('0'));
            *number = part.parse().ok().filter(|_| is_plain)?;
        }
        Some(Self { numbers, before })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let numbers = self.numbers.cmp(&other.numbers);
        let words = match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self
                .before
                .iter()
                .zip(&other.before)
                .map(
                    |(own, its)| match (own.parse::<u64>(), its.parse::<u64>()) {
                        (Ok(own), Ok(its)) => own.cmp(&its),
                        (Ok(_), Err(_)) => Ordering::Less,
                        (Err(_), Ok(_)) => Ordering::Greater,
                        (Err(_), Err(_)) => own.cmp(its),
                    },
                )
                .find(|order| order.is_ne())
                .unwrap_or(self.before.len().cmp(&other.before.len())),
        };
        numbers.then(words)
    }
}

type Result = std::result::Result<Value, ExecutionError>;

fn wrong(function: &str) -> ExecutionError {
    ExecutionError::no_such_overload(function, Vec::new())
}

fn amount(value: &Value) -> Option<i128> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<Amount>().map(|amount| amount.0),
        // Whole numbers can be added and taken away as they are.
        Value::Int(whole) => Some(i128::from(*whole).saturating_mul(NANO)),
        _ => None,
    }
}

fn own<T: 'static>(value: &Value) -> Option<&T> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<T>(),
        _ => None,
    }
}

fn compare(
    left: &Value,
    right: &Value,
    function: &str,
) -> std::result::Result<Ordering, ExecutionError> {
    let amounts = own::<Amount>(left).zip(own::<Amount>(right));
    let versions = own::<Version>(left).zip(own::<Version>(right));
    amounts
        .map(|(left, right)| left.cmp(right))
        .or_else(|| versions.map(|(left, right)| left.compare(right)))
        .ok_or_else(|| wrong(function))
}

/// Declares their functions.
pub(super) fn declare(context: &mut Context<'_, '_>) {
    let _ = context.add_function("isQuantity", |text: Arc<String>| {
        Quantity::parse(&text).is_some()
    });
    let _ = context.add_function("quantity", |text: Arc<String>| -> Result {
        let parsed = Quantity::parse(&text)
            .ok_or_else(|| ExecutionError::function_error("quantity", MALFORMED))?;
        Ok(Value::Opaque(Arc::new(Amount(parsed.nano()))))
    });
    let _ = context.add_function("isSemver", |text: Arc<String>| {
        Version::parse(&text).is_some()
    });
    let _ = context.add_function("semver", |text: Arc<String>| -> Result {
        let parsed = Version::parse(&text).ok_or_else(|| {
            ExecutionError::function_error("semver", "No Major.Minor.Patch elements found")
        })?;
        Ok(Value::Opaque(Arc::new(parsed)))
    });
    for (function, place) in [("major", 0), ("minor", 1), ("patch", 2)] {
        let _ = context.add_function(function, move |This(of): This<Value>| -> Result {
            own::<Version>(&of)
                .and_then(|version| version.numbers.get(place))
                .map(|number| Value::Int(i64::try_from(*number).unwrap_or(i64::MAX)))
                .ok_or_else(|| wrong(function))
        });
    }
    let _ = context.add_function(
        "isGreaterThan",
        |This(left): This<Value>, Arguments(right): Arguments| -> Result {
            ordered(&left, &right, "isGreaterThan").map(|order| Value::Bool(order.is_gt()))
        },
    );
    let _ = context.add_function(
        "isLessThan",
        |This(left): This<Value>, Arguments(right): Arguments| -> Result {
            ordered(&left, &right, "isLessThan").map(|order| Value::Bool(order.is_lt()))
        },
    );
    let _ = context.add_function(
        "compareTo",
        |This(left): This<Value>, Arguments(right): Arguments| -> Result {
            ordered(&left, &right, "compareTo").map(|order| Value::Int(order as i64))
        },
    );
    type Sum = fn(i128, i128) -> i128;
    let sums: [(&'static str, Sum); 2] =
        [("add", i128::saturating_add), ("sub", i128::saturating_sub)];
    for (function, sum) in sums {
        let _ = context.add_function(
            function,
            move |This(left): This<Value>, Arguments(right): Arguments| -> Result {
                let left = own::<Amount>(&left).ok_or_else(|| wrong(function))?;
                match right.as_slice() {
                    [right] => amount(right)
                        .map(|right| Value::Opaque(Arc::new(Amount(sum(left.0, right)))))
                        .ok_or_else(|| wrong(function)),
                    _ => Err(wrong(function)),
                }
            },
        );
    }
    type Of = fn(i128) -> Result;
    #[expect(clippy::cast_precision_loss, reason = "the function says so")]
    let numbers: [(&'static str, Of); 4] = [
        ("sign", |nano| Ok(Value::Int(nano.signum() as i64))),
        ("isInteger", |nano| Ok(Value::Bool(whole(nano).is_some()))),
        ("asInteger", |nano| {
            whole(nano).map(Value::Int).ok_or_else(|| {
                ExecutionError::function_error("asInteger", "cannot convert value to integer")
            })
        }),
        ("asApproximateFloat", |nano| {
            Ok(Value::Float(nano as f64 / NANO as f64))
        }),
    ];
    for (function, of) in numbers {
        let _ = context.add_function(function, move |This(value): This<Value>| -> Result {
            of(own::<Amount>(&value).ok_or_else(|| wrong(function))?.0)
        });
    }
}

fn whole(nano: i128) -> Option<i64> {
    i64::try_from(nano / NANO).ok().filter(|_| nano % NANO == 0)
}

fn ordered(
    left: &Value,
    right: &[Value],
    function: &str,
) -> std::result::Result<Ordering, ExecutionError> {
    match right {
        [right] => compare(left, right, function),
        _ => Err(wrong(function)),
    }
}
