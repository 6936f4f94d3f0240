//! Had the run the power to show a violation? What a plan promised, held against what the history shows.
//!
//! A `pass` needs all of it. What is missing makes the run void: it proves nothing either way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schism_history::{Event, Kind, Process};

/// What the plan promised.
#[derive(Clone, Debug, Default)]
pub struct Promised<'a> {
    /// Ids of the planned faults.
    pub faults: Vec<&'a str>,
    /// Names of the operations that the workload sends.
    pub operations: Vec<&'a str>,
    /// Acknowledged operations that a pass needs.
    pub ok: u64,
    /// How long the load lasts, in nanoseconds. What is invoked later, such as the final reads, is no load.
    pub load: u64,
}

/// What is missing, one sentence each; empty when the run had the power to show a violation.
pub fn missing(promised: &Promised<'_>, events: &[Event]) -> Vec<String> {
    let mut acknowledged: BTreeMap<&str, u64> = BTreeMap::new();
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    let mut invoked: HashMap<u64, u64> = HashMap::new();
    for event in events {
        match event.process {
            Process::Nemesis => begun.extend(event.value.get("id").and_then(serde_json::Value::as_str)),
            Process::Client(process) if event.kind == Kind::Invoke => {
                invoked.insert(process, event.time);
            }
            Process::Client(process) => {
                let in_load = invoked.remove(&process).is_some_and(|time| time < promised.load);
                if event.kind == Kind::Ok && in_load {
                    *acknowledged.entry(&event.f).or_default() += 1;
                }
            }
        }
    }
    let mut missing = Vec::new();
    let ok: u64 = acknowledged.values().sum();
    if ok < promised.ok {
        missing
            .push(format!("{ok} operations were acknowledged; a pass needs {} (`power: ok`)", promised.ok));
    }
    for f in promised.operations.iter().filter(|f| !acknowledged.contains_key(**f)) {
        missing.push(format!("not a single {f} was acknowledged"));
    }
    let never: Vec<&str> = promised.faults.iter().filter(|id| !begun.contains(**id)).copied().collect();
    if !never.is_empty() {
        missing.push(format!(
            "{} of {} planned faults were never made: {}",
            never.len(),
            promised.faults.len(),
            never.join(", ")
        ));
    }
    missing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history() -> Vec<Event> {
        [
            json!({"index":0,"time":0,"process":0,"type":"invoke","f":"read"}),
            json!({"index":1,"time":1,"process":0,"type":"ok","f":"read","value":1}),
            json!({"index":2,"time":2,"process":0,"type":"invoke","f":"write","value":2}),
            json!({"index":3,"time":3,"process":0,"type":"ok","f":"write","value":2}),
            json!({"index":4,"time":4,"process":1,"type":"invoke","f":"cas","value":[2,3]}),
            json!({"index":5,"time":5,"process":1,"type":"fail","f":"cas","value":[2,3]}),
            json!({"index":6,"time":6,"process":"nemesis","type":"info","f":"kill","value":{"id":"kill-1","phase":"inject"}}),
        ]
        .map(|event| serde_json::from_value(event).unwrap())
        .to_vec()
    }

    #[test]
    fn what_comes_after_the_load_is_no_load() {
        let promised = Promised { operations: vec!["read", "write"], ok: 2, load: 2, ..Promised::default() };
        assert_eq!(
            missing(&promised, &history()),
            [
                "1 operations were acknowledged; a pass needs 2 (`power: ok`)",
                "not a single write was acknowledged"
            ]
        );
    }

    #[test]
    fn all_that_was_promised_must_be_there() {
        let promised =
            Promised { faults: vec!["kill-1"], operations: vec!["read", "write"], ok: 2, load: 10 };
        assert_eq!(missing(&promised, &history()), Vec::<String>::new());
        for (change, part) in [
            (Promised { ok: 3, ..promised.clone() }, "2 operations were acknowledged; a pass needs 3"),
            (Promised { operations: vec!["cas"], ..promised.clone() }, "not a single cas"),
            (
                Promised { faults: vec!["kill-1", "kill-2"], ..promised.clone() },
                "1 of 2 planned faults were never made: kill-2",
            ),
        ] {
            let found = missing(&change, &history());
            assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
        }
    }
}
