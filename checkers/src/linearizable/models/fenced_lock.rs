//! A lock whose owners get ever higher tokens.
//!
//! # Operations
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `acquire` | the owner, or null | the token: an integer, or in the field `token` or `fence` of an object; null if it is not known |
//! | `release` | the owner, or null | null, `true`, or the argument |
//!
//! Who is the owner is said as for an `owner-lock`. An object as the result of `acquire` may also name the owner, which must be the same.
//!
//! The lock is free at first. `acquire` succeeds while it is free and returns a fencing token that is higher than all before, so that a
//! store can turn away who held the lock earlier. `release` succeeds while the same owner holds it. An attempt that was refused
//! must be recorded as `fail`, and constrains nothing. An operation of unknown outcome may have taken effect at any later time, or never.
//! A token that is not known (the outcome is unknown, or the result null) is taken for one that fits; nothing is concluded from how large
//! the gaps between known tokens are.
//!
//! The reentrant variant lets the owner acquire the lock again while holding it, which gives the same token; it becomes free after
//! as many releases. That is how Hazelcast's `FencedLock` works.

use schism_history::{Datum, ValueId, View};

use super::acknowledgement::is_null;
pub use super::owner_lock::Action;
use super::owner_lock::{Held, free, granted, holders, owner, take};
use crate::linearizable::specification::{Misfit, Removal, Specification};

/// A lock whose owners get ever higher tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct FencedLock {
    /// Whether the owner may acquire it again.
    pub reentrant: bool,
}

/// A fenced lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    held: Held,
    /// The token of the present hold; `None` if it is free, or the token not known.
    token: Option<i64>,
    /// The highest token so far.
    highest: Option<i64>,
}

impl Specification for FencedLock {
    type Action = Action;
    type State = State;

    fn initial(&self) -> State {
        State::default()
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        match operation.f() {
            "acquire" => Ok(Some(Action::Acquire(owner(operation)?, token(operation)?))),
            "release" => {
                let owner = owner(operation)?;
                granted(operation)?;
                Ok(Some(Action::Release(owner)))
            }
            _ => Err(Misfit::Unknown { hint: "; a lock has `acquire` and `release`" }),
        }
    }

    fn step(&self, state: &State, action: &Action) -> Option<State> {
        match *action {
            Action::Acquire(owner, token) => {
                let held = take(state.held, owner, self.reentrant)?;
                let fits = match (token, state.token) {
                    (None, _) => true,
                    (Some(token), Some(held)) => token == held,
                    // The first token known of this hold.
                    (Some(token), None) => state.highest.is_none_or(|highest| highest < token),
                };
                fits.then(|| State {
                    held: Some(held),
                    token: token.or(state.token),
                    highest: state.highest.max(token),
                })
            }
            Action::Release(owner) => {
                let held = free(state.held, owner)?;
                Some(State { held, token: state.token.filter(|_| held.is_some()), highest: state.highest })
            }
        }
    }

    fn states(&self, actions: &[Action]) -> Option<Vec<State>> {
        // Where no token is known, every token goes that goes where one is.
        let state = |held| State { held, token: None, highest: None };
        Some(holders(actions, self.reentrant)?.into_iter().map(state).collect())
    }

    fn removal(&self, action: &Action) -> Removal {
        action.removal()
    }
}

