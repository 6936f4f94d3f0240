//! How fast the scheduler is with clients that do nothing: the register workload's generator, workers, and the history
//! on a real file. The promise is 500,000 operations a second on two cores, from 10 to 1,000 workers.

#![allow(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use schism::scheduler::{Config, Scheduler};
use schism_history::Writer;
use schism_units::Rate;
use schism_workloads::generator::limit;
use schism_workloads::register::{RegisterSpec, generator};
use schism_workloads::{BoxFuture, Client, Connector, Dialer, Gen, Op, Outcome, Target};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Operations in one measurement.
const OPS: u64 = 200_000;
const NODES: usize = 5;

struct Nowhere;

impl Dialer for Nowhere {
    fn dial<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, std::io::Result<TcpStream>> {
        Box::pin(std::future::pending())
    }
}

struct Nothing;

impl Client for Nothing {
    fn invoke<'a>(&'a mut self, op: &'a Op) -> BoxFuture<'a, Outcome> {
        Box::pin(std::future::ready(Outcome::Ok(op.value.clone())))
    }
}

impl Connector for Nothing {
    fn client(&self, _: Target) -> Box<dyn Client> {
        Box::new(Nothing)
    }
}

fn register(workers: usize) -> Gen {
    let rate = Rate::new(1e9).unwrap_or(Rate::whole(1));
    let spec = RegisterSpec { rate, ..RegisterSpec::default() };
    limit(OPS, generator(&spec, workers, NODES, &["read", "write", "cas"], 42))
}

#[divan::bench(args = [10, 100, 1000], sample_count = 10, sample_size = 1)]
fn no_op_clients(bencher: Bencher<'_, '_>, workers: usize) {
    bencher
        .counter(ItemsCount::new(OPS))
        .with_inputs(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let writer = Writer::create(&folder.path().join("history.jsonl")).expect("a history");
            let target = |node| Target {
                node: format!("n{node}").into(),
                port: 1,
                dialer: Arc::new(Nowhere),
                deadline: Duration::from_secs(5),
            };
            let mut config = Config::new((1..=NODES).map(target).collect(), workers);
            config.origin = Instant::now();
            let scheduler = Scheduler::new(config, writer, Arc::new(Nothing), Arc::new(()), Box::new(()))
                .expect("a scheduler");
            (folder, scheduler, register(workers))
        })
        .bench_local_values(|(folder, mut scheduler, generator)| {
            let summary = scheduler.run(generator, &CancellationToken::new()).expect("a run");
            assert_eq!(black_box(summary).ok, OPS);
            (folder, scheduler)
        });
}

/// The generator alone, every operation answered at once.
#[divan::bench(args = [10, 100, 1000], sample_count = 10, sample_size = 1)]
fn generator_alone(bencher: Bencher<'_, '_>, workers: usize) {
    use schism_workloads::generator::simulate::{World, perfect, simulate};
    bencher.counter(ItemsCount::new(OPS)).bench_local(|| {
        let world = World { events_max: usize::MAX, ..World::new(workers) };
        simulate(register(workers), world, perfect(0)).0.len()
    });
}

fn main() {
    divan::main();
}
