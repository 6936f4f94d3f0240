//! JSON Lines: our own format, and what others write one object a line.
//!
//! The file is read through one buffer that is as large as the longest line or a mebibyte, whichever is more, but never larger than
//! [`LONGEST_LINE`]. Lines
//! of clients in the usual form are scanned in place, everything else goes through the parser of `schism_history`: both must say
//! the same about every line, which a property test checks.

mod scan;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use schism_history::line::{self, LineError, Numbering, PartialEvent};
use schism_history::{Builder, Process, Record, TornLine, ValueId};

use crate::input::{LONGEST_LINE, too_long};
use crate::{ImportError, Keys, Place};

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// Reads all events of `source` into `builder`.
pub(crate) fn read(
    source: &mut dyn Read,
    builder: &mut Builder,
    keys: Keys,
    notes: &mut Vec<String>,
) -> Result<(), ImportError> {
    read_in_chunks(source, CHUNK, LONGEST_LINE, builder, keys, notes)
}

fn read_in_chunks(
    source: &mut dyn Read,
    chunk: usize,
    longest: usize,
    builder: &mut Builder,
    keys: Keys,
    notes: &mut Vec<String>,
) -> Result<(), ImportError> {
    let mut lines =
        Lines { builder, keys, line: 0, numbering: Numbering::default(), scratch: scan::Scratch::default() };
    let mut buffer = vec![0; chunk];
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            if filled >= longest {
                return Err(too_long(lines.line + 1, longest));
            }
            buffer.resize((2 * filled).min(longest), 0);
        }
        let count = match source.read(&mut buffer[filled..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if count == 0 {
            break;
        }
        let newline = memchr::memrchr(b'\n', &buffer[filled..filled + count]);
        let end = newline.map_or(0, |place| filled + place + 1);
        filled += count;
        if end > 0 {
            lines.take(&buffer[..end])?;
            buffer.copy_within(end..filled, 0);
            filled -= end;
        }
    }
    let torn = lines.last(&buffer[..filled])?;
    notes.extend(torn.map(|torn| torn.to_string()));
    notes.extend(lines.numbering.notes("places are told as events, not as times"));
    Ok(())
}

struct Lines<'b> {
    builder: &'b mut Builder,
    keys: Keys,
    /// The line that is read, from 1.
    line: usize,
    numbering: Numbering,
    scratch: scan::Scratch,
}

impl Lines<'_> {
    /// Takes whole lines.
    fn take(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        let mut at = 0;
        while at < bytes.len() {
            self.line += 1;
            match scan::client(bytes, at, self.builder.values(), &mut self.scratch) {
                Some((found, next)) => {
                    self.usual(&found)?;
                    at = next;
                }
                None => {
                    let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |place| at + place + 1);
                    self.unusual(&bytes[at..end])?;
                    at = end;
                }
            }
        }
        Ok(())
    }

    /// Takes what follows the last newline.
    fn last(&mut self, bytes: &[u8]) -> Result<Option<TornLine>, ImportError> {
        if line::is_torn(bytes) && line::parse(bytes).is_err() {
            return Ok(Some(TornLine { line: self.line as u64 + 1, bytes: bytes.len() }));
        }
        self.take(bytes)?;
        Ok(None)
    }

    #[inline]
    fn usual(&mut self, found: &scan::Found<'_>) -> Result<(), ImportError> {
        let place = self.numbering.next(self.line as u64, found.index, found.time);
        let (index, time) = place.map_err(|error| self.syntax(error))?;
        let record = Record {
            process: Process::Client(found.process),
            kind: found.kind,
            f: found.f,
            key: if self.keys == Keys::None { ValueId::ABSENT } else { found.key },
            value: found.value,
            time: found.time.is_some().then_some(time),
            index: Some(index),
            node: found.node,
            error: found.error,
        };
        self.push(&record)
    }

    #[cold]
    fn unusual(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        if bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        let PartialEvent { index, time, event } = line::parse(bytes).map_err(|error| self.syntax(error))?;
        let place = self.numbering.next(self.line as u64, index, time);
        let (index, filled) = place.map_err(|error| self.syntax(error))?;
        let line = self.line;
        let client = event.process != Process::Nemesis;
        let values = self.builder.values();
        let mut number = |value: Option<&_>| match value {
            Some(value) if client => {
                values.json(value).map_err(|error| ImportError::Event { line, source: error.into() })
            }
            _ => Ok(ValueId::ABSENT),
        };
        let key = event.key.as_ref().filter(|_| self.keys != Keys::None);
        let record = Record {
            process: event.process,
            kind: event.kind,
            f: &event.f,
            key: number(key)?,
            value: number(Some(&event.value))?,
            time: time.is_some().then_some(filled),
            index: Some(index),
            node: event.node.as_deref(),
            error: number(event.error.as_ref())?,
        };
        self.push(&record)
    }

    #[inline]
    fn push(&mut self, record: &Record<'_>) -> Result<(), ImportError> {
        self.builder.begins_in(self.line as u64);
        self.builder.push(record).map_err(|source| ImportError::Event { line: self.line, source })
    }

    #[cold]
    fn syntax(&self, error: LineError) -> ImportError {
        let LineError { column, message } = error;
        ImportError::Syntax { place: Place { line: self.line, column }, problem: message }
    }
}
