//! Several generators at once.

use std::sync::Arc;

use schism_history::Event;

use super::survey::Survey;
use super::{Context, Gen, Generator, Step, nothing};
use crate::op::Worker;

struct Any {
    branches: Vec<Gen>,
    /// Whom to ask first, so that branches that are always ready take turns.
    first: usize,
}

/// Whatever operation comes soonest from any of `branches`; all of them hear of every event. Done when all are.
pub fn any(branches: impl IntoIterator<Item = Gen>) -> Gen {
    let mut branches: Vec<Gen> = branches.into_iter().collect();
    match branches.len() {
        0 => nothing(),
        1 => branches.swap_remove(0),
        _ => Arc::new(Any { branches, first: 0 }),
    }
}

impl Generator for Any {
    fn op(&self, context: &Context<'_>) -> Step {
        let mut survey = Survey::new();
        let count = self.branches.len();
        for offset in 0..count {
            let index = (self.first + offset) % count;
            survey.ask(index, &self.branches[index], context);
        }
        survey.answer(context, |changes| {
            let mut branches: Vec<Gen> = self.branches.clone();
            let mut first = self.first;
            let mut done = Vec::new();
            changes.each(|index, now| match now {
                Some(now) => {
                    branches[index] = now;
                    first = index + 1;
                }
                None => done.push(index),
            });
            done.sort_unstable();
            for index in done.into_iter().rev() {
                branches.remove(index);
            }
            let first = if branches.is_empty() { 0 } else { first % branches.len() };
            Arc::new(Self { branches, first })
        })
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let mut branches: Option<Vec<Gen>> = None;
        for (index, branch) in self.branches.iter().enumerate() {
            if let Some(now) = branch.update(context, worker, event) {
                branches.get_or_insert_with(|| self.branches.clone())[index] = now;
            }
        }
        branches.map(|branches| -> Gen { Arc::new(Self { branches, first: self.first }) })
    }
}
