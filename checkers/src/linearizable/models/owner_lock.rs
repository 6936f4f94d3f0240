//! A lock that only its owner may release.
//!
//! # Operations
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `acquire` | the owner, or null | null, `true`, or the argument |
//! | `release` | the owner, or null | null, `true`, or the argument |
//!
//! The owner is a plain value (`"a"`, `7`) or stands in the field `owner` or `client` of an object (`{"owner": "a"}`). Where
//! there is none the process is the owner. A process whose operation has an unknown outcome is replaced by another one, so what such an owner
//! took may be held for ever; an owner that is named can go on under another process.
//!
//! The lock is free at first. `acquire` succeeds while it is free, `release` while the same owner holds it. An attempt that was
//! refused must be recorded as `fail`, and constrains nothing. An operation of unknown outcome may have taken effect at any later time, or
//! never.
//!
//! The reentrant variant lets the owner acquire the lock again while holding it; it becomes free after as many releases.

use schism_history::{Datum, ValueId, View};

use super::acknowledgement::{acknowledged, exact, is_null};
use crate::linearizable::specification::{Misfit, Removal, Specification};

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The process.
    Process(u64),
    /// Whom the argument names.
    Named(ValueId),
}

/// What an operation does to a lock with owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The owner takes the lock, and got this token if it is known.
    Acquire(Owner, Option<i64>),
    /// The owner releases the lock.
    Release(Owner),
}

impl Action {
    /// Whose it is.
    pub fn owner(self) -> Owner {
        match self {
            Action::Acquire(owner, _) | Action::Release(owner) => owner,
        }
    }

    /// All of one owner's operations can be left out together: the lock is free in between. (Owners that share a number are left out
    /// together as well, which is as right.)
    pub(super) fn removal(self) -> Removal {
        Removal::Together(match self.owner() {
            Owner::Process(process) => process as u32,
            Owner::Named(name) => name.raw(),
        })
    }

    /// The token it got.
    pub fn token(self) -> Option<i64> {
        match self {
            Action::Acquire(_, token) => token,
            Action::Release(_) => None,
        }
    }
}

/// A lock that only its owner may release.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnerLock {
    /// Whether the owner may acquire it again.
    pub reentrant: bool,
}

/// Who holds it, and how many releases will free it.
pub type Held = Option<(Owner, u32)>;

impl Specification for OwnerLock {
    type Action = Action;
    type State = Held;

    fn initial(&self) -> Held {
        None
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        let action = match operation.f() {
            "acquire" => Action::Acquire(owner(operation)?, None),
            "release" => Action::Release(owner(operation)?),
            _ => return Err(Misfit::Unknown { hint: "; a lock has `acquire` and `release`" }),
        };
        granted(operation)?;
        Ok(Some(action))
    }

    fn step(&self, held: &Held, action: &Action) -> Option<Held> {
        match *action {
            Action::Acquire(owner, _) => take(*held, owner, self.reentrant).map(Some),
            Action::Release(owner) => free(*held, owner),
        }
    }

    fn states(&self, actions: &[Action]) -> Option<Vec<Held>> {
        holders(actions, self.reentrant)
    }

    fn removal(&self, action: &Action) -> Removal {
        action.removal()
    }
}

/// In which states a lock can be before `actions`. Free, it allows whatever it allows while somebody holds it who does not appear. Who holds it
/// more often than there are releases does not let go of it, however often that is.
pub(super) fn holders(actions: &[Action], reentrant: bool) -> Option<Vec<Held>> {
    const MOST: usize = 64;
    let mut releases: Vec<(Owner, u32)> = Vec::new();
    for action in actions {
        let owner = action.owner();
        let place = match releases.iter().position(|(other, _)| *other == owner) {
            Some(place) => place,
            None if releases.len() == MOST => return None,
            None => {
                releases.push((owner, 0));
                releases.len() - 1
            }
        };
        releases[place].1 += u32::from(matches!(action, Action::Release(_)));
    }
    let mut states = vec![None];
    for (owner, count) in releases {
        let most = if reentrant { count + 1 } else { 1 };
        if states.len() + most as usize > 2 * MOST {
            return None;
        }
        states.extend((1..=most).map(|count| Some((owner, count))));
    }
    Some(states)
}

