//! The table against [`pair`], on random histories with and without mistakes.

use serde_json::{Value, json};

use super::{BuildError, Builder, OPEN, Table};
use crate::{Event, Kind, Process, Random, ValueId, pair};

fn value(random: &mut Random) -> Value {
    match random.below(7) {
        0 => Value::Null,
        1 => json!(random.next_u64()),
        2 => json!([random.below(3), "x"]),
        3 => json!({"a": random.below(3)}),
        4 => json!(1.5),
        _ => json!(random.below(4)),
    }
}

/// Processes that mostly do what single-threaded processes do; one event in `mistakes` is anything at all.
fn events(random: &mut Random, mistakes: u64) -> Vec<Event> {
    let processes = [0, 1, 2, 700_000, u64::MAX];
    let mut open: Vec<Option<Event>> = vec![None; processes.len()];
    let mut crashed = vec![false; processes.len()];
    let (mut index, mut time) = (0, 0);
    let mut events = Vec::new();
    let gaps = random.below(3) == 0;
    for _ in 0..random.below(30) {
        let place = random.below(processes.len() as u64) as usize;
        let wrong = random.below(mistakes) == 0;
        if crashed[place] && !wrong {
            continue;
        }
        let fresh = |random: &mut Random| {
            let f = ["read", "write", "cas"][random.below(3) as usize];
            let key = (random.below(2) == 0).then(|| value(random)).filter(|key| !key.is_null());
            (f.to_owned(), key)
        };
        let invoked = open[place].as_ref().map(|event| (event.f.clone().into_owned(), event.key.clone()));
        let nemesis = random.below(8) == 0;
        let (f, key) = match invoked {
            Some((f, key)) if !wrong => (f, key.filter(|_| random.below(3) > 0)),
            _ => fresh(random),
        };
        let kind = match (wrong, open[place].is_some()) {
            (true, _) => [Kind::Invoke, Kind::Ok, Kind::Fail, Kind::Info][random.below(4) as usize],
            (false, false) => Kind::Invoke,
            (false, true) => [Kind::Ok, Kind::Ok, Kind::Fail, Kind::Info][random.below(4) as usize],
        };
        index += 1 + if gaps { random.below(4) } else { 0 };
        time += random.below(9);
        let event = Event {
            index: index - 1,
            time,
            process: if nemesis { Process::Nemesis } else { Process::Client(processes[place]) },
            kind: if nemesis { Kind::Info } else { kind },
            f: f.into(),
            key,
            value: value(random),
            node: (random.below(2) == 0).then(|| ["n1", "n2"][random.below(2) as usize].into()),
            error: (random.below(3) == 0).then(|| value(random)),
            extra: serde_json::Map::new(),
        };
        if !nemesis {
            crashed[place] |= kind == Kind::Info;
            open[place] = (kind == Kind::Invoke).then(|| event.clone());
        }
        events.push(event);
    }
    events
}

#[test]
fn rows_are_the_operations_that_pairing_finds() {
    let mut random = Random::new(3, "rows");
    let (mut rows, mut errors) = (0, 0);
    for round in 0..20_000 {
        let events = events(&mut random, if round % 2 == 0 { u64::MAX } else { 30 });
        let (table, operations) = match (Table::from_events(&events), pair(&events)) {
            (Ok(table), Ok(operations)) => (table, operations),
            (Err(BuildError::Pair(found)), Err(expected)) => {
                assert_eq!(found, expected);
                errors += 1;
                continue;
            }
            (found, expected) => panic!("{:?} for {expected:?} of {events:?}", found.err()),
        };
        assert_eq!((table.rows().len(), table.events()), (operations.len(), events.len()));
        assert!(table.is_timed());
        rows += operations.len();
        let same = |id: ValueId, value: Option<&Value>| {
            assert_eq!(id.is_present(), value.is_some());
            let mut values = table.values.clone();
            value.is_none_or(|value| values.json(value) == Ok(id))
        };
        for (view, operation) in table.views().zip(&operations) {
            let row = view.row;
            assert_eq!(Process::Client(view.process()), operation.process());
            assert_eq!((view.f(), view.node()), (operation.f(), operation.node()));
            assert_eq!(view.outcome(), operation.outcome());
            assert_eq!(row.invoked as usize, operation.invoked_at);
            assert_eq!((row.completed != OPEN).then_some(row.completed as usize), operation.completed_at);
            assert_eq!(view.index(), operation.invocation.index);
            assert_eq!(view.completion_index(), operation.completion.map(|event| event.index));
            let last = operation.completion.unwrap_or(operation.invocation);
            assert_eq!((row.invoke_time, row.complete_time), (operation.invocation.time, last.time));
            assert!(same(row.key, operation.key()));
            assert!(same(row.argument, Some(&operation.invocation.value)));
            assert!(same(row.result, operation.completion.map(|event| &event.value)));
            let error = operation.completion.and_then(|event| event.error.as_ref());
            assert!(same(view.error().unwrap_or(ValueId::ABSENT), error));
        }
    }
    assert!(rows > 50_000 && errors > 1_000, "{rows} {errors}");
}

#[test]
fn released_rows_are_taken_again_and_say_the_same() {
    let mut random = Random::new(3, "released");
    let (mut refused, mut most_rows) = (0, 0);
    for _ in 0..2000 {
        let (mut plain, mut releasing) = (Builder::new(), Builder::new());
        let (mut open, mut most_open) = (0_usize, 0);
        for event in events(&mut random, 20) {
            let position = plain.position();
            let outcome = plain.event(&event);
            assert_eq!(releasing.event(&event), outcome);
            if outcome.is_err() {
                refused += 1;
                assert_eq!((plain.touched(), releasing.touched()), (None, None));
                continue;
            }
            let rows = plain.table().rows();
            let at = rows.iter().position(|row| row.invoked == position || row.completed == position);
            assert_eq!(plain.touched(), at);
            assert_eq!(at.is_none(), event.process == Process::Nemesis);
            let (Some(at), Some(place)) = (at, releasing.touched()) else {
                assert_eq!(releasing.touched(), None);
                continue;
            };
            assert_eq!(releasing.table().rows()[place], rows[at]);
            if event.kind == Kind::Invoke {
                open += 1;
                most_open = most_open.max(open);
                // It is open, so this does nothing.
                releasing.release(place);
            } else {
                open -= 1;
                releasing.release(place);
                releasing.release(place);
            }
            releasing.release(usize::MAX);
        }
        assert_eq!(releasing.table().rows().len(), most_open);
        most_rows = most_rows.max(most_open);
    }
    assert!(refused > 100 && most_rows >= 4, "{refused} refused, {most_rows} rows");
}
