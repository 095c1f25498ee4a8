//! What is wrong with a check by itself: several kinds, a layer that does not fit, values that are none.

use super::answer::AnswerCheck;
use super::check::{Check, Compare, FlagCheck, Layer, PolicyCheck};
use super::evidence::{BudgetCheck, KeptCheck, ModeCheck, NeverCheck, octal};
use super::log_filter::LogFilter;
use super::quantity::Quantity;
use crate::audit::level::Level;
use crate::audit::options::table;

/// What is wrong with a check by itself.
pub(super) fn check_problems(check: &Check) -> Vec<String> {
    use Layer::{Entries, Files, Log, Manifest, Process};
    let kinds: [(&str, bool, &[Layer]); 14] = [
        ("flag", check.flag.is_some(), &[Manifest, Process]),
        ("mount", check.mount.is_some(), &[Manifest]),
        ("readable", check.readable.is_some(), &[Manifest]),
        ("running", check.running.is_some(), &[Process]),
        ("sees", check.sees.is_some(), &[Files]),
        ("policy", check.policy.is_some(), &[Files]),
        ("log", check.log.is_some(), &[Log]),
        ("probes", check.probes.is_some(), &[Entries]),
        ("unchanged", check.unchanged.is_some(), &[Manifest, Process]),
        ("mode", check.mode.is_some(), &[Files, Log]),
        ("kept", check.kept.is_some(), &[Files, Log]),
        ("never", check.never.is_some(), &[Files, Log]),
        ("answer", check.answer.is_some(), &[Files, Log]),
        ("budget", check.budget.is_some(), &[Manifest, Process]),
    ];
    let set: Vec<_> = kinds.iter().filter(|(_, set, _)| *set).collect();
    let [(name, _, layers)] = set.as_slice() else {
        return vec![format!(
            "it has {} kinds; exactly one of {} is needed",
            set.len(),
            kinds.map(|(name, ..)| format!("`{name}`")).join(", ")
        )];
    };
    if !layers.contains(&check.layer) {
        return vec![format!(
            "`{name}` does not belong to the layer `{}`",
            check.layer.name()
        )];
    }
    let wrong = [
        check.flag.as_ref().map(flag_problems),
        check.policy.as_ref().map(policy_problems),
        check.mode.as_ref().map(mode_problems),
        check.kept.as_ref().map(kept_problems),
        check.never.as_ref().map(never_problems),
        check.budget.as_ref().map(budget_problems),
        check.answer.as_ref().map(answer_problems),
    ];
    wrong.into_iter().flatten().flatten().collect()
}

fn flag_problems(check: &FlagCheck) -> Vec<String> {
    let mut problems = quantity_problems([&check.at_least, &check.at_most]);
    let conditions = [
        check.equals.is_some(),
        !check.one_of.is_empty(),
        check.at_least.is_some(),
        check.at_most.is_some(),
    ];
    if check.absent && (conditions.contains(&true) || check.default_counts) {
        problems.push("a flag that must be `absent` has no value to look at".to_owned());
    }
    if table::find(&check.name).is_none() {
        problems.push(format!("kube-apiserver has no flag `--{}`", check.name));
    }
    problems
}

fn policy_problems(check: &PolicyCheck) -> Vec<String> {
    let mut problems: Vec<String> = check.scope().err().into_iter().collect();
    let none = check.compare == Compare::None || check.stages_only;
    if none && check.level.is_some() {
        problems.push("a `level` that is not compared is no level".to_owned());
    }
    if check.level == Some(Level::None) && check.compare == Compare::AtLeast {
        problems.push("every level is at least None".to_owned());
    }
    if check.level == Some(Level::RequestResponse) && check.compare == Compare::AtMost {
        problems.push("every level is at most RequestResponse".to_owned());
    }
    if let Some(stages) = &check.stages
        && let Some(both) = stages
            .recorded
            .iter()
            .find(|stage| stages.left_out.contains(stage))
    {
        problems.push(format!("the stage {} cannot be both", both.name()));
    }
    problems
}

fn quantity_problems<const N: usize>(quantities: [&Option<Quantity>; N]) -> Vec<String> {
    quantities
        .into_iter()
        .flatten()
        .filter_map(|quantity| quantity.number().err())
        .collect()
}

fn mode_problems(check: &ModeCheck) -> Vec<String> {
    let bits = check.exactly.iter().chain(&check.at_most);
    let mut problems: Vec<String> = bits.filter_map(|bits| octal(bits).err()).collect();
    if check.exactly.is_none() == check.at_most.is_none() {
        problems.push("`mode` needs one of `exactly` and `at_most`".to_owned());
    }
    problems.extend(path_problems([&check.path]));
    problems
}

fn kept_problems(check: &KeptCheck) -> Vec<String> {
    let mut problems = path_problems(std::iter::once(&check.path).chain(&check.also));
    if check.moved && check.also.is_empty() {
        problems.push("`moved` needs `also`: where it must be now".to_owned());
    }
    if let Some(Err(message)) = check.entries.as_ref().map(LogFilter::filter) {
        problems.push(message);
    }
    problems
}

fn never_problems(check: &NeverCheck) -> Vec<String> {
    let mut problems = path_problems(check.under.iter().chain(&check.but));
    problems.extend(octal(&check.but_at_most).err());
    if check.under.is_empty() || check.texts.is_empty() {
        problems.push("`never` needs `under` and `texts`".to_owned());
    }
    if check.texts.iter().any(|text| text.len() < 4) {
        problems.push("a text of `never` has fewer than 4 bytes: it may be anywhere".to_owned());
    }
    problems
}

fn budget_problems(check: &BudgetCheck) -> Vec<String> {
    let parts = [&check.megabytes, &check.days, &check.megabytes_per_day];
    let mut problems = quantity_problems(parts);
    if parts.iter().all(|part| part.is_none()) {
        problems.push("`budget` needs `megabytes` or `days`".to_owned());
    }
    if check.megabytes_per_day.is_some() && check.days.is_none() {
        problems.push("`megabytes_per_day` needs `days`".to_owned());
    }
    problems
}

fn answer_problems(check: &AnswerCheck) -> Vec<String> {
    let mut problems = path_problems([&check.path]);
    if let Some(Err(message)) = check.computed() {
        problems.push(message);
    }
    if let Some(query) = &check.query {
        problems.extend(path_problems([&query.log]));
        problems.extend(query.filter.filter().err());
    }
    if check.key.is_empty() || check.key.contains([':', '=', '"', '\'']) {
        problems.push(format!("`{}` is no key for a line `KEY: VALUE`", check.key));
    }
    problems
}

fn path_problems<'a>(paths: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    paths
        .into_iter()
        .filter(|path| !path.starts_with('/'))
        .map(|path| format!("`{path}` is no path from the root of the node"))
        .collect()
}
