//! A map: get, put, append, delete, compare-and-set; each key by itself.
//!
//! # Operations
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `get` (or `read`) | the key | the value |
//! | `put` (or `write`) | the key and the value | null or the argument |
//! | `append` | the key and what is appended | null or the argument |
//! | `delete` | the key | null or the argument |
//! | `cas` | the key, the expected value and the new one | null or the argument |
//!
//! Where the history gives an operation a key of its own (the field `key`, or tuples as Jepsen's `independent` makes them) the argument holds the rest: null
//! for `get` and `delete`, the value for `put` and `append`, `[expected, new]` or `{"old": expected, "new": new}` for `cas`. Otherwise
//! the key stands in the argument, in one of two forms:
//!
//! - an object: `{"key": k}`, `{"key": k, "value": v}`, `{"key": k, "value": [expected, new]}` or `{"key": k, "old": expected, "new": new}`;
//!   the result of a `get` is the value, or an object of exactly the fields `key` and `value`;
//! - a list: `[k, null]`, `[k, v]`, `[k, [expected, new]]`; the result of a `get` is then `[k, v]`. A `get` and a `delete` may also have
//!   the key alone, if it is neither a list nor an object; the result of a `get` is then the value.
//!
//! A key that is absent reads as null, or, where the initial value is given as `""`, as that, as Porcupine's key-value histories have it. `delete` makes a
//! key absent, and so does a `put` of that same value; deleting what is absent succeeds. `append` of a text to a text joins them, of a list
//! to a list too; anything else that is appended becomes the last element of a list. Appending to a value that is neither a text nor a list, or
//! something else to a text, never succeeds. Appending to an absent key gives the text, the
//! list, or the list of the one element. A `cas` that did not match, like everything that was refused, must be recorded as
//! `fail`, and constrains nothing. An operation of unknown outcome may have taken effect at any later time, or never.

mod appends;

use std::sync::Arc;

use schism_history::{Datum, Outcome, ValueId, View};

use super::acknowledgement::{acknowledged, exact, is_null};
use super::register;
use crate::linearizable::call::Call;
use crate::linearizable::specification::{Misfit, Specification};

/// How a key reads that is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// As null.
    #[default]
    Null,
    /// As the empty text.
    EmptyText,
}

/// A map, each key by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValue {
    /// How a key reads that is absent.
    pub missing: Missing,
}

/// A value and its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    id: ValueId,
    value: State,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing.
    Absent,
    /// A text.
    Text(Arc<str>),
    /// A list.
    List(Arc<[ValueId]>),
    /// Any other value.
    Other(ValueId),
}

/// What an operation does to a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The key holds this.
    Get(Content),
    /// Afterwards it holds this.
    Put(Content),
    /// This is added at the end.
    Append(Content),
    /// It holds nothing afterwards.
    Delete,
    /// It holds the first and afterwards the second.
    Cas(Box<(Content, Content)>),
}

impl KeyValue {
    /// The same calls as those of registers whose initial value is null: the map is linearizable if one of them is. There are several
    /// where it cannot be told which of equal appends made what was read. `None` if null is written where absent keys read
    /// as `""`, or if what is appended cannot be told apart in what is read. Engines that know registers
    /// only can then decide them.
    pub fn as_registers(&self, calls: &[Call<Action>]) -> Option<Vec<Vec<Call<register::Action<ValueId>>>>> {
        if calls.iter().any(|call| matches!(call.action, Action::Append(_))) {
            return appends::as_registers(calls);
        }
        Some(vec![Self::as_register(calls)?])
    }

    fn as_register(calls: &[Call<Action>]) -> Option<Vec<Call<register::Action<ValueId>>>> {
        use register::Action as To;
        let id = |content: &Content| match content.value {
            State::Absent => Some(ValueId::NULL),
            // A null that is not what an absent key reads as: the register's initial value is something else.
            State::Other(ValueId::NULL) => None,
            State::Text(_) | State::List(_) | State::Other(_) => Some(content.id),
        };
        let translate = |call: &Call<Action>| {
            let action = match &call.action {
                Action::Get(content) => To::Read(id(content)?),
                Action::Put(content) => To::Write(id(content)?),
                Action::Delete => To::Write(ValueId::NULL),
                Action::Cas(contents) => To::Cas(id(&contents.0)?, id(&contents.1)?),
                Action::Append(_) => return None,
            };
            Some(Call { action, invoked: call.invoked, returned: call.returned, source: call.source })
        };
        calls.iter().map(translate).collect()
    }

