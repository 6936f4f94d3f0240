//! A set.
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `add`, `insert` | an element | nothing, the element again, or whether it was absent before: true, false |
//! | `remove`, `delete` | an element | nothing, the element again, or whether it was present before: true, false |
//! | `contains` | an element | true or false |
//! | `read` | – | all elements, as a list in any order |
//!
//! An element is any value but null. Where the elements are true and false themselves, an acknowledgement cannot say whether
//! anything changed. The set starts empty. A read that lists an element twice is no answer a set can give: such a
//! history is a violation, not a malformed one.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use schism_history::{Datum, ValueId, View};

use super::super::specification::{Misfit, Specification};
use super::members::{self, Members};

/// The model of a set that starts empty.
#[derive(Debug, Default)]
pub struct Set {
    /// What was read, by the list that said so: a list that is read again and again is sorted and held once.
    known: Mutex<FxHashMap<ValueId, Elements>>,
}

/// What an operation on a set does and saw.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetAction {
    /// Puts the element in; and whether it was absent before, where that is known.
    Add(ValueId, Option<bool>),
    /// Takes the element out; and whether it was present before, where that is known.
    Remove(ValueId, Option<bool>),
    /// Saw whether the element is in the set.
    Contains(ValueId, bool),
    /// Saw the whole set.
    Read(Elements),
}

/// The elements of a set, in the order of their numbers. Cheap to copy, to hash, and to compare where they differ.
#[derive(Clone, Debug)]
pub struct Elements {
    sorted: Arc<[ValueId]>,
    /// As [`Members::sum`].
    hash: u64,
    repeats: bool,
}

impl Elements {
    /// Of a list in any order.
    pub fn new(list: &[ValueId]) -> Self {
        let mut sorted: Arc<[ValueId]> = list.into();
        if let Some(items) = Arc::get_mut(&mut sorted) {
            items.sort_unstable();
        }
        Self::of_sorted(sorted)
    }

    fn of_sorted(sorted: Arc<[ValueId]>) -> Self {
        let repeats = sorted.windows(2).any(|pair| pair[0] == pair[1]);
        let hash = members::sum(sorted.iter().map(|element| element.raw()));
        Self { hash, sorted, repeats }
    }

    /// The elements, ascending.
    pub fn sorted(&self) -> &[ValueId] {
        &self.sorted
    }

    /// Whether an element is listed twice, as in no set.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// Whether the element is among them.
    pub fn has(&self, element: ValueId) -> bool {
        self.sorted.binary_search(&element).is_ok()
    }
}

impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.sorted, &other.sorted) || self.sorted == other.sorted)
    }
}

impl Eq for Elements {}

impl Hash for Elements {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Specification for Set {
    type Action = SetAction;
    type State = Members;

