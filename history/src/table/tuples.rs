//! Keys that stand in the values: `[key, value]`, as Jepsen's `independent` writes them.

use super::{OPEN, Table};
use crate::{Datum, Outcome, ValueId, Values};

/// A value that is not the pair of key and value that it was said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}event {index}: {f} has the value {value}, which is not a pair [key, value]{other}")]
pub struct NotTuple {
    /// The index of the event.
    pub index: u64,
    /// The name of its operation.
    pub f: String,
    /// The value, as JSON.
    pub value: String,
    other: String,
    /// `line 3: `, or nothing.
    place: String,
}

/// What a row is once its values are taken apart.
struct Parts {
    key: ValueId,
    argument: ValueId,
    result: ValueId,
}

impl Table {
    /// Takes `[key, value]` apart into key and value in every operation, if no operation has a key of its own and all of them look
    /// like such pairs; else leaves everything as it is. Returns whether it did.
    ///
    /// A pair of one and the same key must stand in the invocation and in the completion, also where a read invokes with
    /// `[key, null]`. Keys that are null, lists or objects do not count, or every transaction of two steps would be such a pair, and neither do
    /// the two values of a compare-and-set: what stands in its pair must be a pair again, or an object of `old` and `new`.
    pub fn keys_from_tuples(&mut self) -> bool {
        if self.rows.is_empty() || self.rows.iter().any(|row| row.key.is_present()) {
            return false;
        }
        let looks_right = |row: usize| {
            let parts = self.parts(row).ok()?;
            let scalar = parts.key != ValueId::NULL
                && self.values.as_array(parts.key).is_none()
                && !matches!(self.values.get(parts.key), Datum::Object(_));
            let whole = !matches!(self.view(row).f(), "cas" | "cas-version")
                || pair(&self.values, parts.argument).is_some()
                || (self.values.field(parts.argument, "old").is_some()
                    && self.values.field(parts.argument, "new").is_some());
            (scalar && whole).then_some(())
        };
        let all = (0..self.rows.len()).all(|row| looks_right(row).is_some());
        all && self.split_tuples().is_ok()
    }

    /// Takes `[key, value]` apart into key and value in every operation that has no key of its own. A completion other than `ok`
    /// may also have null in place of a pair.
    ///
    /// # Errors
    /// A value is no such pair, or a completion has another key than its invocation. The table is then as it was.
    pub fn split_tuples(&mut self) -> Result<(), NotTuple> {
        let apart = |row: usize| match self.rows[row].key.is_present() {
            true => Ok(None),
            false => self.parts(row).map(Some),
        };
        let parts = (0..self.rows.len()).map(apart).collect::<Result<Vec<_>, _>>()?;
        for (row, parts) in self.rows.iter_mut().zip(parts) {
            if let Some(Parts { key, argument, result }) = parts {
                (row.key, row.argument, row.result) = (key, argument, result);
            }
        }
        Ok(())
    }

    fn parts(&self, place: usize) -> Result<Parts, NotTuple> {
        let view = self.view(place);
        let row = view.row;
        let wrong = |position: u32, value: ValueId, other: String| NotTuple {
            index: self.index(position),
            place: self.line(position).map(|line| format!("line {line}: ")).unwrap_or_default(),
            f: view.f().to_owned(),
            value: self.values.show(value),
            other,
        };
        let Some((key, argument)) = pair(&self.values, row.argument) else {
            return Err(wrong(row.invoked, row.argument, String::new()));
        };
        // Only what succeeded must say what it did.
        let silent = row.outcome != Outcome::Ok && matches!(row.result, ValueId::NULL | ValueId::ABSENT);
        let result = match pair(&self.values, row.result) {
            Some((same, result)) if same == key => result,
            _ if silent => row.result,
            other => {
                let end = if row.completed == OPEN { row.invoked } else { row.completed };
                let other = match other {
                    Some(_) => format!(" of the key {} of its invocation", self.values.show(key)),
                    None => String::new(),
                };
                return Err(wrong(end, row.result, other));
            }
        };
        Ok(Parts { key, argument, result })
    }
}