    fn content(&self, view: &View<'_>, id: ValueId) -> Content {
        let value = match view.values().get(id) {
            Datum::Null if self.missing == Missing::Null => State::Absent,
            Datum::Str("") if self.missing == Missing::EmptyText => State::Absent,
            Datum::Str(text) => State::Text(text.into()),
            Datum::Array(items) => State::List(items.into()),
            // No value at all is null.
            Datum::Null => State::Other(ValueId::NULL),
            Datum::Bool(_) | Datum::Int(_) | Datum::Number(_) | Datum::Object(_) => State::Other(id),
        };
        Content { id, value }
    }
}

impl Specification for KeyValue {
    type Action = Action;
    type State = State;

    fn initial(&self) -> State {
        State::Absent
    }

    fn action(&self, view: &View<'_>) -> Result<Option<Action>, Misfit> {
        exact(view)?;
        let (operation, argument) = Operation::of(view)?;
        if operation == Operation::Get {
            return match view.outcome() {
                Outcome::Ok => Ok(Some(Action::Get(self.content(view, got(view)?)))),
                Outcome::Fail | Outcome::Unknown => Ok(None),
            };
        }
        acknowledged(view)?;
        let value = |id| self.content(view, id);
        Ok(Some(match operation {
            Operation::Put => Action::Put(value(argument.value)),
            Operation::Append => Action::Append(value(argument.value)),
            Operation::Delete | Operation::Get => Action::Delete,
            Operation::Cas => {
                let (expected, new) = argument.cas(view)?;
                Action::Cas(Box::new((value(expected), value(new))))
            }
        }))
    }

    fn step(&self, state: &State, action: &Action) -> Option<State> {
        match action {
            Action::Get(content) => (content.value == *state).then(|| state.clone()),
            Action::Put(content) => Some(content.value.clone()),
            Action::Delete => Some(State::Absent),
            Action::Cas(contents) => (contents.0.value == *state).then(|| contents.1.value.clone()),
            Action::Append(content) => append(state, content),
        }
    }

    fn part(&self, view: &View<'_>) -> ValueId {
        Operation::of(view).map_or(ValueId::ABSENT, |(_, argument)| argument.key)
    }

    fn observes(&self, action: &Action) -> bool {
        matches!(action, Action::Get(_))
    }
}

