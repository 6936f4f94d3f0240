//! A register whose store numbers its versions: etcd's mod revision, Consul's `ModifyIndex`. The model `versioned-register`.
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `read` | ignored | `{"value": v, "version": n}` or `[v, n]`; null if there is no value |
//! | `write` | the value | `{"version": n}`, `{"value": v, "version": n}` or `[v, n]`; null or the argument again if the version is not known |
//! | `cas` | `[expected, new]`: writes `new` if the register holds the value `expected` | as of `write` |
//! | `cas-version` | `[version, new]`: writes `new` if the register is at this version | as of `write` |
//! | `delete` | ignored | anything: its version, if it has one, does not count |
//!
//! Versions are positive integers. Every write makes a higher one, but not always the next: other keys and deletions take
//! numbers, too. Where there is no value, the value is null and the version 0; so it is at the start and after a `delete`, and in
//! `cas` and `cas-version` null and 0 stand for it. Null cannot be written. A `cas` or `cas-version` that did not happen is a `fail`.

use std::num::NonZeroU64;

use schism_history::{ValueId, View};

use super::super::specification::{Misfit, Specification};
use super::register::{inexact, or_null, other_value};

/// The number of a version; `None`: 0, which is that of no value, or one that is not known.
pub type Version = Option<NonZeroU64>;

/// What an operation does to a versioned register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The register holds this value, in this version; null and `None`: none.
    Read(ValueId, Version),
    /// Afterwards the register holds `value`.
    Write {
        /// When it happens.
        condition: Condition,
        /// What is written.
        value: ValueId,
        /// The version it made, if it is known.
        version: Version,
    },
    /// Afterwards the register holds nothing.
    Delete,
}

/// When a write happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Always.
    Always,
    /// If the register holds this value; null: none.
    Value(ValueId),
    /// If the register is at this version; `None`: it holds no value.
    Version(Version),
}

/// What a versioned register holds, as far as one can know. Several writes of unknown version may have taken any numbers, so the
/// version is a number or a lower bound; every number from the bound on is then possible, which makes this exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Null if there is no value.
    pub value: ValueId,
    /// The version, or the lowest it can be; where there is no value, the lowest that the last one can have had.
    pub version: u64,
    /// Whether it is the version itself; true where there is no value.
    pub exact: bool,
}

impl State {
    fn is_at(&self, version: NonZeroU64) -> bool {
        let bound = version.get();
        self.value != ValueId::NULL && if self.exact { bound == self.version } else { bound >= self.version }
    }

    fn meets(&self, condition: Condition) -> Option<Self> {
        match condition {
            Condition::Always => Some(*self),
            Condition::Value(value) => (self.value == value).then_some(*self),
            Condition::Version(None) => (self.value == ValueId::NULL).then_some(*self),
            Condition::Version(Some(version)) => {
                let state = Self { version: version.get(), exact: true, ..*self };
                self.is_at(version).then_some(state)
            }
        }
    }
}

/// A register with versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionedRegister;

impl Specification for VersionedRegister {
    type Action = Action;
    type State = State;

    fn initial(&self) -> State {
        State { value: ValueId::NULL, version: 0, exact: true }
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        let (argument, values) = (or_null(operation.argument()), operation.values());
        let pair = |needs: &str| match values.as_array(argument) {
            Some([first, second]) => Ok((*first, *second)),
            _ => {
                let (f, shown) = (operation.f(), values.show(argument));
                Err(Misfit::malformed(format!("a {f} needs the value {needs}, not {shown}")))
            }
        };
        let action = match operation.f() {
            "read" => match operation.result() {
                Some(result) => read(operation, or_null(result))?,
                None => return Ok(None),
            },
            "write" => write(operation, Condition::Always, argument)?,
            "cas" => {
                let (expected, new) = pair("[expected, new]")?;
                write(operation, Condition::Value(expected), new)?
            }
            "cas-version" => {
                let (expected, new) = pair("[version, new]")?;
                let version = number(operation, expected)?;
                write(operation, Condition::Version(version), new)?
            }
            "delete" => Action::Delete,
            _ => return Err(Misfit::UNKNOWN),
        };
        let (one, other) = match action {
            Action::Read(value, _) => (Some(value), None),
            Action::Write { condition: Condition::Value(expected), value, .. } => {
                (Some(expected), Some(value))
            }
            Action::Write { value, .. } => (None, Some(value)),
            Action::Delete => (None, None),
        };
        match [one, other].into_iter().flatten().find(|value| values.is_inexact(*value)) {
            Some(value) => Err(inexact(operation, value)),
            None => Ok(Some(action)),
        }
    }

