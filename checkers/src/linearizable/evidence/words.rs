//! Values, times and lengths of time as people read them.

use schism_history::{OPEN, View};
use serde_json::Value;

/// When an operation was invoked: a time, or where there are none the number of the event.
pub(super) fn began(operation: &View<'_>) -> String {
    if operation.is_timed() {
        seconds(operation.row.invoke_time)
    } else {
        format!("event {}", operation.index())
    }
}

/// When an operation completed; when it was invoked if it never did.
pub(super) fn ended(operation: &View<'_>) -> String {
    match operation.completion_index() {
        Some(index) if !operation.is_timed() => format!("event {index}"),
        Some(_) => seconds(operation.row.complete_time),
        None => began(operation),
    }
}

/// How long after the end of one operation another one began.
pub(super) fn between(over: &View<'_>, next: &View<'_>) -> String {
    if next.is_timed() {
        return duration(next.row.invoke_time.saturating_sub(over.row.complete_time));
    }
    let over = if over.row.completed == OPEN { over.row.invoked } else { over.row.completed };
    match next.row.invoked.saturating_sub(over) {
        1 => "one event".to_owned(),
        events => format!("{events} events"),
    }
}

/// A value as JSON, cut where it is long.
pub(super) fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A key as people name it: text without quotes.
pub(super) fn short_key(key: &Value) -> String {
    match key {
        Value::String(text) if text.chars().count() <= 60 && !text.is_empty() => text.clone(),
        other => short(other),
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or(String::new(), |first| first.to_uppercase().chain(rest).collect())
}

/// A time in the run: seconds, to the millisecond. Those before the first are of clocks that only count, or of histories that are over
/// by then, and told in full.
pub(super) fn seconds(nanoseconds: u64) -> String {
    if (1..1_000_000).contains(&nanoseconds) {
        return duration(nanoseconds);
    }
    let milliseconds = nanoseconds / 1_000_000;
    format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}

/// A length of time, in the unit that suits it.
pub(super) fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{} µs", nanoseconds / 1_000),
        1_000_000..10_000_000 => {
            format!("{}.{} ms", nanoseconds / 1_000_000, nanoseconds / 100_000 % 10)
        }
        10_000_000..1_000_000_000 => format!("{} ms", nanoseconds / 1_000_000),
        _ => seconds(nanoseconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_easily() {
        assert_eq!(seconds(12_301_999_999), "12.301 s");
        assert_eq!(seconds(5_000_000), "0.005 s");
        assert_eq!((seconds(0), seconds(107)), ("0.000 s".to_owned(), "107 ns".to_owned()));
        for (nanoseconds, text) in [
            (999, "999 ns"),
            (1_999, "1 µs"),
            (1_250_000, "1.2 ms"),
            (40_000_000, "40 ms"),
            (2_500_000_000, "2.500 s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = short(&Value::from("é".repeat(100)));
        assert_eq!(long.chars().count(), 61);
        assert_eq!(short(&serde_json::json!([1, "a"])), r#"[1,"a"]"#);
        assert_eq!(short_key(&Value::from("x")), "x");
    }
}
