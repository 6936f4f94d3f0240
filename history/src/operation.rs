//! Pairs the events of a history into operations.

use std::collections::HashMap;

use serde_json::Value;

use crate::{Event, Kind, Process};

/// A client operation: its invocation and, if there is one, its completion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operation<'h> {
    /// The invocation.
    pub invocation: &'h Event,
    /// The completion. An operation that was open when the history ended has none.
    pub completion: Option<&'h Event>,
    /// Where the invocation stands among the events that were paired.
    pub invoked_at: usize,
    /// Where the completion stands. Real-time order is the order of these positions, not of the times.
    pub completed_at: Option<usize>,
}

/// What is known about an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened between its invocation and its completion.
    Ok,
    /// It certainly did not happen and never will.
    Fail,
    /// It may happen at any time after its invocation, or never: `info`, or open at the end of the history.
    Unknown,
}

impl<'h> Operation<'h> {
    /// Who invoked it.
    pub fn process(&self) -> Process {
        self.invocation.process
    }

    /// Its name: `read`, `write`, …
    pub fn f(&self) -> &'h str {
        &self.invocation.f
    }

    /// Its independent key.
    pub fn key(&self) -> Option<&'h Value> {
        self.invocation.key.as_ref()
    }

    /// The node its client is bound to.
    pub fn node(&self) -> Option<&'h str> {
        self.invocation.node.as_deref()
    }

    /// What is known about it.
    pub fn outcome(&self) -> Outcome {
        match self.completion.map(|completion| completion.kind) {
            Some(Kind::Ok) => Outcome::Ok,
            Some(Kind::Fail) => Outcome::Fail,
            Some(Kind::Info | Kind::Invoke) | None => Outcome::Unknown,
        }
    }
}

/// A history that no single-threaded processes can have produced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {index}: {problem}")]
pub struct PairError {
    /// The index of the event at fault.
    pub index: u64,
    /// What is wrong with it and which earlier event it contradicts.
    pub problem: String,
}

/// Pairs invocations with completions by process. The nemesis is left out. Operations come in the order of their
/// invocations.
///
/// # Errors
/// A process invokes while its operation is open, completes what it did not invoke, completes under another name or
/// key, or acts again after an unknown outcome.
pub fn pair(events: &[Event]) -> Result<Vec<Operation<'_>>, PairError> {
    enum Last {
        /// Position in `operations` of the open operation.
        Open(usize),
        Free,
        /// The index of the `info` event.
        Crashed(u64),
    }
    let mut operations: Vec<Operation<'_>> = Vec::with_capacity(events.len() / 2);
    let mut processes: HashMap<u64, Last> = HashMap::new();
    for (position, event) in events.iter().enumerate() {
        let Process::Client(process) = event.process else { continue };
        let error = |problem: String| Err(PairError { index: event.index, problem });
        let last = processes.entry(process).or_insert(Last::Free);
        match (&*last, event.kind) {
            (Last::Free, Kind::Invoke) => {
                *last = Last::Open(operations.len());
                let (invocation, invoked_at) = (event, position);
                operations.push(Operation { invocation, completion: None, invoked_at, completed_at: None });
            }
            (Last::Open(open), Kind::Invoke) => {
                let before = operations[*open].invocation;
                return error(format!(
                    "process {process} invokes {} while its {} of event {} is still open",
                    event.f, before.f, before.index
                ));
            }
            (Last::Crashed(crash), kind) => {
                return error(format!(
                    "process {process} acts again ({kind} of {}) after the unknown outcome of event {crash}; \
                     its worker must go on under a fresh process number",
                    event.f
                ));
            }
            (Last::Free, kind) => {
                return error(format!(
                    "{kind} of {} by process {process}, which has nothing open: its invocation is missing, or it has ended before",
                    event.f
                ));
            }
            (Last::Open(open), kind) => {
                let operation = &mut operations[*open];
                let before = operation.invocation;
                if before.f != event.f {
                    return error(format!(
                        "process {process} completes {}, but what it invoked at event {} is {}",
                        event.f, before.index, before.f
                    ));
                }
                if let (Some(key), before_key) = (&event.key, &before.key)
                    && before_key.as_ref() != Some(key)
                {
                    return error(format!(
                        "process {process} completes {} of key {key}, but what it invoked at event {} has {}",
                        event.f,
                        before.index,
                        before_key.as_ref().map_or("no key".into(), |key| format!("key {key}"))
                    ));
                }
                operation.completion = Some(event);
                operation.completed_at = Some(position);
                *last = if kind == Kind::Info { Last::Crashed(event.index) } else { Last::Free };
            }
        }
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::History;

    fn history(lines: &[&str]) -> Vec<Event> {
        let text: String = lines
            .iter()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let key = words.get(3).map_or(String::new(), |key| format!(",\"key\":\"{key}\""));
                format!(
                    "{{\"process\":{},\"type\":\"{}\",\"f\":\"{}\"{key}}}\n",
                    words[0], words[1], words[2]
                )
            })
            .collect();
        History::read(text.as_bytes(), "test").unwrap().events
    }

    #[test]
    fn pairs_by_process_and_leaves_out_the_nemesis() {
        let events = history(&[
            "1 invoke read",
            "\"nemesis\" info kill",
            "2 invoke write",
            "1 ok read",
            "1 invoke cas",
            "2 info write",
            "1 fail cas",
            "3 invoke read",
        ]);
        let operations = pair(&events).unwrap();
        let seen: Vec<_> = operations
            .iter()
            .map(|operation| {
                (operation.f(), operation.invoked_at, operation.completed_at, operation.outcome())
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("read", 0, Some(3), Outcome::Ok),
                ("write", 2, Some(5), Outcome::Unknown),
                ("cas", 4, Some(6), Outcome::Fail),
                ("read", 7, None, Outcome::Unknown),
            ]
        );
    }

    #[test]
    fn what_no_single_threaded_process_does_is_an_error_that_names_the_event() {
        for (lines, index, problem) in [
            (&["1 invoke read", "1 invoke write"][..], 1, "while its read of event 0 is still open"),
            (&["1 ok read"], 0, "has nothing open"),
            (&["1 invoke read", "1 ok read", "1 ok read"], 2, "has nothing open"),
            (&["1 invoke read", "1 info read", "1 invoke read"], 2, "after the unknown outcome of event 1"),
            (&["1 invoke read", "1 info read", "1 ok read"], 2, "after the unknown outcome of event 1"),
            (&["1 invoke read", "1 ok write"], 1, "what it invoked at event 0 is read"),
            (&["1 invoke read x", "1 ok read y"], 1, "has key \"x\""),
            (&["1 invoke read", "1 ok read y"], 1, "has no key"),
        ] {
            let error = pair(&history(lines)).unwrap_err();
            assert_eq!(error.index, index, "{error}");
            assert!(error.to_string().contains(problem), "{error}");
        }
        assert!(pair(&history(&["1 invoke read x", "1 ok read"])).is_ok());
    }
}
