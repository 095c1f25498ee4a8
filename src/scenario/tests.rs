//! The embedded scenarios can be read and filled in.

use super::*;

#[test]
fn every_embedded_scenario_resolves_for_many_seeds() {
    let all = Scenario::all(None).unwrap();
    let ids: Vec<&str> = all
        .iter()
        .map(|scenario| scenario.definition.id.as_str())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for id in ["audit-01", "audit-06", "sandbox"] {
        assert!(ids.contains(&id), "{id} of {ids:?}");
    }
    for scenario in &all {
        for seed in 0..25 {
            let resolved = match scenario.resolve(seed) {
                Ok(resolved) => resolved,
                Err(error) => panic!("{error}"),
            };
            assert!(!resolved.task.contains("{{"), "{}", resolved.task);
        }
        assert_eq!(lint::lint(scenario), []);
    }
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let error = Scenario::find("audit-3", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no scenario `audit-3`\n\nhint: did you mean `audit-03`? `ckslab list` shows all of them"
    );
    let error = Scenario::find("zzz", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no scenario `zzz`\n\nhint: `ckslab list` shows all of them"
    );
}
