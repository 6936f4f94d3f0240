//! What the harness adds to an operation at 5,000 operations a second: from the invocation's timestamp to the client
//! being asked, and from the client's answer to its line having been handed to the operating system. The promise is
//! p50 < 20 µs and p99 < 200 µs for each.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use schism::scheduler::{Config, Scheduler, Sink};
use schism_history::{Event, Kind, Process, Writer};
use schism_units::Rate;
use schism_workloads::generator::limit;
use schism_workloads::register::{RegisterSpec, generator};
use schism_workloads::{BoxFuture, Client, Connector, Dialer, Op, Outcome, Target};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const RATE: u32 = 5_000;
const OPS: u64 = 25_000;
const NODES: usize = 5;
const WORKERS: usize = 20;
/// How long a client takes, as a fast system would.
const LATENCY: Duration = Duration::from_millis(1);

struct Nowhere;

impl Dialer for Nowhere {
    fn dial<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(std::future::pending())
    }
}

/// When each client operation was begun, in the order in which the clients saw them, by key and value.
type Begun = Arc<Mutex<HashMap<String, Vec<u64>>>>;

#[derive(Clone)]
struct Timed {
    origin: Instant,
    begun: Begun,
    /// A client that answers without waiting for anything, or after [`LATENCY`].
    at_once: bool,
}

impl Client for Timed {
    fn invoke<'a>(&'a mut self, op: &'a Op) -> BoxFuture<'a, Outcome> {
        let now = self.origin.elapsed().as_nanos() as u64;
        if op.f == "write" {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            begun.entry(name(op.key.as_ref(), &op.value)).or_default().push(now);
        }
        let at_once = self.at_once;
        Box::pin(async move {
            if !at_once {
                tokio::time::sleep(LATENCY).await;
            }
            Outcome::Ok(op.value.clone())
        })
    }
}

impl Connector for Timed {
    fn client(&self, _: Target) -> Box<dyn Client> {
        Box::new(self.clone())
    }
}

fn name(key: Option<&serde_json::Value>, value: &serde_json::Value) -> String {
    format!("{key:?} {value}")
}

/// The history, and when each completion was flushed.
struct TimedSink {
    writer: Writer,
    origin: Instant,
    waiting: Vec<u64>,
    recorded: Histogram<u64>,
    invocations: Vec<(String, u64)>,
}

impl Sink for TimedSink {
    fn append(&mut self, event: &Event) -> io::Result<()> {
        match event.kind {
            Kind::Invoke if event.f == "write" => {
                self.invocations.push((name(event.key.as_ref(), &event.value), event.time));
            }
            Kind::Ok if event.process != Process::Nemesis => self.waiting.push(event.time),
            _ => {}
        }
        self.writer.append(event)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        let now = self.origin.elapsed().as_nanos() as u64;
        for answered in self.waiting.drain(..) {
            self.recorded.saturating_record(now.saturating_sub(answered));
        }
        Ok(())
    }
}

/// Nanoseconds, up to a minute.
fn histogram() -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
}

fn print(what: &str, histogram: &Histogram<u64>) {
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "{what:<24} p50 {:8.1} µs   p90 {:8.1} µs   p99 {:8.1} µs   p99.9 {:8.1} µs   max {:8.1} µs   ({} samples)",
        micros(0.5),
        micros(0.9),
        micros(0.99),
        micros(0.999),
        histogram.max() as f64 / 1_000.0,
        histogram.len()
    );
}

fn measure(at_once: bool) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let origin = Instant::now();
    let begun = Begun::default();
    let sink = TimedSink {
        writer: Writer::create(&folder.path().join("history.jsonl"))?,
        origin,
        waiting: Vec::new(),
        recorded: histogram()?,
        invocations: Vec::new(),
    };
    let target = |node| Target {
        node: format!("n{node}").into(),
        port: 1,
        dialer: Arc::new(Nowhere),
        deadline: Duration::from_secs(5),
    };
    let config = Config { origin, ..Config::new((1..=NODES).map(target).collect(), WORKERS) };
    let client = Timed { origin, begun: Arc::clone(&begun), at_once };
    let mut scheduler = Scheduler::new(config, sink, Arc::new(client), Arc::new(()), Box::new(()))?;
    let spec = RegisterSpec { rate: Rate::whole(RATE), ..RegisterSpec::default() };
    let load = limit(OPS, generator(&spec, WORKERS, NODES, &["read", "write", "cas"], 42));
    let summary = scheduler.run(load, &CancellationToken::new())?;
    let sink = scheduler.into_sink();

    let mut dispatched = histogram()?;
    let begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, invoked) in &sink.invocations {
        // Values are unique, so there is one.
        if let Some([time]) = begun.get(name).map(Vec::as_slice) {
            dispatched.saturating_record(time.saturating_sub(*invoked));
        }
    }
    let seconds = (summary.finished - summary.began) as f64 / 1e9;
    let clients = if at_once { "clients that answer at once" } else { "clients that take a millisecond" };
    println!("{clients}, {:.0} operations/s", summary.ok as f64 / seconds);
    print("  invoke to dispatch", &dispatched);
    print("  completion to record", &sink.recorded);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    measure(true)?;
    measure(false)
}
