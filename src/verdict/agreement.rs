//! Do the two checks agree: the one that followed the history while it grew, and the one that judged the whole of it?
//!
//! Both claim to be right, so a contradiction between them is a defect of ours, and the run proves nothing until it is known
//! which of them is wrong.

use schism_checkers::linearizable::live::{Finding, Summary};
use schism_checkers::{CheckResult, Validity};
use serde_json::Value;

/// What the check during the run saw and said. What it saw is the beginning of the history, without a gap.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Events it saw.
    pub events: u64,
    /// The name of the model.
    pub model: &'static str,
    /// The objects that it found to violate the model, in the order in which it found them.
    pub found: Vec<Finding>,
    /// Its answer over everything it saw; absent where it was given up.
    pub summary: Option<Summary>,
}

/// What contradicts what, in one sentence, if anything does. `checked` is the answer about the whole history of `events` events.
///
/// What was found in the beginning of a history holds for the whole of it, since no later event makes an order fit that does not
/// fit now. Everything else is held against each other only where both saw the same.
pub fn disagreement(watched: &Watched, events: u64, checked: &CheckResult) -> Option<String> {
    let what = contradiction(watched, events, checked)?;
    Some(format!(
        "The check during the run and the check of the whole history contradict each other: {what}. One of them is wrong, so \
         this run proves nothing. This is a defect of Schism: please report it with the run directory."
    ))
}

fn contradiction(watched: &Watched, events: u64, checked: &CheckResult) -> Option<String> {
    // A history that was cut short need not contain what was found.
    let found: Vec<&Finding> = watched.found.iter().filter(|finding| finding.index < events).collect();
    let explained: Vec<Option<&Value>> =
        checked.violations.iter().map(|violation| violation.key.as_ref()).collect();
    let all_are_explained = checked.violating_keys == explained.len();
    match checked.validity {
        Validity::Unknown => return None,
        Validity::Pass => {
            if let Some(finding) = found.first() {
                return Some(format!("during the run, {finding}; the whole passes"));
            }
        }
        // What is undecided may be what the other found.
        Validity::Violation if checked.unknown.is_some() => {}
        Validity::Violation => {
            let unconfirmed = found.iter().find(|finding| !explained.contains(&name(finding)));
            if let Some(finding) = unconfirmed.filter(|_| all_are_explained) {
                let of = of_key(name(finding));
                return Some(format!("during the run, {finding}; in the whole, {of} in order"));
            }
            if found.len() > checked.violating_keys {
                return Some(counts(found.len(), checked.violating_keys));
            }
        }
    }
    let summary = watched.summary.as_ref().filter(|_| watched.events == events)?;
    // One without a key may be any part of a map.
    let decided = |key: Option<&Value>| {
        !summary.unknown.iter().any(|unknown| unknown.is_none() || unknown.as_ref() == key)
    };
    let missed = explained
        .iter()
        .zip(&checked.violations)
        .find(|(key, _)| decided(**key) && !summary.violating.iter().any(|finding| name(finding) == **key));
    if let Some((key, violation)) = missed {
        let of = of_key(*key);
        return Some(format!("during the run, {of} in order; in the whole, {}", violation.summary));
    }
    let possible = summary.violating.len() + summary.unknown.len();
    (checked.violating_keys > possible).then(|| counts(summary.violating.len(), checked.violating_keys))
}

/// The key as the check of the whole shows it: that of a map whose operations name theirs in their values is a part to the other.
fn name(finding: &Finding) -> Option<&Value> {
    finding.key.as_ref().or(finding.part.as_ref())
}

fn of_key(key: Option<&Value>) -> String {
    match key {
        Some(key) => format!("the operations of key {key} are"),
        None => "all operations are".to_owned(),
    }
}

fn counts(live: usize, whole: usize) -> String {
    format!("the number of objects without an order is {live} during the run and {whole} in the whole")
}

#[cfg(test)]
mod tests {
    use schism_checkers::Violation;
    use serde_json::json;

    use super::*;

    fn finding(key: u64, index: u64) -> Finding {
        Finding { key: Some(json!(key)), part: None, index, model: "cas-register" }
    }

    /// A view of ten events in which these keys are violated.
    fn watched(keys: &[u64], unknown: &[u64]) -> Watched {
        let found: Vec<Finding> = keys.iter().map(|key| finding(*key, 7)).collect();
        let validity = if keys.is_empty() { Validity::Pass } else { Validity::Violation };
        let unknown = unknown.iter().map(|key| Some(json!(key))).collect();
        let summary = Some(Summary { validity, violating: found.clone(), unknown });
        Watched { events: 10, model: "cas-register", found, summary }
    }

