//! Clojure notation, as Jepsen and Knossos write `history.edn`.
//!
//! A history is a sequence of operations: one map a line, or a vector of maps, or records
//! (`#jepsen.history.Op{:index 0, …}`). Of each map these fields count:
//!
//! - `:type`: `:invoke`, `:ok`, `:fail` or `:info`; the nemesis may leave it out, which is `:info`
//! - `:process`: an integer, or `:nemesis`
//! - `:f`: the name, without its colon; without one the operation is a transaction, `txn`, as in Elle's histories
//! - `:value`, `:key`, `:error`, `:node`
//! - `:time` in nanoseconds and `:index`, where there are any
//!
//! [`crate::clojure`] says how Clojure's values look in a table.

pub(crate) mod scan;
pub(crate) mod value;

#[cfg(test)]
mod tests;

use schism_history::{BuildError, Builder, TooMany, ValueId};

use self::scan::{Scan, Scanner, Stop};
use self::value::{Place as Within, Valuer};
use crate::clojure::TXN;
use crate::operations::{Op, Operations, Refusal, Type, Who};
use crate::{ImportError, Keys, Place};

/// Reads a history in Clojure notation.
///
/// # Errors
/// The text is no Clojure notation, or holds no operation, or an operation contradicts the ones before.
pub(crate) fn read(
    bytes: &[u8],
    builder: &mut Builder,
    keys: Keys,
    notes: &mut Vec<String>,
) -> Result<(), ImportError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = Reader {
        scan: Scanner::new(bytes),
        valuer: Valuer::new(),
        operations: Operations::new(builder),
        builder,
        keys,
        start: 0,
        line: 1,
        counted: 0,
        first_other: None,
    };
    let end = reader.history();
    let Reader { operations, builder, start, first_other, .. } = reader;
    match end {
        Ok(()) => {}
        Err(Halt::Stop(Stop::Torn)) if operations.taken() > 0 => {
            let (line, rest) = (place(bytes, start).line, &bytes[start.min(bytes.len())..]);
            if more_than_one(rest, b":process") || more_than_one(rest, b":invoke") {
                return Err(syntax(bytes, start, "this form never ends, though more operations follow"));
            }
            notes.push(match rest {
                [] => "the bracket around the operations is not closed: the file may be torn".into(),
                _ => format!("the last form, which begins in line {line}, is torn and was left out"),
            });
        }
        Err(Halt::Stop(stop)) => return Err(stop_error(stop, bytes, start)),
        Err(Halt::Refusal(refusal)) => return Err(refusal_error(refusal, bytes, start)),
    }
    if let (0, Some(other)) = (operations.taken(), first_other) {
        return Err(syntax(
            bytes,
            other,
            "this is no operation; a map such as {:process 0, :type :invoke, :f :read, :value nil} was expected",
        ));
    }
    operations.notes(builder, "forms", notes);
    Ok(())
}

/// Why reading ends early.
enum Halt {
    Stop(Stop),
    Refusal(Refusal),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Halt::Stop(stop)
    }
}

struct Reader<'a, 'b> {
    scan: Scanner<'a>,
    valuer: Valuer,
    operations: Operations,
    builder: &'b mut Builder,
    keys: Keys,
    /// Where the form begins that is being read.
    start: usize,
    /// The line of the byte up to which lines were counted.
    line: u64,
    counted: usize,
    first_other: Option<usize>,
}

impl Reader<'_, '_> {
    fn history(&mut self) -> Result<(), Halt> {
        // Brackets around the operations; what is inside counts, and nothing about them.
        let mut around = Vec::new();
        loop {
            self.start = self.scan.at;
            self.scan.blank()?;
            let Some(byte) = self.scan.peek() else { break };
            self.start = self.scan.at;
            match byte {
                b'{' => {
                    let op = read_op(&mut self.scan, &mut self.valuer, self.builder, self.keys)?;
                    let more = &self.scan.bytes[self.counted..self.start];
                    self.line += memchr::memchr_iter(b'\n', more).count() as u64;
                    self.counted = self.start;
                    self.builder.begins_in(self.line);
                    match self.operations.push(self.builder, &op) {
                        Ok(true) => {}
                        Ok(false) => self.other(),
                        Err(refusal) => return Err(Halt::Refusal(refusal)),
                    }
                }
                b'[' | b'(' => {
                    around.push(if byte == b'[' { b']' } else { b')' });
                    self.scan.at += 1;
                }
                b']' | b')' | b'}' => match around.pop() {
                    Some(closing) if closing == byte => self.scan.at += 1,
                    expected => self.scan.unexpected(byte, expected)?,
                },
                b'^' => {
                    self.scan.at += 1;
                    self.scan.skip_form()?;
                }
                b'#' if matches!(self.scan.second(), Some(next) if next.is_ascii_alphabetic()) => {
                    self.scan.tag()?;
                }
                _ => {
                    self.scan.skip_form()?;
                    self.other();
                }
            }
        }
        if around.is_empty() { Ok(()) } else { Err(Halt::Stop(Stop::Torn)) }
    }

    fn other(&mut self) {
        let (bytes, start) = (self.scan.bytes, self.start);
        self.first_other.get_or_insert(start);
        self.operations.other(|| format!("in line {}", place(bytes, start).line));
    }
}

