//! From "this key is not linearizable" to a contradiction that a person can follow.
//!
//! The engine names the first return that no order explains, the *culprit*: always a read or a compare-and-set, since
//! a write can take effect whenever it likes. What happened later is no part of the contradiction. Among what happened
//! before, [`pattern`] looks for the shapes that have a name (a value nobody wrote, a stale read, …), and [`core`]
//! shrinks whatever has none. Either way the engine confirms that the operations shown are impossible together,
//! whatever all others did. [`words`] says it.

mod core;
mod pattern;
mod words;

use schism_history::Operation;
use serde_json::Value;

use super::Finding;
use super::engine_just_in_time::Answer;
use super::model::{Action, Call, NEVER};
use crate::Violation;

use self::core::Core;
use self::pattern::Story;
use self::words::Narrator;

/// What is known about the failing key.
pub(super) struct Scene<'a, 'h> {
    pub key: Option<&'h Value>,
    pub operations: &'a [Operation<'h>],
    /// All operations of the key, also those that the engine never saw, with what each claims.
    pub members: &'a [(usize, Option<Action<&'h Value>>)],
    pub finding: &'a Finding<'h>,
    /// The calls up to the culprit's return; what returned later is open. Reads among those are left out.
    pub past: Vec<Call>,
    /// The culprit, an index into `past`.
    pub culprit: usize,
}

impl<'a, 'h> Scene<'a, 'h> {
    fn new(
        key: Option<&'h Value>,
        operations: &'a [Operation<'h>],
        members: &'a [(usize, Option<Action<&'h Value>>)],
        finding: &'a Finding<'h>,
    ) -> Self {
        let culprit = match finding.answer {
            Answer::Impossible(culprit) => culprit,
            Answer::Linearizable | Answer::Unknown(..) => 0,
        };
        let calls = &finding.calls;
        let end = calls.get(culprit).map_or(NEVER, |call| call.returned);
        let mut past: Vec<Call> = calls.iter().filter(|call| call.invoked < end).copied().collect();
        for call in &mut past {
            if call.returned > end {
                call.returned = NEVER;
            }
        }
        past.retain(|call| call.returned != NEVER || call.action.produces().is_some());
        let source = calls.get(culprit).map_or(0, |call| call.source);
        let culprit = past.iter().position(|call| call.source == source).unwrap_or(0);
        Self { key, operations, members, finding, past, culprit }
    }

    fn operation(&self, call: &Call) -> &'a Operation<'h> {
        &self.operations[call.source]
    }
}

/// The contradiction in the history of one key that the engine found impossible. The effort is shared by so many
/// `keys`.
pub(super) fn explain<'h>(
    key: Option<&'h Value>,
    operations: &[Operation<'h>],
    members: &[(usize, Option<Action<&'h Value>>)],
    finding: &Finding<'h>,
    keys: usize,
) -> Violation {
    let scene = Scene::new(key, operations, members, finding);
    let narrator = Narrator::new(&scene);
    let mut core = Core::new(&scene.past, finding.values.count(), keys);
    let story = pattern::find(&scene).filter(|story| core.is_impossible(&story.calls()));
    let (summary, explanation, mut sources) = match story {
        Some(story) => {
            let told = narrator.tell(&story);
            (told.summary, told.explanation, told.sources)
        }
        None => {
            let calls = core.shrink(scene.culprit);
            let story = Story::Unordered { calls };
            let told = narrator.tell(&story);
            (told.summary, told.explanation, told.sources)
        }
    };
    // The culprit first, the others as they were invoked, each once.
    let culprit = scene.past.get(scene.culprit).map_or(0, |call| call.source);
    sources.sort_unstable_by_key(|source| (*source != culprit, *source));
    sources.dedup();
    let events = || sources.iter().map(|source| &operations[*source]);
    let start = events().map(|operation| operation.invocation.time).min().unwrap_or(0);
    let end = events()
        .map(|operation| operation.completion.unwrap_or(operation.invocation).time)
        .max()
        .unwrap_or(start);
    Violation {
        key: key.cloned(),
        summary,
        explanation,
        operations: events().map(|operation| operation.invocation.index).collect(),
        window: (start, end),
    }
}
