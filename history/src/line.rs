//! One line of a history file, for whoever reads such files: what it says, whether it is torn, and which index and time it gets if it
//! names none.

use serde::de::IgnoredAny;

pub use crate::event::PartialEvent;

/// Why a line is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct LineError {
    /// Byte in the line, from 1.
    pub column: usize,
    /// What was found and what was expected.
    pub message: String,
}

/// What the line says. A newline at its end does not matter.
///
/// # Errors
/// It is not an event.
pub fn parse(line: &[u8]) -> Result<PartialEvent, LineError> {
    // Without its end, so that an error there has a column.
    serde_json::from_slice(line.trim_ascii_end()).map_err(|error| {
        // The message without its position, which is that in the line.
        let message = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        let message = in_words(message.strip_suffix(&position).unwrap_or(&message));
        LineError { column: error.column().max(1), message }
    })
}

/// What the parser says, for somebody who does not know it.
fn in_words(said: &str) -> String {
    let plain = match said {
        "recursion limit exceeded" => "values are nested too deep (128 levels are read)",
        "expected ident" => {
            "expected a JSON value; the only words that stand without quotes are true, false and null"
        }
        "expected value" => {
            "expected a JSON value: a string in double quotes, a number, true, false, null, an array or an object"
        }
        "EOF while parsing a value" => "the line ends where a value was expected",
        "EOF while parsing a string" => "the line ends in the middle of a string",
        "EOF while parsing an object" => "the line ends in the middle of an object: `,` or `}` was expected",
        "EOF while parsing a list" => "the line ends in the middle of an array: `,` or `]` was expected",
        "expected `:`" => "expected `:` after the name of a field",
        "expected `,` or `}`" => "expected `,` or `}` after the value of a field",
        "expected `,` or `]`" => "expected `,` or `]` after an element of an array",
        "trailing comma" => "expected something after the comma",
        "trailing characters" => "expected the end of the line after the event",
        "key must be a string" => "expected the name of a field, in double quotes",
        "invalid number" => "expected a number as JSON writes it, such as 7, -1 or 2.5e3",
        "number out of range" => "the number is too large to be read",
        "invalid escape" => {
            "expected an escape that JSON has after the backslash: one of \" \\ / b f n r t, or u and four digits"
        }
        "invalid unicode code point" => "the string is not UTF-8",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "expected the second half of the surrogate pair, \\uDC00 to \\uDFFF"
        }
        said if said.starts_with("control character") => {
            "a control character in a string must be escaped, a tab as \\t, a newline as \\n"
        }
        said => return said.replace("expected u64", "expected a whole number, 0 or more"),
    };
    plain.to_owned()
}

/// Whether the line is what a writer that died leaves. Only the last line of a file has no newline. Zeros are what a
/// machine that lost power may leave in place of data.
pub fn is_torn(line: &[u8]) -> bool {
    !line.ends_with(b"\n")
        && matches!(line.first(), Some(b'{' | 0))
        && serde_json::from_slice::<IgnoredAny>(line).is_err()
}

/// Gives each event its index and its time, and counts what it had to assume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    last_index: Option<u64>,
    last_time: Option<u64>,
    /// How many events named no index: each was numbered after the one before it.
    pub without_index: u64,
    /// How many events named one.
    pub with_index: u64,
    /// How many events named no time: each was put 1 ns after the one before it.
    pub without_time: u64,
    /// The first line whose time is before its predecessor's, and how many there are.
    pub time_goes_back: Option<(u64, u64)>,
}

impl Numbering {
    /// The index and the time of the next event, which stands in `line` and may name them.
    ///
    /// # Errors
    /// The index is not larger than the one before.
    #[inline]
    pub fn next(
        &mut self,
        line: u64,
        index: Option<u64>,
        time: Option<u64>,
    ) -> Result<(u64, u64), LineError> {
        let index = match (index, self.last_index) {
            (Some(index), Some(last)) if index <= last => return Err(Self::backwards(index, last)),
            (Some(index), _) => {
                self.with_index += 1;
                index
            }
            (None, last) => {
                self.without_index += 1;
                last.map_or(Some(0), |last| last.checked_add(1)).ok_or_else(|| LineError {
                    column: 1,
                    message: "no index is left for this event".into(),
                })?
            }
        };
        let time = match (time, self.last_time) {
            (Some(time), last) => {
                if last.is_some_and(|last| time < last) {
                    self.time_goes_back.get_or_insert((line, 0)).1 += 1;
                }
                time
            }
            (None, last) => {
                self.without_time += 1;
                last.map_or(0, |last| last.saturating_add(1))
            }
        };
        (self.last_index, self.last_time) = (Some(index), Some(time));
        Ok((index, time))
    }

    #[cold]
    fn backwards(index: u64, last: u64) -> LineError {
        let message = format!(
            "index {index} comes after index {last}: indices must increase from line to line \
             (are these the lines of two histories?)"
        );
        LineError { column: 1, message }
    }

    /// What had to be assumed or is strange, in sentences for a person. `untimed` says what becomes of events without a time.
    pub fn notes(&self, untimed: &str) -> Vec<String> {
        let mut notes = Vec::new();
        // Where none has one, the number of an event is what everybody expects it to be.
        if self.without_index > 0 && self.with_index > 0 {
            let count = self.without_index;
            notes
                .push(format!("{count} events have no \"index\": each was numbered after the one before it"));
        }
        if self.without_time > 0 {
            let count = self.without_time;
            let events = if count == 1 { "event has" } else { "events have" };
            notes.push(format!("{count} {events} no \"time\": {untimed}"));
        }
        if let Some((line, count)) = self.time_goes_back {
            notes.push(format!(
                "\"time\" goes back in {count} lines, first in line {line}: the order of the lines decides, not the time"
            ));
        }
        notes
    }
}
