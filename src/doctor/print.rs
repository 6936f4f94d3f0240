//! The table for people: a row a check, a column a node; under it, in sentences, what is in the way and what is worth knowing.

use std::fmt::Write;

use super::{Check, Report, State};

/// Characters of a cell, its mark included.
const CELL_MAX: usize = 18;
/// Spaces between columns.
const GAP: usize = 2;
/// Names of nodes in front of a sentence; more are counted.
const NAMES_MAX: usize = 6;

impl State {
    /// What stands before a cell, so that the table reads without colours.
    fn mark(self) -> char {
        match self {
            Self::Fine => '✓',
            Self::Note => '!',
            Self::Problem => '✗',
            Self::Unknown => '·',
        }
    }
}

/// The report for a terminal of this many columns. More nodes than it has room for come in further tables.
pub fn print(report: &Report, width: usize) -> String {
    let mut text = String::new();
    let labels: Vec<&str> =
        report.nodes.first().into_iter().flat_map(|node| &node.checks).map(|check| check.check).collect();
    let label_width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let columns: Vec<Vec<String>> = report
        .nodes
        .iter()
        .map(|node| {
            let cells = node.checks.iter().map(|check| format!("{} {}", check.state.mark(), check.seen));
            std::iter::once(node.name.clone()).chain(cells).map(|cell| clip(&cell, CELL_MAX)).collect()
        })
        .collect();
    let mut rest = columns.as_slice();
    while !rest.is_empty() {
        let (block, after) = rest.split_at(fitting(rest, width.saturating_sub(label_width)));
        table(&mut text, &labels, label_width, block);
        text.push('\n');
        rest = after;
    }
    sentences(&mut text, report, State::Problem, "In the way:");
    sentences(&mut text, report, State::Note, "Worth knowing:");
    text.push_str(&conclusion(report));
    text
}

fn column_width(column: &[String]) -> usize {
    column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0)
}

/// How many columns have room; one always has.
fn fitting(columns: &[Vec<String>], room: usize) -> usize {
    let mut used = 0;
    let fits = columns.iter().take_while(|column| {
        used += GAP + column_width(column);
        used <= room
    });
    fits.count().max(1)
}

fn table(text: &mut String, labels: &[&str], label_width: usize, columns: &[Vec<String>]) {
    for (row, label) in std::iter::once("").chain(labels.iter().copied()).enumerate() {
        let mut line = format!("{label:label_width$}");
        for column in columns {
            let (cell, width) = (column.get(row).map_or("", String::as_str), column_width(column));
            // Writing to a string cannot fail.
            let _ = write!(line, "{:GAP$}{cell:width$}", "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// What there is of one state, each sentence once with the nodes that it is about.
fn sentences(text: &mut String, report: &Report, state: State, title: &str) {
    let mut said: Vec<(&Check, &str, Vec<&str>)> = Vec::new();
    for node in &report.nodes {
        for check in node.checks.iter().filter(|check| check.state == state) {
            let sentence = check.advice.as_deref().unwrap_or(&check.seen);
            match said.iter_mut().find(|(other, known, _)| other.check == check.check && *known == sentence) {
                Some((_, _, nodes)) => nodes.push(&node.name),
                None => said.push((check, sentence, vec![&node.name])),
            }
        }
    }
    if said.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}");
    for (check, sentence, nodes) in said {
        let mut names = nodes.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
        if nodes.len() == report.nodes.len() && nodes.len() > 1 {
            names = "every node".to_owned();
        } else if nodes.len() > NAMES_MAX {
            let _ = write!(names, " and {} more", nodes.len() - NAMES_MAX);
        }
        // A sentence of several lines stays one below the other, and nothing of it steers the terminal.
        let lines: Vec<String> = sentence.lines().map(plain).collect();
        let _ = writeln!(text, "  {} {names}: {}: {}", state.mark(), check.check, lines.join("\n      "));
    }
    text.push('\n');
}

fn conclusion(report: &Report) -> String {
    let failing = |check: &Check| !matches!(check.state, State::Fine | State::Note);
    let failing: Vec<&str> = report
        .nodes
        .iter()
        .filter(|node| node.checks.iter().any(failing))
        .map(|node| node.name.as_str())
        .collect();
    let failing = failing.join(", ");
    match (&report.test, report.can_run) {
        (Some(test), true) => format!("\"{}\" can run here.\n", plain(test)),
        (Some(test), false) => format!("\"{}\" cannot run here: see {failing}.\n", plain(test)),
        (None, true) => "Every kind of fault can be made here.\n".to_owned(),
        (None, false) => format!("Not every kind of fault can be made here: see {failing}.\n"),
    }
}

/// Without what would steer a terminal: the words may be a node's.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn clip(text: &str, max: usize) -> String {
    let text = plain(text);
    match text.char_indices().nth(max) {
        Some(_) => text.chars().take(max - 1).chain(['…']).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::NodeReport;

    fn report(nodes: usize, of: impl Fn(usize) -> Vec<Check>) -> Report {
        let nodes = (1..=nodes).map(|number| NodeReport {
            name: format!("n{number}"),
            address: None,
            checks: of(number),
            facts: None,
        });
        let nodes: Vec<_> = nodes.collect();
        let can_run = nodes.iter().flat_map(|node| &node.checks).all(|check| check.state == State::Fine);
        Report { test: Some("a test".to_owned()), can_run, nodes }
    }

    fn check(state: State, seen: &str, advice: Option<&str>) -> Check {
        Check { check: "clock", state, seen: seen.to_owned(), advice: advice.map(str::to_owned) }
    }

    #[test]
    fn nodes_that_have_no_room_come_in_another_table() {
        let report = report(9, |_| vec![check(State::Fine, "+0.1ms ±0.2ms", None)]);
        let text = print(&report, 40);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        let headers: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with('n')).collect();
        assert!(headers.len() > 2, "{text}");
        for number in 1..=9 {
            let name = format!("n{number}");
            assert!(headers.iter().any(|line| line.split_whitespace().any(|word| word == name)), "{text}");
        }
        assert_eq!(text.matches("clock").count(), headers.len(), "{text}");
        // One column is shown however narrow it is.
        assert!(print(&report, 1).contains("n9"));
        assert!(text.ends_with("\"a test\" can run here.\n"), "{text}");
    }

    #[test]
    fn a_sentence_is_said_once_for_all_nodes_that_it_is_about() {
        let report = report(4, |number| match number {
            1 | 3 => vec![check(State::Problem, "far off", Some("set it"))],
            2 => vec![check(State::Note, "odd", Some("look at it\u{1b}[31m\nor not"))],
            _ => vec![check(State::Fine, "good", Some("never shown"))],
        });
        let text = print(&report, 100);
        assert_eq!(text.matches("set it").count(), 1, "{text}");
        for part in [
            "In the way:\n  ✗ n1, n3: clock: set it\n",
            "Worth knowing:\n  ! n2: clock: look",
            "      or not",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains("never shown"), "{text}");
        assert!(text.ends_with("\"a test\" cannot run here: see n1, n3.\n"), "{text}");
    }
}
