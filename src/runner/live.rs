//! What a person sees while the run goes on: one live line on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use schism_checkers::linearizable::live::Finding;
use schism_history::{Event, Kind, Process};
use tokio::sync::Notify;

use crate::scheduler::Observer;

/// A terminal's line is drawn this often.
const TERMINAL_PERIOD: Duration = Duration::from_millis(250);
/// A plain line is printed this often.
const PLAIN_PERIOD: Duration = Duration::from_secs(5);

/// Violations that get a line each; more of them are only counted.
const VIOLATIONS_TOLD: u64 = 3;

/// Counts since the start, and latencies since the last line. Shared between those who know something and the printer.
#[derive(Clone, Default)]
pub struct Live {
    counts: Arc<Mutex<Counts>>,
    /// Wakes the printer: there is news that does not wait for the next line.
    wake: Arc<Notify>,
}

struct Counts {
    ok: u64,
    fail: u64,
    info: u64,
    latency_micros: Histogram<u64>,
    in_force: Vec<(String, String)>,
    violations: u64,
    /// Lines yet to be printed, at most [`VIOLATIONS_TOLD`].
    news: Vec<String>,
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
            violations: 0,
            news: Vec::new(),
            phase: "starting",
        }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts stay meaningful when a thread panicked in between.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A violation is certain.
    pub fn violation(&self, finding: &Finding) {
        let mut counts = self.lock();
        counts.violations += 1;
        if counts.violations <= VIOLATIONS_TOLD {
            let of = match &finding.key {
                Some(key) => format!("key {key}, "),
                None => String::new(),
            };
            counts.news.push(format!("violation found: {of}event {}", finding.index));
            drop(counts);
            self.wake.notify_one();
        }
    }

    /// Lines that have not been printed.
    fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().news)
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
        let violations = match counts.violations {
            0 => String::new(),
            1 => "1 violation  ".to_owned(),
            more => format!("{more} violations  "),
        };
        format!(
            "{:6.1} s  {}  {rate:6.0} ops/s  ok {} fail {} info {}  p99 {p99:.1} ms  {violations}{faults}",
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
    live: Live,
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
        let shown = live.clone();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            // After a pause of this very process (a laptop asleep) one line will do.
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut last = start;
            let mut before = 0;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        let now = Instant::now();
                        let line = live.line(now - start, now - last, &mut before);
                        last = now;
                        draw(&line, terminal);
                    }
                    () = live.wake.notified() => {
                        for line in live.news() {
                            tell(&line, terminal);
                        }
                    }
                }
            }
        });
        Some(Self { task, terminal, live: shown })
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.task.abort();
        if self.terminal {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
        // What came in the last moment.
        for line in self.live.news() {
            tell(&line, self.terminal);
        }
    }
}

/// Prints the line, on a terminal in place of the last one. A closed stderr stops nobody's run.
fn draw(line: &str, terminal: bool) {
    let mut stderr = io::stderr().lock();
    let _ = if terminal {
        write!(stderr, "\r{}\x1b[K", clip(line, columns())).and_then(|()| stderr.flush())
    } else {
        writeln!(stderr, "{line}")
    };
}

/// Prints a line that stays; on a terminal the next line is drawn below it.
fn tell(line: &str, terminal: bool) {
    let clear = if terminal { "\r\x1b[K" } else { "" };
    let _ = writeln!(io::stderr().lock(), "{clear}{line}");
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
        for key in 0..5 {
            live.violation(&Finding {
                key: Some(key.into()),
                part: None,
                index: 10 + key,
                model: "register",
            });
        }
        live.healed("kill-1");
        let line = live.line(Duration::from_secs(3), Duration::from_secs(1), &mut before);
        assert!(line.contains(" 0 ops/s  ok 2 fail 1 info 1  p99 0.0 ms  5 violations  no fault"), "{line}");
        let told = [
            "violation found: key 0, event 10",
            "violation found: key 1, event 11",
            "violation found: key 2, event 12",
        ];
        assert_eq!(live.news(), told);
        assert!(live.news().is_empty(), "each is told once");
    }
}
