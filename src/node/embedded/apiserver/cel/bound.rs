//! What evaluations may cost. A real API server counts while it evaluates and stops
//! (`k8s.io/apiserver/pkg/apis/cel/config.go`); here the most an expression can cost is known before it is
//! begun, from the loops in it and from the longest list they may go through.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::Scope;

/// The text when nothing is left.
pub(in super::super) const SPENT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Most levels of nesting.
pub(super) const DEEPEST: usize = 250;

/// Levels of nesting of an expression.
pub(super) fn depth(expression: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut open = vec![(expression, 1)];
    while let Some((node, level)) = open.pop() {
        deepest = deepest.max(level);
        open.extend(children(node).into_iter().map(|child| (child, level + 1)));
    }
    deepest
}

/// What is left for one request, in evaluated nodes of expressions.
#[derive(Debug, Clone)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(20_000_000)
    }
}

/// Bytes of text a node of an expression may copy at the price of a node evaluated.
const COPIED: u64 = 256;

impl Budget {
    /// Takes off what an expression costs at most.
    pub(super) fn spend(&mut self, expression: &IdedExpr, scope: &Scope) -> Result<(), String> {
        let mut items = scope.size.items.max(1);
        longest(expression, &mut items);
        let cost = cost(expression, items, 1 + scope.size.bytes / COPIED);
        match self.0.checked_sub(cost) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                self.0 = 0;
                Err(SPENT.to_owned())
            }
        }
    }
}

/// What makes new text of the text it is given.
fn copies(function: &str) -> bool {
    matches!(
        function,
        "_+_" | "join" | "replace" | "format" | "split" | "findAll" | "string"
    )
}

/// The parts of an expression.
pub(super) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(call) => call
            .target
            .iter()
            .map(AsRef::as_ref)
            .chain(&call.args)
            .collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => entries(&map.entries),
        Expr::Struct(fields) => entries(&fields.entries),
        Expr::Comprehension(fold) => vec![
            &fold.iter_range,
            &fold.accu_init,
            &fold.loop_cond,
            &fold.loop_step,
            &fold.result,
        ],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn entries(entries: &[cel::common::ast::IdedEntryExpr]) -> Vec<&IdedExpr> {
    entries
        .iter()
        .flat_map(|entry| match &entry.expr {
            EntryExpr::StructField(field) => vec![&field.value],
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        })
        .collect()
}

/// Lists written in the expression are gone through, too; adding them makes longer ones.
fn longest(node: &IdedExpr, items: &mut u64) {
    let own = match &node.expr {
        Expr::List(list) => list.elements.len() as u64,
        Expr::Map(map) => map.entries.len() as u64,
        Expr::Call(call) if call.func_name == "_+_" => *items,
        _ => 0,
    };
    *items = items.saturating_add(own);
    for child in children(node) {
        longest(child, items);
    }
}

fn cost(node: &IdedExpr, items: u64, text: u64) -> u64 {
    let below = |times: u64, part: &IdedExpr| cost(part, items, text).saturating_mul(times);
    match &node.expr {
        Expr::Comprehension(fold) => 1_u64
            .saturating_add(below(1, &fold.iter_range))
            .saturating_add(below(1, &fold.accu_init))
            .saturating_add(below(items, &fold.loop_cond))
            .saturating_add(below(items, &fold.loop_step))
            .saturating_add(below(1, &fold.result)),
        expr => {
            let own = match expr {
                Expr::Call(call) if copies(&call.func_name) => text,
                _ => 1,
            };
            children(node)
                .into_iter()
                .fold(own, |sum, part| sum.saturating_add(below(1, part)))
        }
    }
}