    fn initial(&self) -> Members {
        Members::default()
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<SetAction>, Misfit> {
        let values = operation.values();
        let need = |need: &str, value: ValueId| {
            let shown = values.show(value);
            Misfit::malformed(format!("{} needs {need}, not {shown}", operation.f()))
        };
        let element = || {
            let element = operation.argument();
            if element == ValueId::NULL || !element.is_present() {
                return Err(need("an element as its argument", element));
            }
            if values.is_inexact(element) {
                return Err(need("an element that was read without loss of digits", element));
            }
            Ok(element)
        };
        Ok(Some(match operation.f() {
            "add" | "insert" => SetAction::Add(element()?, changed(operation)?),
            "remove" | "delete" => SetAction::Remove(element()?, changed(operation)?),
            "contains" => {
                let element = element()?;
                match operation.result().map(|result| (result, values.get(result))) {
                    None => return Ok(None),
                    Some((_, Datum::Bool(present))) => SetAction::Contains(element, present),
                    Some((result, _)) => return Err(need("true or false as its result", result)),
                }
            }
            "read" => {
                let Some(result) = operation.result() else { return Ok(None) };
                let Some(list) = values.as_array(result) else {
                    return Err(need("the list of all elements as its result", result));
                };
                if values.is_inexact(result) {
                    return Err(need("elements that were read without loss of digits", result));
                }
                if list.contains(&ValueId::NULL) {
                    return Err(need("elements that are not null", result));
                }
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                SetAction::Read(known.entry(result).or_insert_with(|| Elements::new(list)).clone())
            }
            _ => {
                return Err(Misfit::Unknown { hint: "; the model `set` has add, remove, contains and read" });
            }
        }))
    }

    fn step(&self, state: &Members, action: &SetAction) -> Option<Members> {
        match action {
            SetAction::Add(element, changed) => {
                let present = state.has(element.raw());
                changed
                    .is_none_or(|changed| changed != present)
                    .then(|| if present { state.clone() } else { state.toggled(element.raw()) })
            }
            SetAction::Remove(element, changed) => {
                let present = state.has(element.raw());
                changed
                    .is_none_or(|changed| changed == present)
                    .then(|| if present { state.toggled(element.raw()) } else { state.clone() })
            }
            SetAction::Contains(element, present) => {
                (state.has(element.raw()) == *present).then(|| state.clone())
            }
            SetAction::Read(all) => {
                let same = !all.repeats
                    && (all.hash, all.sorted.len()) == (state.sum(), state.len())
                    && all.sorted.iter().all(|element| state.has(element.raw()));
                same.then(|| state.clone())
            }
        }
    }

    fn bytes(&self, state: &Members) -> usize {
        state.bytes()
    }

    fn component(&self, action: &SetAction) -> Option<u32> {
        match action {
            SetAction::Add(element, _) | SetAction::Remove(element, _) | SetAction::Contains(element, _) => {
                Some(element.raw())
            }
            SetAction::Read(_) => None,
        }
    }

    fn observes(&self, action: &SetAction) -> bool {
        matches!(
            action,
            SetAction::Contains(..)
                | SetAction::Read(_)
                | SetAction::Add(_, Some(false))
                | SetAction::Remove(_, Some(false))
        )
    }

    /// The elements that are named by themselves can be there or not. Of the others all that matters is whether they are just those
    /// that some read of the whole set has.
    fn states(&self, actions: &[SetAction]) -> Option<Vec<Members>> {
        const NAMED: usize = 6;
        const READ: usize = 4;
        let mut named = BTreeSet::new();
        for action in actions {
            if let SetAction::Add(element, _)
            | SetAction::Remove(element, _)
            | SetAction::Contains(element, _) = action
            {
                named.insert(*element);
                if named.len() > NAMED {
                    return None;
                }
            }
        }
        let mut others = BTreeSet::from([Vec::new()]);
        for action in actions {
            // What lists an element twice is no state.
            if let SetAction::Read(all) = action
                && !all.repeats
            {
                others.insert(all.sorted().iter().copied().filter(|one| !named.contains(one)).collect());
                if others.len() > READ {
                    return None;
                }
            }
        }
        let subsets = (0..1_u32 << named.len()).map(|mask| {
            let named = named.iter().enumerate().filter(move |(place, _)| mask >> place & 1 == 1);
            named.map(|(_, element)| *element).collect::<Vec<_>>()
        });
        let with = |state: Members, element: &ValueId| state.toggled(element.raw());
        Some(
            subsets
                .flat_map(|subset| {
                    let state = subset.iter().fold(Members::default(), with);
                    others.iter().map(move |others| others.iter().fold(state.clone(), with))
                })
                .collect(),
        )
    }

    /// Only what was added can be there.
    fn reachable(&self, state: &Members, actions: &[SetAction]) -> bool {
        let added: BTreeSet<ValueId> = actions
            .iter()
            .filter_map(|action| match action {
                SetAction::Add(element, _) if state.has(element.raw()) => Some(*element),
                _ => None,
            })
            .collect();
        added.len() == state.len()
    }
}

/// Whether the operation changed anything, where its result says so.
fn changed(operation: &View<'_>) -> Result<Option<bool>, Misfit> {
    let (values, argument) = (operation.values(), operation.argument());
    let Some(result) = operation.result() else { return Ok(None) };
    match values.get(result) {
        Datum::Null => Ok(None),
        Datum::Bool(_) if matches!(values.get(argument), Datum::Bool(_)) => {
            if result == argument {
                return Ok(None);
            }
            Err(Misfit::malformed(format!(
                "{} of {} is acknowledged with {}: of elements that are true or false themselves it can only echo \
                 the element",
                operation.f(),
                values.show(argument),
                values.show(result)
            )))
        }
        Datum::Bool(changed) => Ok(Some(changed)),
        _ if result == argument => Ok(None),
        _ => Err(Misfit::malformed(format!(
            "{} of {} is acknowledged with nothing, the element again, true or false, not {}",
            operation.f(),
            values.show(argument),
            values.show(result)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::counter::tests::one;
    use super::*;

    fn parse(f: &str, argument: &str, kind: &str, result: &str) -> Result<Option<SetAction>, Misfit> {
        Set::default().action(&one(f, argument, kind, result).view(0))
    }

    #[test]
    fn takes_the_shapes_it_says() {
        use SetAction::{Add, Contains, Remove};
        let mut values = schism_history::Values::new();
        let [seven, a] = [values.int(7).unwrap(), values.str("a").unwrap()];
        for (f, argument, kind, result, action) in [
            ("add", "7", "ok", "null", Some(Add(seven, None))),
            ("add", "7", "ok", "7", Some(Add(seven, None))),
            ("insert", "7", "ok", "true", Some(Add(seven, Some(true)))),
            ("add", "7", "info", "null", Some(Add(seven, None))),
            ("remove", "7", "ok", "false", Some(Remove(seven, Some(false)))),
            ("delete", "7", "info", "null", Some(Remove(seven, None))),
            ("contains", "7", "ok", "true", Some(Contains(seven, true))),
            ("contains", "7", "info", "null", None),
            ("read", "null", "info", "null", None),
        ] {
            assert_eq!(parse(f, argument, kind, result), Ok(action), "{f} {argument} {kind} {result}");
        }
        assert!(matches!(parse("add", "\"a\"", "ok", "\"a\""), Ok(Some(Add(_, None)))));
        assert!(matches!(parse("add", "true", "ok", "true"), Ok(Some(Add(_, None)))));
        let Ok(Some(SetAction::Read(read))) = parse("read", "null", "ok", "[9,7]") else { panic!("no read") };
        assert_eq!(read, Elements::new(&[seven, values.int(9).unwrap()]));
        assert!(!read.repeats() && read.has(seven) && !read.has(a));
    }

    #[test]
    fn refuses_other_shapes() {
        for (f, argument, result) in [
            ("add", "null", "null"),
            ("add", "7", "8"),
            ("add", "true", "false"),
            ("add", "18446744073709551617", "null"),
            ("contains", "7", "null"),
            ("read", "null", "null"),
            ("read", "null", "7"),
            ("read", "null", "[null]"),
            ("read", "null", "[18446744073709551617]"),
        ] {
            let answer = parse(f, argument, "ok", result);
            assert!(matches!(answer, Err(Misfit::Malformed(_))), "{f} {argument} {result}: {answer:?}");
        }
        assert!(matches!(parse("write", "1", "ok", "1"), Err(Misfit::Unknown { .. })));
    }

    #[test]
    fn an_element_twice_is_what_no_set_answers() {
        let Ok(Some(read)) = parse("read", "null", "ok", "[7,7]") else { panic!("no read") };
        let mut values = schism_history::Values::new();
        let seven = values.int(7).unwrap();
        let model = Set::default();
        assert_eq!(model.step(&model.initial().toggled(seven.raw()), &read), None);
    }
}
