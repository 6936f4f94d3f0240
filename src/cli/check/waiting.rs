//! What a person sees on a terminal while a long check goes on.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schism_checkers::Progress;

/// Checks that are over by then show nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line is written again.
const EVERY: Duration = Duration::from_millis(250);

/// The line; it goes away when this is dropped.
pub(super) struct Waiting {
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Waiting {
    /// Shows nothing unless standard error is a terminal.
    pub(super) fn start(name: &str, progress: Arc<Progress>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { thread: None };
        }
        let name = name.to_owned();
        let (stop, stopped) = mpsc::channel();
        let began = Instant::now();
        let work = move || {
            let mut pause = PATIENCE;
            let mut shown = false;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = EVERY;
                shown = true;
                let line = line(&name, progress.get(), began.elapsed());
                let _ = write!(std::io::stderr(), "\r\u{1b}[K{line}");
            }
            if shown {
                let _ = write!(std::io::stderr(), "\r\u{1b}[K");
            }
        };
        let thread = std::thread::Builder::new().name("waiting".to_owned()).spawn(work).ok();
        Self { thread: thread.map(|thread| (stop, thread)) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn line(name: &str, (done, total): (u64, u64), elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match (done * 100).checked_div(total) {
        None => format!("{name}: reading, {seconds} s"),
        Some(percent) => {
            format!("{name}: checking, {percent} % of {total} operations decided, {seconds} s")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_goes_on_and_how_far_it_is() {
        let time = Duration::from_millis(2900);
        assert_eq!(line("a.edn", (0, 0), time), "a.edn: reading, 2 s");
        assert_eq!(line("a.edn", (512, 1024), time), "a.edn: checking, 50 % of 1024 operations decided, 2 s");
    }
}
