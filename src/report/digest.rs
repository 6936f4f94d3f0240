//! One pass over the events, for everybody who needs them paired and counted.

use std::collections::HashMap;

use schism_history::{Event, Kind, Process};

use super::fault::{self, Fault};

/// A client operation: the positions of its two events in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The invocation.
    pub invocation: usize,
    /// The completion; none when it was still open at the end of the history.
    pub completion: Option<usize>,
}

/// The events, paired. Unlike the checkers it takes any history, also one that contradicts itself: a report on a broken
/// recording is worth more than none.
pub struct Digest<'h> {
    /// All events, in order.
    pub events: &'h [Event],
    /// Client operations, in the order of their invocations.
    pub operations: Vec<Operation>,
    /// What the nemesis did.
    pub faults: Vec<Fault>,
    /// The time that the pictures begin with, nanoseconds.
    pub start: u64,
    /// The time of the last event, nanoseconds.
    pub end: u64,
}

impl<'h> Digest<'h> {
    /// Reads the events once.
    pub fn of(events: &'h [Event]) -> Self {
        let mut operations: Vec<Operation> = Vec::with_capacity(events.len() / 2);
        let mut open: HashMap<Process, usize> = HashMap::new();
        for (position, event) in events.iter().enumerate() {
            if event.process == Process::Nemesis {
                continue;
            }
            if event.kind == Kind::Invoke {
                open.insert(event.process, operations.len());
                operations.push(Operation { invocation: position, completion: None });
            } else if let Some(operation) = open.remove(&event.process) {
                operations[operation].completion = Some(position);
            }
        }
        let first = events.iter().map(|event| event.time).min().unwrap_or(0);
        let end = events.iter().map(|event| event.time).max().unwrap_or(0);
        // Histories of other tools may count from another origin than the start of the run.
        let start = if first > end - first { first } else { 0 };
        let nemesis = events.iter().filter(|event| event.process == Process::Nemesis);
        Self { events, operations, faults: fault::collect(nemesis), start, end }
    }

    /// The invocation of an operation.
    pub fn invocation(&self, operation: Operation) -> &'h Event {
        &self.events[operation.invocation]
    }

    /// The completion of an operation, if there is one.
    pub fn completion(&self, operation: Operation) -> Option<&'h Event> {
        operation.completion.map(|position| &self.events[position])
    }

    /// How an operation ended; `None` when it was still open at the end.
    pub fn outcome(&self, operation: Operation) -> Option<Kind> {
        self.completion(operation).map(|event| event.kind)
    }

    /// From invocation to completion, nanoseconds.
    pub fn latency(&self, operation: Operation) -> Option<u64> {
        let completion = self.completion(operation)?;
        Some(completion.time.saturating_sub(self.invocation(operation).time))
    }

    /// The operation whose invocation has this event index.
    pub fn find(&self, index: u64) -> Option<Operation> {
        let by_index = |operation: &Operation| self.events[operation.invocation].index;
        // Operations are in the order of the events, whose indices rise in every history that is a list.
        let found = self.operations.binary_search_by_key(&index, by_index).ok();
        let found =
            found.or_else(|| self.operations.iter().position(|operation| by_index(operation) == index));
        found.map(|position| self.operations[position])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(lines: &str) -> Vec<Event> {
        lines.lines().map(|line| serde_json::from_str(line.trim()).unwrap()).collect()
    }

    #[test]
    fn pairs_what_can_be_paired() {
        let events = events(
            r#"{"index":10,"time":1,"process":0,"type":"ok","f":"read","value":1}
            {"index":11,"time":2,"process":0,"type":"invoke","f":"read"}
            {"index":12,"time":3,"process":1,"type":"invoke","f":"write","value":7}
            {"index":13,"time":4,"process":0,"type":"ok","f":"read","value":1}
            {"index":14,"time":5,"process":"nemesis","type":"info","f":"partition","value":"not ours"}"#,
        );
        let digest = Digest::of(&events);
        let pairs: Vec<_> = digest.operations.iter().map(|pair| (pair.invocation, pair.completion)).collect();
        assert_eq!(pairs, [(1, Some(3)), (2, None)]);
        assert_eq!(digest.latency(digest.operations[0]), Some(2));
        assert_eq!(digest.find(12), Some(digest.operations[1]));
        assert_eq!(digest.find(10), None);
        assert_eq!((digest.start, digest.end, digest.faults.len()), (0, 5, 0));
        let nothing = Digest::of(&[]);
        assert_eq!((nothing.start, nothing.end), (0, 0));
    }

    #[test]
    fn puts_the_phases_of_a_fault_together() {
        let events = events(
            r#"{"index":0,"time":1,"process":"nemesis","type":"info","f":"kill","value":{"id":"kill-1","phase":"inject","targets":["n1"],"what":"kill n1"}}
            {"index":1,"time":2,"process":"nemesis","type":"info","f":"kill","value":{"id":"kill-1","phase":"injected","bit":true,"evidence":[{"node":"n1","seen":"pid 7 is gone"}]}}
            {"index":2,"time":3,"process":"nemesis","type":"info","f":"pause","value":{"id":"pause-1","phase":"inject"}}
            {"index":3,"time":9,"process":"nemesis","type":"info","f":"kill","value":{"id":"kill-1","phase":"healed","healed":false,"error":"does not start"}}"#,
        );
        let digest = Digest::of(&events);
        let [kill, pause] = digest.faults.as_slice() else { panic!("{:?}", digest.faults) };
        assert_eq!(
            (kill.bit, kill.gone, kill.error.as_deref()),
            (Some(true), Some(false), Some("does not start"))
        );
        assert_eq!((kill.window(20), kill.what.as_str()), ((1, 9), "kill n1"));
        assert_eq!(kill.evidence[0].seen, "pid 7 is gone");
        assert_eq!((pause.bit, pause.gone, pause.window(20)), (None, None, (3, 20)));
    }
}
