//! Linearizability while the history is still growing.
//!
//! [`live`] takes events as they come. Every operation becomes a call of its object when it completes; nothing else of it is kept.
//! [`Live::look`] decides the objects in which something completed, by the same engines as [`check`](super::check):
//!
//! - An object in which nothing is open is decided at the next look, one that never becomes quiet again and again: at least every
//!   [`Pace::recheck`], but so that deciding it takes a fifth of the time at most. What is open counts as of unknown outcome, so
//!   whatever does not fit then will never fit: a violation is reported only when it is certain, and stays one.
//! - The past of an object that has been left alone for [`Pace::patience`] is dropped up to the last moment at which nothing was open.
//!   In its place are kept all the ways in which it can have ended: the state, and the crashed calls that may still take effect. From
//!   there the general search goes on. Where that would be many ways, or takes long to find out, the calls are kept: they cost
//!   memory, and a wrong answer costs more. The patience is what leaves hot objects to the special engines, which know the initial
//!   state only, and decide a million calls in the time in which a search decides some thousand.
//!
//! So memory grows with the calls of objects that are in use, and by a state for each of the others; with the operations of unknown
//! outcome; and with the different texts and lists of the history, which are numbered once.

mod frontier;
mod judge;
mod object;

#[cfg(test)]
mod tests;

use std::time::Duration;

use schism_history::{BuildError, Builder, Event, Kind, Record, ValueId};
use serde_json::Value;

use super::catalog::{self, Visit};
use super::checker::Checker;
use super::specification::Specification;
use super::{CheckError, Model, Options};
use crate::Validity;
use judge::{Judge, Typed, Violating};

/// How much time and memory to spend while the history grows. None of it changes an answer, only when it comes.
#[derive(Clone, Debug)]
pub struct Pace {
    /// How long an object is left alone before its past is dropped.
    pub patience: Duration,
    /// Calls that may be kept over all objects before pasts are dropped at once.
    pub keep: usize,
    /// Configurations per call that may be visited to find out how a past can have ended.
    pub visits: u64,
    /// How long to decide one object, and how long a look may take before it leaves the rest to the next one.
    pub look: Duration,
    /// How often to decide an object that never becomes quiet, at most.
    pub recheck: Duration,
    /// A mistake on purpose, to see that the tests find it.
    sabotage: Sabotage,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(2),
            keep: 4 << 20,
            visits: 64,
            look: Duration::from_millis(200),
            recheck: Duration::from_millis(100),
            sabotage: Sabotage::None,
        }
    }
}

/// Plausible mistakes. The tests make each of them and require that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
enum Sabotage {
    None,
    /// The crashed calls of a past are dropped with it.
    DropsCrashed,
    /// Crashed calls that took effect in the past may do so again.
    ForgetsUsed,
    /// Of several ways in which the past can have ended, only one is kept.
    FirstStateOnly,
    /// What is open is left out.
    ForgetsPending,
}

/// A confirmed violation.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The object's key.
    pub key: Option<Value>,
    /// Which part of the key the object is, if the model has parts.
    pub part: Option<Value>,
    /// Index of the completion up to which no order fits.
    pub index: u64,
    /// The model's name.
    pub model: &'static str,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.key.iter().chain(&self.part).map(Value::to_string).collect::<Vec<_>>().join(", ");
        let of = if name.is_empty() { String::new() } else { format!(" of key {name}") };
        let Self { index, model, .. } = self;
        write!(f, "no order of the operations{of} up to event {index} fits the model `{model}`")
    }
}

/// The answer over a whole history: as that of [`check`](super::check), without evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The answer.
    pub validity: Validity,
    /// All objects that contradict the model, in the order in which they first appear.
    pub violating: Vec<Finding>,
    /// Keys that could not be decided within the budget of the options.
    pub unknown: Vec<Option<Value>>,
}

