//! Contradictions of registers.
//!
//! The culprit is always a read or a compare-and-set, since a write can take effect whenever it likes. [`pattern`] looks for the
//! shapes that have a name (a value nobody wrote, a stale read, …), [`core`] shrinks whatever has none, and [`words`] says
//! it.

mod core;
mod pattern;
mod words;

use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use schism_history::{Table, ValueId, View};
use serde_json::Value;

use super::super::call::Call;
use super::super::engines::just_in_time::{NEVER, Numbering, RegisterCall};
use super::super::models::register::{Action, Register};
use super::{Failure, NOT_MINIMAL};
use crate::Violation;

use self::core::Core;
use self::pattern::Story;
use self::words::Narrator;

/// What is known about the register that failed.
struct Scene<'a> {
    table: &'a Table,
    key: ValueId,
    /// All its operations, also those that the engine never saw.
    rows: &'a [u32],
    /// What the engine saw.
    calls: Vec<RegisterCall>,
    numbering: Numbering,
    /// The calls up to the culprit's return; what returned later is open. Reads among those are left out.
    past: Vec<RegisterCall>,
    /// The culprit, an index into `past`.
    culprit: usize,
}

/// The calls up to the culprit's return, and the culprit among them; what returned later is open. Reads among those are left
/// out.
fn past(calls: &[RegisterCall], culprit: usize) -> (Vec<RegisterCall>, usize) {
    let end = calls.get(culprit).map_or(NEVER, |call| call.returned);
    let mut past: Vec<RegisterCall> = calls.iter().filter(|call| call.invoked < end).copied().collect();
    for call in &mut past {
        if call.returned > end {
            call.returned = NEVER;
        }
    }
    past.retain(|call| call.returned != NEVER || call.action.produces().is_some());
    let source = calls.get(culprit).map_or(0, |call| call.source);
    let culprit = past.iter().position(|call| call.source == source).unwrap_or(0);
    (past, culprit)
}

/// A small set of `calls` (indices) that are impossible together, whatever the others did; and whether none of them can be freed, as far as
/// is known.
pub(super) fn shrunk(
    calls: &[Call<Action<ValueId>>],
    initial: ValueId,
    culprit: usize,
    sharing: usize,
    deadline: Option<(Instant, Duration)>,
) -> (Vec<usize>, bool) {
    let (numbered, numbering) = Numbering::of(calls, initial);
    let (past, culprit) = past(&numbered, culprit);
    let mut core = Core::new(&past, numbering.count(), sharing).until(deadline);
    let kept = core.shrink(culprit);
    let sources: FxHashSet<u32> = kept.iter().map(|call| past[*call].source as u32).collect();
    ((0..calls.len()).filter(|call| sources.contains(&calls[*call].source)).collect(), core.goes_on())
}

impl<'a> Scene<'a> {
    fn new(failure: &Failure<'a, Register>) -> Self {
        let (calls, numbering) = Numbering::of(failure.calls, failure.specification.initial);
        let (past, culprit) = past(&calls, failure.contradiction.culprit);
        Self { table: failure.table, key: failure.key, rows: failure.rows, calls, numbering, past, culprit }
    }

    fn operation(&self, call: &RegisterCall) -> View<'a> {
        self.table.view(call.source)
    }

    fn key(&self) -> Option<Value> {
        self.key.is_present().then(|| self.table.values.to_json(self.key))
    }
}

/// The contradiction in the history of a register that an engine found impossible.
pub(in super::super) fn explain(failure: &Failure<'_, Register>) -> Violation {
    let scene = Scene::new(failure);
    let narrator = Narrator::new(&scene);
    let mut core = Core::new(&scene.past, scene.numbering.count(), failure.sharing).until(failure.deadline);
    let story = pattern::find(&scene).filter(|story| {
        let calls = story.calls();
        core.is_impossible(&calls) && core.needs_all(&calls, scene.culprit)
    });
    let story = story.unwrap_or_else(|| Story::Unordered { calls: core.picture(scene.culprit) });
    let mut told = narrator.tell(&story);
    if !core.goes_on() {
        told.explanation.push(NOT_MINIMAL.to_owned());
    }
    let culprit = scene.past.get(scene.culprit).map_or(0, |call| call.source) as u32;
    let rows = told.sources.into_iter().map(|source| source as u32).collect();
    super::violation(failure.table, failure.key, culprit, rows, told.summary, told.explanation)
}
