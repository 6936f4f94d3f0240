//! What queues and stacks have in common: something goes in, and later it comes out.

use schism_history::{Outcome, ValueId, View};

use crate::linearizable::specification::{Misfit, Removal};

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

impl Action {
    /// Whether it leaves the collection as it is.
    pub(super) fn observes(self) -> bool {
        matches!(self, Action::Empty | Action::Peek(_))
    }

    /// All that concerns one element can be left out together: what is left of a legal order is legal. (A removal of unknown
    /// outcome that took the element out need not have happened then.)
    pub(super) fn removal(self) -> Removal {
        match self {
            // A peek needs its element to be there.
            Action::Insert(element) | Action::Remove(element) | Action::Peek(element) => {
                Removal::Together(element.raw())
            }
            Action::Empty => Removal::Alone,
            Action::RemoveAny => Removal::Never,
        }
    }
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

#[cfg(test)]
mod tests {
    use schism_history::{Event, Table};
    use serde_json::json;

    use super::super::{fifo_queue::FifoQueue, stack::Stack, unordered_queue::UnorderedQueue};
    use super::*;
    use crate::linearizable::specification::Specification;

    /// What the model makes of one operation: its action, or what it complains about.
    fn action<S: Specification<Action = Action>>(
        model: &S,
        f: &str,
        argument: serde_json::Value,
        kind: &str,
        result: serde_json::Value,
    ) -> Result<Option<Action>, String> {
        let event = |index: u64, kind: &str, value: &serde_json::Value| -> Event {
            let text =
                json!({"index": index, "time": index, "process": 0, "type": kind, "f": f, "value": value});
            serde_json::from_value(text).unwrap()
        };
        let table = Table::from_events(&[event(0, "invoke", &argument), event(1, kind, &result)]).unwrap();
        model.action(&table.view(0)).map_err(|misfit| match misfit {
            Misfit::Unknown { hint } => hint.to_owned(),
            Misfit::Malformed(problem) => problem,
        })
    }

    #[test]
    fn operations_are_read_as_users_write_them() {
        let mut values = schism_history::Values::new();
        let seven = values.int(7).unwrap();
        let null = || json!(null);
        assert_eq!(action(&FifoQueue, "enqueue", json!(7), "ok", json!(7)), Ok(Some(Action::Insert(seven))));
        assert_eq!(action(&FifoQueue, "enqueue", json!(7), "ok", null()), Ok(Some(Action::Insert(seven))));
        assert_eq!(action(&FifoQueue, "enqueue", json!(7), "info", null()), Ok(Some(Action::Insert(seven))));
        assert_eq!(
            action(&UnorderedQueue, "dequeue", null(), "ok", json!(7)),
            Ok(Some(Action::Remove(seven)))
        );
        assert_eq!(
            action(&UnorderedQueue, "dequeue", json!(7), "ok", json!(7)),
            Ok(Some(Action::Remove(seven)))
        );
        assert_eq!(action(&UnorderedQueue, "dequeue", null(), "ok", null()), Ok(Some(Action::Empty)));
        assert_eq!(action(&UnorderedQueue, "dequeue", null(), "info", null()), Ok(Some(Action::RemoveAny)));
        assert_eq!(action(&Stack, "push", json!(7), "ok", null()), Ok(Some(Action::Insert(seven))));
        assert_eq!(action(&Stack, "pop", null(), "ok", json!(7)), Ok(Some(Action::Remove(seven))));
        assert_eq!(action(&Stack, "peek", null(), "ok", json!(7)), Ok(Some(Action::Peek(seven))));
        assert_eq!(action(&Stack, "peek", null(), "ok", null()), Ok(Some(Action::Empty)));
        assert_eq!(action(&Stack, "peek", null(), "info", null()), Ok(None));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let null = || json!(null);
        let problem = |result: Result<Option<Action>, String>| result.unwrap_err();
        assert!(problem(action(&FifoQueue, "enqueue", null(), "ok", null())).contains("needs a value"));
        assert!(
            problem(action(&FifoQueue, "enqueue", json!(1), "ok", json!(2))).contains("another value, 2")
        );
        assert!(
            problem(action(&FifoQueue, "dequeue", json!(1), "ok", json!(2))).contains("takes no argument")
        );
        assert!(
            problem(action(&FifoQueue, "dequeue", json!(1), "info", null())).contains("takes no argument")
        );
        assert!(problem(action(&FifoQueue, "drain", null(), "ok", json!([1]))).contains("record each"));
        assert!(problem(action(&UnorderedQueue, "peek", null(), "ok", null())).contains("`dequeue`"));
        assert!(problem(action(&Stack, "enqueue", json!(1), "ok", null())).contains("`push`"));
        let inexact: serde_json::Value = serde_json::from_str("18446744073709551617").unwrap();
        assert!(problem(action(&Stack, "push", inexact.clone(), "ok", null())).contains("lost digits"));
        assert!(problem(action(&Stack, "pop", null(), "ok", inexact)).contains("lost digits"));
    }

