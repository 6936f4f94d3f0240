//! What the history costs an operation: `cargo bench -p schism-history`.

use std::borrow::Cow;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use schism_history::{Event, History, Kind, Process, Writer, encode};
use serde_json::{Map, Value};

const EVENTS: u64 = 100_000;

fn main() {
    divan::main();
}

fn event(index: u64) -> Event {
    Event {
        index,
        time: index * 1_234,
        process: Process::Client(index % 100),
        kind: Kind::Ok,
        f: Cow::Borrowed("write"),
        key: Some(Value::from(index / 500)),
        value: Value::from(index),
        node: Some("n1".into()),
        error: None,
        extra: Map::new(),
    }
}

/// Time per event is the time shown divided by 100,000.
#[divan::bench]
fn encode_100k(bencher: Bencher<'_, '_>) {
    let events: Vec<Event> = (0..EVENTS).map(event).collect();
    let mut buffer = Vec::with_capacity(200 * EVENTS as usize);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        buffer.clear();
        for event in &events {
            let _ = encode(black_box(event), &mut buffer);
        }
        buffer.len()
    });
}

/// In batches of 16, to a file in the temporary directory.
#[divan::bench(sample_count = 10)]
fn append_and_flush_100k(bencher: Bencher<'_, '_>) {
    let events: Vec<Event> = (0..EVENTS).map(event).collect();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut writer = Writer::create(&folder.path().join("history.jsonl"))?;
        for batch in events.chunks(16) {
            for event in batch {
                writer.append(event)?;
            }
            writer.flush()?;
        }
        writer.close()
    });
}

#[divan::bench(sample_count = 10)]
fn read_100k(bencher: Bencher<'_, '_>) {
    let mut lines = Vec::new();
    for index in 0..EVENTS {
        let _ = encode(&event(index), &mut lines);
    }
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench_local(|| History::read(lines.as_slice(), "bench").map(|history| history.events.len()).ok());
}