    fn step(&self, state: &State, action: &Action) -> Option<State> {
        match *action {
            Action::Read(_, None) => (state.value == ValueId::NULL).then_some(*state),
            Action::Read(value, Some(version)) => {
                let exact = State { value, version: version.get(), exact: true };
                (state.value == value && state.is_at(version)).then_some(exact)
            }
            Action::Write { condition, value, version } => {
                let before = state.meets(condition)?;
                match version {
                    Some(version) => (version.get() > before.version).then_some(State {
                        value,
                        version: version.get(),
                        exact: true,
                    }),
                    None => Some(State { value, version: before.version.checked_add(1)?, exact: false }),
                }
            }
            // If it took a number, that only leaves more room before the next version.
            Action::Delete => Some(State { value: ValueId::NULL, version: state.version, exact: true }),
        }
    }

    fn observes(&self, action: &Action) -> bool {
        matches!(action, Action::Read(..))
    }
}

/// A version, as a number.
fn number(operation: &View<'_>, id: ValueId) -> Result<Version, Misfit> {
    let integer = operation.values().as_int(id).and_then(|integer| u64::try_from(integer).ok());
    integer.map(NonZeroU64::new).ok_or_else(|| {
        Misfit::malformed(format!(
            "the version of a {} must be a non-negative integer, not {}",
            operation.f(),
            operation.values().show(id)
        ))
    })
}

/// The value, if there is one, and the version in a result.
fn versioned(operation: &View<'_>, result: ValueId) -> Result<Option<(Option<ValueId>, Version)>, Misfit> {
    let values = operation.values();
    let (value, version) = match (values.as_array(result), values.field(result, "version")) {
        (Some([value, version]), _) => (Some(*value), *version),
        (_, Some(version)) => (values.field(result, "value"), version),
        _ => return Ok(None),
    };
    Ok(Some((value, number(operation, version)?)))
}

fn read(operation: &View<'_>, result: ValueId) -> Result<Action, Misfit> {
    if result == ValueId::NULL {
        return Ok(Action::Read(ValueId::NULL, None));
    }
    let shown = || operation.values().show(result);
    match versioned(operation, result)? {
        Some((Some(value), version)) if (value == ValueId::NULL) == version.is_none() => {
            Ok(Action::Read(value, version))
        }
        Some((Some(_), _)) => Err(Misfit::malformed(format!(
            "a read of no value has null and the version 0, and any other read neither, but this one has {}",
            shown()
        ))),
        Some((None, _)) | None => Err(Misfit::malformed(format!(
            "a read needs the result {{\"value\": …, \"version\": …}} or [value, version], not {}",
            shown()
        ))),
    }
}

fn write(operation: &View<'_>, condition: Condition, value: ValueId) -> Result<Action, Misfit> {
    if value == ValueId::NULL {
        let f = operation.f();
        return Err(Misfit::malformed(format!(
            "a {f} cannot write null, which stands for no value; use `delete`"
        )));
    }
    let argument = or_null(operation.argument());
    let version = match operation.result().map(or_null) {
        None => None,
        Some(result) if result == ValueId::NULL || result == argument => None,
        Some(result) => match versioned(operation, result)? {
            Some((echo, version)) if echo.is_none_or(|echo| echo == value) => {
                if version.is_none() {
                    return Err(Misfit::malformed(format!(
                        "a {} cannot have made the version 0, which stands for no value",
                        operation.f()
                    )));
                }
                version
            }
            _ => return Err(other_value(operation, argument, result)),
        },
    };
    Ok(Action::Write { condition, value, version })
}

#[cfg(test)]
mod tests {
    use schism_history::{Builder, Kind, Process, Record};
    use serde_json::{Value, json};

    use super::*;

    fn action(f: &str, argument: Value, result: Option<Value>) -> Result<Option<Action>, String> {
        let mut builder = Builder::new();
        let events = [Some((Kind::Invoke, argument)), result.map(|result| (Kind::Ok, result))];
        for (kind, value) in events.into_iter().flatten() {
            let value = builder.values().json(&value).unwrap();
            let process = Process::Client(0);
            let (key, error) = (ValueId::ABSENT, ValueId::ABSENT);
            builder
                .push(&Record { process, kind, f, key, value, time: None, index: None, node: None, error })
                .unwrap();
        }
        VersionedRegister.action(&builder.finish().view(0)).map_err(|misfit| match misfit {
            Misfit::Malformed(problem) => problem,
            Misfit::Unknown { hint } => format!("unknown{hint}"),
        })
    }

    fn int(integer: i64) -> ValueId {
        schism_history::Values::new().int(integer).unwrap()
    }

    fn write(condition: Condition, value: i64, version: u64) -> Result<Option<Action>, String> {
        Ok(Some(Action::Write { condition, value: int(value), version: NonZeroU64::new(version) }))
    }

