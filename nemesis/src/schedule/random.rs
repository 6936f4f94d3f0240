//! The random policy: a fault every so often, every choice in its turn.

use std::time::Duration;

use schism_history::Random;
use schism_units::Span;

use super::choice::{Busy, Choice, down, expand};
use super::{Cluster, Dated, Errors, FAULTS_MAX};
use crate::spec::{FaultSpec, NemesisSpec};
use crate::timeline::FaultKind;

/// Longest default quiet time at the start.
const WARM_UP_MAX: Span = Span::seconds(5);

/// Starts are moved by whole milliseconds, so that people can read and copy the times of a plan.
const JITTER_STEP: u64 = 1_000_000;

/// The numbers of a policy, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    every: u64,
    duration: u64,
    warm_up: u64,
    overlap: usize,
    limit: u64,
}

/// Plans faults of `faults` until `limit_ns`.
pub(super) fn plan(
    spec: &NemesisSpec,
    faults: &[FaultSpec],
    cluster: Cluster<'_>,
    seed: u64,
    limit_ns: u64,
    errors: &mut Errors,
) -> Vec<Dated> {
    let entries: Vec<Vec<Choice>> = faults
        .iter()
        .enumerate()
        .map(|(at, fault)| {
            let path = ["nemesis".to_owned(), "faults".to_owned(), at.to_string()];
            expand(fault, &path, cluster, errors)
        })
        .collect();
    if faults.is_empty() {
        errors.add(
            &["nemesis", "faults"],
            "the list is empty; name a fault, like `- kill: {}`, or leave `nemesis` out",
        );
    }
    let pace = pace(spec, faults, limit_ns, errors);
    match pace {
        Some(pace) if errors.0.is_empty() => schedule(pace, entries, cluster, Random::new(seed, "nemesis")),
        _ => Vec::new(),
    }
}

fn pace(spec: &NemesisSpec, faults: &[FaultSpec], limit: u64, errors: &mut Errors) -> Option<Pace> {
    let before = errors.0.len();
    let Some(every) = spec.every else {
        errors.add(
            &["nemesis"],
            "`faults` needs `every`, the mean time from one fault to the next, like `every: 10s`",
        );
        return None;
    };
    let every = every.nanos();
    if every == 0 {
        errors
            .add(&["nemesis", "every"], "is zero; write the mean time from one fault to the next, like 10s");
        return None;
    }
    let duration = spec.duration.map_or(every / 2, Span::nanos).max(u64::from(spec.duration.is_none()));
    if duration == 0 {
        errors.add(
            &["nemesis", "duration"],
            "is zero; a fault that lasts no time does nothing, write for example 5s",
        );
    }
    let overlap = spec.overlap.unwrap_or(1) as usize;
    if overlap == 0 {
        errors.add(
            &["nemesis", "overlap"],
            "is 0, which allows no fault at all; write 1 for one fault at a time",
        );
    }
    let mut kinds: Vec<&str> = faults.iter().map(kind_name).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let at_once = overlap.min(kinds.len()).max(1);
    if duration > every.saturating_mul(at_once as u64) {
        let message = format!(
            "faults of {} every {} cannot all be in force: only {at_once} may be at once (`overlap` is {overlap}, kinds of \
             fault: {}); make `duration` shorter or `every` longer",
            span(duration),
            span(every),
            kinds.len()
        );
        errors.add(&["nemesis", "duration"], message);
    }
    let warm_up = spec.warm_up.map_or((every / 2).min(WARM_UP_MAX.nanos()), Span::nanos);
    let needed = warm_up.saturating_add(duration);
    if needed > limit {
        let message = format!(
            "no fault fits into the time limit of {}: {} of warm-up and one fault of {} take {}; raise `time-limit` or lower \
             `every`, `duration` or `warm-up`",
            span(limit),
            span(warm_up),
            span(duration),
            span(needed)
        );
        errors.add(&["nemesis"], message);
    } else if (limit - needed) / every >= FAULTS_MAX {
        let message = format!(
            "a fault every {} in {} are more than {FAULTS_MAX}; raise `every`",
            span(every),
            span(limit)
        );
        errors.add(&["nemesis", "every"], message);
    }
    (errors.0.len() == before).then_some(Pace { every, duration, warm_up, overlap, limit })
}

