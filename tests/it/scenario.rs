//! Scenarios of one's own: the starter, mistakes in files, the schema.

use std::path::Path;

use ckslab::scenario::{Scenario, attempt_schema, lint, schema, starter};

fn made(dir: &Path, id: &str) {
    for (path, text) in starter::files(id) {
        let path = dir.join(id).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The message for a starter in which one text was replaced.
fn mistake(file: &str, find: &str, with: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), "my-01");
    let path = dir.path().join("my-01").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(find), "{find}");
    std::fs::write(&path, text.replacen(find, with, 1)).unwrap();
    let message = match Scenario::find("my-01", Some(dir.path())) {
        Err(error) => error.to_string(),
        Ok(scenario) => match lint::lint(&scenario).first() {
            Some(finding) => match finding.line {
                Some(line) => format!("{}:{line}: {}", finding.file, finding.message),
                None => format!("{}: {}", finding.file, finding.message),
            },
            None => "fine".to_owned(),
        },
    };
    message.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn the_starter_is_a_scenario_without_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), "my-01");
    let scenario = Scenario::find("my-01", Some(dir.path())).unwrap();
    assert_eq!(lint::lint(&scenario), []);
    let all = Scenario::all(Some(dir.path())).unwrap();
    assert!(all.iter().any(|scenario| scenario.definition.id == "my-01"));
    assert!(
        all.iter()
            .any(|scenario| scenario.definition.id == "audit-01")
    );
}

#[test]
fn mistakes_name_file_line_and_next_step() {
    assert_eq!(
        mistake("scenario.yaml", "format: 1", "format: 2"),
        "my-01/scenario.yaml:2: the scenario has format 2; this program knows formats up to 1\n\n\
         hint: use a newer ckslab for this scenario"
    );
    assert_eq!(
        mistake("scenario.yaml", "format: 1\n", ""),
        "my-01/scenario.yaml: the field `format` is missing\n\n\
         hint: put `format: 1` on the first line"
    );
    let unknown = mistake("scenario.yaml", "difficulty: easy", "dificulty: easy");
    assert!(
        unknown.starts_with(
            "my-01/scenario.yaml:12: unknown field `dificulty`, expected one of `format`"
        ),
        "{unknown}"
    );
    assert!(
        unknown.ends_with("hint: `ckslab scenario schema` prints the format"),
        "{unknown}"
    );
    assert_eq!(
        mistake("scenario.yaml", "id: my-01", "id: other"),
        "my-01/scenario.yaml:3: the id `other` is not the name of the directory, `my-01`\n\n\
         hint: correct the file, then run `ckslab scenario lint`"
    );
    let attempt = mistake("attempts/typed-in.yaml", "kind: wrong", "kind: bad");
    assert!(
        attempt.starts_with("my-01/attempts/typed-in.yaml:2: kind: unknown variant `bad`"),
        "{attempt}"
    );
}

#[test]
fn lint_finds_what_reading_does_not() {
    assert_eq!(
        mistake("scenario.yaml", "points: 100", "points: 90"),
        "my-01/scenario.yaml:14: `points` is 90, but the checks have 100 together"
    );
    assert_eq!(
        mistake(
            "scenario.yaml",
            "ids: [secrets, silent]",
            "ids: [secrets, silence]"
        ),
        "my-01/scenario.yaml:91: check `entries` names `silence`, which is no probe"
    );
    assert_eq!(
        mistake(
            "scenario.yaml",
            "requires: [policy-secrets]",
            "requires: [policy]"
        ),
        "my-01/scenario.yaml:79: check `policy-rest` requires `policy`, which is no check"
    );
    let layer = mistake("scenario.yaml", "layer: log", "layer: process");
    assert!(
        layer.ends_with("check `log`: `log` does not belong to the layer `process`"),
        "{layer}"
    );
    let variable = mistake("task.md", "{{ team }}", "{{ tema }}");
    assert!(variable.contains("my-01/task.md"), "{variable}");
    assert!(variable.contains("undefined value"), "{variable}");
    assert_eq!(
        mistake("attempts/other.yaml", "kind: correct", "kind: reference"),
        "my-01/attempts: exactly one attempt must be of kind `reference`"
    );
}

#[test]
fn a_scenario_says_where_it_belongs() {
    assert_eq!(
        mistake("scenario.yaml", "group: configure\n", ""),
        "my-01/scenario.yaml:3: there is no `group`: one of `configure`, `troubleshoot`, `design`, \
         `protect`, `interpret`, `questions`"
    );
    let unknown = mistake("scenario.yaml", "group: configure", "group: repair");
    assert!(
        unknown.starts_with("my-01/scenario.yaml:7: group: unknown variant `repair`"),
        "{unknown}"
    );
    assert_eq!(
        mistake("scenario.yaml", "tasks: [1]", "tasks: [29]"),
        "my-01/scenario.yaml:10: `tasks` has 29, but the numbers go from 1 to 28"
    );
    assert_eq!(
        mistake("scenario.yaml", "mistakes: [6]", "mistakes: [6, 6]"),
        "my-01/scenario.yaml:11: `mistakes` has 6 twice"
    );
    let schema = schema();
    assert_eq!(schema["properties"]["tasks"]["items"]["maximum"], 28);
    assert_eq!(schema["properties"]["mistakes"]["items"]["maximum"], 24);
    let groups = schema["$defs"]["Group"].to_string();
    assert!(groups.contains("questions"), "{groups}");
}

#[test]
fn the_schemas_describe_the_formats() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["checks"].is_object());
    assert!(schema["$defs"]["Check"]["properties"]["policy"].is_object());
    assert!(attempt_schema()["properties"]["steps"].is_object());
}