    #[test]
    fn operations_are_understood() {
        let read = |result| action("read", json!(null), Some(result));
        let seen = Ok(Some(Action::Read(int(5), NonZeroU64::new(7))));
        assert_eq!(read(json!({"value": 5, "version": 7})), seen);
        assert_eq!(read(json!([5, 7])), seen);
        for nothing in [json!(null), json!([null, 0]), json!({"value": null, "version": 0})] {
            assert_eq!(read(nothing), Ok(Some(Action::Read(ValueId::NULL, None))));
        }
        assert_eq!(action("read", json!(null), None), Ok(None));
        for (result, version) in [
            (None, 0),
            (Some(json!(null)), 0),
            (Some(json!(5)), 0),
            (Some(json!({"version": 7})), 7),
            (Some(json!({"value": 5, "version": 7})), 7),
            (Some(json!([5, 7])), 7),
        ] {
            assert_eq!(action("write", json!(5), result), write(Condition::Always, 5, version));
        }
        let (five, seven) = (Condition::Value(int(5)), Condition::Version(NonZeroU64::new(7)));
        assert_eq!(action("cas", json!([5, 6]), Some(json!([6, 8]))), write(five, 6, 8));
        assert_eq!(action("cas", json!([5, 6]), Some(json!([5, 6]))), write(five, 6, 0));
        assert_eq!(action("cas-version", json!([7, 6]), Some(json!({"version": 8}))), write(seven, 6, 8));
        assert_eq!(action("cas-version", json!([0, 6]), None), write(Condition::Version(None), 6, 0));
        assert_eq!(action("delete", json!(null), Some(json!({"version": 9}))), Ok(Some(Action::Delete)));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (f, argument, result, part) in [
            ("add", json!(1), None, "unknown"),
            ("read", json!(null), Some(json!(5)), "needs the result"),
            ("read", json!(null), Some(json!({"version": 5})), "needs the result"),
            ("read", json!(null), Some(json!([5, 0])), "no value has null and the version 0"),
            ("read", json!(null), Some(json!([null, 3])), "no value has null and the version 0"),
            ("read", json!(null), Some(json!([1, -3])), "must be a non-negative integer, not -3"),
            ("read", json!(null), Some(json!([1, "3"])), "must be a non-negative integer, not \"3\""),
            ("write", json!(null), None, "cannot write null"),
            ("write", json!(5), Some(json!(6)), "acknowledged (event 1) with another value, 6"),
            ("write", json!(5), Some(json!([6, 1])), "acknowledged (event 1) with another value, [6,1]"),
            ("write", json!(5), Some(json!([5, 0])), "cannot have made the version 0"),
            ("write", json!(1e300), None, "too large to be told from its neighbours"),
            ("cas", json!(5), None, "a cas needs the value [expected, new], not 5"),
            ("cas-version", json!([1]), None, "a cas-version needs the value [version, new], not [1]"),
            ("cas-version", json!(["a", 1]), None, "must be a non-negative integer, not \"a\""),
        ] {
            let problem = action(f, argument, result).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn versions_only_go_up() {
        let write = |condition, value, version| Action::Write {
            condition,
            value: int(value),
            version: NonZeroU64::new(version),
        };
        let read = |value, version| Action::Read(int(value), NonZeroU64::new(version));
        let nothing = Action::Read(ValueId::NULL, None);
        let run = |actions: &[Action]| {
            let start = VersionedRegister.initial();
            actions.iter().try_fold(start, |state, action| VersionedRegister.step(&state, action)).is_some()
        };
        let (always, unknown) = (Condition::Always, 0);
        assert!(run(&[nothing, write(always, 1, 4), read(1, 4), write(always, 2, 9)]));
        assert!(!run(&[write(always, 1, 4), read(1, 5)]) && !run(&[write(always, 1, 4), nothing]));
        assert!(!run(&[write(always, 1, 4), write(always, 2, 4)]));
        // Two of unknown version between 4 and 7, but not between 4 and 6.
        let two = [write(always, 1, 4), write(always, 2, unknown), write(always, 3, unknown)];
        assert!(run(&[&two[..], &[write(always, 4, 7)]].concat()));
        assert!(!run(&[&two[..], &[write(always, 4, 6)]].concat()));
        assert!(
            run(&[&two[..], &[read(3, 8), write(Condition::Version(NonZeroU64::new(8)), 4, 9)]].concat())
        );
        assert!(!run(&[&two[..], &[read(3, 8), read(3, 9)]].concat()));
        assert!(!run(&[&two[..], &[read(3, 5)]].concat()));
        // What was deleted comes back with a higher version.
        let deleted = [write(always, 1, 4), Action::Delete, nothing];
        assert!(run(&[&deleted[..], &[write(Condition::Version(None), 1, 5)]].concat()));
        assert!(!run(&[&deleted[..], &[write(Condition::Value(ValueId::NULL), 1, 4)]].concat()));
        assert!(!run(&[&deleted[..], &[write(Condition::Value(int(1)), 2, 5)]].concat()));
    }
}
