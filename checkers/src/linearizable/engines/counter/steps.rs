//! A count that goes up by ones, and operations that see it: what is behind a counter of equal increments, and behind a log.
//!
//! A *step* takes the count one up. A *rung* is a step that is known to lead to a certain count. A *look* sees a certain count.
//! The steps are jobs of no duration, each with a release (its invocation) and a deadline (its return), and what has been looked at
//! says when the count has to stand where.
//!
//! The sweep over all events is lazy: the count goes up only where it must, at the return of a step not yet taken or of
//! a look not yet reached, and of the plain steps that are open the one with the earliest deadline is taken (Jackson, 1955). The count of
//! this sweep is at every moment the smallest that any order can have. For let a step be forced at time d while plain
//! steps were taken on demand at s, the last time one with a deadline after d was taken: all that were released by s with a deadline up
//! to d were taken by then, so every one taken since was both released and due after s and by d, in any order; and the demand
//! held for any order too. So the sweep fails only where the smallest count is too large already (a look, or a rung whose
//! place is taken, is invoked too late), or where all steps invoked so far are too few. If it does not fail, what it did is an
//! order. A step of unknown outcome has no deadline and is taken on demand only. O(n log n).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::super::call::NEVER;

/// No job, no level.
const NONE: u32 = u32::MAX;

/// What a job does to the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Takes it one up.
    Step,
    /// Takes it one up, to this.
    Rung(u32),
    /// Sees it at this.
    Look(u32),
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub kind: Kind,
    pub invoked: u32,
    pub returned: u32,
}

/// Why there is no order. Numbers are of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Jobs that are impossible together.
    pub pattern: Vec<u32>,
    /// The job at whose return that is certain.
    pub culprit: u32,
}

/// Mistakes to plant, which the tests have to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Take the step with the latest deadline.
    LatestFirst,
    /// Take a step as soon as it is invoked.
    Eager,
    /// A step of unknown outcome is never taken.
    UnknownIsNever,
    /// A rung's place may be taken by any step.
    RungsAreSteps,
    /// A look is reached only at its own return.
    LookAtReturn,
    /// Amounts that were certainly added count twice.
    CompletesTwice,
}

/// A job that was done, and the job whose return asked for it; [`NONE`]: its own return did.
struct Done {
    job: u32,
    demanded_by: u32,
}

enum Stop {
    /// The count has to be above `limit` before `job` is invoked, which has to find it there or below.
    TooHigh { job: u32, limit: u32, at: u32 },
    /// Too few steps are invoked before the return of the job.
    TooLow { job: u32 },
}

/// The jobs in an order in which they can be done, without the steps of unknown outcome that nothing needs. No two rungs may
/// lead to the same count, and none to 0.
pub(crate) fn order(jobs: &[Job], sabotage: Sabotage) -> Result<Vec<u32>, Failure> {
    let mut sweep = Sweep::new(jobs, sabotage);
    match sweep.run() {
        Ok(()) => Ok(sweep.done.into_iter().map(|done| done.job).collect()),
        Err(stop) => Err(explain(jobs, &sweep.done, &stop)),
    }
}

/// Positions per job up to which a table of all positions is smaller, and faster to make, than a sorted list of the events.
const DENSE: usize = 6;

/// Invocations and returns in their order: the position, and twice the job's number, plus one for a return.
fn events(jobs: &[Job]) -> Vec<(u32, u32)> {
    let mut events = Vec::with_capacity(2 * jobs.len());
    for (number, job) in jobs.iter().enumerate() {
        let event = (number as u32) << 1;
        events.push((job.invoked, event));
        if job.returned != NEVER {
            events.push((job.returned, event | 1));
        }
    }
    let end = events.iter().map(|event| event.0).max().unwrap_or(0) as usize;
    if end > DENSE * jobs.len() {
        events.sort_unstable();
        return events;
    }
    let mut table = vec![NONE; end + 1];
    for (at, event) in &events {
        table[*at as usize] = *event;
    }
    events.clear();
    let taken = table.iter().enumerate().filter(|(_, event)| **event != NONE);
    events.extend(taken.map(|(at, event)| (at as u32, *event)));
    events
}

struct Sweep<'j> {
    jobs: &'j [Job],
    sabotage: Sabotage,
    count: u32,
    /// By the count it leads to.
    rungs: Vec<u32>,
    /// By the count they wait for: the first of the looks that are open, and for each the next one.
    waiting: Vec<u32>,
    next: Vec<u32>,
    /// Plain steps that are open and not taken, the earliest deadline first.
    open: BinaryHeap<Reverse<(u32, u32)>>,
    is_done: Vec<bool>,
    is_open: Vec<bool>,
    done: Vec<Done>,
}

