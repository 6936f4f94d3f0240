//! Replays the seeds of the fuzz target `engines`, and every input that once failed: each is a file in `fuzz/corpus/engines`.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "../../fuzz/assertions/engines.rs"]
mod engines;

use std::fs;
use std::path::Path;

use schism_checkers::Validity;
use schism_checkers::linearizable::Model;
use schism_history::Random;

#[test]
fn engines_agree_on_every_seed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/engines");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "there are no seeds");
    for file in files {
        // Shown if it fails.
        println!("{}", file.display());
        engines::agree(&fs::read(file).unwrap());
    }
}

#[test]
fn engines_agree_on_random_histories() {
    const ROUNDS: usize = 200;
    let mut random = Random::new(5, "fuzz");
    for (number, model) in Model::ALL.into_iter().enumerate() {
        let mut verdicts = [0; 2];
        for _ in 0..ROUNDS {
            let mut bytes = vec![number as u8];
            bytes.extend((0..20 + random.below(60)).map(|_| random.below(256) as u8));
            let (same, verdict) = engines::agree(&bytes);
            assert_eq!(same, model);
            // None: a lie can be an answer that the model does not know.
            if let Some(verdict) = verdict {
                verdicts[usize::from(verdict == Validity::Pass)] += 1;
            }
        }
        println!("{model}: {verdicts:?}");
        // Half of all histories have a lie, and some of those are noticed.
        assert!(verdicts.iter().all(|count| *count >= ROUNDS / 20), "{model}: {verdicts:?}");
    }
}
