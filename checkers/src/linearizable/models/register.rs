//! Registers: the last write counts. The models `register` and `cas-register`.
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `read` | ignored | the value that was read |
//! | `write` | the value | null, or the argument again |
//! | `cas`, only `cas-register` | `[expected, new]`: writes `new` if the register holds `expected` | null, or the argument again |
//!
//! A value is anything. The register starts as null, so a read that finds nothing has the result null. A `cas` that did
//! not happen because the register held another value is a `fail`: it constrains nothing. These are the shapes of Jepsen and
//! Knossos, except that there a read of nil means that nobody knows what was read; such a read is `info` here.

use schism_history::{Outcome, ValueId, View};

use super::super::specification::{Misfit, Specification};

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Whether it has compare-and-set.
    pub cas: bool,
    /// Its value at first.
    pub initial: ValueId,
}

impl Specification for Register {
    type Action = Action<ValueId>;
    type State = ValueId;

    fn initial(&self) -> ValueId {
        self.initial
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action<ValueId>>, Misfit> {
        let values = operation.values();
        let argument = or_null(operation.argument());
        let ok = operation.result().map(or_null);
        let action = match operation.f() {
            "read" => match ok {
                Some(value) => Action::Read(value),
                None => return Ok(None),
            },
            "write" => Action::Write(argument),
            "cas" if self.cas => match values.as_array(argument) {
                Some([expected, new]) => Action::Cas(*expected, *new),
                _ => {
                    let shown = values.show(argument);
                    return Err(Misfit::malformed(format!(
                        "a cas needs the value [expected, new], not {shown}"
                    )));
                }
            },
            "cas" => return Err(Misfit::Unknown { hint: "; the model `cas-register` does" }),
            _ => return Err(Misfit::UNKNOWN),
        };
        // An acknowledgement that names another value is no acknowledgement of this operation.
        if let (Some(result), Action::Write(_) | Action::Cas(..)) = (ok, action)
            && result != ValueId::NULL
            && result != argument
        {
            return Err(other_value(operation, argument, result));
        }
        for value in [action.observes(), action.produces()].into_iter().flatten() {
            if values.is_inexact(value) {
                return Err(inexact(operation, value));
            }
        }
        Ok(Some(action))
    }

    fn step(&self, state: &ValueId, action: &Action<ValueId>) -> Option<ValueId> {
        match *action {
            Action::Read(value) => (*state == value).then_some(value),
            Action::Write(value) => Some(value),
            Action::Cas(expected, new) => (*state == expected).then_some(new),
        }
    }

    fn observes(&self, action: &Self::Action) -> bool {
        matches!(action, Action::Read(_))
    }
}

/// An event without a value says null.
pub(super) fn or_null(value: ValueId) -> ValueId {
    if value.is_present() { value } else { ValueId::NULL }
}

/// What is wrong with an acknowledgement that names another value.
pub(super) fn other_value(operation: &View<'_>, argument: ValueId, result: ValueId) -> Misfit {
    let values = operation.values();
    debug_assert_eq!(operation.outcome(), Outcome::Ok);
    let event = operation.completion_index().map_or(String::new(), |index| format!(" (event {index})"));
    Misfit::malformed(format!(
        "the {} of {} was acknowledged{event} with another value, {}",
        operation.f(),
        values.show(argument),
        values.show(result)
    ))
}

/// What is wrong with a number that lost digits.
pub(super) fn inexact(operation: &View<'_>, value: ValueId) -> Misfit {
    Misfit::malformed(format!(
        "the number {} is too large to be told from its neighbours; write it as a string",
        operation.values().show(value)
    ))
}

/// What an operation does to a register, with values of type `V`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action<V> {
    /// The register holds this value.
    Read(V),
    /// Afterwards the register holds this value.
    Write(V),
    /// The register holds the first value and afterwards the second.
    Cas(V, V),
}

impl<V: Copy + PartialEq> Action<V> {
    /// The value the register must hold for this to happen.
    pub fn observes(self) -> Option<V> {
        match self {
            Action::Read(value) | Action::Cas(value, _) => Some(value),
            Action::Write(_) => None,
        }
    }

    /// The value the register holds afterwards, if this sets it.
    pub fn produces(self) -> Option<V> {
        match self {
            Action::Write(value) | Action::Cas(_, value) => Some(value),
            Action::Read(_) => None,
        }
    }

