//! Histories from other tools, with known verdicts. They live beside a checkout, in `../shared/data`, or where
//! `SCHISM_TEST_DATA` says; a clone elsewhere has none, and then these tests say that they were skipped.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "support/brute_force.rs"]
mod brute_force;

use std::path::{Path, PathBuf};
use std::time::Instant;

use schism_checkers::linearizable::{Model, Options, check};
use schism_checkers::{CheckResult, Validity, Violation};
use schism_history::{Event, History, Table, pair};

fn data(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let named = std::env::var_os("SCHISM_TEST_DATA").map(PathBuf::from);
    let found = std::iter::once(beside).chain(named).map(|data| data.join(folder)).find(|path| path.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: there is no ../shared/data/{folder}; SCHISM_TEST_DATA can name another place");
    }
    found
}

fn judge(events: &[Event]) -> CheckResult {
    check(&Table::from_events(events).unwrap(), &Options::new(Model::CasRegister)).unwrap()
}

/// The rows of a `verdicts.tsv`: file and verdict.
fn verdicts(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|fields| fields.get(1) == Some(&"cas-register"))
        .map(|fields| (fields[0].to_owned(), fields[2].to_owned()))
        .collect()
}

fn expect(file: &str, verdict: &str, result: &CheckResult) {
    match verdict {
        "valid" => assert_eq!(result.validity, Validity::Pass, "{file}"),
        "invalid" => assert_eq!(result.validity, Validity::Violation, "{file}"),
        _ => assert_ne!(result.validity, Validity::Unknown, "{file}"),
    }
    for violation in &result.violations {
        assert!(!violation.operations.is_empty() && !violation.summary.is_empty(), "{file}");
    }
}

#[test]
fn hard_histories_are_decided() {
    let Some(folder) = data("hard") else { return };
    let rows = verdicts(&folder.join("verdicts.tsv"));
    assert_eq!(rows.len(), 24);
    for (file, verdict) in rows {
        let history = History::open(&folder.join(&file)).unwrap();
        let started = Instant::now();
        let result = judge(&history.events);
        println!("{file}\t{verdict}\t{:?}\t{:?}", result.validity, started.elapsed());
        for violation in &result.violations {
            println!("    {}\n    {:#?}", violation.summary, violation.explanation);
        }
        expect(&file, &verdict, &result);
        for violation in &result.violations {
            confirm(&file, &history.events, violation);
        }
    }
}

/// The operations shown as evidence are impossible by themselves, says a judge that shares nothing with the checker. That
/// settles the rows that other checkers left undecided.
fn confirm(file: &str, events: &[Event], violation: &Violation) {
    let mut alone: Vec<Event> = pair(events)
        .unwrap()
        .iter()
        .filter(|operation| violation.operations.contains(&operation.invocation.index))
        .flat_map(|operation| std::iter::once(operation.invocation).chain(operation.completion))
        .cloned()
        .collect();
    alone.sort_by_key(|event| event.index);
    assert!(violation.operations.len() <= 40, "{file}: {} operations", violation.operations.len());
    assert!(!brute_force::linearizable(&alone), "{file}: {violation:#?}");
}

/// A log of Jepsen's, as Porcupine keeps them: `INFO  jepsen.util - 3 :invoke :cas [1 4]`. Processes that go on after an
/// unknown outcome get fresh numbers, as a harness of today would give them.
fn jepsen_log(text: &str) -> Vec<Event> {
    let mut lines = String::new();
    let mut names = std::collections::BTreeMap::new();
    let mut fresh = 0;
    for line in text.lines() {
        let Some((_, event)) = line.split_once("jepsen.util - ") else { continue };
        let words: Vec<&str> = event.split_whitespace().collect();
        let Ok(process) = words[0].parse::<u64>() else { continue };
        let name = *names.entry(process).or_insert_with(|| {
            fresh += 1;
            fresh
        });
        let mut kind = words[1].trim_start_matches(':');
        let f = words[2].trim_start_matches(':');
        let mut value = match &words[3..] {
            ["nil" | ":timed-out"] => "null".to_owned(),
            [number] => (*number).to_owned(),
            [a, b] => format!("{a},{b}"),
            other => panic!("{other:?} in {line}"),
        };
        if words[3] == ":timed-out" {
            kind = "info";
        }
        if kind == "info" {
            names.remove(&process);
        }
        if kind == "fail" && f == "read" {
            value = "null".into();
        }
        lines += &format!("{{\"process\":{name},\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value}}}\n");
    }
    History::read(lines.as_bytes(), "log").unwrap().events
}

#[test]
fn porcupines_etcd_logs_get_its_verdicts() {
    let Some(folder) = data("porcupine") else { return };
    let rows = verdicts(&folder.join("verdicts.tsv"));
    assert_eq!(rows.len(), 102);
    for (file, verdict) in rows {
        let events = jepsen_log(&std::fs::read_to_string(folder.join(&file)).unwrap());
        assert!(events.len() > 100, "{file}");
        let result = judge(&events);
        for violation in &result.violations {
            println!("{file}: {}\n    {:#?}", violation.summary, violation.explanation);
            confirm(&file, &events, violation);
        }
        expect(&file, &verdict, &result);
    }
}
