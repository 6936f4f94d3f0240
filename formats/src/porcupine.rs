//! Jepsen's log of operations, as Porcupine keeps it for its tests.
//!
//! A line holds process, type, name and value, separated by tabs, after the name of the logger: `INFO  jepsen.util - 4	:invoke
//! :write	3`. Later versions write a colon in place of the dash, and what they log else stands in lines of other loggers. A
//! completion that failed or whose outcome is unknown may have a reason in place of the value: `:timed-out`.

use schism_history::{Builder, ValueId};

use crate::clojure::TXN;
use crate::edn::scan::{Scan, Scanner, Stop};
use crate::edn::value::{Place, Valuer};
use crate::edn::{place, refusal_error, stop_error, syntax};
use crate::operations::{Op, Operations, Type, Who};
use crate::{ImportError, Keys};

/// What stands before an operation.
const LOGGERS: [&[u8]; 2] = [b"jepsen.util - ", b"jepsen.util: "];

/// Reads a log.
///
/// # Errors
/// A line is no operation though it looks like one, or contradicts the ones before, or there is no operation at all.
pub(crate) fn read(
    bytes: &[u8],
    builder: &mut Builder,
    _: Keys,
    notes: &mut Vec<String>,
) -> Result<(), ImportError> {
    let mut valuer = Valuer::new();
    let mut operations = Operations::new(builder);
    let mut start = 0;
    let mut others = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (from, end) = (start, start + line.trim_ascii_end().len());
        start += line.len();
        let mut scan = Scanner::new(&bytes[..end]);
        let Some(message) = message(line) else {
            if !line.trim_ascii().is_empty() {
                others += 1;
                operations.other(|| format!("in line {}", place(bytes, from).line));
            }
            continue;
        };
        scan.at = from + message;
        let op = match read_line(&mut scan, &mut valuer, builder) {
            Ok(Some(op)) => op,
            Ok(None) => {
                others += 1;
                operations.other(|| format!("in line {}", place(bytes, from).line));
                continue;
            }
            Err(Stop::Torn) if start == bytes.len() && !line.ends_with(b"\n") && operations.taken() > 0 => {
                notes.push(format!(
                    "line {}, the last one, is torn and was left out",
                    place(bytes, from).line
                ));
                break;
            }
            Err(stop) => return Err(stop_error(stop, bytes, from)),
        };
        if let Err(refusal) = operations.push(builder, &op) {
            return Err(refusal_error(refusal, bytes, from));
        }
    }
    if operations.taken() == 0 && others > 0 {
        return Err(syntax(
            bytes,
            0,
            "no line is an operation; one such as `INFO  jepsen.util - 0\t:invoke\t:read\tnil` was expected",
        ));
    }
    operations.notes(builder, "lines", notes);
    Ok(())
}

/// Where the operation begins in a line.
fn message(line: &[u8]) -> Option<usize> {
    LOGGERS.iter().find_map(|logger| {
        let at = line.windows(logger.len()).position(|window| window == *logger)?;
        Some(at + logger.len())
    })
}

/// The operation of a line, or none if it says something else.
fn read_line<'a>(scan: &mut Scanner<'a>, valuer: &mut Valuer, builder: &mut Builder) -> Scan<Option<Op<'a>>> {
    let Some(process) = word(scan)? else { return Ok(None) };
    let process = match crate::edn::value::small(process.as_bytes()) {
        Some(number) => Who::Number(number),
        None if process.starts_with(':') => Who::Name(process),
        None => return Ok(None),
    };
    let kind = match word(scan)?.and_then(|word| word.strip_prefix(':')) {
        Some(word) => Type::of(word),
        None => return Ok(None),
    };
    let Some(f) = word(scan)? else { return Err(Stop::Torn) };
    let f = f.strip_prefix(':').unwrap_or(f);
    let mut op = Op { process, kind, f: Some(f), ..Op::default() };
    let Type::Known(_) = kind else { return Ok(Some(op)) };
    let within = if f == TXN { Place::Transaction } else { Place::Elsewhere };
    let begins = scan.begin()?;
    let value = valuer.value(scan, builder.values(), within)?;
    let unclear = !matches!(kind, Type::Known(schism_history::Kind::Invoke | schism_history::Kind::Ok));
    if unclear && begins == b':' {
        op.error = value;
    } else {
        op.value = value;
    }
    scan.blank()?;
    if scan.peek().is_some() && !op.error.is_present() {
        let error = valuer.value(scan, builder.values(), Place::Elsewhere)?;
        op.error = if error == ValueId::NULL { ValueId::ABSENT } else { error };
    }
    Ok(Some(op))
}

/// The next token, if one stands here.
fn word<'a>(scan: &mut Scanner<'a>) -> Scan<Option<&'a str>> {
    scan.blank()?;
    let token = scan.token();
    if token.is_empty() {
        return Ok(None);
    }
    scan.text(token).map(Some)
}