    /// The answer of which these keys are explained, of `count` that are violated.
    fn checked(keys: &[u64], count: usize, unknown: bool) -> CheckResult {
        let violation = |key: &u64| Violation {
            key: Some(json!(key)),
            summary: format!("key {key} is stale"),
            explanation: Vec::new(),
            operations: Vec::new(),
            window: (0, 0),
        };
        CheckResult {
            checker: "linearizable".to_owned(),
            model: "cas-register".to_owned(),
            engine: "zones".to_owned(),
            validity: match (count, unknown) {
                (0, false) => Validity::Pass,
                (0, true) => Validity::Unknown,
                _ => Validity::Violation,
            },
            keys: 9,
            operations: 5,
            violating_keys: count,
            violations: keys.iter().map(violation).collect(),
            unknown: unknown.then(|| "the time ran out".to_owned()),
            seconds: 0.1,
        }
    }

    #[test]
    fn the_same_answers_agree() {
        assert_eq!(disagreement(&watched(&[], &[]), 10, &checked(&[], 0, false)), None);
        assert_eq!(disagreement(&watched(&[1, 2], &[]), 10, &checked(&[2, 1], 2, false)), None);
        assert_eq!(disagreement(&watched(&[1, 2, 3], &[]), 10, &checked(&[2], 3, false)), None);
        let mut of_a_map = watched(&[1], &[]);
        let in_parts = |finding: Finding| Finding { part: finding.key, key: None, ..finding };
        of_a_map.found = of_a_map.found.into_iter().map(in_parts).collect();
        of_a_map.summary.as_mut().unwrap().violating = of_a_map.found.clone();
        assert_eq!(disagreement(&of_a_map, 10, &checked(&[1], 1, false)), None);
    }

    #[test]
    fn each_contradiction_is_told() {
        for (watched, checked, part) in [
            (
                watched(&[7], &[]),
                checked(&[], 0, false),
                "key 7 up to event 7 fits the model `cas-register`; the whole passes",
            ),
            (watched(&[7], &[]), checked(&[8], 1, false), "the operations of key 7 are in order"),
            (watched(&[6, 7, 8], &[]), checked(&[8], 2, false), "is 3 during the run and 2 in the whole"),
            (watched(&[], &[]), checked(&[8], 1, false), "key 8 are in order; in the whole, key 8 is stale"),
            (watched(&[8], &[]), checked(&[8], 2, false), "is 1 during the run and 2 in the whole"),
            (watched(&[8], &[9]), checked(&[8], 3, false), "is 1 during the run and 3 in the whole"),
            // Also beside keys that the check of the whole could not decide.
            (watched(&[8], &[]), checked(&[8, 9], 2, true), "the operations of key 9 are in order"),
        ] {
            let told = disagreement(&watched, 10, &checked).unwrap_or_default();
            assert!(told.contains(part), "{part:?} is not in {told:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_either_does_not_know() {
        // The check of the whole ran out of its budget.
        assert_eq!(disagreement(&watched(&[7], &[]), 10, &checked(&[], 0, true)), None);
        assert_eq!(disagreement(&watched(&[7, 8], &[]), 10, &checked(&[8], 1, true)), None);
        // The check during the run did.
        assert_eq!(disagreement(&watched(&[], &[8]), 10, &checked(&[8], 1, false)), None);
        let mut of_a_map = watched(&[], &[8]);
        of_a_map.summary.as_mut().unwrap().unknown = vec![None];
        assert_eq!(disagreement(&of_a_map, 10, &checked(&[8], 1, false)), None);
        // It saw less, or what the disk has lost.
        assert_eq!(disagreement(&watched(&[], &[]), 11, &checked(&[8], 1, false)), None);
        assert_eq!(disagreement(&watched(&[7], &[]), 7, &checked(&[], 0, false)), None);
        // It was given up.
        let given_up = |keys: &[u64]| Watched { events: 9, summary: None, ..watched(keys, &[]) };
        assert_eq!(disagreement(&given_up(&[]), 10, &checked(&[8], 1, false)), None);
    }

    #[test]
    fn what_was_found_before_it_was_given_up_stands() {
        let given_up = Watched { events: 9, summary: None, ..watched(&[7], &[]) };
        assert!(disagreement(&given_up, 10, &checked(&[], 0, false)).is_some());
    }
}
