//! What must hold whatever an importer is given. The fuzz targets assert it, and `formats/tests/corpus.rs` for every seed.

use std::collections::{HashMap, HashSet};

use schism_formats::{Format, ImportError, Keys, Options, parse_bytes};
use schism_history::{Builder, Datum, OPEN, Outcome, Record, Table, ValueId, View};
use serde_json::Value;

/// Asserts it for JSON Lines.
pub fn import_jsonl(bytes: &[u8]) {
    import(bytes, Some(Format::Jsonl));
}

/// Asserts it for Clojure's notation.
pub fn import_edn(bytes: &[u8]) {
    import(bytes, Some(Format::Edn));
}

/// Asserts it for Jepsen's binary files. Nothing but noise survives a mutation of a block with a checksum, so the same bytes are read
/// with right checksums too.
pub fn import_jepsen(bytes: &[u8]) {
    import(bytes, Some(Format::Jepsen));
    let mut bytes = bytes.to_vec();
    repair_checksums(&mut bytes);
    import(&bytes, Some(Format::Jepsen));
}

/// Asserts it for both formats of Porcupine's tests.
pub fn import_logs(bytes: &[u8]) {
    import(bytes, Some(Format::JepsenLog));
    import(bytes, Some(Format::PorcupineKv));
}

/// Asserts it for whatever the bytes are, compressed or not.
pub fn import_any(bytes: &[u8]) {
    import(bytes, None);
}

/// Every input is read with the keys found out, and in one of the other ways, which its length chooses.
fn import(bytes: &[u8], format: Option<Format>) {
    for keys in [Keys::Auto, [Keys::Tuple, Keys::Field, Keys::None][bytes.len() % 3]] {
        match parse_bytes(bytes, &Options { format, keys }) {
            Ok(import) => {
                assert!(format.is_none_or(|format| format == import.format));
                assert_sane(&import.table);
                assert_survives_export(&import.table);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert_place_inside(bytes, &error);
            }
        }
    }
}

fn assert_place_inside(bytes: &[u8], error: &ImportError) {
    // Places in compressed files are places in what they hold.
    if [&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd"].into_iter().any(|magic| bytes.starts_with(magic))
        || bytes.get(1..4) == Some(b"\x2a\x4d\x18")
    {
        return;
    }
    let lines = || bytes.split(|byte| *byte == b'\n');
    match error {
        ImportError::Syntax { place, .. } => {
            let line = place.line.checked_sub(1).and_then(|line| lines().nth(line));
            let line = line.unwrap_or_else(|| panic!("no such line: {error}"));
            // The place right behind a line is that of its end.
            assert!((1..=line.len() + 1).contains(&place.column), "no such column: {error}");
        }
        ImportError::Binary { offset, .. } => {
            assert!(*offset <= bytes.len() as u64, "no such offset: {error}");
        }
        ImportError::Event { line, .. } => {
            assert!((1..=lines().count()).contains(line), "no such line: {error}");
        }
        // An operation takes a byte at least.
        ImportError::Element { number, .. } => {
            assert!((1..=bytes.len() as u64).contains(number), "no such operation: {error}");
        }
        ImportError::Read(_) | ImportError::Unrecognized(_) | ImportError::Tuple(_) => {}
    }
}

fn assert_sane(table: &Table) {
    let mut positions = HashSet::new();
    let mut resolved = HashSet::new();
    let mut last = None;
    for view in table.views() {
        let row = view.row;
        assert!(last < Some(row.invoked), "{view:?} is not in the order of invocations");
        last = Some(row.invoked);
        for position in [Some(row.invoked), (row.completed != OPEN).then_some(row.completed)] {
            let Some(position) = position else { continue };
            assert!((position as usize) < table.events(), "{view:?} is behind the end");
            assert!(positions.insert(position), "{view:?} shares an event with another");
        }
        assert!(row.completed > row.invoked, "{view:?} ends before it begins");
        assert!(
            row.completed != OPEN || row.outcome == Outcome::Unknown,
            "{view:?} has an outcome without an end"
        );
        let error = view.error().unwrap_or(ValueId::ABSENT);
        for value in [row.key, row.argument, row.result, error] {
            assert_resolves(table, value, &mut resolved);
        }
        let _ = (view.f(), view.process(), view.node());
    }
}

/// Asserts that every part of the value is there. No recursion, and every part once: values may be deep and share parts.
fn assert_resolves(table: &Table, value: ValueId, resolved: &mut HashSet<ValueId>) {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        if value == ValueId::ABSENT || value == ValueId::NULL || !resolved.insert(value) {
            continue;
        }
        match table.values.get(value) {
            Datum::Null => panic!("{value:?} is no value"),
            Datum::Array(parts) | Datum::Object(parts) => {
                assert!(!parts.contains(&ValueId::ABSENT), "{value:?} has a part that is no value");
                waiting.extend(parts);
            }
            Datum::Bool(_) | Datum::Int(_) | Datum::Number(_) | Datum::Str(_) => {}
        }
    }
}

