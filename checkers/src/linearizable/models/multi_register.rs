//! Several registers, read and written together.
//!
//! # Operations
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `txn` | a list of `["read", register, null]` and `["write", register, value]` | the same list with the values read |
//! | `read` | an object of registers (values do not matter), a list of registers, or null | an object of registers and values |
//! | `write` | an object of registers and values | null or the argument |
//!
//! `r` and `w` mean `read` and `write`. The steps of a transaction happen in turn and at one moment: a step sees what the steps before it wrote.
//! All registers have the same initial value, null unless another one is given ([`MultiRegister::initial`]). A read of null says nothing, as in Knossos'
//! `multi-register`: nobody knows what was read. So does a transaction of unknown outcome about its reads; its writes may have
//! taken effect, all of them, at any later time, or never. What was refused must be recorded as `fail`, and constrains nothing.
//!
//! The registers are one object together; a history whose operations concern one register each is checked much faster as a
//! `register` with keys.

use std::sync::Arc;

use schism_history::{Datum, ValueId, Values, View};

use super::acknowledgement::{acknowledged, exact, is_null};
use crate::linearizable::specification::{Misfit, Specification};

/// Several registers.
#[derive(Clone, Copy, Debug)]
pub struct MultiRegister {
    /// The value of each register at first.
    pub initial: ValueId,
}

impl Default for MultiRegister {
    fn default() -> Self {
        Self { initial: ValueId::NULL }
    }
}

/// One step of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The register holds the value.
    Read(ValueId, ValueId),
    /// Afterwards the register holds the value.
    Write(ValueId, ValueId),
}

/// The registers that do not have their initial value, by register.
pub type State = Arc<[(ValueId, ValueId)]>;

impl Specification for MultiRegister {
    /// The steps of a transaction.
    type Action = Arc<[Step]>;
    type State = State;

    fn initial(&self) -> State {
        Arc::default()
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Arc<[Step]>>, Misfit> {
        exact(operation)?;
        let steps = match operation.f() {
            "txn" => transaction(operation)?,
            "read" => read(operation)?,
            "write" => write(operation)?,
            _ => {
                let hint = "; the model `multi-register` has `txn`, `read` and `write`";
                return Err(Misfit::Unknown { hint });
            }
        };
        Ok((!steps.is_empty()).then(|| steps.into()))
    }

    fn step(&self, state: &State, action: &Arc<[Step]>) -> Option<State> {
        let mut changed: Option<Vec<(ValueId, ValueId)>> = None;
        for step in action.iter() {
            let now = changed.as_deref().unwrap_or(state);
            let (Step::Read(register, value) | Step::Write(register, value)) = *step;
            let place = now.binary_search_by_key(&register, |held| held.0);
            let held = place.map_or(self.initial, |place| now[place].1);
            if held == value {
                continue;
            }
            if let Step::Read(..) = step {
                return None;
            }
            let changed = changed.get_or_insert_with(|| state.to_vec());
            match place {
                Ok(place) if value == self.initial => drop(changed.remove(place)),
                Ok(place) => changed[place].1 = value,
                Err(place) => changed.insert(place, (register, value)),
            }
        }
        Some(changed.map_or_else(|| state.clone(), State::from))
    }

    fn observes(&self, action: &Self::Action) -> bool {
        action.iter().all(|step| matches!(step, Step::Read(..)))
    }
}

/// The kind of a step, its register, and its value.
fn step(values: &Values, item: ValueId) -> Option<(bool, ValueId, ValueId)> {
    let Datum::Array([kind, register, value]) = values.get(item) else { return None };
    let writes = match values.as_str(*kind)? {
        "read" | "r" => false,
        "write" | "w" => true,
        _ => return None,
    };
    Some((writes, *register, *value))
}

fn steps(values: &Values, list: ValueId) -> Result<Vec<(bool, ValueId, ValueId)>, Misfit> {
    let malformed = |id: ValueId| {
        let shown = values.show(id);
        Misfit::malformed(format!(
            "a txn is a list of [\"read\", register, value] and [\"write\", register, value], not {shown}"
        ))
    };
    let items = values.as_array(list).ok_or_else(|| malformed(list))?;
    items.iter().map(|item| step(values, *item).ok_or_else(|| malformed(*item))).collect()
}

fn transaction(operation: &View<'_>) -> Result<Vec<Step>, Misfit> {
    let values = operation.values();
    let asked = steps(values, operation.argument())?;
    let Some(result) = operation.result() else {
        return Ok(asked.iter().filter(|step| step.0).map(|step| Step::Write(step.1, step.2)).collect());
    };
    let got = if is_null(result) && asked.iter().all(|step| step.0) {
        asked.clone()
    } else {
        steps(values, result)?
    };
    let same = |(asked, got): (&(bool, ValueId, ValueId), &(bool, ValueId, ValueId))| {
        // What an invocation says about a read's value is a placeholder.
        asked.0 == got.0 && asked.1 == got.1 && (!asked.0 || asked.2 == got.2)
    };
    if asked.len() != got.len() || !asked.iter().zip(&got).all(same) {
        let (result, argument) = (values.show(result), values.show(operation.argument()));
        return Err(Misfit::malformed(format!("the txn {argument} was answered with other steps, {result}")));
    }
    let known = got.iter().filter(|step| step.0 || !is_null(step.2));
    Ok(known
        .map(|step| if step.0 { Step::Write(step.1, step.2) } else { Step::Read(step.1, step.2) })
        .collect())
}

/// The registers and values of an object.
fn pairs<'v>(values: &'v Values, object: ValueId) -> Option<impl Iterator<Item = (ValueId, ValueId)> + 'v> {
    match values.get(object) {
        Datum::Object(fields) => Some(fields.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
        _ => None,
    }
}

