//! The client threads and what becomes of those that clients block.

use std::collections::VecDeque;
use std::sync::Arc;

use super::SchedulerError;
use super::clients::{ClientThread, Job, Setup};

/// How many threads may be lost to clients that block before it is given up: each takes memory and never ends.
const THREADS_LOST_MAX: usize = 256;

/// The client threads. A thread lost to a blocking client is replaced by one with a number of its own.
pub(super) struct Threads {
    setup: Arc<Setup>,
    threads: Vec<ClientThread>,
    numbers: Vec<u64>,
    lost: usize,
}

impl Threads {
    pub(super) fn start(setup: Arc<Setup>, count: usize) -> Result<Self, SchedulerError> {
        let threads = (0..count).map(|_| ClientThread::start(Arc::clone(&setup)));
        let threads = threads.collect::<Result<Vec<_>, _>>().map_err(SchedulerError::Thread)?;
        Ok(Self { setup, threads, numbers: (0..count as u64).collect(), lost: 0 })
    }

    pub(super) fn len(&self) -> usize {
        self.threads.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, ClientThread> {
        self.threads.iter()
    }

    /// A worker's thread is about to get work.
    pub(super) fn announce(&self, worker: usize) {
        self.threads[self.place(worker)].announce();
    }

    /// Which of the threads a worker's client lives on.
    pub(super) fn place(&self, worker: usize) -> usize {
        worker % self.threads.len()
    }

    /// The number of the thread a worker's client lives on now.
    pub(super) fn current(&self, worker: usize) -> u64 {
        self.numbers[self.place(worker)]
    }

    /// Replaces a thread. Returns what the old one had not begun.
    pub(super) fn replace(&mut self, place: usize) -> Result<VecDeque<Job>, SchedulerError> {
        self.lost += 1;
        if self.lost > THREADS_LOST_MAX {
            return Err(SchedulerError::ClientsBlock(self.lost));
        }
        let fresh = ClientThread::start(Arc::clone(&self.setup)).map_err(SchedulerError::Thread)?;
        let unstarted = self.threads[place].reclaim();
        self.threads[place] = fresh;
        self.numbers[place] = self.threads.len() as u64 + self.lost as u64;
        Ok(unstarted)
    }
}