/// Asserts that the events of a table make the same table.
fn assert_survives_export(table: &Table) {
    let events = table.to_events();
    assert!(events.is_sorted_by_key(|event| event.time) || table.is_timed());
    let again = if reuses_processes(table) { rebuild_with_reuse(table) } else { Table::from_events(&events) };
    let again = again.unwrap_or_else(|error| panic!("its own events are refused: {error}"));
    assert_eq!(table.rows().len(), again.rows().len());
    let (places, places_again) = (ranks(table), ranks(&again));
    for (view, again) in table.views().zip(again.views()) {
        assert_eq!(describe(&view, &places), describe(&again, &places_again));
        if table.is_timed() {
            let times = |view: &View<'_>| (view.row.invoke_time, view.row.complete_time);
            assert_eq!(times(&view), times(&again), "{view:?}");
        }
    }
}

/// Whether a process goes on after an unknown outcome, as readers of the oldest formats allow.
fn reuses_processes(table: &Table) -> bool {
    let mut crashed = HashSet::new();
    table.views().any(|view| {
        let reused = crashed.contains(&view.process());
        if view.row.completed != OPEN && view.outcome() == Outcome::Unknown {
            crashed.insert(view.process());
        }
        reused
    })
}

fn rebuild_with_reuse(table: &Table) -> Result<Table, schism_history::BuildError> {
    let mut builder = Builder::new();
    builder.allow_reuse();
    for event in table.to_events() {
        let mut number = |value: Option<&Value>| match value {
            Some(value) => builder.values().json(value),
            None => Ok(ValueId::ABSENT),
        };
        let (key, value) = (number(event.key.as_ref())?, number(Some(&event.value))?);
        let record = Record {
            process: event.process,
            kind: event.kind,
            f: &event.f,
            key,
            value,
            time: Some(event.time),
            index: Some(event.index),
            node: event.node.as_deref(),
            error: number(event.error.as_ref())?,
        };
        builder.push(&record)?;
    }
    Ok(builder.finish())
}

/// The place of every position among those of clients.
fn ranks(table: &Table) -> HashMap<u32, usize> {
    let mut positions: Vec<u32> =
        table.rows().iter().flat_map(|row| [row.invoked, row.completed]).filter(|end| *end != OPEN).collect();
    positions.sort_unstable();
    positions.into_iter().enumerate().map(|(rank, position)| (position, rank)).collect()
}

/// All that a row says, without the numbers that tables choose.
fn describe(view: &View<'_>, ranks: &HashMap<u32, usize>) -> String {
    let row = view.row;
    let json = |id: ValueId| view.values().to_json(id);
    let key = row.key.is_present().then(|| json(row.key));
    let places = (ranks.get(&row.invoked), ranks.get(&row.completed));
    let indices = (view.index(), view.completion_index());
    let who = (view.process(), view.f(), view.node());
    let values = (key, json(row.argument), json(row.result), view.error().map(json));
    format!("{places:?} {indices:?} {who:?} {values:?} {:?}", row.outcome)
}

/// Gives every block that the lengths lead to, from the first one on, the checksum of what it holds.
fn repair_checksums(bytes: &mut [u8]) {
    const HEADER: usize = 28;
    let mut at = 18;
    while let Some(header) = bytes.get(at..at + HEADER) {
        let length = header.first_chunk().map_or(0, |length| u64::from_be_bytes(*length));
        let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
        let Some(end) = end.filter(|end| (at + HEADER..=bytes.len()).contains(end)) else { return };
        bytes[at + 8..at + 12].fill(0);
        bytes[at + 14..at + HEADER].fill(0);
        let data = bytes[at + HEADER..end].iter().chain(&bytes[at..at + HEADER]);
        let checksum = !data.fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ ((sum & 1) * 0xedb8_8320))
        });
        bytes[at + 8..at + 12].copy_from_slice(&checksum.to_be_bytes());
        at = end;
    }
}
