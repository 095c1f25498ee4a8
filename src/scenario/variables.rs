//! Drawing a scenario's variables from a seed.
//!
//! Every variable has a stream of random numbers of its own, made from the scenario's id, the seed
//! and the variable's name, so that adding a variable changes no other one, on any platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::definition::Variable;
use super::template::{Variables, render};

/// Draws every variable, in the order of their declaration.
///
/// # Errors
/// The variable's name and what is wrong with it.
pub fn draw(
    scenario: &str,
    seed: u64,
    declared: &[Variable],
) -> Result<Variables, (String, String)> {
    let mut values = Variables::new();
    values.insert("seed".to_owned(), seed.to_string());
    values.insert("scenario".to_owned(), scenario.to_owned());
    for variable in declared {
        let value = draw_one(scenario, seed, variable, &values)
            .map_err(|message| (variable.name.clone(), message))?;
        values.insert(variable.name.clone(), value);
    }
    Ok(values)
}

fn draw_one(
    scenario: &str,
    seed: u64,
    variable: &Variable,
    values: &Variables,
) -> Result<String, String> {
    let mut taken = Vec::new();
    for other in &variable.unlike {
        taken.push(
            values
                .get(other)
                .ok_or_else(|| format!("`unlike` names `{other}`, which is not declared before"))?,
        );
    }
    let candidates: Vec<String> = match (&variable.pick, &variable.number, &variable.text) {
        (Some(pick), None, None) => {
            let mut candidates = Vec::new();
            for choice in pick {
                candidates.push(render(choice, values)?);
            }
            candidates
        }
        (None, Some(range), None) => {
            if range.step == 0
                || range.to < range.from
                || (range.to - range.from) / range.step > 100_000
            {
                return Err(
                    "`number` must go from a smaller to a larger number in steps".to_owned(),
                );
            }
            (0..=(range.to - range.from) / range.step)
                .map(|index| (range.from + index * range.step).to_string())
                .collect()
        }
        (None, None, Some(text)) => return render(text, values),
        _ => return Err("give exactly one of `pick`, `number` and `text`".to_owned()),
    };
    let left: Vec<&String> = candidates
        .iter()
        .filter(|candidate| !taken.contains(candidate))
        .collect();
    if left.is_empty() {
        return Err("no value is left to choose from".to_owned());
    }
    let digest = Sha256::digest(format!("ckslab\0{scenario}\0{seed}\0{}", variable.name));
    let mut random = ChaCha8Rng::from_seed(digest.into());
    let index = usize::try_from(random.next_u64() % left.len() as u64).unwrap_or(0);
    Ok(left.get(index).copied().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::definition::NumberRange;

    fn pick(name: &str, choices: &[&str], unlike: &[&str]) -> Variable {
        Variable {
            name: name.into(),
            pick: Some(choices.iter().map(|&choice| choice.into()).collect()),
            number: None,
            text: None,
            unlike: unlike.iter().map(|&other| other.into()).collect(),
        }
    }

    #[test]
    fn same_seed_same_values_and_streams_are_independent() {
        let team = pick("team", &["a", "b", "c", "d"], &[]);
        let number = Variable {
            name: "age".into(),
            pick: None,
            number: Some(NumberRange {
                from: 5,
                to: 30,
                step: 5,
            }),
            text: None,
            unlike: Vec::new(),
        };
        for seed in 0..50 {
            let both = draw("x", seed, &[number.clone(), team.clone()]).unwrap();
            let one = draw("x", seed, std::slice::from_ref(&team)).unwrap();
            assert_eq!(both["team"], one["team"]);
            assert_eq!(both["age"].parse::<u64>().unwrap() % 5, 0);
        }
    }

    #[test]
    fn unlike_never_repeats() {
        let declared = [
            pick("one", &["a", "b"], &[]),
            pick("two", &["a", "b"], &["one"]),
        ];
        for seed in 0..50 {
            let values = draw("x", seed, &declared).unwrap();
            assert_ne!(values["one"], values["two"]);
        }
        assert!(
            draw(
                "x",
                1,
                &[pick("one", &["a"], &[]), pick("two", &["a"], &["one"])]
            )
            .is_err()
        );
    }

    #[test]
    fn the_values_of_a_seed_never_change() {
        let values = draw(
            "audit-01",
            7,
            &[pick("team", &["a", "b", "c", "d", "e", "f", "g"], &[])],
        )
        .unwrap();
        assert_eq!(values["team"], "e");
    }
}
