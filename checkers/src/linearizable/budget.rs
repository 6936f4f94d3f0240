//! How long and with how much memory an engine may search.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The limits of one search.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// When to stop, and the whole time that was granted, for the message.
    pub deadline: Option<(Instant, Duration)>,
    /// Bytes of configurations one search may hold.
    pub bytes: usize,
    /// Configurations one search may visit. Unlike a time it is the same on every machine.
    pub visits: u64,
    /// Set by somebody who does not need the answer any more.
    pub cancelled: Option<Arc<AtomicBool>>,
}

/// The limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    Time,
    Memory,
    Visits,
    /// The engine does not decide objects of this kind.
    Unsuited,
    /// More operations were open at once than the engine can hold.
    Width,
    /// Somebody called it off.
    Cancelled,
}

impl Budget {
    /// No limit.
    pub const UNLIMITED: Self = Self { deadline: None, bytes: usize::MAX, visits: u64::MAX, cancelled: None };

    /// Half of the time and of the visits that are left.
    pub fn half(self) -> Self {
        let deadline = self.deadline.map(|(deadline, granted)| {
            let left = deadline.saturating_duration_since(Instant::now());
            (deadline - left / 2, granted)
        });
        Self { deadline, visits: self.visits / 2, ..self }
    }

    /// Only the count of visits is limited.
    pub fn visits(visits: u64) -> Self {
        Self { visits, ..Self::UNLIMITED }
    }
}

/// Counts against a budget. Looking at the clock costs as much as a small step, so it is done now and then only.
pub(crate) struct Meter {
    budget: Budget,
    visits: u64,
    next_look: u64,
}

/// Visits between two looks at the clock.
const LOOK_EVERY: u64 = 1024;

impl Meter {
    pub fn new(budget: Budget) -> Self {
        Self { budget, visits: 0, next_look: 0 }
    }

    /// Notes that so many more configurations were visited and so many bytes are held.
    pub fn spend(&mut self, visits: usize, bytes: usize) -> Result<(), Exhausted> {
        self.visits += visits as u64;
        if bytes > self.budget.bytes {
            return Err(Exhausted::Memory);
        }
        if self.visits > self.budget.visits {
            return Err(Exhausted::Visits);
        }
        if self.visits >= self.next_look {
            self.next_look = self.visits + LOOK_EVERY;
            return self.look();
        }
        Ok(())
    }

    /// Looks at the clock, and whether the answer is still wanted.
    pub fn look(&self) -> Result<(), Exhausted> {
        if self.budget.cancelled.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(Exhausted::Cancelled);
        }
        if self.budget.deadline.is_some_and(|(deadline, _)| Instant::now() >= deadline) {
            return Err(Exhausted::Time);
        }
        Ok(())
    }

    /// Bytes that may be held.
    pub fn bytes(&self) -> usize {
        self.budget.bytes
    }

    /// Configurations visited so far.
    pub fn visited(&self) -> u64 {
        self.visits
    }
}
