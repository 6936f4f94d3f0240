//! How fast histories are read, from bytes to table: `cargo bench -p schism-formats`.
//!
//! Bytes a second count the text, also where it was compressed; items are operations.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use flate2::Compression;
use flate2::write::GzEncoder;
use schism_formats::{Options, parse_bytes};
use schism_history::Random;

const OPERATIONS: u64 = 1_000_000;

fn main() {
    divan::main();
}

/// A register of 20 keys under 10 clients, as a run writes it.
static JSONL: LazyLock<String> = LazyLock::new(|| {
    register(|line, text| {
        let Line { index, time, process, kind, f, key, value } = line;
        let node = process % 5 + 1;
        let value = value.map_or("null".into(), |value| value.to_string());
        let _ = writeln!(
            text,
            r#"{{"index":{index},"time":{time},"process":{process},"type":"{kind}","f":"{f}","key":{key},"value":{value},"node":"n{node}"}}"#,
        );
    })
});

struct Line {
    index: u64,
    time: u64,
    process: u64,
    kind: &'static str,
    f: &'static str,
    key: u64,
    value: Option<u64>,
}

fn register(write: impl Fn(Line, &mut String)) -> String {
    let mut random = Random::new(1, "bench");
    let mut text = String::new();
    let mut open: [Option<(&str, u64, Option<u64>)>; 10] = [None; 10];
    let (mut index, mut time, mut invoked) = (0, 0, 0);
    while invoked < OPERATIONS || open.iter().any(Option::is_some) {
        let process = random.below(10);
        let place = &mut open[process as usize];
        let (kind, (f, key, value)) = match place.take() {
            Some((f, key, value)) => ("ok", (f, key, value.or(Some(random.below(1000))))),
            None if invoked < OPERATIONS => {
                invoked += 1;
                let read = random.below(3) == 0;
                let operation =
                    (if read { "read" } else { "write" }, random.below(20), (!read).then_some(invoked));
                *place = Some(operation);
                ("invoke", operation)
            }
            None => continue,
        };
        time += random.below(100_000);
        write(Line { index, time, process, kind, f, key, value }, &mut text);
        index += 1;
    }
    text
}

fn read(bencher: Bencher<'_, '_>, bytes: &[u8], text: usize) {
    bencher
        .counter(BytesCount::new(text))
        .counter(ItemsCount::new(OPERATIONS))
        .bench(|| parse_bytes(bytes, &Options::default()).map(|import| import.table.rows().len()));
}

#[divan::bench(sample_count = 5)]
fn jsonl(bencher: Bencher<'_, '_>) {
    read(bencher, JSONL.as_bytes(), JSONL.len());
}

/// Transactions that append to lists and read them: values are lists of lists, and texts that differ.
#[divan::bench(sample_count = 5)]
fn jsonl_lists(bencher: Bencher<'_, '_>) {
    let text = register(|line, text| {
        let Line { index, time, process, kind, key, value, .. } = line;
        let appended = value.unwrap_or(0);
        let read: Vec<String> = (0..8).map(|n| (appended + n).to_string()).collect();
        let read = if kind == "ok" { format!("[{}]", read.join(",")) } else { "null".into() };
        let _ = writeln!(
            text,
            r#"{{"index":{index},"time":{time},"process":{process},"type":"{kind}","f":"txn","value":[["append",{key},{appended}],["r","k{appended}",{read}]]}}"#,
        );
    });
    read(bencher, text.as_bytes(), text.len());
}

#[divan::bench(sample_count = 5)]
fn jsonl_gzip(bencher: Bencher<'_, '_>) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(JSONL.as_bytes());
    match written.and_then(|()| encoder.finish()) {
        Ok(bytes) => read(bencher, &bytes, JSONL.len()),
        Err(error) => eprintln!("cannot compress: {error}"),
    }
}

#[divan::bench(sample_count = 5)]
fn jsonl_zstd(bencher: Bencher<'_, '_>) {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    let bytes = compress_to_vec(JSONL.as_bytes(), CompressionLevel::Fastest);
    read(bencher, &bytes, JSONL.len());
}