fn pair(values: &Values, value: ValueId) -> Option<(ValueId, ValueId)> {
    match values.as_array(value)? {
        [key, value] => Some((*key, *value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{History, Table};

    /// A table of events, each a process, kind, name and value, all with this key.
    fn table(events: &[(u64, &str, &str, Value)], key: Option<&str>) -> Table {
        let lines: String = events
            .iter()
            .map(|(process, kind, f, value)| {
                let mut event = json!({"process": process, "type": kind, "f": f, "value": value});
                if let Some(key) = key {
                    event["key"] = json!(key);
                }
                format!("{event}\n")
            })
            .collect();
        Table::from_events(&History::read(lines.as_bytes(), "test").unwrap().events).unwrap()
    }

    fn shown(table: &Table) -> Vec<String> {
        let show = |id| table.values.show(id);
        table
            .rows()
            .iter()
            .map(|row| format!("{} {} {}", show(row.key), show(row.argument), show(row.result)))
            .collect()
    }

    #[test]
    fn pairs_are_taken_apart() {
        let mut table = table(
            &[
                (0, "invoke", "read", json!([1, null])),
                (1, "invoke", "write", json!(["x", 5])),
                (2, "invoke", "cas", json!([1, [3, 4]])),
                (0, "ok", "read", json!([1, 7])),
                (1, "info", "write", json!(["x", 5])),
                (2, "fail", "cas", json!(null)),
                (3, "invoke", "read", json!([1.0, null])),
            ],
            None,
        );
        assert!(table.keys_from_tuples());
        assert_eq!(shown(&table), ["1 null 7", "\"x\" 5 5", "1 [3,4] null", "1 null null"]);
        // A second time there are keys, and nothing is taken apart again.
        assert!(!table.keys_from_tuples());
        assert!(table.split_tuples().is_ok());
        assert_eq!(shown(&table)[2], "1 [3,4] null");
    }

    #[test]
    fn a_compare_and_set_may_name_its_values() {
        let read = (0, "invoke", "read", json!([1, null]));
        for (argument, split) in [
            (json!([1, {"old": 3, "new": 4}]), true),
            (json!([1, {":old": 3, ":new": 4}]), true),
            (json!([1, [3, 4]]), true),
            // A register whose values are objects.
            (json!([1, {"old": 3}]), false),
            (json!([1, {"a": 3, "b": 4}]), false),
            (json!([{"old": 3, "new": 4}, {"old": 3, "new": 4}]), false),
            (json!({"old": 3, "new": 4}), false),
        ] {
            let mut table = table(&[read.clone(), (1, "invoke", "cas", argument.clone())], None);
            assert_eq!(table.keys_from_tuples(), split, "{argument}");
        }
    }

    #[test]
    fn what_is_not_all_pairs_stays_as_it_is() {
        let read = (0, "invoke", "read", json!([1, null]));
        for (other, why) in [
            (vec![(1, "invoke", "read", json!(null))], "a plain value"),
            (vec![(1, "invoke", "write", json!([1, 2, 3]))], "three items"),
            (vec![(1, "invoke", "write", json!([null, 2]))], "a null key"),
            (vec![(1, "invoke", "txn", json!([["r", 1, null], ["w", 2, 3]]))], "a transaction"),
            (vec![(1, "invoke", "txn", json!([{"a": 1}, {"a": 2}]))], "a list of objects"),
            (vec![(1, "invoke", "cas", json!([1, 2]))], "a compare-and-set without a key"),
            (vec![(1, "invoke", "cas-version", json!([1, 2]))], "one by version without a key"),
            (vec![(0, "ok", "read", json!([2, 7]))], "another key"),
            (vec![(0, "ok", "read", json!(null))], "a success without a key"),
            (vec![(0, "fail", "read", json!(3))], "a failure with a plain value"),
        ] {
            let events: Vec<_> = std::iter::once(read.clone()).chain(other).collect();
            let mut table = table(&events, None);
            let before = shown(&table);
            assert!(!table.keys_from_tuples(), "{why}");
            assert_eq!(shown(&table), before, "{why}");
        }
        assert!(!table(&[read], Some("k")).keys_from_tuples());
        assert!(!Table::default().keys_from_tuples());
    }

    #[test]
    fn an_error_names_the_event_and_leaves_the_table_alone() {
        let events = [
            (0, "invoke", "read", json!([1, null])),
            (0, "ok", "read", json!([2, 7])),
            (1, "invoke", "write", json!(5)),
        ];
        let mut both = table(&events, None);
        let error = both.split_tuples().unwrap_err();
        let text = "event 1: read has the value [2,7], which is not a pair [key, value] of the key 1 of its invocation";
        assert_eq!(error.to_string(), text);
        assert_eq!(shown(&both)[0], "null [1,null] [2,7]");
        let error = table(&events[2..], None).split_tuples().unwrap_err();
        assert_eq!(error.to_string(), "event 0: write has the value 5, which is not a pair [key, value]");
        // Who says that these are pairs is believed: of two values of a compare-and-set, too.
        let mut cas = table(&[(0, "invoke", "cas", json!([1, 2]))], None);
        assert!(cas.split_tuples().is_ok());
        assert_eq!(shown(&cas), ["1 2 null"]);
    }
}
