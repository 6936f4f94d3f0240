//! A mutex that anybody may release.
//!
//! # Operations
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `acquire` | anything, ignored | null, `true`, or the argument |
//! | `release` | anything, ignored | null, `true`, or the argument |
//!
//! The mutex is free at first. `acquire` succeeds while it is free and takes it, `release` succeeds while it is taken and frees it;
//! who does either makes no difference, as in Knossos' `mutex`. An attempt that was refused ("already held", "not held") must be
//! recorded as `fail`, and constrains nothing. An operation of unknown outcome may have taken effect at any later time, or never.
//!
//! A lock that only its owner may release is an `owner-lock`, which finds more.

use schism_history::View;

use super::owner_lock::granted;
use crate::linearizable::specification::{Misfit, Specification};

/// What an operation does to a mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The mutex is free and is taken.
    Acquire,
    /// The mutex is taken and becomes free.
    Release,
}

/// A mutex that anybody may release.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mutex;

impl Specification for Mutex {
    type Action = Action;
    /// Whether it is taken.
    type State = bool;

    fn initial(&self) -> bool {
        false
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        let action = match operation.f() {
            "acquire" => Action::Acquire,
            "release" => Action::Release,
            _ => return Err(Misfit::Unknown { hint: "; a mutex has `acquire` and `release`" }),
        };
        granted(operation)?;
        Ok(Some(action))
    }

    fn step(&self, taken: &bool, action: &Action) -> Option<bool> {
        match (taken, action) {
            (false, Action::Acquire) => Some(true),
            (true, Action::Release) => Some(false),
            (true, Action::Acquire) | (false, Action::Release) => None,
        }
    }

    fn states(&self, _actions: &[Action]) -> Option<Vec<bool>> {
        Some(vec![false, true])
    }

    fn distance(&self, taken: &bool) -> Option<i64> {
        Some(i64::from(*taken))
    }

    fn balance(&self, action: &Action) -> Option<i64> {
        Some(match action {
            Action::Acquire => 1,
            Action::Release => -1,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::linearizable::models::acknowledgement::parsing::{action, problem, unknown};

    #[test]
    fn operations_are_read() {
        for (f, expected) in [("acquire", Action::Acquire), ("release", Action::Release)] {
            for (argument, result) in [
                (json!(null), json!(null)),
                (json!("me"), json!("me")),
                (json!("me"), json!(null)),
                (json!(null), json!(true)),
            ] {
                assert_eq!(action(&Mutex, f, argument, Some(result)), Ok(Some(expected)));
            }
            assert_eq!(action(&Mutex, f, json!(null), None), Ok(Some(expected)));
        }
    }

    #[test]
    fn what_is_no_acknowledgement_is_refused() {
        let refused = problem(&Mutex, "acquire", json!("me"), Some(json!(false)));
        assert!(refused.contains("false") && refused.contains("`fail`"), "{refused}");
        assert!(problem(&Mutex, "release", json!(1), Some(json!(2))).contains("release"));
        assert!(unknown(&Mutex, "lock", json!(null)).contains("acquire"));
    }

    #[test]
    fn it_alternates() {
        let step = |taken, action| Mutex.step(&taken, &action);
        assert_eq!(step(Mutex.initial(), Action::Acquire), Some(true));
        assert_eq!(step(true, Action::Acquire), None);
        assert_eq!(step(true, Action::Release), Some(false));
        assert_eq!(step(false, Action::Release), None);
    }
}
