//! What several models ask of the values of an operation.

use schism_history::{ValueId, View};

use crate::linearizable::specification::Misfit;

/// The operation's result says no more than that it succeeded: it is null or repeats the argument. One that names something else
/// is no acknowledgement of this operation.
///
/// # Errors
/// It says something else.
pub(super) fn acknowledged(operation: &View<'_>) -> Result<(), Misfit> {
    let argument = operation.argument();
    match operation.result() {
        None => Ok(()),
        Some(result) if is_null(result) || result == argument => Ok(()),
        Some(result) => {
            let values = operation.values();
            let (f, result) = (operation.f(), values.show(result));
            let of = if is_null(argument) { String::new() } else { format!(" of {}", values.show(argument)) };
            Err(Misfit::malformed(format!(
                "the {f}{of} was acknowledged with {result}; a result repeats the argument or is null, and what was refused is `fail`"
            )))
        }
    }
}

/// Whether nothing is said, or null.
pub(super) fn is_null(value: ValueId) -> bool {
    !value.is_present() || value == ValueId::NULL
}

/// Two numbers that differ may have become equal when they were read.
///
/// # Errors
/// The operation's argument or result holds such a number.
pub(super) fn exact(operation: &View<'_>) -> Result<(), Misfit> {
    let values = operation.values();
    let said = [Some(operation.argument()), operation.result()];
    match said.into_iter().flatten().find(|value| values.is_inexact(*value)) {
        None => Ok(()),
        Some(value) => {
            let value = values.show(value);
            Err(Misfit::malformed(format!(
                "{value} holds a number too large to be told from its neighbours; write it as a string"
            )))
        }
    }
}

/// Operations for the tests of the models.
#[cfg(test)]
pub(super) mod parsing {
    use schism_history::{Builder, Kind, Process, Record, Table, ValueId};
    use serde_json::Value;

    use crate::linearizable::specification::{Misfit, Specification};

    /// A table of one operation by process 7: of unknown outcome if there is no result.
    pub fn table(key: Option<Value>, f: &str, argument: Value, result: Option<Value>) -> Table {
        let mut builder = Builder::new();
        let mut number = |value: Value| builder.values().json(&value).unwrap();
        let key = key.map_or(ValueId::ABSENT, &mut number);
        let argument = number(argument);
        let completion = result.map(|result| (Kind::Ok, number(result)));
        let (kind, result) = completion.unwrap_or((Kind::Info, argument));
        for (kind, value) in [(Kind::Invoke, argument), (kind, result)] {
            let process = Process::Client(7);
            let record = Record {
                process,
                kind,
                f,
                key,
                value,
                time: None,
                index: None,
                node: None,
                error: ValueId::ABSENT,
            };
            builder.push(&record).unwrap();
        }
        builder.finish()
    }

    /// What a model makes of an operation.
    pub fn action<S: Specification>(
        model: &S,
        f: &str,
        argument: Value,
        result: Option<Value>,
    ) -> Result<Option<S::Action>, Misfit> {
        model.action(&table(None, f, argument, result).view(0))
    }

    /// What a model finds wrong with an operation.
    pub fn problem<S: Specification>(model: &S, f: &str, argument: Value, result: Option<Value>) -> String {
        match action(model, f, argument.clone(), result.clone()) {
            Err(Misfit::Malformed(problem)) => problem,
            Err(Misfit::Unknown { .. }) => panic!("`{f}` is not known"),
            Ok(_) => panic!("{f} {argument} -> {result:?} was taken"),
        }
    }

    /// The hint for an operation that a model does not have.
    pub fn unknown<S: Specification>(model: &S, f: &str, argument: Value) -> &'static str {
        match action(model, f, argument, None) {
            Err(Misfit::Unknown { hint }) => hint,
            _ => panic!("`{f}` was taken"),
        }
    }
}
