//! Bare `ckslab`: the next useful thing.

use super::output;
use crate::exit::Exit;
use crate::lab::{Home, Lab};
use crate::style::Style;

/// Says what to do next.
///
/// # Errors
/// When standard output cannot be written.
pub fn run() -> anyhow::Result<Exit> {
    let home = Home::find()?;
    let style = Style::stdout();
    let mut text = format!(
        "{} practises Kubernetes audit logging on a control-plane node.\n\n",
        style.strong("ckslab")
    );
    let next: &[(&str, &str)] = match Lab::find(&home, None) {
        Err(_) if home.ids().is_empty() => {
            text.push_str("No lab is started yet.\n\n");
            &[
                ("ckslab list", "see the exercises"),
                ("ckslab start audit-01", "start the first one"),
                ("ckslab start sandbox", "or play freely on a healthy node"),
            ]
        }
        Err(_) => {
            text.push_str("No lab is active.\n\n");
            &[("ckslab list", "see the exercises and your labs")]
        }
        Ok(lab) if lab.record().stopped => {
            text.push_str(&format!("Lab {} is stopped.\n\n", style.code(lab.id())));
            &[
                ("ckslab list", "see the exercises and your labs"),
                ("ckslab start ID", "go on with one, or start another"),
            ]
        }
        Ok(lab) => {
            text.push_str(&format!("Lab {} is started.\n\n", style.code(lab.id())));
            if lab.record().grades.last().is_some_and(|grade| grade.passed) {
                &[
                    ("ckslab solution", "compare with the reference solution"),
                    ("ckslab list", "choose the next exercise"),
                ]
            } else {
                &[
                    ("ckslab task", "read what is asked"),
                    ("ckslab status", "see how the node is"),
                    ("ckslab shell", "work on the node"),
                    ("ckslab grade", "see what works"),
                    ("ckslab hint", "take a hint"),
                ]
            }
        }
    };
    let width = next
        .iter()
        .map(|(command, _)| command.len())
        .max()
        .unwrap_or(0);
    for (command, what) in next {
        let pad = " ".repeat(width - command.len());
        text.push_str(&format!("  {}{pad}  {what}\n", style.code(command)));
    }
    text.push_str(&format!(
        "\n{}\n",
        style.faint("ckslab --help shows every command.")
    ));
    output::print(&text)?;
    Ok(Exit::Ok)
}