/// The lock after `owner` took it.
pub(super) fn take(held: Held, owner: Owner, reentrant: bool) -> Option<(Owner, u32)> {
    match held {
        None => Some((owner, 1)),
        Some((holder, count)) if reentrant && holder == owner => Some((owner, count.checked_add(1)?)),
        Some(_) => None,
    }
}

/// The lock after `owner` released it.
pub(super) fn free(held: Held, owner: Owner) -> Option<Held> {
    let (_, count) = held.filter(|(holder, _)| *holder == owner)?;
    Some((count > 1).then(|| (owner, count - 1)))
}

/// Whose the operation is.
pub(super) fn owner(operation: &View<'_>) -> Result<Owner, Misfit> {
    let argument = operation.argument();
    exact(operation)?;
    if is_null(argument) {
        return Ok(Owner::Process(operation.process()));
    }
    let values = operation.values();
    let named = match values.get(argument) {
        Datum::Object(_) => values.field(argument, "owner").or_else(|| values.field(argument, "client")),
        Datum::Array(_) => None,
        Datum::Null | Datum::Bool(_) | Datum::Int(_) | Datum::Number(_) | Datum::Str(_) => Some(argument),
    };
    match named.filter(|named| !is_null(*named)) {
        Some(named) => Ok(Owner::Named(named)),
        None => {
            let (f, argument) = (operation.f(), values.show(argument));
            Err(Misfit::malformed(format!(
                "the argument of {f} is its owner, {{\"owner\": …}}, or null where the process is the owner, not {argument}"
            )))
        }
    }
}

/// The result says no more than that the operation succeeded.
pub(super) fn granted(operation: &View<'_>) -> Result<(), Misfit> {
    match operation.result().map(|result| operation.values().get(result)) {
        Some(Datum::Bool(true)) => Ok(()),
        _ => acknowledged(operation),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::linearizable::models::acknowledgement::parsing::{action, problem, table, unknown};

    const LOCK: OwnerLock = OwnerLock { reentrant: false };

    #[test]
    fn the_owner_is_named_or_the_process() {
        let process = Some(Action::Acquire(Owner::Process(7), None));
        assert_eq!(action(&LOCK, "acquire", json!(null), Some(json!(null))), Ok(process));
        assert_eq!(action(&LOCK, "acquire", json!(null), None), Ok(process));
        for argument in [json!({"owner": "a"}), json!({"client": "a", "node": 1}), json!("a")] {
            let table = table(None, "release", argument.clone(), Some(argument));
            let named = table.views().find_map(|view| {
                let values = view.values();
                let argument = view.argument();
                ["owner", "client"].iter().find_map(|name| values.field(argument, name)).or(Some(argument))
            });
            assert_eq!(
                LOCK.action(&table.view(0)),
                Ok(named.map(|named| Action::Release(Owner::Named(named))))
            );
        }
    }

    #[test]
    fn bad_shapes_are_refused() {
        for argument in [json!([1]), json!({"who": 1}), json!({"owner": null})] {
            assert!(problem(&LOCK, "acquire", argument, None).contains("owner"));
        }
        assert!(problem(&LOCK, "acquire", json!("a"), Some(json!("b"))).contains("acknowledged with \"b\""));
        assert!(problem(&LOCK, "release", json!("a"), Some(json!(false))).contains("`fail`"));
        let huge = serde_json::from_str("18446744073709551617").unwrap();
        assert!(problem(&LOCK, "acquire", huge, None).contains("too large"));
        assert!(unknown(&LOCK, "unlock", json!(null)).contains("`release`"));
    }

    #[test]
    fn only_the_owner_releases() {
        let (a, b) = (Owner::Process(1), Owner::Process(2));
        for reentrant in [false, true] {
            let lock = OwnerLock { reentrant };
            let held = lock.step(&lock.initial(), &Action::Acquire(a, None)).unwrap();
            assert_eq!(held, Some((a, 1)));
            assert_eq!(lock.step(&held, &Action::Release(b)), None);
            assert_eq!(lock.step(&held, &Action::Acquire(b, None)), None);
            assert_eq!(lock.step(&None, &Action::Release(a)), None);
            assert_eq!(lock.step(&held, &Action::Release(a)), Some(None));
            let twice = lock.step(&held, &Action::Acquire(a, None));
            assert_eq!(twice, reentrant.then_some(Some((a, 2))));
            if let Some(twice) = twice {
                assert_eq!(lock.step(&twice, &Action::Release(a)), Some(held));
            }
        }
    }
}