    fn take(row: &mut Vec<ValueId>, place: Option<usize>) {
        if let Some(place) = place {
            row.remove(place);
        }
    }

    /// Against plain vectors, which are obviously right.
    #[test]
    fn states_do_what_plain_rows_do() {
        let mut random = schism_history::Random::new(3, "collections");
        let mut values = schism_history::Values::new();
        for _ in 0..300 {
            let (mut line, mut stack, mut bag) =
                (FifoQueue.initial(), Stack.initial(), UnorderedQueue.initial());
            let (mut line_row, mut stack_row, mut bag_row) = (vec![], vec![], vec![]);
            for _ in 0..random.below(60) {
                let value = values.int(random.below(4) as i64).unwrap();
                let action = match random.below(8) {
                    0..4 => Action::Insert(value),
                    4 | 5 => Action::Remove(value),
                    6 => Action::RemoveAny,
                    _ => [Action::Empty, Action::Peek(value)][random.below(2) as usize],
                };
                let plain = |row: &mut Vec<ValueId>, place: Option<usize>| -> bool {
                    let next = place.map(|place| row[place]);
                    match action {
                        Action::Insert(value) => row.push(value),
                        Action::Remove(value) if next == Some(value) => take(row, place),
                        Action::RemoveAny => take(row, place),
                        Action::Empty if row.is_empty() => {}
                        Action::Peek(value) if next == Some(value) => {}
                        _ => return false,
                    }
                    true
                };
                let first = (!line_row.is_empty()).then_some(0);
                let next = FifoQueue.step(&line, &action);
                assert_eq!(next.is_some(), plain(&mut line_row, first), "{action:?} in {line_row:?}");
                line = next.unwrap_or(line);
                let rebuilt = line_row.iter().fold(FifoQueue.initial(), |line, value| {
                    FifoQueue.step(&line, &Action::Insert(*value)).unwrap()
                });
                assert_eq!(line, rebuilt, "{line_row:?}");
                let with_another = FifoQueue.step(&line, &Action::Insert(value)).unwrap();
                assert_ne!(line, with_another);

                let last = stack_row.len().checked_sub(1);
                let next = Stack.step(&stack, &action);
                assert_eq!(next.is_some(), plain(&mut stack_row, last), "{action:?} in {stack_row:?}");
                stack = next.unwrap_or(stack);
                assert_eq!(
                    stack.iter().collect::<Vec<_>>(),
                    stack_row.iter().rev().copied().collect::<Vec<_>>()
                );

                let mut next = Vec::new();
                UnorderedQueue.branch(&bag, &action, &mut next);
                let mut rows: Vec<Vec<ValueId>> = Vec::new();
                let places = (0..bag_row.len()).map(Some).chain(bag_row.is_empty().then_some(None));
                let places = if matches!(action, Action::Insert(_)) { vec![None] } else { places.collect() };
                for place in places {
                    let mut row = bag_row.clone();
                    if plain(&mut row, place) {
                        row.sort_unstable();
                        rows.push(row);
                    }
                }
                rows.sort();
                rows.dedup();
                let mut sorted = next.clone();
                sorted.sort();
                assert_eq!(sorted, rows, "{action:?} in {bag_row:?}");
                if let Some(state) = random.pick(&next) {
                    bag.clone_from(state);
                    bag_row.clone_from(state);
                }
            }
        }
    }
}