fn read(operation: &View<'_>) -> Result<Vec<Step>, Misfit> {
    let (values, argument) = (operation.values(), operation.argument());
    let malformed = |what: &str, id: ValueId| Misfit::malformed(format!("{what}, not {}", values.show(id)));
    let asked: Option<Vec<ValueId>> = match values.get(argument) {
        Datum::Object(fields) => Some(fields.chunks_exact(2).map(|pair| pair[0]).collect()),
        Datum::Array(items) => Some(items.to_vec()),
        Datum::Null => None,
        _ => {
            let needs = "a read needs an object or a list of registers, or null";
            return Err(malformed(needs, argument));
        }
    };
    let Some(result) = operation.result() else { return Ok(Vec::new()) };
    let got: Vec<(ValueId, ValueId)> = pairs(values, result)
        .ok_or_else(|| malformed("a read returns an object of registers and values", result))?
        .collect();
    if let Some(asked) = asked {
        let stray = got.iter().find(|(register, _)| !asked.contains(register));
        let silent = asked.iter().find(|register| !got.iter().any(|(answered, _)| answered == *register));
        if stray.is_some() || silent.is_some() {
            let asked = values.show(argument);
            return Err(malformed(
                &format!("a read of {asked} returns the values of these registers"),
                result,
            ));
        }
    }
    let known = got.into_iter().filter(|(_, value)| !is_null(*value));
    Ok(known.map(|(register, value)| Step::Read(register, value)).collect())
}

fn write(operation: &View<'_>) -> Result<Vec<Step>, Misfit> {
    acknowledged(operation)?;
    let (values, argument) = (operation.values(), operation.argument());
    let Some(pairs) = pairs(values, argument) else {
        let argument = values.show(argument);
        return Err(Misfit::malformed(format!(
            "a write needs an object of registers and values, not {argument}"
        )));
    };
    Ok(pairs.map(|(register, value)| Step::Write(register, value)).collect())
}

#[cfg(test)]
mod tests;
