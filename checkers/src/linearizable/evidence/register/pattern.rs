//! The contradictions that have a name.
//!
//! Terms: the *cluster* of a value is its one write with everything that observed it. A value is *there by* the
//! earliest return in its cluster, and *still there at* the latest invocation in it. Of two values with one write each,
//! both held once and for one stretch of time, if each is still there after the other one is there, their stretches
//! overlap: impossible. (Gibbons and Korach, "Testing shared memories", 1997: two zones.) Most violations
//! of real systems are this, with the culprit as the latest observer of an old value.

use rustc_hash::FxHashMap;

use super::super::super::engines::just_in_time::{INITIAL, NEVER, Number, RegisterCall};
use super::super::super::models::register::Action;
use super::Scene;

/// A contradiction; numbers are indices into the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Story {
    /// Nothing that can have taken effect by then wrote the value.
    Unwritten { culprit: usize },
    /// The culprit observed a value that another one had replaced.
    Replaced(Replaced),
    /// Two compare-and-sets took the same value away, which was written once.
    TakenTwice { culprit: usize, first: usize, writer: Option<usize> },
    /// No name: calls that fit no order.
    Unordered { calls: Vec<usize> },
}

/// The culprit observed an old value, although a newer one had come after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replaced {
    pub culprit: usize,
    /// All that wrote the old value; none: it is the initial value.
    pub writers: Vec<usize>,
    /// The call whose return shows that the old value was there by then; none: it is the initial value, or the newer one was put in its
    /// place by a compare-and-set.
    pub there_by: Option<usize>,
    /// The call that had the newer value after that: its invocation comes later.
    pub newer_after: usize,
    /// The call that had the newer value before the culprit began. Often the same one.
    pub newer_before: usize,
    /// The newer value.
    pub newer: Number,
    /// What wrote the newer value, where it was written once.
    pub newer_writer: Option<usize>,
}

impl Story {
    /// The calls it consists of, ascending.
    pub fn calls(&self) -> Vec<usize> {
        let mut calls = match self {
            Story::Unwritten { culprit } => vec![*culprit],
            Story::Replaced(story) => {
                let mut calls = vec![story.culprit, story.newer_after, story.newer_before];
                calls.extend(story.there_by);
                calls.extend(&story.writers);
                if story.newer_after != story.newer_before {
                    calls.extend(story.newer_writer);
                }
                calls
            }
            Story::TakenTwice { culprit, first, writer } => {
                let mut calls = vec![*culprit, *first];
                calls.extend(writer);
                calls
            }
            Story::Unordered { calls } => calls.clone(),
        };
        calls.sort_unstable();
        calls.dedup();
        calls
    }
}

/// Values written more often than this are left to shrinking: nobody follows so many writes.
const MAX_WRITERS: usize = 64;

/// A contradiction of the culprit that has a name, if there is one. The caller has the engine confirm it.
pub(super) fn find(scene: &Scene<'_>) -> Option<Story> {
    let past = &scene.past;
    let culprit = scene.culprit;
    let call = past.get(culprit)?;
    let value = call.action.observes()?;
    let writers: Vec<usize> =
        (0..past.len()).filter(|other| *other != culprit && produces(&past[*other]) == Some(value)).collect();
    if writers.is_empty() && value != INITIAL {
        return Some(Story::Unwritten { culprit });
    }
    if let Some(story) = replaced(past, culprit, value, &writers) {
        return Some(Story::Replaced(story));
    }
    taken_twice(past, culprit, value, &writers)
}

/// What a call writes; a compare-and-set that changes nothing writes nothing.
fn produces(call: &RegisterCall) -> Option<Number> {
    match call.action {
        Action::Cas(expected, new) if expected == new => None,
        action => action.produces(),
    }
}

