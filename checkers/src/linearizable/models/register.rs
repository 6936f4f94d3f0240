//! Registers: the last write counts.

use schism_history::{ValueId, View};

use super::super::specification::{Misfit, Specification};

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

/// A register whose initial value is null: `read` returns what the last `write` wrote, and with `cas`, whose argument
/// is `[expected, new]`, `new` is written if the register holds `expected`.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    /// Whether there is `cas`.
    pub cas: bool,
}

impl Specification for Register {
    type Action = Action<ValueId>;
    type State = ValueId;

    fn initial(&self) -> ValueId {
        ValueId::NULL
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Self::Action>, Misfit> {
        let (values, argument) = (operation.values(), operation.argument());
        let action = match operation.f() {
            "read" => match operation.result() {
                Some(result) => Action::Read(result),
                None => return Ok(None),
            },
            "write" => Action::Write(argument),
            "cas" if self.cas => match values.as_array(argument) {
                Some([expected, new]) => Action::Cas(*expected, *new),
                _ => {
                    let found = values.show(argument);
                    return Err(Misfit::malformed(format!(
                        "a cas needs the value [expected, new], not {found}"
                    )));
                }
            },
            "cas" => return Err(Misfit::Unknown { hint: "; the model `cas-register` does" }),
            _ => return Err(Misfit::UNKNOWN),
        };
        // An acknowledgement that names another value is no acknowledgement of this operation.
        if let (Some(result), Action::Write(_) | Action::Cas(..)) = (operation.result(), action)
            && result != ValueId::NULL
            && result != argument
        {
            return Err(Misfit::malformed(format!(
                "the {} of {} was acknowledged (event {}) with another value, {}",
                operation.f(),
                values.show(argument),
                operation.completion_index().unwrap_or_default(),
                values.show(result)
            )));
        }
        let inexact = [action.observes(), action.produces()].into_iter().flatten();
        if let Some(value) = inexact.into_iter().find(|value| values.is_inexact(*value)) {
            return Err(Misfit::malformed(format!(
                "the number {} is too large to be told from its neighbours; write it as a string",
                values.show(value)
            )));
        }
        Ok(Some(action))
    }

    fn step(&self, state: &ValueId, action: &Self::Action) -> Option<ValueId> {
        (action.observes().unwrap_or(*state) == *state).then(|| action.leaves())
    }
}
