//! Replays the seeds of the fuzz targets, and every input that once failed: each is a file in `fuzz/corpus`.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "../../fuzz/assertions/import.rs"]
mod import;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use schism_history::Random;

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

/// How often each seed is changed; `SCHISM_MUTATIONS` asks for another number, and `SCHISM_MUTATION_SEED` for other changes.
const MUTATIONS: u64 = 10;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Changes some bytes, cuts the rest off, or puts a piece of another seed into this one.
fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(9) {
            0 => bytes.truncate(place),
            1 => bytes.insert(place, random.next_u64() as u8),
            2 => bytes.insert(place, *random.pick(b"{}[]()\"\\:#;,\n 0-9.eNM").unwrap()),
            3 => {
                let other = random.pick(others).unwrap();
                let from = random.below(other.len() as u64 + 1) as usize;
                let to = from + random.below((other.len() - from).min(200) as u64 + 1) as usize;
                bytes.splice(place..place, other[from..to].iter().copied());
            }
            4 => {
                let to = place + random.below((bytes.len() - place).min(40) as u64 + 1) as usize;
                bytes.drain(place..to);
            }
            _ if place == bytes.len() => {}
            5 => bytes[place] = *random.pick(b"0123456789").unwrap(),
            6 => bytes[place] = random.next_u64() as u8,
            _ => bytes[place] ^= 1 << random.below(8),
        }
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (folders, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    // Large files would be read again and again, and changed in places that do not matter.
    files
        .iter()
        .map(|file| fs::read(file).unwrap())
        .filter(|bytes| bytes.len() < 1 << 16)
        .chain(below)
        .collect()
}

fn mutations(target: &str, data: bool, assert: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = files(&root.join("../fuzz/corpus").join(target));
    if data {
        seeds.extend(files(&root.join("tests/data")));
    }
    let count = from_environment("SCHISM_MUTATIONS", MUTATIONS);
    let mut random = Random::new(from_environment("SCHISM_MUTATION_SEED", 1), target);
    for round in 0..count {
        for seed in &seeds {
            let mut bytes = seed.clone();
            mutate(&mut bytes, &seeds, &mut random);
            if catch_unwind(|| assert(&bytes)).is_err() {
                let path = std::env::temp_dir().join(format!("schism-{target}-{}", std::process::id()));
                fs::write(&path, &bytes).unwrap();
                panic!("round {round}: the input is kept in {}", path.display());
            }
        }
    }
}

#[test]
fn changed_json_lines() {
    mutations("import_jsonl", false, import::import_jsonl);
}

#[test]
fn changed_edn() {
    mutations("import_edn", false, import::import_edn);
}

#[test]
fn changed_jepsen() {
    mutations("import_jepsen", true, import::import_jepsen);
}

#[test]
fn changed_logs() {
    mutations("import_logs", false, import::import_logs);
}

#[test]
fn changed_files_of_any_kind() {
    mutations("import_any", true, import::import_any);
}
