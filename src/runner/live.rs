//! What a person sees while the run goes on: one live line on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use schism_history::{Event, Kind, Process};

use crate::scheduler::Observer;

/// A terminal's line is drawn this often.
const TERMINAL_PERIOD: Duration = Duration::from_millis(250);
/// A plain line is printed this often.
const PLAIN_PERIOD: Duration = Duration::from_secs(5);

/// Counts since the start, and latencies since the last line. Shared between the scheduler's thread and the printer.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Counts>>);

struct Counts {
    ok: u64,
    fail: u64,
    info: u64,
    latency_micros: Histogram<u64>,
    in_force: Vec<(String, String)>,
    phase: &'static str,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            ok: 0,
            fail: 0,
            info: 0,
            // Three digits over 1 µs to 1 h cannot be refused.
            latency_micros: Histogram::new_with_bounds(1, 3_600_000_000, 3)
                .unwrap_or_else(|error| unreachable!("fixed bounds: {error}")),
            in_force: Vec::new(),
            phase: "starting",
        }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts stay meaningful when a thread panicked in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the run is doing, for the line.
    pub fn phase(&self, phase: &'static str) {
        self.lock().phase = phase;
    }

    /// A fault is in force from now on.
    pub fn fault(&self, id: &str, what: &str) {
        self.lock().in_force.push((id.to_owned(), what.to_owned()));
    }

    /// It is gone.
    pub fn healed(&self, id: &str) {
        self.lock().in_force.retain(|(other, _)| other != id);
    }

    /// The line for now; `since` is the time since the last line, `before` the number of completions then.
    fn line(&self, elapsed: Duration, since: Duration, before: &mut u64) -> String {
        let mut counts = self.lock();
        let done = counts.ok + counts.fail + counts.info;
        let rate = (done - *before) as f64 / since.as_secs_f64().max(0.001);
        *before = done;
        let p99 = counts.latency_micros.value_at_quantile(0.99) as f64 / 1000.0;
        counts.latency_micros.reset();
        let faults = if counts.in_force.is_empty() {
            "no fault".to_owned()
        } else {
            counts.in_force.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>().join("; ")
        };
        format!(
            "{:6.1} s  {}  {rate:6.0} ops/s  ok {} fail {} info {}  p99 {p99:.1} ms  {faults}",
            elapsed.as_secs_f64(),
            counts.phase,
            counts.ok,
            counts.fail,
            counts.info
        )
    }
}

impl Observer for Live {
    fn event(&mut self, event: &Event, invoked: Option<u64>) {
        if event.process == Process::Nemesis || event.kind == Kind::Invoke {
            return;
        }
        let mut counts = self.lock();
        match event.kind {
            Kind::Ok => counts.ok += 1,
            Kind::Fail => counts.fail += 1,
            Kind::Info => counts.info += 1,
            Kind::Invoke => {}
        }
        if let Some(invoked) = invoked {
            counts.latency_micros.saturating_record((event.time.saturating_sub(invoked) / 1000).max(1));
        }
    }
}

/// Prints the line until dropped.
pub struct Printer {
    task: tokio::task::JoinHandle<()>,
    terminal: bool,
}

impl Printer {
    /// Starts printing to stderr; nothing at all when `quiet`.
    pub fn start(live: Live, quiet: bool) -> Option<Self> {
        if quiet {
            return None;
        }
        let terminal = io::stderr().is_terminal();
        let period = if terminal { TERMINAL_PERIOD } else { PLAIN_PERIOD };
        let start = Instant::now();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            let mut last = start;
            let mut before = 0;
            loop {
                ticks.tick().await;
                let now = Instant::now();
                let line = live.line(now - start, now - last, &mut before);
                last = now;
                let mut stderr = io::stderr().lock();
                // A closed stderr stops nobody's run.
                let _ = if terminal {
                    write!(stderr, "\r{}\x1b[K", clip(&line, columns())).and_then(|()| stderr.flush())
                } else {
                    writeln!(stderr, "{line}")
                };
            }
        });
        Some(Self { task, terminal })
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.task.abort();
        if self.terminal {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// Cuts a line to the terminal's width, so that drawing it again replaces it.
fn clip(line: &str, columns: usize) -> String {
    line.chars().take(columns.saturating_sub(1)).collect()
}

/// The terminal's width; 80 where it does not say.
fn columns() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(process: u64, kind: Kind, time: u64) -> Event {
        Event {
            index: 0,
            time,
            process: Process::Client(process),
            kind,
            f: "read".into(),
            key: None,
            value: serde_json::Value::Null,
            node: None,
            error: None,
            extra: serde_json::Map::new(),
        }
    }

    #[test]
    fn the_line_counts_since_the_start_and_rates_since_the_last() {
        let mut live = Live::default();
        live.phase("load");
        for (process, kind) in [(0, Kind::Ok), (1, Kind::Fail), (2, Kind::Info), (3, Kind::Ok)] {
            live.event(&event(process, Kind::Invoke, 0), None);
            live.event(&event(process, kind, 5_000_000), Some(0));
        }
        live.fault("kill-1", "kill n2");
        let mut before = 0;
        let line = live.line(Duration::from_secs(2), Duration::from_secs(2), &mut before);
        assert!(line.contains("2 ops/s  ok 2 fail 1 info 1  p99 5.0 ms  kill n2"), "{line}");
        live.healed("kill-1");
        let line = live.line(Duration::from_secs(3), Duration::from_secs(1), &mut before);
        assert!(line.contains(" 0 ops/s  ok 2 fail 1 info 1  p99 0.0 ms  no fault"), "{line}");
    }
}
