//! What queues and stacks have in common: something goes in, and later it comes out.

use schism_history::{Outcome, ValueId, View};

use crate::linearizable::specification::Misfit;

/// What an operation on a queue or a stack did and saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Put this in.
    Insert(ValueId),
    /// Took this out.
    Remove(ValueId),
    /// Found nothing to take out or to look at.
    Empty,
    /// May have taken out whatever was next, or have found nothing: a removal of unknown outcome.
    RemoveAny,
    /// Looked at this, which was next to be taken out, and left it there.
    Peek(ValueId),
}

/// The names of a collection's operations.
pub(super) struct Names {
    pub insert: &'static str,
    pub remove: &'static str,
    pub peek: Option<&'static str>,
    /// What to say about other names.
    pub hint: &'static str,
}

impl Names {
    /// What the operation claims.
    pub fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        let f = operation.f();
        if f == self.insert {
            return self.insert(operation).map(Some);
        }
        let peeks = self.peek == Some(f);
        if f != self.remove && !peeks {
            return Err(Misfit::Unknown { hint: self.hint });
        }
        let Some(value) = self.taken(operation)? else {
            return Ok((!peeks).then_some(Action::RemoveAny));
        };
        Ok(Some(match value {
            ValueId::NULL | ValueId::ABSENT => Action::Empty,
            value if peeks => Action::Peek(value),
            value => Action::Remove(value),
        }))
    }

    fn insert(&self, operation: &View<'_>) -> Result<Action, Misfit> {
        let (f, values, value) = (self.insert, operation.values(), operation.argument());
        if is_nothing(value) {
            return Err(Misfit::malformed(format!(
                "the operation {f} needs a value to put in, and null is none: a {} that returns null found nothing",
                self.remove
            )));
        }
        refuse_inexact(f, operation, value)?;
        match operation.result() {
            Some(result) if !is_nothing(result) && result != value => Err(Misfit::malformed(format!(
                "the operation {f} of {} was acknowledged with another value, {}; expected the same or null",
                values.show(value),
                values.show(result)
            ))),
            _ => Ok(Action::Insert(value)),
        }
    }

    /// What came back, of an operation that takes no argument; `None` where nobody knows.
    fn taken(&self, operation: &View<'_>) -> Result<Option<ValueId>, Misfit> {
        let (f, values, argument) = (operation.f(), operation.values(), operation.argument());
        let result = operation.result();
        // Some tools copy the result into the invocation.
        if !is_nothing(argument) && result != Some(argument) {
            return Err(Misfit::malformed(format!(
                "the operation {f} takes no argument, but its invocation has {}",
                values.show(argument)
            )));
        }
        if let Some(result) = result {
            refuse_inexact(f, operation, result)?;
        }
        debug_assert!(operation.outcome() != Outcome::Fail, "failed operations are no calls");
        Ok(result)
    }
}

fn is_nothing(value: ValueId) -> bool {
    matches!(value, ValueId::NULL | ValueId::ABSENT)
}

fn refuse_inexact(f: &str, operation: &View<'_>, value: ValueId) -> Result<(), Misfit> {
    let values = operation.values();
    if values.is_inexact(value) {
        return Err(Misfit::malformed(format!(
            "the operation {f} has {}, which lost digits when it was read, so that different values may look equal; \
             write such numbers as texts",
            values.show(value)
        )));
    }
    Ok(())
}
