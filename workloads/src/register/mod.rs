//! The register workload: reads, writes of unique values and compare-and-set on independent keys that rotate.
//!
//! What it promises: every key by itself is a linearizable register, initially null.

mod key;
mod recent;
mod spec;

use std::sync::Arc;

use schism_history::Random;
use serde_json::Value;

pub use recent::RecentKeys;
pub use spec::{RegisterMix, RegisterSpec};

use crate::generator::{
    Action, Gen, WorkerSet, any, clients, independent, limit, on_workers, operation, process_limit, sequence,
    stagger,
};
use crate::op::Worker;

/// The operations of this workload. Every client supports the first two.
pub const OPERATIONS: [&str; 3] = ["read", "write", "cas"];

/// How many operations of unknown outcome a key takes before its group moves on to a fresh one. Each stays open to the end
/// of the key's history and may double the work of checking it.
const CRASHES_PER_KEY: u64 = 12;

/// The workload's operations without end, at the spec's rate, by the client workers.
///
/// Workers form groups of at least one worker on every node, so that each key is used through all of them, and of no
/// more than needed, which bounds the concurrency on a key. The keys in rotation are dealt out among the groups.
/// `operations` are those the client supports; the mix is restricted to them.
pub fn generator(spec: &RegisterSpec, workers: usize, nodes: usize, operations: &[&str], seed: u64) -> Gen {
    let weights = Arc::new(spec.weights(operations));
    let ops_per_key = spec.ops_per_key.get();
    let keys = spec.keys.get();
    let groups = groups(workers, nodes, keys);
    let largest = groups.iter().map(|(group, _)| group.view().len()).max().unwrap_or(0) as u64;
    let make = move |key: u64| {
        let random = Random::new(seed, &format!("register key {key}"));
        let operations = key::operations(random, Arc::clone(&weights));
        process_limit(largest + CRASHES_PER_KEY, limit(ops_per_key, operations))
    };
    let keys = independent(Random::new(seed, "register keys"), groups, make);
    let interval = (1e9 / spec.rate.per_second()).round() as u64;
    clients(stagger(Random::new(seed, "register rate"), interval, keys))
}

/// Blocks of consecutive workers, each of which spans all nodes where there are enough workers, with the number of keys
/// each has in rotation.
fn groups(workers: usize, nodes: usize, keys: usize) -> Vec<(WorkerSet, usize)> {
    let count = (workers / nodes.max(1)).clamp(1, keys.max(1));
    (0..count)
        .map(|group| {
            let range = group * workers / count..(group + 1) * workers / count;
            (range.map(Worker::Client).collect(), keys / count + usize::from(group < keys % count))
        })
        .collect()
}

/// Reads each of `keys` once through every node that has a worker.
pub fn final_reads(keys: &[Value], workers: usize, nodes: usize) -> Gen {
    let nodes = nodes.clamp(1, workers.max(1));
    any((0..nodes).map(|node| {
        let here: WorkerSet = (node..workers).step_by(nodes).map(Worker::Client).collect();
        let reads = keys
            .iter()
            .map(|key| operation(Action { f: "read".into(), key: Some(key.clone()), value: Value::Null }));
        on_workers(here, sequence(reads))
    }))
}
