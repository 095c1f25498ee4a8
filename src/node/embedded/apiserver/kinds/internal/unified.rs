//! Unified diffs as `github.com/pmezard/go-difflib` makes them, which follows Python's difflib: longest
//! matching blocks, left ones first, lines that are too common not counted.

use std::collections::HashMap;

/// Lines around a change.
const CONTEXT: usize = 3;
/// From so many lines on, those that make up more than a hundredth are no anchors.
const POPULAR_FROM: usize = 200;
/// Beyond so many lines nothing is compared.
const LONGEST: usize = 4000;

/// Two ranges of lines that differ, or are equal.
#[derive(Debug, Clone, Copy)]
struct Op {
    equal: bool,
    a: (usize, usize),
    b: (usize, usize),
}

/// The unified diff of two texts, without names of files.
#[must_use]
pub fn diff(before: &str, after: &str) -> String {
    let a: Vec<&str> = before.lines().take(LONGEST).collect();
    let b: Vec<&str> = after.lines().take(LONGEST).collect();
    let mut out = String::new();
    for group in groups(&operations(&a, &b)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        out.push_str(&format!(
            "@@ -{} +{} @@\n",
            range(first.a.0, last.a.1),
            range(first.b.0, last.b.1)
        ));
        for op in &group {
            let from = a.get(op.a.0..op.a.1).unwrap_or_default();
            let to = b.get(op.b.0..op.b.1).unwrap_or_default();
            let lists: &[(char, &[&str])] = if op.equal {
                &[(' ', from)]
            } else {
                &[('-', from), ('+', to)]
            };
            for (mark, lines) in lists {
                for line in *lines {
                    out.push(*mark);
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
    }
    out
}

fn range(start: usize, end: usize) -> String {
    match end - start {
        1 => format!("{}", start + 1),
        0 => format!("{start},0"),
        length => format!("{},{length}", start + 1),
    }
}

/// Where each line of `b` is, without the popular ones.
fn positions<'t>(b: &[&'t str]) -> HashMap<&'t str, Vec<usize>> {
    let mut map: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, line) in b.iter().enumerate() {
        map.entry(line).or_default().push(at);
    }
    if b.len() >= POPULAR_FROM {
        let most = b.len() / 100 + 1;
        map.retain(|_, at| at.len() <= most);
    }
    map
}

/// The longest block that is in both ranges: start in `a`, start in `b`, length.
fn longest(
    a: &[&str],
    b: &[&str],
    known: &HashMap<&str, Vec<usize>>,
    (alo, ahi): (usize, usize),
    (blo, bhi): (usize, usize),
) -> (usize, usize, usize) {
    let (mut i, mut j, mut size) = (alo, blo, 0);
    let mut ending: HashMap<usize, usize> = HashMap::new();
    for at in alo..ahi {
        let mut next = HashMap::new();
        for &other in a
            .get(at)
            .and_then(|line| known.get(line))
            .into_iter()
            .flatten()
        {
            if other < blo {
                continue;
            }
            if other >= bhi {
                break;
            }
            let length = 1 + other
                .checked_sub(1)
                .and_then(|before| ending.get(&before))
                .copied()
                .unwrap_or(0);
            next.insert(other, length);
            if length > size {
                (i, j, size) = (at + 1 - length, other + 1 - length, length);
            }
        }
        ending = next;
    }
    // Popular lines at its edges belong to it.
    while i > alo && j > blo && a.get(i - 1) == b.get(j - 1) {
        (i, j, size) = (i - 1, j - 1, size + 1);
    }
    while i + size < ahi && j + size < bhi && a.get(i + size) == b.get(j + size) {
        size += 1;
    }
    (i, j, size)
}

fn operations(a: &[&str], b: &[&str]) -> Vec<Op> {
    let known = positions(b);
    let mut blocks = Vec::new();
    let mut open = vec![((0, a.len()), (0, b.len()))];
    while let Some((in_a, in_b)) = open.pop() {
        let (i, j, size) = longest(a, b, &known, in_a, in_b);
        if size == 0 {
            continue;
        }
        blocks.push((i, j, size));
        if in_a.0 < i && in_b.0 < j {
            open.push(((in_a.0, i), (in_b.0, j)));
        }
        if i + size < in_a.1 && j + size < in_b.1 {
            open.push(((i + size, in_a.1), (j + size, in_b.1)));
        }
    }
    blocks.sort_unstable();
    blocks.push((a.len(), b.len(), 0));
    let (mut i, mut j) = (0, 0);
    let mut ops: Vec<Op> = Vec::new();
    for (start_a, start_b, size) in blocks {
        if i < start_a || j < start_b {
            ops.push(Op {
                equal: false,
                a: (i, start_a),
                b: (j, start_b),
            });
        }
        (i, j) = (start_a + size, start_b + size);
        match ops.last_mut() {
            // Blocks that touch are one.
            Some(last) if size > 0 && last.equal => {
                (last.a.1, last.b.1) = (i, j);
            }
            _ if size > 0 => ops.push(Op {
                equal: true,
                a: (start_a, i),
                b: (start_b, j),
            }),
            _ => {}
        }
    }
    ops
}

/// Changes with what is around them; equal stretches that are long part groups.
fn groups(ops: &[Op]) -> Vec<Vec<Op>> {
    let mut all = Vec::new();
    let mut group: Vec<Op> = Vec::new();
    let count = ops.len();
    for (at, op) in ops.iter().enumerate() {
        if !op.equal {
            group.push(*op);
            continue;
        }
        let length = op.a.1 - op.a.0;
        let head = |length: usize| Op {
            equal: true,
            a: (op.a.0, op.a.0 + length),
            b: (op.b.0, op.b.0 + length),
        };
        let tail = |length: usize| Op {
            equal: true,
            a: (op.a.1 - length, op.a.1),
            b: (op.b.1 - length, op.b.1),
        };
        let (first, last) = (at == 0, at + 1 == count);
        if first {
            group.push(tail(length.min(CONTEXT)));
        } else if last {
            group.push(head(length.min(CONTEXT)));
        } else if length > 2 * CONTEXT {
            group.push(head(CONTEXT));
            all.push(std::mem::take(&mut group));
            group.push(tail(CONTEXT));
        } else {
            group.push(*op);
        }
    }
    if group.iter().any(|op| !op.equal) {
        all.push(group);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn far_changes_are_hunks_of_their_own_and_near_ones_share_one() {
        let before: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        let mut after = before.clone();
        after[0] = "x".into();
        after[3] = "y".into();
        after.remove(18);
        assert_eq!(
            diff(&before.join("\n"), &after.join("\n")),
            "@@ -1,7 +1,7 @@\n-1\n+x\n 2\n 3\n-4\n+y\n 5\n 6\n 7\n@@ -16,5 +16,4 @@\n 16\n 17\n 18\n-19\n 20\n"
        );
        assert_eq!(diff("a\nb", "a\nb"), "");
    }
}
