//! Functions that Kubernetes adds (`k8s.io/apiserver/pkg/cel/library`): `lists.go`, `regex.go`.

use std::cmp::Ordering;
use std::sync::Arc;

use cel::extractors::{Arguments, This};
use cel::{Context, ExecutionError, Value};

/// Names of types.
pub(super) const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// What functions stand behind, as in `optional.of(1)`.
pub(super) const QUALIFIERS: [&str; 6] = ["optional", "strings", "math", "sets", "ip", "format"];

/// Functions that can be called.
pub(super) const FUNCTIONS: [&str; 87] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "dyn",
    "has",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "join",
    "lowerAscii",
    "upperAscii",
    "trim",
    "replace",
    "split",
    "substring",
    "format",
    "quote",
    "strings.quote",
    "reverse",
    "sum",
    "min",
    "max",
    "isSorted",
    "find",
    "findAll",
    "of",
    "none",
    "ofNonZeroValue",
    "hasValue",
    "value",
    "or",
    "orValue",
    "optional.of",
    "optional.none",
    "quantity",
    "isQuantity",
    "semver",
    "isSemver",
    "major",
    "minor",
    "patch",
    "isGreaterThan",
    "isLessThan",
    "compareTo",
    "add",
    "sub",
    "sign",
    "isInteger",
    "asInteger",
    "asApproximateFloat",
    "ip",
    "isIP",
    "cidr",
    "isCIDR",
    "family",
    "isUnspecified",
    "isLoopback",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isGlobalUnicast",
    "containsIP",
    "containsCIDR",
    "prefixLength",
    "masked",
    "path",
    "group",
    "serviceAccount",
    "resource",
    "subresource",
    "namespace",
    "name",
    "fieldSelector",
    "labelSelector",
    "check",
    "allowed",
    "reason",
    "errored",
    "error",
];

type List = Arc<Vec<Value>>;

/// Declares them.
pub(super) fn declare(context: &mut Context<'_, '_>) {
    let _ = context.add_function("sum", |This(list): This<List>| sum(&list));
    let _ = context.add_function("min", |This(list): This<List>| {
        extreme("min", &list, Ordering::Less)
    });
    let _ = context.add_function("max", |This(list): This<List>| {
        extreme("max", &list, Ordering::Greater)
    });
    let _ = context.add_function("isSorted", |This(list): This<List>| {
        list.is_sorted_by(|a, b| matches!(a.partial_cmp(b), Some(Ordering::Less | Ordering::Equal)))
    });
    let _ = context.add_function(
        "find",
        |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let found = compiled("find", &pattern)?
                .find(&text)
                .map_or_else(String::new, |found| found.as_str().to_owned());
            Ok::<Value, ExecutionError>(Value::String(Arc::new(found)))
        },
    );
    let _ = context.add_function(
        "findAll",
        |This(text): This<Arc<String>>, Arguments(arguments): Arguments| {
            let (pattern, most) = match arguments.as_slice() {
                [Value::String(pattern)] => (pattern, usize::MAX),
                [Value::String(pattern), Value::Int(most)] => {
                    (pattern, usize::try_from(*most).unwrap_or(usize::MAX))
                }
                _ => return Err(ExecutionError::no_such_overload("findAll", Vec::new())),
            };
            let all: Vec<Value> = compiled("findAll", pattern)?
                .find_iter(&text)
                .take(most)
                .map(|found| Value::String(Arc::new(found.as_str().to_owned())))
                .collect();
            Ok::<Value, ExecutionError>(Value::List(Arc::new(all)))
        },
    );
}

fn compiled(function: &str, pattern: &str) -> Result<regex::Regex, ExecutionError> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| ExecutionError::function_error(function, format!("Illegal regex: {pattern}")))
}

fn sum(list: &[Value]) -> Result<Value, ExecutionError> {
    let mut whole = 0_i64;
    let mut broken = 0.0;
    let mut is_broken = false;
    for item in list {
        match item {
            Value::Int(number) => {
                whole = whole
                    .checked_add(*number)
                    .ok_or_else(|| ExecutionError::function_error("sum", "integer overflow"))?;
            }
            Value::Float(number) => {
                is_broken = true;
                broken += number;
            }
            _ => return Err(ExecutionError::no_such_overload("sum", Vec::new())),
        }
    }
    Ok(if is_broken {
        Value::Float(broken)
    } else {
        Value::Int(whole)
    })
}

fn extreme(function: &str, list: &[Value], wanted: Ordering) -> Result<Value, ExecutionError> {
    let mut items = list.iter();
    let first = items.next().ok_or_else(|| {
        ExecutionError::function_error(function, format!("{function} called on empty list"))
    })?;
    items
        .try_fold(first, |best, item| match item.partial_cmp(best) {
            Some(order) if order == wanted => Ok(item),
            Some(_) => Ok(best),
            None => Err(ExecutionError::no_such_overload(function, Vec::new())),
        })
        .cloned()
}
