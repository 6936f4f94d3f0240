//! A counter.
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `add` | an integer, also a negative one | nothing, or the argument again |
//! | `increment`, `inc` | an integer; none: 1 | nothing, or the argument again |
//! | `decrement`, `dec` | an integer; none: 1 | nothing, or the argument again |
//! | `add-and-get` | an integer | the value after it |
//! | `get-and-add` | an integer | the value before it |
//! | `increment-and-get` | an integer; none: 1 | the value after it |
//! | `get-and-increment` | an integer; none: 1 | the value before it |
//! | `read` | – | the value |
//!
//! The counter starts at 0 and never overflows. A counter that answers with its value needs the operations that say so in their
//! name: `add 1 -> 1` alone could mean either.

use schism_history::{Datum, ValueId, View};

use super::super::specification::{Misfit, Specification};

/// The model of a counter that starts at 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter;

/// What an operation on a counter does and saw. Sums of 64-bit integers need more bits than those have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CounterAction {
    /// Adds this much, and saw nothing.
    Add(i64),
    /// Adds this much, and saw what the value was before (or after, which says the same).
    Exchange {
        /// How much.
        delta: i64,
        /// The value before it.
        before: i128,
    },
    /// Saw this value.
    Read(i128),
}

impl Specification for Counter {
    type Action = CounterAction;
    type State = i128;

    fn initial(&self) -> i128 {
        0
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<CounterAction>, Misfit> {
        let f = operation.f();
        let sign = |delta: i64| {
            delta
                .checked_neg()
                .ok_or_else(|| Misfit::malformed(format!("{f} of {delta} is too large to count")))
        };
        Ok(Some(match f {
            "read" => match operation.result() {
                None => return Ok(None),
                Some(value) => CounterAction::Read(
                    integer(operation, value, "a read needs an integer as its result")?.into(),
                ),
            },
            "add" => acknowledged(operation, amount(operation, false)?)?,
            "increment" | "inc" => acknowledged(operation, amount(operation, true)?)?,
            "decrement" | "dec" => acknowledged(operation, sign(amount(operation, true)?)?)?,
            "add-and-get" => exchange(operation, amount(operation, false)?, true)?,
            "increment-and-get" => exchange(operation, amount(operation, true)?, true)?,
            "get-and-add" => exchange(operation, amount(operation, false)?, false)?,
            "get-and-increment" => exchange(operation, amount(operation, true)?, false)?,
            _ => {
                return Err(Misfit::Unknown {
                    hint: "; the model `counter` has add, increment, decrement, add-and-get, get-and-add, \
                           increment-and-get, get-and-increment and read",
                });
            }
        }))
    }

    fn step(&self, state: &i128, action: &CounterAction) -> Option<i128> {
        match *action {
            CounterAction::Add(delta) => state.checked_add(delta.into()),
            CounterAction::Exchange { delta, before } if before == *state => state.checked_add(delta.into()),
            CounterAction::Read(value) if value == *state => Some(value),
            CounterAction::Exchange { .. } | CounterAction::Read(_) => None,
        }
    }

    fn observes(&self, action: &CounterAction) -> bool {
        matches!(action, CounterAction::Read(_))
    }
}

fn integer(operation: &View<'_>, value: ValueId, need: &str) -> Result<i64, Misfit> {
    match operation.values().get(value) {
        Datum::Int(integer) => Ok(integer),
        Datum::Number(text) if is_large(text) => {
            Err(Misfit::malformed(format!("{need} between {} and {}, not {text}", i64::MIN, i64::MAX)))
        }
        _ => Err(Misfit::malformed(format!("{need}, not {}", operation.values().show(value)))),
    }
}

/// Whether a number that is no integer of 64 bits is so because of its size.
fn is_large(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(|number| number.abs() >= 2_f64.powi(63))
}

fn is_nothing(value: ValueId) -> bool {
    value == ValueId::NULL || !value.is_present()
}

fn amount(operation: &View<'_>, may_lack: bool) -> Result<i64, Misfit> {
    let argument = operation.argument();
    if may_lack && is_nothing(argument) {
        return Ok(1);
    }
    integer(operation, argument, &format!("{} needs an integer as its argument", operation.f()))
}

fn acknowledged(operation: &View<'_>, delta: i64) -> Result<CounterAction, Misfit> {
    match operation.result() {
        Some(result) if !is_nothing(result) && result != operation.argument() => {
            Err(Misfit::malformed(format!(
                "{} is acknowledged with nothing or with its argument again, not {}; use add-and-get or get-and-add \
             for a counter that answers with its value",
                operation.f(),
                operation.values().show(result)
            )))
        }
        _ => Ok(CounterAction::Add(delta)),
    }
}

fn exchange(operation: &View<'_>, delta: i64, after: bool) -> Result<CounterAction, Misfit> {
    let Some(result) = operation.result() else { return Ok(CounterAction::Add(delta)) };
    let need = format!("{} needs an integer as its result", operation.f());
    let value = i128::from(integer(operation, result, &need)?);
    let before = if after { value - i128::from(delta) } else { value };
    Ok(CounterAction::Exchange { delta, before })
}

#[cfg(test)]
pub(crate) mod tests {
    use schism_history::{Event, Table};

