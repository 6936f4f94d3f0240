//! Numbers, times and values as a person reads them.

use serde_json::Value;

/// Three significant digits and a unit: `850 µs`, `12.3 ms`, `5.00 s`.
pub(super) fn duration(nanoseconds: u64) -> String {
    let (value, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..999_500 => (nanoseconds as f64 / 1e3, "µs"),
        999_500..999_500_000 => (nanoseconds as f64 / 1e6, "ms"),
        _ => (nanoseconds as f64 / 1e9, "s"),
    };
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A moment since the start of the run, to the millisecond: `12.345 s`.
pub(super) fn moment(nanoseconds: u64) -> String {
    // Cut, not rounded, as the checkers do: one moment must not have two names on one page.
    let milliseconds = nanoseconds / 1_000_000;
    format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}

/// A length of time in tenths of seconds: `60.0 s`.
pub(super) fn seconds(nanoseconds: u64) -> String {
    format!("{:.1} s", nanoseconds as f64 / 1e9)
}

/// With separators: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 fault`, `3 faults`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A JSON value in at most `chars_max` characters.
pub(super) fn value(value: &Value, chars_max: usize) -> String {
    // A value from a stranger may be megabytes of JSON; only its beginning is ever shown.
    clip(&value.to_string(), chars_max)
}

/// `text` in at most `chars_max` characters, with `…` where it was cut.
pub(super) fn clip(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => {
            let mut clipped: String = text.chars().take(chars_max.saturating_sub(1)).collect();
            clipped.push('…');
            clipped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let seen =
            [0, 999, 1_000, 12_345, 999_499, 999_500, 12_345_678, 999_499_999, 999_500_000, 61_000_000_000]
                .map(duration);
        let expected = [
            "0 ns", "999 ns", "1.00 µs", "12.3 µs", "999 µs", "1.00 ms", "12.3 ms", "999 ms", "1.00 s",
            "61.0 s",
        ];
        assert_eq!(seen, expected);
        assert_eq!(moment(12_345_678_901), "12.345 s");
    }

    #[test]
    fn separators_and_plurals() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 2].map(|number| counted(number, "fault")), ["0 faults", "1 fault", "2 faults"]);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöüß", 3), "äö…");
        assert_eq!(value(&serde_json::json!([1, "a"]), 20), "[1,\"a\"]");
    }
}