    /// The value the register certainly holds right after this.
    pub fn leaves(self) -> V {
        match self {
            Action::Read(value) | Action::Write(value) | Action::Cas(_, value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use schism_history::{Builder, Kind, Process, Record, Table};
    use serde_json::{Value, json};

    use super::*;

    fn table(f: &str, argument: &Value, completion: Option<(Kind, Value)>) -> Table {
        let mut builder = Builder::new();
        let events = [Some((Kind::Invoke, argument.clone())), completion];
        for (kind, value) in events.into_iter().flatten() {
            let value = builder.values().json(&value).unwrap();
            let process = Process::Client(0);
            let (key, error) = (ValueId::ABSENT, ValueId::ABSENT);
            builder
                .push(&Record { process, kind, f, key, value, time: None, index: None, node: None, error })
                .unwrap();
        }
        builder.finish()
    }

    fn action(cas: bool, table: &Table) -> Result<Option<Action<ValueId>>, Misfit> {
        Register { cas, initial: ValueId::NULL }.action(&table.view(0))
    }

    fn problem(cas: bool, f: &str, argument: Value, result: Value) -> String {
        match action(cas, &table(f, &argument, Some((Kind::Ok, result)))) {
            Err(Misfit::Malformed(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn operations_are_understood() {
        let ok = |value: Value| Some((Kind::Ok, value));
        let read = table("read", &json!(null), ok(json!("a")));
        assert_eq!(action(false, &read), Ok(Some(Action::Read(read.rows()[0].result))));
        let nothing = table("read", &json!(7), ok(json!(null)));
        assert_eq!(action(false, &nothing), Ok(Some(Action::Read(ValueId::NULL))));
        for unknown in [None, Some((Kind::Info, json!(3)))] {
            assert_eq!(action(true, &table("read", &json!(null), unknown)), Ok(None));
        }
        for completion in [None, ok(json!(null)), ok(json!(5.0)), Some((Kind::Info, json!(6)))] {
            let write = table("write", &json!(5), completion);
            assert_eq!(action(false, &write), Ok(Some(Action::Write(write.rows()[0].argument))));
        }
        let cas = table("cas", &json!([1, {"a": 2}]), ok(json!([1, {"a": 2}])));
        let pair = cas.values.as_array(cas.rows()[0].argument).unwrap();
        assert_eq!(action(true, &cas), Ok(Some(Action::Cas(pair[0], pair[1]))));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let cas = table("cas", &json!([1, 2]), None);
        assert_eq!(action(false, &cas), Err(Misfit::Unknown { hint: "; the model `cas-register` does" }));
        assert_eq!(action(true, &table("add", &json!(1), None)), Err(Misfit::UNKNOWN));
        assert_eq!(
            problem(true, "cas", json!([1]), json!(null)),
            "a cas needs the value [expected, new], not [1]"
        );
        assert_eq!(
            problem(false, "write", json!(1), json!(2)),
            "the write of 1 was acknowledged (event 1) with another value, 2"
        );
        assert_eq!(
            problem(true, "cas", json!([1, 2]), json!([1, 3])),
            "the cas of [1,2] was acknowledged (event 1) with another value, [1,3]"
        );
        let huge: Value = serde_json::from_str("18446744073709551617").unwrap();
        for (f, argument, result) in [
            ("read", json!(null), huge.clone()),
            ("write", huge.clone(), json!(null)),
            ("cas", json!([huge, 1]), json!(null)),
            ("cas", json!([1, [huge]]), json!(null)),
        ] {
            let problem = problem(true, f, argument, result);
            assert!(problem.contains("too large to be told from its neighbours"), "{problem}");
        }
    }

    #[test]
    fn the_last_write_counts() {
        let register = Register { cas: true, initial: ValueId::NULL };
        let mut table = Table::default();
        let (one, two) = (table.values.int(1).unwrap(), table.values.int(2).unwrap());
        assert_eq!(register.step(&register.initial(), &Action::Read(ValueId::NULL)), Some(ValueId::NULL));
        assert_eq!(register.step(&one, &Action::Read(two)), None);
        assert_eq!(register.step(&one, &Action::Write(two)), Some(two));
        assert_eq!(register.step(&one, &Action::Cas(one, two)), Some(two));
        assert_eq!(register.step(&one, &Action::Cas(two, one)), None);
    }
}
