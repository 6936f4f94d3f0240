//! Makes what was written durable, in the background, so that the scheduler never waits for a disk.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The time between the starts of two syncs: half of the 100 ms within which a flushed line must be durable, since a
/// line that just missed one sync has to wait for the next.
const INTERVAL: Duration = Duration::from_millis(50);

/// A thread that syncs a file soon after it became dirty, at most once per [`INTERVAL`].
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    dirty: bool,
    closing: bool,
    /// The first sync that failed. The kernel may have dropped the pages it could not write, so a later success says
    /// nothing: the failure is final.
    failure: Option<Failure>,
}

/// `io::Error` cannot be cloned, and the same failure is reported more than once.
struct Failure {
    kind: io::ErrorKind,
    message: String,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if something did, the flags would still be sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn result(&self) -> io::Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(failure) => Err(io::Error::new(failure.kind, failure.message.clone())),
        }
    }
}

impl Syncer {
    /// Starts the thread. `sync` makes everything written so far durable, as `File::sync_data` does.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(sync: impl FnMut() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
        let thread = std::thread::Builder::new().name("history-sync".into()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, sync)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Something was written: it will be durable soon.
    ///
    /// # Errors
    /// An earlier sync failed.
    pub fn mark_dirty(&self) -> io::Result<()> {
        let mut state = self.shared.lock();
        if !state.dirty {
            state.dirty = true;
            self.shared.changed.notify_one();
        }
        state.result()
    }

    /// Syncs what is dirty, now, and ends the thread. A second call only repeats the answer.
    ///
    /// # Errors
    /// Any sync failed, this one or an earlier one.
    pub fn close(&mut self) -> io::Result<()> {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            return Err(io::Error::other("the thread that makes the history durable panicked"));
        }
        self.shared.lock().result()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.close();
    }
}

fn run(shared: &Shared, mut sync: impl FnMut() -> io::Result<()>) {
    loop {
        let mut state = shared.lock();
        while !state.dirty && !state.closing {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.dirty {
            return;
        }
        // Cleared before the sync: what is written from now on may miss it.
        state.dirty = false;
        drop(state);
        let started = Instant::now();
        let result = sync();
        let mut state = shared.lock();
        if let Err(error) = result
            && state.failure.is_none()
        {
            let message = format!("the history could not be made durable: {error}");
            state.failure = Some(Failure { kind: error.kind(), message });
        }
        while !state.closing {
            let Some(rest) = INTERVAL.checked_sub(started.elapsed()).filter(|rest| !rest.is_zero()) else {
                break;
            };
            state = shared.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn each_change_is_synced_without_close_and_not_more_often_than_the_interval() {
        let (done, synced) = mpsc::channel();
        let syncer = Syncer::start(move || done.send(Instant::now()).map_err(io::Error::other)).unwrap();
        let mut previous: Option<Instant> = None;
        for _ in 0..3 {
            syncer.mark_dirty().unwrap();
            // Generous, for a busy machine: what matters is that it happens at all without another call.
            let at = synced.recv_timeout(Duration::from_secs(20)).unwrap();
            if let Some(previous) = previous {
                assert!(at.duration_since(previous) >= INTERVAL - Duration::from_millis(5));
            }
            previous = Some(at);
        }
        drop(syncer);
        assert!(synced.try_recv().is_err(), "a clean file is not synced");
    }

    #[test]
    fn a_failure_is_reported_at_the_next_change_and_again_at_close() {
        let (done, synced) = mpsc::channel();
        let mut first = true;
        let mut syncer = Syncer::start(move || {
            let _ = done.send(());
            if std::mem::take(&mut first) { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
        })
        .unwrap();
        syncer.mark_dirty().unwrap();
        // The second sync begins only after the outcome of the first is stored.
        while synced.try_recv().is_err() {
            std::thread::yield_now();
        }
        let error = loop {
            match syncer.mark_dirty() {
                Ok(()) => std::thread::yield_now(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(syncer.close().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
