//! Histories from other tools, with known verdicts. They live beside a checkout, in `../shared/data`, or where
//! `SCHISM_TEST_DATA` says; a clone elsewhere has none, and then these tests say that they were skipped.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[allow(dead_code)] // Some of it only the tests of the models use.
#[path = "support/judge.rs"]
mod judge;
#[allow(dead_code)]
#[path = "support/objects/mod.rs"]
mod objects;

use std::path::{Path, PathBuf};
use std::time::Duration;

use judge::Op;
use schism_checkers::linearizable::{Engine, Model, Options, check, witness};
use schism_checkers::{CheckResult, Validity};
use schism_formats::{Import, Keys, open};
use schism_history::Table;

fn data(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let named = std::env::var_os("SCHISM_TEST_DATA").map(PathBuf::from);
    let found = std::iter::once(beside).chain(named).map(|data| data.join(folder)).find(|path| path.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: there is no ../shared/data/{folder}; SCHISM_TEST_DATA can name another place");
    }
    found
}

fn import(file: &Path, keys: Keys) -> Import {
    open(file, &schism_formats::Options { keys, ..Default::default() })
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The rows of a `verdicts.tsv` about a model: file and verdict.
fn verdicts(path: &Path, model: Model) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|fields| fields.get(1) == Some(&model.name()))
        .map(|fields| (fields[0].to_owned(), fields[2].to_owned()))
        .collect()
}

/// How many histories got their verdict, and how many of them from the general search too, within its budget.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    pass: usize,
    violation: usize,
    searched: usize,
}

impl Count {
    /// Has a history judged by the engines, which must agree with what is known and with each other.
    fn judge(
        &mut self,
        name: &str,
        table: &Table,
        options: &Options,
        expected: Option<Validity>,
    ) -> CheckResult {
        let result = check(table, options).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_ne!(result.validity, Validity::Unknown, "{name}");
        assert_eq!(result.validity, expected.unwrap_or(result.validity), "{name}: {result:#?}");
        match result.validity {
            Validity::Pass => self.pass += 1,
            _ => self.violation += 1,
        }
        let time_budget = Some(Duration::from_secs(2));
        let search = Options { engine: Engine::Search, time_budget, ..options.clone() };
        let searched = check(table, &search).unwrap();
        if searched.unknown.is_none() {
            assert_eq!(searched.validity, result.validity, "{name}: {searched:#?}");
            assert_eq!(searched.violating_keys, result.violating_keys, "{name}");
            self.searched += 1;
        }
        self.confirm(name, table, options, &result);
        result
    }

    /// The operations shown as evidence are impossible by themselves, says a judge that shares nothing with the checker; and where
    /// there are none, an order is found.
    fn confirm(&self, name: &str, table: &Table, options: &Options, result: &CheckResult) {
        let events = table.to_events();
        let initial = table.values.to_json(options.initial);
        let missing = initial.clone();
        for violation in &result.violations {
            assert!(violation.operations.len() <= 40, "{name}: {} operations", violation.operations.len());
            let shown = |op: &Op| violation.operations.contains(&op.index);
            let alone: Vec<Op> =
                judge::objects(options.model, &events).into_values().flatten().filter(shown).collect();
            let machine = judge::machine(options.model, &alone, &initial, &missing);
            let counted =
                violation.explanation.iter().any(|line| line.contains("matter only by their number"));
            assert!(counted || !judge::possible(&*machine, &alone), "{name}: {violation:#?}");
            println!("{name}: {}", violation.summary);
            violation.explanation.iter().for_each(|line| println!("    {line}"));
        }
        if result.validity == Validity::Pass && events.len() < 4_000 {
            let orders = witness(table, options).unwrap();
            assert!(orders.iter().all(|found| found.order.is_ok()), "{name}");
        }
    }
}

fn validity(verdict: &str) -> Option<Validity> {
    match verdict {
        "valid" => Some(Validity::Pass),
        "invalid" => Some(Validity::Violation),
        _ => None,
    }
}

#[test]
fn hard_histories_are_decided() {
    let Some(folder) = data("hard") else { return };
    let rows = verdicts(&folder.join("verdicts.tsv"), Model::CasRegister);
    assert_eq!(rows.len(), 24);
    let mut count = Count::default();
    for (file, verdict) in rows {
        let Import { table, .. } = import(&folder.join(&file), Keys::Auto);
        count.judge(&file, &table, &Options::new(Model::CasRegister), validity(&verdict));
    }
    println!("{count:?}");
}

#[test]
fn porcupines_histories_get_its_verdicts() {
    let Some(folder) = data("porcupine") else { return };
    for (model, files) in [(Model::CasRegister, 102), (Model::KeyValue, 6)] {
        let rows = verdicts(&folder.join("verdicts.tsv"), model);
        assert_eq!(rows.len(), files);
        let mut count = Count::default();
        for (file, verdict) in rows {
            let Import { mut table, .. } = import(&folder.join(&file), Keys::Auto);
            let known = validity(&verdict);
            assert!(known.is_some(), "{file}: {verdict}");
            let mut options = Options::new(model);
            if model == Model::KeyValue {
                options.initial = table.values.str("").unwrap();
            }
            count.judge(&file, &table, &options, known);
        }
        println!("{model}: {count:?}");
        assert_eq!(count.pass + count.violation, files);
    }
}

#[test]
fn knossos_histories_get_its_verdicts() {
    let Some(folder) = data("knossos") else { return };
    for (part, model, files, expected) in [
        ("cas-register/good", Model::CasRegister, 113, Validity::Pass),
        ("cas-register/bad", Model::CasRegister, 7, Validity::Violation),
        ("multi-register/good", Model::MultiRegister, 1, Validity::Pass),
        ("mutex/bad", Model::Mutex, 1, Validity::Violation),
    ] {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(folder.join(part)).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.retain(|file| file.extension().is_some_and(|ending| ending == "edn"));
        found.sort();
        assert_eq!(found.len(), files, "{part}");
        let mut count = Count::default();
        for file in found {
            let name = file.display().to_string();
            let Import { mut table, .. } = import(&file, Keys::None);
            let mut options = Options::new(model);
            if model == Model::MultiRegister {
                options.initial = table.values.int(0).unwrap();
            }
            count.judge(&name, &table, &options, Some(expected));
        }
        println!("{part}: {count:?}");
        assert_eq!(count.pass + count.violation, files, "{part}");
    }
}
