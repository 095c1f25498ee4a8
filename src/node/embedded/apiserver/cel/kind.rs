//! Types of expressions, as far as they can be told without knowing the variables.

use cel::common::ast::{Expr, IdedExpr, LiteralValue};

/// The type an expression has whatever its variables are; nothing where that depends on them.
pub(super) fn of(node: &IdedExpr) -> Option<&'static str> {
    match &node.expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Boolean(_) => "bool",
            LiteralValue::Bytes(_) => "bytes",
            LiteralValue::Double(_) => "double",
            LiteralValue::Int(_) => "int",
            LiteralValue::Null => "null_type",
            LiteralValue::String(_) => "string",
            LiteralValue::UInt(_) => "uint",
        }),
        Expr::Select(select) if select.test => Some("bool"),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            ("_?_:_", [_, yes, no]) => of(yes).filter(|kind| of(no) == Some(kind)),
            ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [left, right]) => {
                of(left).filter(|kind| of(right) == Some(kind))
            }
            ("-_", [operand]) => of(operand),
            (
                "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "_&&_" | "_||_" | "!_" | "@in"
                | "startsWith" | "endsWith" | "contains" | "matches" | "isSorted" | "bool",
                _,
            ) => Some("bool"),
            ("size" | "indexOf" | "lastIndexOf" | "int", _) => Some("int"),
            (
                "string" | "join" | "lowerAscii" | "upperAscii" | "trim" | "replace" | "substring"
                | "charAt" | "format" | "find",
                _,
            ) => Some("string"),
            ("double", _) => Some("double"),
            ("uint", _) => Some("uint"),
            _ => None,
        },
        _ => None,
    }
}
