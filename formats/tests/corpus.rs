//! Replays the seeds of the fuzz targets, and every input that once failed: each is a file in `fuzz/corpus`.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "../../fuzz/assertions/import.rs"]
mod import;

use std::fs;
use std::path::Path;

fn replay(target: &str, assert: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "{target} has no seeds");
    for file in files {
        // Shown if it fails.
        println!("{}", file.display());
        assert(&fs::read(file).unwrap());
    }
}

#[test]
fn json_lines() {
    replay("import_jsonl", import::import_jsonl);
}

#[test]
fn edn() {
    replay("import_edn", import::import_edn);
}

#[test]
fn jepsen() {
    replay("import_jepsen", import::import_jepsen);
}

#[test]
fn logs() {
    replay("import_logs", import::import_logs);
}

#[test]
fn any() {
    replay("import_any", import::import_any);
}