/// The token an acquire returned.
fn token(operation: &View<'_>) -> Result<Option<i64>, Misfit> {
    let Some(result) = operation.result().filter(|result| !is_null(*result)) else { return Ok(None) };
    let values = operation.values();
    let malformed = |said: &str| {
        Err(Misfit::malformed(format!(
            "an acquire of a fenced lock returns its token as an integer, {{\"token\": …}}, {{\"fence\": …}}, or null, {said} {}",
            values.show(result)
        )))
    };
    let said = match values.get(result) {
        Datum::Int(token) => return Ok(Some(token)),
        Datum::Object(_) => {
            let argument = operation.argument();
            let asked =
                ["owner", "client"].iter().find_map(|name| values.field(argument, name)).unwrap_or(argument);
            let named = ["owner", "client"].iter().find_map(|name| values.field(result, name));
            if named.is_some_and(|named| named != asked) {
                return malformed("of the owner that asked, not");
            }
            ["token", "fence"].iter().find_map(|name| values.field(result, name))
        }
        _ => None,
    };
    match said.map(|said| (said == ValueId::NULL, values.as_int(said))) {
        Some((true, _)) => Ok(None),
        Some((false, Some(token))) => Ok(Some(token)),
        Some((false, None)) | None => malformed("not"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::owner_lock::Owner;
    use super::*;
    use crate::linearizable::models::acknowledgement::parsing::{action, problem, unknown};

    const LOCK: FencedLock = FencedLock { reentrant: false };

    #[test]
    fn tokens_are_read() {
        let me = Owner::Process(7);
        for (result, token) in [
            (json!(5), Some(5)),
            (json!(-1), Some(-1)),
            (json!({"token": 5}), Some(5)),
            (json!({"fence": i64::MAX}), Some(i64::MAX)),
            (json!({"fence": null}), None),
            (json!(null), None),
        ] {
            let expected = Ok(Some(Action::Acquire(me, token)));
            assert_eq!(action(&LOCK, "acquire", json!(null), Some(result)), expected);
        }
        assert_eq!(action(&LOCK, "acquire", json!(null), None), Ok(Some(Action::Acquire(me, None))));
        let named =
            action(&LOCK, "acquire", json!({"client": "a"}), Some(json!({"client": "a", "fence": 2})));
        assert!(matches!(named, Ok(Some(Action::Acquire(Owner::Named(_), Some(2))))));
        assert_eq!(action(&LOCK, "release", json!(null), Some(json!(true))), Ok(Some(Action::Release(me))));
    }

    #[test]
    fn bad_shapes_are_refused() {
        for result in [json!("5"), json!(1.5), json!({"token": "x"}), json!({}), json!([1]), json!(true)] {
            assert!(problem(&LOCK, "acquire", json!(null), Some(result)).contains("token"));
        }
        let other = problem(&LOCK, "acquire", json!("a"), Some(json!({"owner": "b", "token": 1})));
        assert!(other.contains("the owner that asked"), "{other}");
        assert!(problem(&LOCK, "release", json!("a"), Some(json!(3))).contains("release"));
        assert!(unknown(&LOCK, "lock", json!(null)).contains("`acquire`"));
    }

    /// Whether the actions can happen in turn.
    fn possible(lock: FencedLock, actions: &[Action]) -> bool {
        actions.iter().try_fold(lock.initial(), |state, action| lock.step(&state, action)).is_some()
    }

    #[test]
    fn tokens_rise_from_hold_to_hold() {
        let take = |owner, token| Action::Acquire(Owner::Process(owner), token);
        let free = |owner| Action::Release(Owner::Process(owner));
        for reentrant in [false, true] {
            let lock = FencedLock { reentrant };
            assert!(possible(lock, &[take(1, Some(3)), free(1), take(2, Some(7)), free(2)]));
            assert!(possible(lock, &[take(1, Some(3)), free(1), take(2, None), free(2), take(2, Some(4))]));
            assert!(!possible(lock, &[take(1, Some(3)), free(1), take(2, Some(3))]));
            assert!(!possible(lock, &[take(1, Some(3)), free(1), take(2, None), free(2), take(2, Some(2))]));
            assert!(!possible(lock, &[take(1, Some(3)), free(2)]));
            assert_eq!(possible(lock, &[take(1, Some(3)), take(1, Some(3)), free(1), free(1)]), reentrant);
            assert_eq!(
                possible(lock, &[take(1, Some(3)), take(1, None), free(1), take(1, Some(3))]),
                reentrant
            );
            assert_eq!(possible(lock, &[take(1, None), take(1, Some(3)), take(1, None)]), reentrant);
            assert!(!possible(lock, &[take(1, Some(3)), take(1, Some(4))]));
            assert!(!possible(lock, &[take(1, Some(3)), free(1), take(1, None), take(1, Some(3))]));
        }
    }
}
