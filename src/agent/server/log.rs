//! The agent's log: JSON lines on stderr, which must never hold the agent up.
//!
//! A pipe that nobody reads fills up and then blocks whoever writes to it; so a thread writes, and when it is behind, lines
//! are dropped and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait at most.
const LINES_MAX: usize = 1024;
/// How long the last lines may take.
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

static QUEUE: OnceLock<SyncSender<Item>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Starts to log. `SCHISM_LOG` filters as `RUST_LOG` does elsewhere; `info` without it.
pub fn start() {
    let (sender, receiver) = sync_channel(LINES_MAX);
    if QUEUE.set(sender).is_err() {
        return;
    }
    std::thread::spawn(move || write(&receiver));
    let filter = EnvFilter::try_from_env("SCHISM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails when this process logs elsewhere already, which is as good.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(Queue).try_init();
}

/// Waits, but not for long, until everything so far is written.
pub fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, wait) = sync_channel(1);
    if queue.try_send(Item::Flush(done)).is_ok()
        && wait.recv_timeout(FLUSH_PATIENCE) == Err(RecvTimeoutError::Timeout)
    {
        // Nobody reads it: there is nobody to tell.
    }
}

fn write(lines: &Receiver<Item>) {
    let mut stderr = io::stderr();
    while let Ok(item) = lines.recv() {
        match item {
            Item::Line(line) => {
                let dropped = DROPPED.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    let _ = writeln!(
                        stderr,
                        r#"{{"level":"WARN","fields":{{"message":"{dropped} lines dropped"}}}}"#
                    );
                }
                let _ = stderr.write_all(&line);
            }
            Item::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

struct Queue;

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let sent = QUEUE.get().is_some_and(|queue| queue.try_send(Item::Line(line.to_vec())).is_ok());
        if !sent {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
