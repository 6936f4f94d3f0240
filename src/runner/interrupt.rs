//! Ctrl-C: once stops the load, heals, collects and judges what is there; twice heals and leaves.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::stderr::say;

/// What the person at the keyboard (or the CI that sends `SIGTERM`) wants.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    /// Set by the first signal: stop the load, go on with everything after it.
    pub stop: CancellationToken,
    /// Set by the second signal: heal and leave, judge nothing.
    pub leave: CancellationToken,
    count: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens for `SIGINT`, `SIGTERM` and `SIGHUP` from now on, in the current runtime.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let interrupt = Self::default();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let heard = interrupt.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    heard.hear();
                }
            });
        }
        Ok(interrupt)
    }

    /// One more signal.
    pub fn hear(&self) {
        match self.count.fetch_add(1, Ordering::SeqCst) {
            0 => {
                say("stopping: healing, collecting and judging what is there (once more: heal and leave)");
                tracing::warn!(event = "interrupted", "the load is stopped");
                self.stop.cancel();
            }
            1 => {
                say("leaving: healing first");
                tracing::warn!(event = "interrupted twice", "healing and leaving");
                self.leave.cancel();
            }
            _ => say("still healing: nothing may stay behind on the nodes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_stops_and_twice_leaves() {
        let interrupt = Interrupt::default();
        interrupt.hear();
        assert!(interrupt.stop.is_cancelled() && !interrupt.leave.is_cancelled());
        interrupt.hear();
        assert!(interrupt.leave.is_cancelled());
    }
}
