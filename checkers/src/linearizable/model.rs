//! The sequential models a history can be checked against, and what an operation of a history means in them.

use std::fmt;
use std::str::FromStr;

use schism_history::{Operation, Outcome};
use serde_json::Value;

use super::CheckError;
pub(crate) use super::models::register::Action;
use super::value::{Interner, ValueId, inexact};

/// A sequential specification of one object. Its initial value is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// `read` returns what the last `write` wrote.
    Register,
    /// A register with `cas`: its value `[expected, new]` writes `new` if the register holds `expected`.
    CasRegister,
}

impl Model {
    /// Every model, in the order in which to list them.
    pub const ALL: [Model; 2] = [Model::Register, Model::CasRegister];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::CasRegister => "cas-register",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No model has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no model is called `{0}`; there are `register` and `cas-register`")]
pub struct UnknownModel(pub String);

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Model::ALL.into_iter().find(|model| model.name() == name).ok_or_else(|| UnknownModel(name.to_owned()))
    }
}

/// The return of a call that never returns.
pub(crate) const NEVER: usize = usize::MAX;

/// An operation as the engines see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub action: Action<ValueId>,
    /// Position of the invocation in the history.
    pub invoked: usize,
    /// Position of the completion. [`NEVER`]: the outcome is unknown, so this may take effect at any time after its
    /// invocation or never. Otherwise it took effect before that position.
    pub returned: usize,
    /// Which of the operations given to the check this is.
    pub source: usize,
    /// Stands for any number of equal calls; only for writes of unknown outcome.
    pub endless: bool,
}

/// What the operation claims, whatever its outcome; `None` when the history says nothing about it (a read without
/// a result).
pub(crate) fn action<'h>(
    model: Model,
    operation: &Operation<'h>,
) -> Result<Option<Action<&'h Value>>, CheckError> {
    let malformed = |problem: String| CheckError::Malformed { index: operation.invocation.index, problem };
    let argument = &operation.invocation.value;
    let ok = operation.completion.filter(|_| operation.outcome() == Outcome::Ok);
    let action = match (operation.f(), model) {
        ("read", _) => match ok {
            Some(completion) => Action::Read(&completion.value),
            None => return Ok(None),
        },
        ("write", _) => Action::Write(argument),
        ("cas", Model::CasRegister) => match argument.as_array().map(Vec::as_slice) {
            Some([expected, new]) => Action::Cas(expected, new),
            _ => {
                return Err(malformed(format!("a cas needs the value [expected, new], not {argument}")));
            }
        },
        (f, _) => {
            return Err(CheckError::UnknownOperation {
                index: operation.invocation.index,
                f: f.to_owned(),
                model,
                hint: if f == "cas" { "; the model `cas-register` does" } else { "" },
            });
        }
    };
    // An acknowledgement that names another value is no acknowledgement of this operation.
    if let (Some(completion), Action::Write(_) | Action::Cas(..)) = (ok, action)
        && !completion.value.is_null()
        && super::value::canonical(&completion.value) != super::value::canonical(argument)
    {
        return Err(malformed(format!(
            "the {} of {argument} was acknowledged (event {}) with another value, {}",
            operation.f(),
            completion.index,
            completion.value
        )));
    }
    for value in [action.observes(), action.produces()].into_iter().flatten() {
        if inexact(value) {
            return Err(malformed(format!(
                "the number {value} is too large to be told from its neighbours; write it as a string"
            )));
        }
    }
    Ok(Some(action))
}

/// The operation as the engines see it; `None` when it constrains nothing: it certainly did not happen, or nobody
/// knows what it read.
pub(crate) fn call<'h>(
    action: Option<Action<&'h Value>>,
    operation: &Operation<'h>,
    source: usize,
    interner: &mut Interner<'h>,
) -> Option<Call> {
    let action = match action? {
        Action::Read(value) => Action::Read(interner.intern(value)),
        Action::Write(value) => Action::Write(interner.intern(value)),
        Action::Cas(expected, new) => Action::Cas(interner.intern(expected), interner.intern(new)),
    };
    let returned = match (operation.outcome(), operation.completed_at) {
        (Outcome::Ok, Some(position)) => position,
        (Outcome::Fail, _) => return None,
        (Outcome::Ok | Outcome::Unknown, _) => NEVER,
    };
    Some(Call { action, invoked: operation.invoked_at, returned, source, endless: false })
}
