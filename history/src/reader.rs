//! Reads a history file, also one that a crash cut short.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use crate::line::{self, LineError, Numbering, PartialEvent};
use crate::{BuildError, Event, Table};

/// A history as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The events, in the order of the lines. Indices strictly increase.
    pub events: Vec<Event>,
    /// The last line, if the writer died while it wrote it.
    pub torn: Option<TornLine>,
    /// What the reader had to assume or found strange, in sentences for a person.
    pub notes: Vec<String>,
    /// Whether times of events are made up, because the file does not name them all.
    pub invented_times: bool,
}

/// The beginning of a line whose writer died: it has no newline and is not complete JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornLine {
    /// Line number, from 1.
    pub line: u64,
    /// How many bytes of it are there.
    pub bytes: usize,
}

impl std::fmt::Display for TornLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TornLine { line, bytes } = self;
        write!(
            f,
            "line {line}, the last, was cut short after {bytes} bytes (its writer died); it is left out"
        )
    }
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("{source_name}: cannot read the history: {error}")]
    Io {
        /// The file, or how the caller calls it.
        source_name: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A line is not an event.
    #[error("{source_name}:{line}:{column}: {message}")]
    Line {
        /// The file, or how the caller calls it.
        source_name: String,
        /// Line, from 1.
        line: u64,
        /// Byte in the line, from 1.
        column: usize,
        /// What was found and what was expected.
        message: String,
    },
}

impl History {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or a line other than a torn last one is not an event.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let source_name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::read(BufReader::with_capacity(1 << 18, file), &source_name),
            Err(error) => Err(ReadError::Io { source_name, error }),
        }
    }

    /// Reads a history from `source`, which errors call `source_name`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(source: impl BufRead, source_name: &str) -> Result<Self, ReadError> {
        let mut reader = Reader::new(source, source_name);
        let events = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
        let invented_times = reader.numbering.without_time > 0;
        Ok(Self { events, torn: reader.torn.take(), notes: reader.notes(), invented_times })
    }

    /// The client operations, without times if some are made up.
    ///
    /// # Errors
    /// The events contradict one another, see [`Builder::push`](crate::Builder::push).
    pub fn table(&self) -> Result<Table, BuildError> {
        let table = Table::from_events(&self.events)?;
        Ok(if self.invented_times { table.without_times() } else { table })
    }
}

/// Reads events one by one, for a history that should not be held in memory. After an error it ends.
pub struct Reader<R> {
    source: R,
    source_name: String,
    buffer: Vec<u8>,
    line: u64,
    ended: bool,
    torn: Option<TornLine>,
    numbering: Numbering,
    /// A history names few nodes and names them often.
    nodes: HashSet<Arc<str>>,
}

impl<R: BufRead> Reader<R> {
    /// A reader of `source`, which errors call `source_name`.
    pub fn new(source: R, source_name: &str) -> Self {
        Self {
            source,
            source_name: source_name.to_owned(),
            buffer: Vec::new(),
            line: 0,
            ended: false,
            torn: None,
            numbering: Numbering::default(),
            nodes: HashSet::new(),
        }
    }

    /// The last line, if it is torn; known once the reader has ended.
    pub fn torn(&self) -> Option<&TornLine> {
        self.torn.as_ref()
    }

    /// What the reader had to assume so far, in sentences for a person.
    pub fn notes(&self) -> Vec<String> {
        let untimed = "each was put 1 ns after the one before it, so times in the evidence mean nothing";
        self.numbering.notes(untimed)
    }

    fn error(&self, error: LineError) -> ReadError {
        let LineError { column, message } = error;
        ReadError::Line { source_name: self.source_name.clone(), line: self.line, column, message }
    }

    fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            self.buffer.clear();
            if let Err(error) = self.source.read_until(b'\n', &mut self.buffer) {
                return Err(ReadError::Io { source_name: self.source_name.clone(), error });
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
            self.line += 1;
            if self.buffer.trim_ascii().is_empty() {
                continue;
            }
            return match line::parse(&self.buffer) {
                Ok(found) => self.complete(found).map(Some),
                Err(_) if line::is_torn(&self.buffer) => {
                    self.torn = Some(TornLine { line: self.line, bytes: self.buffer.len() });
                    Ok(None)
                }
                Err(error) => Err(self.error(error)),
            };
        }
    }

    fn complete(&mut self, found: PartialEvent) -> Result<Event, ReadError> {
        let PartialEvent { index, time, mut event } = found;
        let placed = self.numbering.next(self.line, index, time);
        (event.index, event.time) = placed.map_err(|error| self.error(error))?;
        if let Some(node) = &mut event.node {
            match self.nodes.get(node) {
                Some(known) => *node = Arc::clone(known),
                None => {
                    self.nodes.insert(Arc::clone(node));
                }
            }
        }
        Ok(event)
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_event().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Process};

    const FIRST: &str = r#"{"index":0,"time":5,"process":0,"type":"invoke","f":"read","value":null}"#;
    const SECOND: &str = r#"{"index":1,"time":9,"process":0,"type":"ok","f":"read","value":3}"#;

    fn read(text: &str) -> Result<History, ReadError> {
        History::read(text.as_bytes(), "h.jsonl")
    }

    #[test]
    fn every_cut_of_a_history_gives_its_complete_lines() {
        let text = format!("{FIRST}\n{SECOND}\n");
        let whole = read(&text).unwrap();
        for cut in 0..=text.len() {
            let history = read(&text[..cut]).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            // A line without its newline is complete when its last brace is there.
            let complete = [FIRST.len(), text.len() - 1].iter().filter(|end| cut >= **end).count();
            assert_eq!(history.events, whole.events[..complete], "cut at {cut}");
            let ends_clean = [0, FIRST.len(), FIRST.len() + 1, text.len() - 1, text.len()].contains(&cut);
            assert_eq!(history.torn.is_none(), ends_clean, "cut at {cut}");
        }
        let torn = read(&text[..text.len() - 5]).unwrap().torn.unwrap();
        assert_eq!((torn.line, torn.bytes), (2, SECOND.len() - 4));
        assert!(torn.to_string().contains("line 2"));
    }

    #[test]
    fn a_last_line_inside_a_character_or_of_zeros_is_torn() {
        let mut bytes = format!("{FIRST}\n{{\"index\":1,\"f\":\"é").into_bytes();
        bytes.pop();
        assert_eq!(History::read(bytes.as_slice(), "h").unwrap().torn.unwrap().line, 2);
        let mut bytes = format!("{FIRST}\n").into_bytes();
        bytes.extend([0; 40]);
        assert_eq!(History::read(bytes.as_slice(), "h").unwrap().torn.unwrap().bytes, 40);
    }

    #[test]
    fn blank_lines_and_crlf_are_fine_and_an_empty_file_is_an_empty_history() {
        let history = read(&format!("\n{FIRST}\r\n  \n{SECOND}\n\n")).unwrap();
        assert_eq!(history.events.len(), 2);
        assert_eq!(read("").unwrap(), History::default());
    }

    #[test]
    fn a_bad_line_is_an_error_with_its_place_and_what_was_expected() {
        for (bad, column, expected) in [
            (
                r#"{"index":1,"time":9,"process":"bob","type":"ok","f":"read"}"#,
                35,
                "a process number or \"nemesis\"",
            ),
            (r#"{"index":1,"time":9,"process":1,"type":"done","f":"read"}"#, 45, "expected one of `invoke`"),
            (r#"{"index":1,"time":"9","process":1,"type":"ok","f":"read"}"#, 21, "expected a whole number"),
            (r#"{"index":1,"time":9,"process":1,"type":"ok"}"#, 44, "missing field `f`"),
            (r#"{"index":1,"time":9"#, 20, "in the middle of an object"),
            ("[1]", 1, "expected an event"),
            ("hello", 1, "expected a JSON value"),
            (r#"{"index":1,"process":tru}"#, 25, "true, false and null"),
            (r#"{"index" 1}"#, 10, "expected `:`"),
            (r#"{"index":1 "time":2}"#, 12, "`,` or `}`"),
            (r#"{"index":1,}"#, 12, "after the comma"),
            (r#"{index:1}"#, 2, "in double quotes"),
            (r#"{"index":1,"value":[1 2]}"#, 23, "`,` or `]`"),
            (r#"{"index":1,"value":"a\q"}"#, 23, "an escape"),
            (r#"{"index":1,"value":"\ud800"}"#, 28, "surrogate"),
            (r#"{"index":1,"value":-}"#, 20, "a number as JSON writes it"),
            (r#"{"index":1,"value":1e999}"#, 24, "too large"),
            ("{\"index\":1,\"value\":\"a\tb\"}", 22, "must be escaped"),
            (r#"{"process":1,"type":"ok","f":"read"} x"#, 38, "the end of the line"),
            (r#"{"index":1,"value":"a"#, 21, "in the middle of a string"),
            (r#"{"index":1,"value":[1"#, 21, "in the middle of an array"),
            (r#"{"index":1"#, 10, "in the middle of an object"),
        ] {
            let text = format!("{FIRST}\n{bad}\n{SECOND}\n");
            let error = read(&text).unwrap_err();
            let ReadError::Line { line, column: at, message, source_name } = &error else {
                panic!("{error}")
            };
            assert_eq!((*line, source_name.as_str()), (2, "h.jsonl"));
            assert!(message.contains(expected), "{message}");
            assert!(at.abs_diff(column) <= 1, "{bad}: column {at}, not {column}");
            assert!(!message.contains("line 1"), "{message}");
            assert!(error.to_string().starts_with("h.jsonl:2:"), "{error}");
        }
    }

    #[test]
    fn a_last_line_without_newline_is_no_excuse_for_another_format() {
        assert!(matches!(read("hello"), Err(ReadError::Line { line: 1, .. })));
        assert!(matches!(read(&format!("{FIRST}\n{{\"index\":1}}")), Err(ReadError::Line { line: 2, .. })));
    }

    #[test]
    fn missing_indices_and_times_are_filled_in_and_said() {
        let text = r#"{"process":0,"type":"invoke","f":"read"}
            {"process":0,"type":"ok","f":"read","value":1,"time":7}
            {"process":"nemesis","type":"info","f":"kill","index":9}"#;
        let history = read(text).unwrap();
        let places: Vec<_> = history.events.iter().map(|event| (event.index, event.time)).collect();
        assert_eq!(places, [(0, 0), (1, 7), (9, 8)]);
        assert_eq!(history.notes.len(), 2);
        assert!(history.notes[0].starts_with("2 events have no \"index\""));
        assert!(history.notes[1].starts_with("2 events have no \"time\""));
        let none = read(&text.replace(",\"index\":9", "")).unwrap();
        assert_eq!((none.events[2].index, none.notes.len()), (2, 1), "{:?}", none.notes);
    }

    #[test]
    fn values_that_are_nested_too_deep_are_called_that() {
        let line = FIRST.replace("null", &format!("{}1{}", "[".repeat(200), "]".repeat(200)));
        let error = read(&format!("{line}\n")).unwrap_err().to_string();
        assert!(error.contains("nested too deep (128 levels"), "{error}");
    }

    #[test]
    fn made_up_times_do_not_get_into_a_table() {
        let (first, second) = (FIRST.replace("\"time\":5,", ""), SECOND.replace("\"time\":9,", ""));
        for (text, timed) in [
            (format!("{FIRST}\n{SECOND}\n"), true),
            (format!("{FIRST}\n{second}\n"), false),
            (format!("{first}\n{SECOND}\n"), false),
            (format!("{first}\n{second}\n"), false),
        ] {
            let history = read(&text).unwrap();
            let table = history.table().unwrap();
            assert_eq!((table.is_timed(), history.invented_times), (timed, !timed), "{text}");
            let times = (table.rows()[0].invoke_time, table.rows()[0].complete_time);
            assert_eq!(times, if timed { (5, 9) } else { (0, 0) });
        }
    }

    #[test]
    fn an_index_that_does_not_increase_is_an_error_and_a_time_that_goes_back_is_said() {
        let error = read(&format!("{SECOND}\n{FIRST}\n")).unwrap_err().to_string();
        assert!(error.contains("index 0 comes after index 1"), "{error}");
        let back = SECOND.replace("\"time\":9", "\"time\":4");
        let history = read(&format!("{FIRST}\n{back}\n")).unwrap();
        assert!(history.notes[0].contains("goes back in 1 lines, first in line 2"), "{:?}", history.notes);
    }

    #[test]
    fn nodes_are_shared_and_the_reader_streams() {
        let text = (0..3)
            .map(|index| format!("{{\"index\":{index},\"time\":0,\"process\":1,\"type\":\"ok\",\"f\":\"x\",\"node\":\"n1\"}}\n"))
            .collect::<String>();
        let mut reader = Reader::new(text.as_bytes(), "h");
        let first = reader.next().unwrap().unwrap();
        assert_eq!((first.kind, first.process), (Kind::Ok, Process::Client(1)));
        let second = reader.next().unwrap().unwrap();
        assert!(Arc::ptr_eq(first.node.as_ref().unwrap(), second.node.as_ref().unwrap()));
        assert!(reader.next().unwrap().is_ok() && reader.next().is_none() && reader.torn().is_none());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = History::open(Path::new("/nonexistent/h.jsonl")).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/h.jsonl: cannot read the history"), "{error}");
    }
}