impl<'j> Sweep<'j> {
    fn new(jobs: &'j [Job], sabotage: Sabotage) -> Self {
        let steps = jobs.iter().filter(|job| !matches!(job.kind, Kind::Look(_))).count();
        let mut rungs = vec![NONE; steps + 2];
        for (number, job) in jobs.iter().enumerate() {
            if let Kind::Rung(level) = job.kind
                && level as usize <= steps
                && sabotage != Sabotage::RungsAreSteps
            {
                rungs[level as usize] = number as u32;
            }
        }
        Self {
            jobs,
            sabotage,
            count: 0,
            rungs,
            waiting: vec![NONE; steps + 2],
            next: vec![NONE; jobs.len()],
            open: BinaryHeap::new(),
            is_done: vec![false; jobs.len()],
            is_open: vec![false; jobs.len()],
            done: Vec::with_capacity(jobs.len()),
        }
    }

    fn run(&mut self) -> Result<(), Stop> {
        for (at, event) in events(self.jobs) {
            let number = event >> 1;
            match event & 1 {
                0 => self.invoke(number, at)?,
                _ => self.complete(number, at)?,
            }
        }
        Ok(())
    }

    fn invoke(&mut self, number: u32, at: u32) -> Result<(), Stop> {
        let job = self.jobs[number as usize];
        self.is_open[number as usize] = true;
        match job.kind {
            Kind::Look(level) if level < self.count => {
                return Err(Stop::TooHigh { job: number, limit: level, at });
            }
            Kind::Look(level) if level == self.count => {
                if self.sabotage == Sabotage::LookAtReturn {
                    return Ok(());
                }
                self.finish(number, NONE);
            }
            Kind::Look(level) => {
                // A level that there are not steps enough for is found out at the return.
                if let Some(first) = self.waiting.get_mut(level as usize) {
                    self.next[number as usize] = *first;
                    *first = number;
                }
            }
            Kind::Step if job.returned == NEVER && self.sabotage == Sabotage::UnknownIsNever => {}
            Kind::Step => {
                self.open.push(Reverse((self.urgency(job.returned), number)));
                if self.sabotage == Sabotage::Eager {
                    self.raise(self.count + 1, number, at)?;
                }
            }
            Kind::Rung(_) => {}
        }
        Ok(())
    }

    fn urgency(&self, deadline: u32) -> u32 {
        if self.sabotage == Sabotage::LatestFirst { u32::MAX - deadline } else { deadline }
    }

    fn complete(&mut self, number: u32, at: u32) -> Result<(), Stop> {
        if self.is_done[number as usize] {
            return Ok(());
        }
        match self.jobs[number as usize].kind {
            Kind::Look(level) => self.raise(level, number, at)?,
            Kind::Rung(level) if self.sabotage == Sabotage::RungsAreSteps => {
                self.raise(level.saturating_sub(1), number, at)?;
                self.climb(number, NONE);
            }
            // One whose level is out of reach has no place, and the steps do not suffice to get below it either.
            Kind::Rung(level) if level as usize >= self.rungs.len() - 1 => {
                self.raise(level - 1, number, at)?;
                return Err(Stop::TooLow { job: number });
            }
            Kind::Rung(level) => self.raise(level, number, at)?,
            Kind::Step => {
                self.climb_rungs(number, at)?;
                // It is the most urgent: all with an earlier deadline have returned.
                self.open.pop();
                self.climb(number, NONE);
            }
        }
        Ok(())
    }

    /// Takes the rungs that come next, up to a count that a plain step can lead to.
    fn climb_rungs(&mut self, forced: u32, at: u32) -> Result<(), Stop> {
        while let Some(rung) = self.rung_ahead() {
            if !self.is_open[rung as usize] {
                // The forced one is as good as taken: there is no place for it below.
                self.done.push(Done { job: forced, demanded_by: NONE });
                return Err(Stop::TooHigh { job: rung, limit: self.count, at });
            }
            self.climb(rung, forced);
        }
        Ok(())
    }

    fn rung_ahead(&self) -> Option<u32> {
        self.rungs.get(self.count as usize + 1).copied().filter(|rung| *rung != NONE)
    }

