//! Different generators at different times, over and over.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step, Wait};
use crate::op::Worker;

struct CycleTimes {
    /// When the first slot began; `None` before anybody asked.
    start: Option<u64>,
    /// Length of each slot, and what runs in it; `None` once done.
    slots: Vec<(u64, Option<Gen>)>,
}

/// The first generator for its number of nanoseconds, then the second for its own, …, then the first again where it left
/// off. Begins when first asked; done when all of them are.
pub fn cycle_times(slots: impl IntoIterator<Item = (u64, Gen)>) -> Gen {
    let slots = slots.into_iter().filter(|(length, _)| *length > 0);
    Arc::new(CycleTimes { start: None, slots: slots.map(|(length, slot)| (length, Some(slot))).collect() })
}

impl CycleTimes {
    /// The slot that is on at `time`, and when it ends.
    fn slot(&self, start: u64, time: u64) -> Option<(usize, u64)> {
        let period = self.slots.iter().map(|(length, _)| *length).fold(0, u64::saturating_add);
        let elapsed = time.saturating_sub(start);
        let mut end = start.saturating_add(elapsed - elapsed.checked_rem(period)?);
        self.slots.iter().enumerate().find_map(|(index, (length, _))| {
            end = end.saturating_add(*length);
            (time < end).then_some((index, end))
        })
    }

    fn with(&self, start: u64, index: usize, now: Option<Gen>) -> Gen {
        let mut slots = self.slots.clone();
        slots[index].1 = now;
        Arc::new(Self { start: Some(start), slots })
    }
}

impl Generator for CycleTimes {
    fn op(&self, context: &Context<'_>) -> Step {
        if self.slots.iter().all(|(_, slot)| slot.is_none()) {
            return Step::Done;
        }
        let start = self.start.unwrap_or(context.time);
        let Some((index, end)) = self.slot(start, context.time) else {
            return Step::Done;
        };
        let begun = || self.start.is_none().then(|| self.with(start, index, self.slots[index].1.clone()));
        let wait = |until: Option<u64>, next| {
            Step::Pending(Wait { until: Some(until.map_or(end, |until| until.min(end))), next })
        };
        let Some(current) = &self.slots[index].1 else {
            return wait(None, begun());
        };
        match current.op(context) {
            Step::Done => {
                let others = self.slots.iter().enumerate().any(|(i, (_, slot))| i != index && slot.is_some());
                if others { wait(None, Some(self.with(start, index, None))) } else { Step::Done }
            }
            Step::Pending(Wait { until, next }) => {
                wait(until, next.map(|next| self.with(start, index, Some(next))).or_else(begun))
            }
            Step::Op(op, next) if op.time <= context.time => {
                Step::Op(op, self.with(start, index, Some(next)))
            }
            Step::Op(op, next) => match begun() {
                None if op.time < end => Step::Op(op, self.with(start, index, Some(next))),
                begun => wait(Some(op.time), begun),
            },
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let mut slots: Option<Vec<(u64, Option<Gen>)>> = None;
        for (index, (_, slot)) in self.slots.iter().enumerate() {
            if let Some(now) = slot.as_ref().and_then(|slot| slot.update(context, worker, event)) {
                slots.get_or_insert_with(|| self.slots.clone())[index].1 = Some(now);
            }
        }
        slots.map(|slots| -> Gen { Arc::new(Self { start: self.start, slots }) })
    }
}