/// A history that is judged while it grows.
pub struct Live<'l> {
    builder: Builder,
    judge: &'l mut dyn Judge,
    model: Model,
    /// Where the history's own numbers go on otherwise than by one: a position, and the number there.
    indices: Vec<(u32, u64)>,
    next: u64,
}

/// Lets `work` feed a history and look at it. `options` are those of [`check`](super::check), except that everything is done on
/// the calling thread and no progress is noted. `builder` is an empty one, among whose values is the initial value of the options.
pub fn live<T>(options: &Options, builder: Builder, pace: &Pace, work: impl FnOnce(&mut Live<'_>) -> T) -> T {
    let model = options.model;
    // Nothing is in it but the initial value.
    let table = builder.table().clone();
    let work =
        |judge: &mut dyn Judge| work(&mut Live { builder, judge, model, indices: Vec::new(), next: 0 });
    catalog::with(model, &table, options.initial, Run { options, pace, work })
}

/// Makes a judge.
struct Run<'r, F> {
    options: &'r Options,
    pace: &'r Pace,
    work: F,
}

impl<T, F: FnOnce(&mut dyn Judge) -> T> Visit for Run<'_, F> {
    type Output = T;
    fn visit<S: Specification>(self, checker: &Checker<'_, S>) -> T {
        (self.work)(&mut Typed::new(checker, self.options, self.pace))
    }
}

impl<'l> Live<'l> {
    /// Takes the next event, which is cheap: nothing is decided.
    ///
    /// # Errors
    /// The event contradicts the earlier ones; see [`Builder::push`]. It is not part of the history then.
    pub fn event(&mut self, event: &Event) -> Result<(), BuildError> {
        // The table would keep a number for every event.
        let record = Record { index: None, node: None, ..self.builder.record(event)? };
        let position = self.builder.position();
        self.builder.push(&record)?;
        if event.index != self.next {
            self.indices.push((position, event.index));
        }
        self.next = event.index.saturating_add(1);
        let Some(row) = self.builder.touched() else { return Ok(()) };
        let view = self.builder.table().view(row);
        self.judge.see(row, &view, event.kind, event.index);
        if event.kind != Kind::Invoke {
            self.builder.release(row);
        }
        Ok(())
    }

    /// Decides what is due and drops what is not needed any more. `now` is the time since the start, and must not go back. The
    /// objects that were found to violate the model since the last look: each is reported once, and is certain.
    pub fn look(&mut self, now: Duration) -> Vec<Finding> {
        let found = self.judge.look(now);
        found.into_iter().map(|found| self.finding(found)).collect()
    }

    /// Decides everything that is undecided, within the budget of the options. What is open counts as of unknown outcome. The history may
    /// go on afterwards.
    ///
    /// # Errors
    /// As of [`check`](super::check).
    pub fn finish(&mut self) -> Result<Summary, CheckError> {
        let (violating, unknown) = self.judge.finish()?;
        let validity = match (violating.is_empty(), unknown.is_empty()) {
            (false, _) => Validity::Violation,
            (true, false) => Validity::Unknown,
            (true, true) => Validity::Pass,
        };
        let violating = violating.into_iter().map(|found| self.finding(found)).collect();
        let unknown = unknown.into_iter().map(|key| self.json(key)).collect();
        Ok(Summary { validity, violating, unknown })
    }

    /// Completed calls that are kept, over all objects.
    pub fn kept(&self) -> usize {
        self.judge.kept()
    }

    fn json(&self, value: ValueId) -> Option<Value> {
        value.is_present().then(|| self.builder.table().values.to_json(value))
    }

    fn finding(&self, (key, part, position): Violating) -> Finding {
        let before = self.indices.partition_point(|(start, _)| *start <= position);
        let (start, index) = before.checked_sub(1).map_or((0, 0), |at| self.indices[at]);
        Finding {
            key: self.json(key),
            part: self.json(part),
            index: index + u64::from(position - start),
            model: self.model.name(),
        }
    }
}
