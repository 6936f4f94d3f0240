//! Clients here, nemesis there.

use std::sync::Arc;

use schism_history::Event;

use super::{Context, Gen, Generator, Step};
use crate::op::Worker;

#[derive(Clone, Copy)]
enum Side {
    Clients,
    Nemesis,
}

struct Route {
    side: Side,
    inner: Gen,
}

/// `inner` sees, and hears of, the client workers only.
pub fn clients(inner: Gen) -> Gen {
    Arc::new(Route { side: Side::Clients, inner })
}

/// `inner` sees, and hears of, the nemesis' lanes only.
pub fn nemesis(inner: Gen) -> Gen {
    Arc::new(Route { side: Side::Nemesis, inner })
}

impl Route {
    fn narrow<'a>(&self, context: &Context<'a>) -> Context<'a> {
        match self.side {
            Side::Clients => context.within(context.free.clients(), context.all.clients()),
            Side::Nemesis => context.within(context.free.nemesis(), context.all.nemesis()),
        }
    }

    fn with(&self, inner: Gen) -> Gen {
        Arc::new(Self { side: self.side, inner })
    }
}

impl Generator for Route {
    fn op(&self, context: &Context<'_>) -> Step {
        self.inner.op(&self.narrow(context)).map_next(|next| self.with(next))
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let ours = match self.side {
            Side::Clients => matches!(worker, Worker::Client(_)),
            Side::Nemesis => matches!(worker, Worker::Nemesis(_)),
        };
        if !ours {
            return None;
        }
        Some(self.with(self.inner.update(&self.narrow(context), worker, event)?))
    }
}
