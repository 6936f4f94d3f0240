//! A generator that reacts to events in its own way.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

type React = dyn Fn(&Gen, &Context<'_>, Worker, &Event) -> Option<Gen> + Send + Sync;

struct OnUpdate {
    react: Arc<React>,
    inner: Gen,
}

/// `inner`, except that events go to `react`, which gets the inner generator and returns its successor (`None`: as it
/// was). To let the inner one hear of the event as well, `react` passes it on.
pub fn on_update(
    react: impl Fn(&Gen, &Context<'_>, Worker, &Event) -> Option<Gen> + Send + Sync + 'static,
    inner: Gen,
) -> Gen {
    Arc::new(OnUpdate { react: Arc::new(react), inner })
}

impl OnUpdate {
    fn with(&self, inner: Gen) -> Gen {
        Arc::new(Self { react: Arc::clone(&self.react), inner })
    }
}

impl Generator for OnUpdate {
    fn op(&self, context: &Context<'_>) -> Step {
        self.inner.op(context).map_next(|next| self.with(next))
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        Some(self.with((self.react)(&self.inner, context, worker, event)?))
    }
}