    fn raise(&mut self, level: u32, demanded_by: u32, at: u32) -> Result<(), Stop> {
        while self.count < level {
            match self.rung_ahead() {
                Some(rung) if self.is_open[rung as usize] => self.climb(rung, demanded_by),
                Some(rung) => return Err(Stop::TooHigh { job: rung, limit: self.count, at }),
                None => match self.open.pop() {
                    Some(Reverse((_, step))) => self.climb(step, demanded_by),
                    None => return Err(Stop::TooLow { job: demanded_by }),
                },
            }
        }
        Ok(())
    }

    fn climb(&mut self, step: u32, demanded_by: u32) {
        self.finish(step, demanded_by);
        self.count += 1;
        let Some(first) = self.waiting.get_mut(self.count as usize) else { return };
        let mut look = std::mem::replace(first, NONE);
        if self.sabotage == Sabotage::LookAtReturn {
            return;
        }
        while look != NONE {
            self.finish(look, NONE);
            look = self.next[look as usize];
        }
    }

    fn finish(&mut self, job: u32, demanded_by: u32) {
        if !self.is_done[job as usize] {
            self.is_done[job as usize] = true;
            self.done.push(Done { job, demanded_by });
        }
    }
}

fn explain(jobs: &[Job], done: &[Done], stop: &Stop) -> Failure {
    match *stop {
        Stop::TooHigh { job, limit, at } => {
            let pattern = too_high(jobs, done, job, limit, at);
            let returned = |job: &u32| jobs[*job as usize].returned;
            let culprit = pattern.iter().copied().filter(|job| returned(job) != NEVER).max_by_key(returned);
            Failure { culprit: culprit.unwrap_or(job), pattern }
        }
        Stop::TooLow { job } => too_low(jobs, job),
    }
}

/// Why the count has to be above `limit` by `at`, although `job`, which is invoked then or later, has to find it there or below:
/// somebody saw it above, or somebody saw it at some count and more steps than there is place for were taken entirely after that.
fn too_high(jobs: &[Job], done: &[Done], job: u32, limit: u32, at: u32) -> Vec<u32> {
    let level = |number: u32| match jobs[number as usize].kind {
        Kind::Step => None,
        Kind::Rung(level) | Kind::Look(level) => Some(level),
    };
    let seen_above = (0..jobs.len() as u32)
        .filter(|other| jobs[*other as usize].returned <= at && level(*other) > Some(limit))
        .min_by_key(|other| jobs[*other as usize].returned);
    if let Some(above) = seen_above {
        return vec![above, job];
    }
    let is_step = |done: &&Done| jobs[done.job as usize].kind == Kind::Step;
    let since = done.iter().rposition(|done| {
        is_step(&done) && done.demanded_by != NONE && jobs[done.job as usize].returned > at
    });
    let (floor, mut pattern) = match since.map(|place| done[place].demanded_by) {
        Some(demand) => (level(demand).unwrap_or(0), vec![demand]),
        None => (0, Vec::new()),
    };
    let rungs = (0..jobs.len() as u32).filter(
        |other| matches!(jobs[*other as usize].kind, Kind::Rung(level) if floor < level && level <= limit),
    );
    pattern.extend(rungs);
    pattern.push(job);
    let since_released = match pattern.first().filter(|_| since.is_some()) {
        Some(demand) => jobs[*demand as usize].returned,
        None => 0,
    };
    let between = done.iter().filter(is_step).map(|done| done.job).filter(|step| {
        let step = jobs[*step as usize];
        step.returned <= at && (since.is_none() || step.invoked > since_released)
    });
    // Each place up to the limit, and one more.
    let places = (limit - floor) as usize + 1;
    let steps = places.saturating_sub(pattern.len() - 1 - usize::from(since.is_some()));
    pattern.extend(between.take(steps));
    pattern.sort_unstable();
    pattern.dedup();
    pattern
}

/// Why the steps do not suffice for `job`: all there are. Those which lead further up do not help it, but that is
/// known only when they have returned.
fn too_low(jobs: &[Job], job: u32) -> Failure {
    let end = jobs[job as usize].returned;
    let own = match jobs[job as usize].kind {
        Kind::Rung(level) | Kind::Look(level) => level,
        Kind::Step => 0,
    };
    let mut pattern = vec![job];
    let mut culprit = job;
    for (number, other) in jobs.iter().enumerate().filter(|(_, other)| other.invoked < end) {
        match other.kind {
            Kind::Look(_) => continue,
            Kind::Rung(level) if level > own && other.returned != NEVER => {
                if other.returned > jobs[culprit as usize].returned {
                    culprit = number as u32;
                }
            }
            Kind::Rung(_) | Kind::Step => {}
        }
        pattern.push(number as u32);
    }
    pattern.sort_unstable();
    pattern.dedup();
    Failure { pattern, culprit }
}