fn replaced(past: &[RegisterCall], culprit: usize, value: Number, writers: &[usize]) -> Option<Replaced> {
    if writers.len() > MAX_WRITERS {
        return None;
    }
    let once = writers.len() == usize::from(value != INITIAL);
    let there_by = match (once, value) {
        (true, INITIAL) => None,
        // Written once: whoever observed it saw that write.
        (true, _) => Some(
            (0..past.len())
                .filter(|other| *other != culprit)
                .filter(|other| {
                    produces(&past[*other]) == Some(value) || past[*other].action.observes() == Some(value)
                })
                .min_by_key(|other| past[*other].returned)?,
        ),
        // Written more than once: all of them have to be over.
        (false, _) => writers.iter().copied().max_by_key(|other| past[*other].returned),
    };
    let there_by_end = there_by.map_or(0, |other| past[other].returned);
    if there_by_end == NEVER {
        return None;
    }
    let begin = past[culprit].invoked;
    let after = |other: &usize| there_by.is_none() || past[*other].invoked > there_by_end;
    let before = |other: &usize| past[*other].returned < begin;
    let of_value = |other: &usize| past[*other].action.leaves() != value;
    // A compare-and-set that took away what was there once shows by itself that it was there before.
    let takes = |other: &usize| once && past[*other].action.observes() == Some(value);
    let story = |newer_after: usize, newer_before: usize, newer: Number| {
        let there_by = there_by.filter(|_| !takes(&newer_after));
        let mut all = (0..past.len()).filter(|other| produces(&past[*other]) == Some(newer));
        let newer_writer = all.next().filter(|_| all.next().is_none());
        let writers = writers.to_vec();
        Replaced { culprit, writers, there_by, newer_after, newer_before, newer, newer_writer }
    };
    // One operation in between tells it best: of writes the first, which replaced the value; of reads the last.
    let between =
        || (0..past.len()).filter(|other| (after(other) || takes(other)) && before(other) && of_value(other));
    let write =
        between().filter(|other| produces(&past[*other]).is_some()).min_by_key(|other| past[*other].returned);
    if let Some(one) = write.or_else(|| between().max_by_key(|other| past[*other].returned)) {
        return Some(story(one, one, past[one].action.leaves()));
    }
    // Otherwise two operations of one cluster. A value that was there at first or was written twice has no one cluster.
    let mut clusters: FxHashMap<Number, Cluster> = FxHashMap::default();
    for (position, call) in past.iter().enumerate() {
        let produced = produces(call);
        for member in [produced, call.action.observes()].into_iter().flatten().filter(|other| *other != value)
        {
            let cluster =
                clusters.entry(member).or_insert(Cluster { writes: 0, first: position, last: position });
            cluster.writes += usize::from(produced == Some(member));
            if call.returned < past[cluster.first].returned {
                cluster.first = position;
            }
            // A call without a return may not have happened.
            if call.returned != NEVER
                && (past[cluster.last].returned == NEVER || call.invoked > past[cluster.last].invoked)
            {
                cluster.last = position;
            }
        }
    }
    let mut found: Vec<(usize, usize, Number)> = clusters
        .iter()
        .filter(|(other, cluster)| **other != INITIAL && cluster.writes == 1)
        .map(|(other, cluster)| (cluster.last, cluster.first, *other))
        .filter(|(last, first, _)| past[*last].returned != NEVER && after(last) && before(first))
        .collect();
    found.sort_unstable();
    found.last().map(|(last, first, newer)| story(*last, *first, *newer))
}

struct Cluster {
    writes: usize,
    /// The member that returned first.
    first: usize,
    /// The member that was invoked last.
    last: usize,
}

fn taken_twice(past: &[RegisterCall], culprit: usize, value: Number, writers: &[usize]) -> Option<Story> {
    let takes = |call: &RegisterCall| match call.action {
        Action::Cas(expected, new) => expected == value && new != value && call.returned != NEVER,
        Action::Read(_) | Action::Write(_) => false,
    };
    let once = writers.len() == usize::from(value != INITIAL);
    if !once || !takes(&past[culprit]) {
        return None;
    }
    let first = (0..past.len()).find(|other| *other != culprit && takes(&past[*other]))?;
    Some(Story::TakenTwice { culprit, first, writer: writers.first().copied() })
}
