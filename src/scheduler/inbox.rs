//! Completions on their way from the clients' threads to the scheduler's.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use schism_workloads::{Outcome, Worker};

/// An operation has ended.
pub(super) struct Completion {
    /// Index of its invocation, or of the nemesis operation's first event.
    pub ticket: u64,
    /// Who carried it out.
    pub worker: Worker,
    /// Nanoseconds since the start of the run, read right after the answer arrived.
    pub time: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Records what waits on the calling thread, if the scheduler sleeps.
pub(super) trait Recorder: Send + Sync {
    /// Whether everything that waited when this was called is recorded, and the scheduler may sleep on.
    fn record(&self) -> bool;
}

/// Who takes care of completions.
struct Scheduler {
    thread: Thread,
    recorder: Weak<dyn Recorder>,
}

#[derive(Default)]
struct Waiting {
    completions: Vec<Completion>,
    scheduler: Option<Arc<Scheduler>>,
}

/// Many senders, one receiver; it takes all there is under one lock.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    /// How many completions wait, for looking without the lock.
    count: AtomicUsize,
    /// Time of the completion that filled it last.
    filled_at: AtomicU64,
}

/// The longest time to watch for an answer before going to sleep. Handing the processor over and back takes about as
/// long, so watching costs no more than it saves; and it is done only while answers do come that fast.
pub(super) const SPIN_MAX: Duration = Duration::from_micros(50);

/// The longest time for which an answer waits for company: about what ten clients need that answer at once.
const GATHER_MAX: Duration = Duration::from_micros(8);

impl Inbox {
    /// Messages wake the calling thread from now on, unless `recorder` can do without it.
    pub(super) fn attach(&self, recorder: Weak<dyn Recorder>) {
        let thread = std::thread::current();
        self.lock().scheduler = Some(Arc::new(Scheduler { thread, recorder }));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a completion, and sees to it that it is recorded: here, or by the scheduler, which is woken.
    pub(super) fn send(&self, completion: Completion) {
        let mut waiting = self.lock();
        let first = waiting.completions.is_empty();
        if first {
            self.filled_at.store(completion.time, Ordering::Relaxed);
        }
        waiting.completions.push(completion);
        // Whoever found it empty takes everything, or has woken the scheduler, which does so before it sleeps again.
        let sleeper = if first { waiting.scheduler.clone() } else { None };
        self.count.store(waiting.completions.len(), Ordering::Release);
        drop(waiting);
        if let Some(sleeper) = sleeper
            && !sleeper.recorder.upgrade().is_some_and(|recorder| recorder.record())
        {
            sleeper.thread.unpark();
        }
    }

    /// Time of the first completion that waits.
    pub(super) fn filled_at(&self) -> Option<u64> {
        self.filled().then(|| self.filled_at.load(Ordering::Relaxed))
    }

    /// Moves everything that waits into `into`, which must be empty.
    pub(super) fn take(&self, into: &mut Vec<Completion>) {
        if self.filled() {
            let mut waiting = self.lock();
            std::mem::swap(&mut waiting.completions, into);
            self.count.store(0, Ordering::Release);
        }
    }

    fn filled(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Waits until something is there, the thread is woken otherwise, or `until` has come. With `watch` it looks for a
    /// moment before it sleeps, and once the first answer is there gives others a chance to join it, up to `company` of them.
    pub(super) fn wait(&self, until: Option<Instant>, watch: bool, company: usize) {
        let began = Instant::now();
        if watch {
            while began.elapsed() < SPIN_MAX {
                if self.filled() {
                    self.gather(company);
                    return;
                }
                if until.is_some_and(|until| Instant::now() >= until) {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        if self.filled() {
            return;
        }
        match until {
            Some(until) => std::thread::park_timeout(until.saturating_duration_since(Instant::now())),
            None => std::thread::park(),
        }
    }

    /// Answers that come fast come in flocks. Each batch costs a write to the history; one answer at a time would pay it
    /// for each.
    fn gather(&self, company: usize) {
        let began = Instant::now();
        while self.count.load(Ordering::Acquire) < company && began.elapsed() < GATHER_MAX {
            std::hint::spin_loop();
        }
    }
}
