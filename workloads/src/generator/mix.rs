//! A random mixture.

use std::sync::Arc;

use schism_history::{Event, Random};

use super::survey::Survey;
use super::{Context, Gen, Generator, Step, nothing};
use crate::op::Worker;

struct Mix {
    random: Random,
    branches: Vec<(u64, Gen)>,
}

/// Each operation from one of `branches`, chosen at random by weight. Where the chosen one has nothing for right now the
/// others are asked as well, in random order, so that one that waits never stalls the rest. A branch of weight 0 is
/// left out. All hear of every event.
pub fn mix(random: Random, branches: impl IntoIterator<Item = (u64, Gen)>) -> Gen {
    let branches: Vec<_> = branches.into_iter().filter(|(weight, _)| *weight > 0).collect();
    if branches.is_empty() { nothing() } else { Arc::new(Mix { random, branches }) }
}

impl Mix {
    /// Takes an index out of `left` with the weight of its branch.
    fn draw(&self, left: &mut Vec<usize>, random: &mut Random) -> Option<usize> {
        let weight = |index: &usize| self.branches[*index].0;
        let total = left.iter().map(weight).fold(0, u64::saturating_add);
        let mut ticket = random.below(total);
        let place = left.iter().position(|index| {
            let hit = ticket < weight(index);
            ticket = ticket.saturating_sub(weight(index));
            hit
        })?;
        Some(left.remove(place))
    }
}

impl Generator for Mix {
    fn op(&self, context: &Context<'_>) -> Step {
        let mut random = self.random;
        let mut left: Vec<usize> = (0..self.branches.len()).collect();
        let mut survey = Survey::new();
        while let Some(index) = self.draw(&mut left, &mut random) {
            if survey.ask(index, &self.branches[index].1, context) {
                break;
            }
        }
        survey.answer(context, |changes| {
            let mut branches: Vec<_> = self.branches.iter().cloned().map(Some).collect();
            changes.each(|index, now| {
                let weight = self.branches[index].0;
                branches[index] = now.map(|now| (weight, now));
            });
            Arc::new(Self { random, branches: branches.into_iter().flatten().collect() })
        })
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let mut branches: Option<Vec<(u64, Gen)>> = None;
        for (index, (_, branch)) in self.branches.iter().enumerate() {
            if let Some(now) = branch.update(context, worker, event) {
                branches.get_or_insert_with(|| self.branches.clone())[index].1 = now;
            }
        }
        branches.map(|branches| -> Gen { Arc::new(Self { random: self.random, branches }) })
    }
}