fn span(nanos: u64) -> Span {
    Span(Duration::from_nanos(nanos))
}

fn kind_name(fault: &FaultSpec) -> &'static str {
    match fault {
        FaultSpec::Partition(_) => FaultKind::Partition.name(),
        FaultSpec::Kill(_) => FaultKind::Kill.name(),
        FaultSpec::Pause(_) => FaultKind::Pause.name(),
    }
}

/// Fault number k starts `every`·k after the warm-up, plus a random part of at most half of `every` that never pushes the
/// fault beyond the limit. So the number of faults does not hang on the seed, and the mean distance is `every`. A fault
/// that may not start yet (its kind is in force, or too many are) starts when it may.
fn schedule(pace: Pace, entries: Vec<Vec<Choice>>, cluster: Cluster<'_>, mut random: Random) -> Vec<Dated> {
    let mut rotation = Rotation::new(entries);
    let mut planned: Vec<Dated> = Vec::new();
    let mut in_force: Vec<Dated> = Vec::new();
    let mut base = pace.warm_up;
    let last_start = pace.limit.saturating_sub(pace.duration);
    while base <= last_start {
        let slack = last_start - base;
        let jitter = random.below((pace.every / 2).min(slack) / JITTER_STEP + 1) * JITTER_STEP;
        let earliest = planned.last().map_or(0, |last| last.at_ns);
        let mut at_ns = (base + jitter).max(earliest);
        let choice = loop {
            in_force.retain(|fault| fault.end_ns() > at_ns);
            if in_force.len() < pace.overlap {
                let busy = Busy::of(in_force.iter().map(|fault| &fault.fault));
                let down = down(in_force.iter().map(|fault| &fault.fault), cluster);
                let admissible = |choice: &Choice| {
                    let of_its_kind = in_force.iter().any(|fault| fault.fault.kind() == choice.kind());
                    let too_many = down + choice.down(cluster) > cluster.down_max;
                    !of_its_kind && !too_many && !busy.possibly_hit_by(choice, cluster)
                };
                if let Some(choice) = rotation.take(&mut random, admissible) {
                    break Some((choice, busy));
                }
            }
            match in_force.iter().map(Dated::end_ns).min() {
                Some(end) => at_ns = end,
                None => break None,
            }
        };
        let Some((choice, busy)) = choice else { break };
        if at_ns > last_start {
            break;
        }
        let fault = choice.draw(cluster, &busy, &mut random);
        let dated = Dated { at_ns, for_ns: pace.duration, fault };
        in_force.push(dated.clone());
        planned.push(dated);
        base = base.saturating_add(pace.every);
    }
    planned
}

/// Gives out everything once, in random order, before anything comes again: first the entries of the fault list, and
/// for each of them its own choices.
struct Rotation {
    entries: Vec<Bag<Choice>>,
    order: Bag<usize>,
}

impl Rotation {
    fn new(entries: Vec<Vec<Choice>>) -> Self {
        let order = Bag::new((0..entries.len()).collect());
        Self { entries: entries.into_iter().map(Bag::new).collect(), order }
    }

    /// The next choice that is `admissible` now, if any of this round is.
    fn take(&mut self, random: &mut Random, admissible: impl Fn(&Choice) -> bool) -> Option<Choice> {
        for bag in &mut self.entries {
            bag.fill(random);
        }
        let entries = &self.entries;
        let entry = self.order.take(random, |&entry| entries[entry].has(&admissible))?;
        self.entries[entry].take(random, admissible)
    }
}

/// Values that are drawn without replacement until none is left, then all over again.
struct Bag<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Bag<T> {
    fn new(all: Vec<T>) -> Self {
        Self { all, left: Vec::new() }
    }

    fn fill(&mut self, random: &mut Random) {
        if self.left.is_empty() {
            self.left = self.all.clone();
            random.shuffle(&mut self.left);
        }
    }

    fn has(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.left.iter().any(wanted)
    }

    fn take(&mut self, random: &mut Random, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.fill(random);
        let position = self.left.iter().position(wanted)?;
        Some(self.left.remove(position))
    }
}
