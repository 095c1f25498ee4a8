//! Answers that the learner wrote into a file.

use super::Context;
use crate::grade::argv::parent;
use crate::grade::report::Outcome;
use crate::node::NodeFile;
use crate::scenario::answer::AnswerCheck;
use crate::scenario::answer_sheet::AnswerSheet;

/// The answer in the file is the one that was computed. What is right is not said.
pub fn answer(context: &Context<'_>, id: &str, check: &AnswerCheck) -> Outcome {
    let (key, path) = (&check.key, &check.path);
    let expected = format!("`{key}` in `{path}` is answered rightly");
    let solution = match check.computed() {
        Some(computed) => computed,
        None => context
            .baseline
            .answers
            .get(id)
            .cloned()
            .ok_or_else(|| "the log had no answer when the lab started".to_owned()),
    };
    let solution = match solution {
        Ok(solution) => solution,
        Err(message) => {
            let seen = format!("blocked: the question has no answer: {message}");
            return Outcome::blocked(expected, seen, "ckslab scenario lint");
        }
    };
    let write = format!("echo '{key}: ...' >> {path}");
    let content = match context.node.read(path) {
        Ok(NodeFile::File { content, .. }) => content,
        Ok(NodeFile::Missing) => {
            return Outcome::fail(expected, format!("there is no `{path}`"), write);
        }
        Ok(_) => {
            let look = format!("ls -la {}", parent(path));
            return Outcome::fail(expected, format!("`{path}` is no file"), look);
        }
        Err(error) => return Outcome::fail(expected, error.to_string(), write),
    };
    let sheet = AnswerSheet::read(&content);
    let Some(given) = sheet.get(key) else {
        return Outcome::fail(expected, format!("`{key}` is not answered"), write);
    };
    let look = match &check.query {
        Some(query) => format!("ckslab audit query node:{}", query.log),
        None => "ckslab task".to_owned(),
    };
    let said = given.values.join(", ");
    if given.times > 1 {
        let seen = format!("`{key}` is there {} times: one answer counts", given.times);
        return Outcome::fail(expected, seen, format!("grep -n {key} {path}"));
    }
    if check.is_right(&given.values, &solution) {
        return Outcome::pass(expected, format!("`{said}`"));
    }
    let seen = if solution.len() == 1 && given.values.len() > 1 {
        format!("`{said}`: one value is asked for")
    } else {
        format!("`{said}`, which is not right")
    };
    Outcome::fail(expected, seen, look)
}