fn append(state: &State, more: &Content) -> Option<State> {
    Some(match (state, &more.value) {
        // An empty text where that is what an absent key reads as.
        (state, State::Absent) if more.id != ValueId::NULL => match state {
            State::Absent | State::Text(_) => state.clone(),
            State::List(items) => State::List([&**items, &[more.id]].concat().into()),
            State::Other(_) => return None,
        },
        (State::Absent, more @ (State::Text(_) | State::List(_))) => more.clone(),
        (State::Absent, _) => State::List([more.id].into()),
        (State::Text(text), State::Text(more)) => State::Text([&**text, &**more].concat().into()),
        (State::List(items), State::List(more)) => State::List([&**items, &**more].concat().into()),
        (State::List(items), _) => State::List([&**items, &[more.id]].concat().into()),
        // No store appends to such a value.
        (State::Text(_) | State::Other(_), _) => return None,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Get,
    Put,
    Append,
    Delete,
    Cas,
}

/// How an argument is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The key stands elsewhere, or is all there is.
    Plain,
    Object,
    List,
}

/// What an argument says.
#[derive(Clone, Copy, Debug)]
struct Argument {
    form: Form,
    /// [`ValueId::ABSENT`] where the key stands elsewhere.
    key: ValueId,
    /// Null if there is none.
    value: ValueId,
}

impl Operation {
    fn of(view: &View<'_>) -> Result<(Self, Argument), Misfit> {
        let operation = match view.f() {
            "get" | "read" => Operation::Get,
            "put" | "write" => Operation::Put,
            "append" => Operation::Append,
            "delete" => Operation::Delete,
            "cas" => Operation::Cas,
            _ => {
                let hint = "; the model `key-value` has `get`, `put`, `append`, `delete` and `cas`";
                return Err(Misfit::Unknown { hint });
            }
        };
        Ok((operation, Argument::of(view, operation)?))
    }

    fn needs_value(self) -> bool {
        matches!(self, Operation::Put | Operation::Append | Operation::Cas)
    }
}

impl Argument {
    fn of(view: &View<'_>, operation: Operation) -> Result<Self, Misfit> {
        let (values, argument) = (view.values(), view.argument());
        let plain = |key, value| Ok(Self { form: Form::Plain, key, value });
        let malformed = |needs: &str| {
            let argument = values.show(argument);
            Err(Misfit::malformed(format!("the argument of a {} is {needs}, not {argument}", view.f())))
        };
        if view.row.key.is_present() {
            let nothing = is_null(argument) || argument == view.row.key;
            return match operation.needs_value() || nothing {
                true => plain(ValueId::ABSENT, if argument.is_present() { argument } else { ValueId::NULL }),
                false => malformed("null where the operation has a key"),
            };
        }
        match values.get(argument) {
            Datum::Object(_) => {
                let Some(key) = values.field(argument, "key") else {
                    return malformed("an object with the field `key`");
                };
                let value = values.field(argument, "value");
                let pair = values.field(argument, "old").is_some() && values.field(argument, "new").is_some();
                if operation.needs_value() && value.is_none() && !(operation == Operation::Cas && pair) {
                    return malformed("an object with the fields `key` and `value`");
                }
                // Where the pair is in the object itself, there is no value.
                Ok(Self { form: Form::Object, key, value: value.unwrap_or(argument) })
            }
            Datum::Array(items) => match *items {
                [key, value] if operation.needs_value() || value == ValueId::NULL => {
                    Ok(Self { form: Form::List, key, value })
                }
                _ if operation.needs_value() => malformed("[key, value]"),
                _ => malformed("the key or [key, null]"),
            },
            Datum::Null => malformed("the key, unless the operation has one"),
            _ if operation.needs_value() => malformed("[key, value] or {\"key\": …, \"value\": …}"),
            _ => plain(argument, ValueId::NULL),
        }
    }

    /// The expected value and the new one.
    fn cas(&self, view: &View<'_>) -> Result<(ValueId, ValueId), Misfit> {
        let values = view.values();
        let fields = values.field(self.value, "old").zip(values.field(self.value, "new"));
        match (values.get(self.value), fields) {
            (Datum::Array([expected, new]), _) => Ok((*expected, *new)),
            (_, Some(fields)) => Ok(fields),
            _ => Err(Misfit::malformed(format!(
                "a cas needs [expected, new] or {{\"old\": …, \"new\": …}}, not {}",
                values.show(self.value)
            ))),
        }
    }
}

/// What a `get` that succeeded returned.
fn got(view: &View<'_>) -> Result<ValueId, Misfit> {
    let (_, argument) = Operation::of(view)?;
    let values = view.values();
    let result = view.result().filter(|result| result.is_present()).unwrap_or(ValueId::NULL);
    let other = |form: &str| {
        let (key, result) = (values.show(argument.key), values.show(result));
        Err(Misfit::malformed(format!("a get of {key} returns {form}, not {result}")))
    };
    match (argument.form, values.get(result)) {
        (Form::Plain, _) => Ok(result),
        (Form::List, Datum::Array([key, value])) if *key == argument.key => Ok(*value),
        (Form::List, _) => other("[key, value] with the same key"),
        (Form::Object, Datum::Object([_, _, _, _])) => {
            match values.field(result, "key").zip(values.field(result, "value")) {
                Some((key, value)) if key == argument.key => Ok(value),
                Some(_) => other("the value, or an object with the same key"),
                None => Ok(result),
            }
        }
        (Form::Object, _) => Ok(result),
    }
}

#[cfg(test)]
mod tests;
