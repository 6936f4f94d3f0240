//! What the check during the run found, where the check of the whole history ran out of its budget.
//!
//! A violation in the beginning of a history is one of the whole. But a verdict comes with evidence, which the check during the run does
//! not collect, and it is not taken at its word: the part of the history in which it found something is checked once more, by itself.
//! That is little, so the budget which did not suffice for everything nearly always does.

use schism_checkers::linearizable::live::Finding;
use schism_checkers::linearizable::{self, Options};
use schism_checkers::{CheckResult, Validity};
use schism_history::{Event, Process, Table};

use crate::verdict::agreement::Watched;

/// Findings that are looked at: one would do for the verdict, a few show what they have in common.
const LOOKED_AT: usize = 3;

/// Makes a violation of a check that ended without an answer, if what was found during the run is one.
///
/// # Errors
/// What was found is none: one of the two checks is wrong, and the sentence says so.
pub fn confirm(
    watched: Option<&Watched>,
    events: &[Event],
    options: &Options,
    checked: &mut CheckResult,
) -> Result<(), String> {
    let Some(watched) = watched.filter(|watched| watched.model == checked.model) else { return Ok(()) };
    if checked.validity != Validity::Unknown {
        return Ok(());
    }
    // A history that was cut short need not contain what was found.
    let there = watched.found.iter().filter(|finding| finding.index < events.len() as u64);
    for finding in there.take(LOOKED_AT) {
        // Of a map without keys one look finds every part.
        let name = finding.key.as_ref().or(finding.part.as_ref());
        if name.is_some() && checked.violations.iter().any(|violation| violation.key.as_ref() == name) {
            continue;
        }
        let part = part(events, finding);
        let Ok(table) = Table::from_events(&part) else { continue };
        let Ok(found) = linearizable::check(&table, options) else { continue };
        match found.validity {
            Validity::Violation => {
                checked.violating_keys += found.violating_keys;
                checked.violations.extend(found.violations);
                checked.validity = Validity::Violation;
            }
            Validity::Pass => {
                return Err(format!(
                    "During the run, {finding}, but a check of just these operations finds an order. One of the two is wrong, so this \
                     run proves nothing. This is a defect of Schism: please report it with the run directory."
                ));
            }
            Validity::Unknown => {}
        }
    }
    Ok(())
}

/// The operations of the object up to where it was found to be violated.
fn part(events: &[Event], finding: &Finding) -> Vec<Event> {
    let concerns = |event: &&Event| event.key == finding.key && matches!(event.process, Process::Client(_));
    events.iter().take_while(|event| event.index <= finding.index).filter(concerns).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Keys 7 and 8, each written and then read; of key 8 another value than was written.
    fn events() -> Vec<Event> {
        let mut events = Vec::new();
        for (key, read) in [(7, 1), (8, 3)] {
            for (f, value) in [("write", json!(1)), ("read", json!(read))] {
                for kind in ["invoke", "ok"] {
                    let index = events.len();
                    let event = json!({"index": index, "time": index, "process": 0, "type": kind, "f": f, "key": key, "value": value});
                    events.push(serde_json::from_value(event).unwrap());
                }
            }
        }
        events
    }

    fn watched(key: u64, index: u64) -> Watched {
        let finding = Finding { key: Some(json!(key)), part: None, index, model: "register" };
        Watched { events: 8, model: "register", found: vec![finding], summary: None }
    }

    fn undecided() -> CheckResult {
        CheckResult {
            checker: "linearizable".into(),
            model: "register".into(),
            engine: "search".into(),
            validity: Validity::Unknown,
            keys: 2,
            operations: 4,
            violating_keys: 0,
            violations: Vec::new(),
            unknown: Some("out of time".into()),
            seconds: 1.0,
        }
    }

    fn look(watched: &Watched, events: &[Event]) -> Result<CheckResult, String> {
        let mut checked = undecided();
        let options = Options::new("register".parse().unwrap());
        confirm(Some(watched), events, &options, &mut checked).map(|()| checked)
    }

    #[test]
    fn what_was_found_during_the_run_is_a_violation_with_evidence() {
        let checked = look(&watched(8, 7), &events()).unwrap();
        assert_eq!((checked.validity, checked.violating_keys), (Validity::Violation, 1));
        assert_eq!(checked.violations[0].operations, [6]);
        // What stayed undecided stays so.
        assert_eq!(checked.unknown.as_deref(), Some("out of time"));
    }

    #[test]
    fn what_is_none_is_told() {
        let told = look(&watched(7, 3), &events()).unwrap_err();
        assert!(told.contains("no order of the operations of key 7 up to event 3 fits"), "{told}");
    }

    #[test]
    fn what_the_history_does_not_have_is_not_looked_at() {
        assert_eq!(look(&watched(8, 7), &events()[..7]).unwrap().validity, Validity::Unknown);
        let other = Watched { model: "cas-register", ..watched(8, 7) };
        assert_eq!(look(&other, &events()).unwrap().validity, Validity::Unknown);
    }

    #[test]
    fn an_answer_is_left_as_it_is() {
        let options = Options::new("register".parse().unwrap());
        let mut passed = CheckResult { validity: Validity::Pass, unknown: None, ..undecided() };
        confirm(Some(&watched(8, 7)), &events(), &options, &mut passed).unwrap();
        assert_eq!((passed.validity, passed.violations.len()), (Validity::Pass, 0));
    }
}