/// An operation. The cursor is at the opening bracket of its map.
fn read_op<'a>(
    scan: &mut Scanner<'a>,
    valuer: &mut Valuer,
    builder: &mut Builder,
    keys: Keys,
) -> Scan<Op<'a>> {
    let mut op = Op::default();
    // Where the value begins, if its meaning depends on what comes after it.
    let mut postponed = None;
    scan.at += 1;
    loop {
        match scan.begin()? {
            b'}' => {
                scan.at += 1;
                break;
            }
            b':' => {}
            // Anything goes in a map, but nothing else in an operation: a quote is missing somewhere, more likely.
            _ => return scan.bad(scan.at, "a field such as :type was expected, or the end of the map"),
        }
        match scan.token() {
            b":process" => op.process = read_process(scan)?,
            b":type" => {
                op.kind = read_name(scan)?.map_or(Type::Nothing, Type::of);
            }
            b":f" => op.f = read_name(scan)?,
            b":value" if matches!(op.process, Who::Name(":nemesis")) => {
                scan.skip_form()?;
                op.value = ValueId::NULL;
            }
            b":value" if op.f.is_none() => {
                scan.begin()?;
                postponed = Some(scan.at);
                scan.skip_form()?;
            }
            b":value" => {
                let within = if op.f == Some(TXN) { Within::Transaction } else { Within::Elsewhere };
                op.value = valuer.value(scan, builder.values(), within)?;
                postponed = None;
            }
            b":key" if keys != Keys::None => {
                let key = valuer.value(scan, builder.values(), Within::Elsewhere)?;
                op.key = if key == ValueId::NULL { ValueId::ABSENT } else { key };
            }
            b":error" => {
                valuer.encoder.lenient = true;
                let error = valuer.value(scan, builder.values(), Within::Elsewhere);
                valuer.encoder.lenient = false;
                op.error = Some(error?).filter(|error| *error != ValueId::NULL).unwrap_or(ValueId::ABSENT);
            }
            b":time" => op.time = read_integer(scan)?,
            b":index" => op.index = read_integer(scan)?,
            b":node" => op.node = read_name(scan)?,
            _ => scan.skip_form()?,
        }
    }
    if let Some(at) = postponed {
        let end = std::mem::replace(&mut scan.at, at);
        let within = if matches!(op.f, None | Some(TXN)) { Within::Transaction } else { Within::Elsewhere };
        op.value = valuer.value(scan, builder.values(), within)?;
        scan.at = end;
    }
    Ok(op)
}

fn read_process<'a>(scan: &mut Scanner<'a>) -> Scan<Who<'a>> {
    scan.begin()?;
    if let Some(number) = scan.small() {
        return Ok(Who::Number(number));
    }
    let from = scan.at;
    scan.skip_form()?;
    match scan.text(&scan.bytes[from..scan.at])? {
        "nil" => Ok(Who::Nobody),
        name => Ok(Who::Name(name)),
    }
}

/// A name: a keyword without its colon, a symbol, what a string says if it has no escapes, or else whatever is written there.
fn read_name<'a>(scan: &mut Scanner<'a>) -> Scan<Option<&'a str>> {
    let first = scan.begin()?;
    if first == b':' {
        let token = scan.token();
        return scan.text(&token[1..]).map(Some);
    }
    let from = scan.at;
    scan.skip_form()?;
    let form = scan.text(&scan.bytes[from..scan.at])?;
    let name = match first {
        b'"' if !form.contains('\\') => form.get(1..form.len() - 1),
        _ if form == "nil" => None,
        _ => Some(form),
    };
    Ok(name)
}

/// An integer, if it is one.
fn read_integer(scan: &mut Scanner<'_>) -> Scan<Option<i64>> {
    scan.begin()?;
    if let Some(number) = scan.small() {
        return Ok(Some(number));
    }
    let from = scan.at;
    scan.skip_form()?;
    let float =
        std::str::from_utf8(&scan.bytes[from..scan.at]).ok().and_then(|text| text.parse::<f64>().ok());
    Ok(float.filter(|float| float.is_finite()).map(|float| float as i64))
}

/// Where a byte stands.
pub(crate) fn place(bytes: &[u8], at: usize) -> Place {
    let before = &bytes[..at.min(bytes.len())];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Place { line, column: 1 + before.len() - begin }
}

pub(crate) fn syntax(bytes: &[u8], at: usize, problem: impl Into<String>) -> ImportError {
    ImportError::Syntax { place: place(bytes, at), problem: problem.into() }
}

/// Why a form that begins at `start` cannot be read.
pub(crate) fn stop_error(stop: Stop, bytes: &[u8], start: usize) -> ImportError {
    match stop {
        Stop::Torn => syntax(bytes, start, "the input ends within the form that begins here"),
        Stop::Bad(bad) => syntax(bytes, bad.0, bad.1),
        Stop::TooMany => {
            ImportError::Event { line: place(bytes, start).line, source: BuildError::TooMany(TooMany) }
        }
    }
}

/// Why an operation that begins at `start` cannot be taken.
pub(crate) fn refusal_error(refusal: Refusal, bytes: &[u8], start: usize) -> ImportError {
    match refusal {
        Refusal::Build(source) => ImportError::Event { line: place(bytes, start).line, source },
        Refusal::Type(name) => syntax(
            bytes,
            start,
            format!("the operation's :type is {name}; :invoke, :ok, :fail or :info was expected"),
        ),
    }
}

fn more_than_one(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).filter(|window| *window == word).nth(1).is_some()
}
