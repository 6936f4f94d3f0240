//! Jepsen's log of operations, as Porcupine keeps it for its tests.
//!
//! A line holds process, type, name and value, separated by tabs, after the name of the logger: `INFO  jepsen.util - 4 :invoke
//! :write 3`. Later versions write a colon in place of the dash, and what they log else stands in lines of other loggers. A
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
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let (from, end) = (start, start + line.trim_ascii_end().len());
        start += line.len();
        // Even a line that can be read may lack the end of its value.
        if !line.ends_with(b"\n") && operations.taken() > 0 {
            notes
                .push(format!("line {}, the last one, has no end and was left out", place(bytes, from).line));
            break;
        }
        let mut scan = Scanner::new(&bytes[..end]);
        let Some(message) = message(line) else {
            if !line.trim_ascii().is_empty() {
                others += 1;
                operations.other(|| format!("in line {}", place(bytes, from).line));
            }
            continue;
        };
        // The space after the name may be the last thing in the line, which was trimmed.
        scan.at = (from + message).min(end);
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
        builder.begins_in(number);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test fails by panicking.

    use schism_history::{Builder, Table};

    use super::*;

    fn read(text: &str) -> Result<(Table, String), ImportError> {
        let (mut builder, mut notes) = (Builder::new(), Vec::new());
        super::read(text.as_bytes(), &mut builder, Keys::Auto, &mut notes)?;
        Ok((builder.finish(), notes.join("; ")))
    }

    #[test]
    fn lines_of_old_and_new_logs_are_read() {
        let (table, notes) = read(
            "INFO  jepsen.core - Running\n\
             INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
             INFO  jepsen.util - :nemesis\t:info\t:start\t\"Cut off {:n1 #{:n2}}\"\n\
             INFO  jepsen.util - 0\t:fail\t:read\t:timed-out\n\n\
             2024-01-01 10:00:00,000{GMT}\tINFO\t[jepsen worker 1] jepsen.util: 1\t:invoke\t:cas\t[1 2]\n\
             2024-01-01 10:00:00,000{GMT}\tINFO\t[jepsen worker 1] jepsen.util: 1\t:info\t:cas\t[1 2]\t[:down \"x\"]\n\
             INFO jepsen.util - Everything looks good!\n\
             INFO jepsen.util - 1\t:invoke\t:txn\t[[:r 1 nil]]\r\n\
             INFO jepsen.util - 1\t:ok\t:txn\t[[:r 1 2]]",
        )
        .unwrap();
        assert_eq!(
            notes,
            "line 10, the last one, has no end and was left out; 2 lines are not operations and were left out, the first in line 1; \
             1 times a process goes on after an unknown outcome; each time it was taken for a new process of the same number"
        );
        let views: Vec<String> = table
            .views()
            .map(|view| format!("{view:?} {:?}", view.error().map(|error| table.values.show(error))))
            .collect();
        assert_eq!(
            views,
            [
                "0 read null Fail Some(\"\\\":timed-out\\\"\")",
                "1 cas [1,2] Unknown Some(\"[\\\":down\\\",\\\"x\\\"]\")",
                "1 txn [[\"r\",1,null]] Unknown None",
            ]
        );
        assert_eq!(table.events(), 6);
    }

    #[test]
    fn errors_say_where() {
        let line = "INFO  jepsen.util - 0\t:invoke\t:read\tnil\n";
        let error = |more: &str| read(&format!("{line}{more}\n")).unwrap_err().to_string();
        assert_eq!(error("INFO  jepsen.util - 0\t:ok\t:read\t1x"), "line 2, column 33: `1x` is no number");
        assert!(error("INFO  jepsen.util - 0\t:ok\t:read").contains("line 2, column 1: the input ends"));
        assert!(error("INFO  jepsen.util - 0\t:done\t:read\t1").contains(":type is done"));
        assert!(error(line.trim_end()).contains("still open"));
        assert!(read("nothing\n").unwrap_err().to_string().contains("no line is an operation"));
        assert!(read("").is_ok());
        assert!(read(&format!("{line}INFO  jepsen.util: \n")).unwrap().1.contains("line 2"));
    }
}
