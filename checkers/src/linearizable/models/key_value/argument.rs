//! What the operations of a map are called, and how their arguments and results are written; see [the model](super).

use schism_history::{Datum, ValueId, View};

use super::super::acknowledgement::is_null;
use crate::linearizable::specification::Misfit;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    Put,
    Append,
    Delete,
    Cas,
}

/// How an argument is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The key stands elsewhere, or is all there is.
    Plain,
    Object,
    List,
}

/// What an argument says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument {
    pub form: Form,
    /// [`ValueId::ABSENT`] where the key stands elsewhere.
    pub key: ValueId,
    /// Null if there is none.
    pub value: ValueId,
}

impl Operation {
    pub fn of(view: &View<'_>) -> Result<(Self, Argument), Misfit> {
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
    pub fn cas(&self, view: &View<'_>) -> Result<(ValueId, ValueId), Misfit> {
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
pub(super) fn got(view: &View<'_>, argument: Argument) -> Result<ValueId, Misfit> {
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