    use super::*;

    #[test]
    fn integers_of_more_bits_are_refused_with_the_limit() {
        for large in ["9223372036854775808", "-9223372036854777857", "1e19", "36893488147419103232"] {
            for (f, argument, result) in
                [("add", large, "null"), ("read", "null", large), ("add-and-get", "1", large)]
            {
                let Err(Misfit::Malformed(said)) = parse(f, argument, "ok", result) else {
                    panic!("{f} {argument} {result} was taken");
                };
                assert!(said.contains("between -9223372036854775808 and 9223372036854775807"), "{said}");
            }
        }
        for no_integer in ["1.5", "1e16"] {
            let refused = parse("add", no_integer, "ok", "null");
            assert!(
                matches!(refused, Err(Misfit::Malformed(said)) if !said.contains("between")),
                "{no_integer}"
            );
        }
    }

    /// A history of one operation, given as the JSON of its argument and of its result.
    pub(crate) fn one(f: &str, argument: &str, kind: &str, result: &str) -> Table {
        let event = |index: u64, kind: &str, value: &str| -> Event {
            let text = format!(
                "{{\"index\":{index},\"time\":{index},\"process\":1,\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value}}}"
            );
            serde_json::from_str(&text).unwrap()
        };
        Table::from_events(&[event(0, "invoke", argument), event(1, kind, result)]).unwrap()
    }

    fn parse(f: &str, argument: &str, kind: &str, result: &str) -> Result<Option<CounterAction>, Misfit> {
        Counter.action(&one(f, argument, kind, result).view(0))
    }

    #[test]
    fn takes_the_shapes_it_says() {
        use CounterAction::{Add, Exchange, Read};
        for (f, argument, kind, result, action) in [
            ("add", "5", "ok", "5", Some(Add(5))),
            ("add", "-5", "ok", "null", Some(Add(-5))),
            ("inc", "null", "ok", "null", Some(Add(1))),
            ("increment", "3", "info", "null", Some(Add(3))),
            ("dec", "3", "ok", "3", Some(Add(-3))),
            ("decrement", "null", "ok", "null", Some(Add(-1))),
            ("add-and-get", "3", "ok", "10", Some(Exchange { delta: 3, before: 7 })),
            ("add-and-get", "3", "info", "null", Some(Add(3))),
            ("get-and-add", "3", "ok", "10", Some(Exchange { delta: 3, before: 10 })),
            ("increment-and-get", "null", "ok", "1", Some(Exchange { delta: 1, before: 0 })),
            ("get-and-increment", "null", "ok", "1", Some(Exchange { delta: 1, before: 1 })),
            ("read", "null", "ok", "4.0", Some(Read(4))),
            ("read", "null", "info", "null", None),
        ] {
            assert_eq!(parse(f, argument, kind, result), Ok(action), "{f} {argument} {kind} {result}");
        }
    }

    #[test]
    fn refuses_other_shapes() {
        for (f, argument, result) in [
            ("add", "null", "null"),
            ("add", "1.5", "1.5"),
            ("add", "1", "2"),
            ("add", "\"1\"", "null"),
            ("dec", "-9223372036854775808", "null"),
            ("add", "18446744073709551617", "null"),
            ("add-and-get", "1", "null"),
            ("read", "null", "null"),
            ("read", "null", "[1]"),
        ] {
            let answer = parse(f, argument, "ok", result);
            assert!(matches!(answer, Err(Misfit::Malformed(_))), "{f} {argument} {result}: {answer:?}");
        }
        assert!(matches!(parse("write", "1", "ok", "1"), Err(Misfit::Unknown { .. })));
    }

    #[test]
    fn does_not_overflow() {
        let mut state = Counter.initial();
        for _ in 0..4 {
            state = Counter.step(&state, &CounterAction::Add(i64::MAX)).unwrap();
        }
        assert_eq!(state, 4 * i128::from(i64::MAX));
    }
}
