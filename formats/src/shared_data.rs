//! All the histories that other tools left for tests. They live beside a checkout, in `../shared/data`, or where
//! `SCHISM_TEST_DATA` says; a clone elsewhere has none, and then these tests say that they were skipped.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::path::{Path, PathBuf};

use schism_history::{Builder, Outcome, Table};

use crate::{ImportError, Keys};

type Read = fn(&[u8], &mut Builder, Keys, &mut Vec<String>) -> Result<(), ImportError>;

fn data(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let named = std::env::var_os("SCHISM_TEST_DATA").map(PathBuf::from);
    let found = std::iter::once(beside).chain(named).map(|data| data.join(folder)).find(|path| path.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: there is no ../shared/data/{folder}; SCHISM_TEST_DATA can name another place");
    }
    found
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == ending));
    files.sort();
    files
}

fn import(file: &Path, read: Read) -> (String, Table, Vec<String>) {
    let text = std::fs::read_to_string(file).unwrap();
    let (mut builder, mut notes) = (Builder::new(), Vec::new());
    read(text.as_bytes(), &mut builder, Keys::Auto, &mut notes)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    (text, builder.finish(), notes)
}

/// How many client operations a text in EDN names: invoked, ok, failed, unknown. The nemesis only has the last.
fn named(text: &str) -> [usize; 4] {
    let nemesis = text.matches(":process :nemesis").count();
    let count = |kind: &str| text.matches(&format!(":type {kind}")).count();
    [count(":invoke"), count(":ok"), count(":fail"), count(":info") - nemesis]
}

/// The same of a log.
fn logged(text: &str) -> [usize; 4] {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let is = |words: &[&str], kind| words.get(4) == Some(&kind) && words[3] != ":nemesis";
    [":invoke", ":ok", ":fail", ":info"].map(|kind| lines.iter().filter(|words| is(words, kind)).count())
}

fn found(table: &Table) -> [usize; 4] {
    let of = |outcome| {
        let closed = table.rows().iter().filter(|row| row.completed != schism_history::table::OPEN);
        closed.filter(|row| row.outcome == outcome).count()
    };
    [table.rows().len(), of(Outcome::Ok), of(Outcome::Fail), of(Outcome::Unknown)]
}

#[test]
fn histories_of_knossos_are_read() {
    let Some(folder) = data("knossos") else { return };
    let (mut read, mut rows) = (0, 0);
    for part in ["cas-register/good", "cas-register/bad", "multi-register/good", "mutex/bad"] {
        for file in files(&folder.join(part), "edn") {
            let (text, table, notes) = import(&file, crate::edn::read);
            let name = file.display();
            assert_eq!(table.events(), text.matches(":process ").count(), "{name}");
            assert_eq!(found(&table), named(&text), "{name}");
            rows += table.rows().len();
            for note in &notes {
                assert!(note.contains("goes on after an unknown outcome"), "{name}: {note}");
            }
            read += 1;
        }
    }
    assert!(read == 122 && rows > 10_000, "{read} files, {rows} operations");
}

#[test]
fn histories_of_elle_are_read() {
    let Some(folder) = data("elle") else { return };
    let rows = [("huge-scc", 3036), ("paper-example", 4), ("si-without-g-single", 4)];
    for (name, transactions) in rows {
        let (text, table, notes) = import(&folder.join(format!("{name}.edn")), crate::edn::read);
        assert_eq!(table.events(), text.matches(":index ").count(), "{name}");
        assert_eq!(found(&table), named(&text), "{name}");
        // The file's own count is of those that may have happened.
        let possible = table.rows().iter().filter(|row| row.outcome != Outcome::Fail).count();
        assert!(possible >= transactions, "{name}: {possible}");
        for view in table.views() {
            assert_eq!(view.f(), "txn");
            let micros = table.values.as_array(view.argument()).unwrap();
            let micro = table.values.as_array(micros[0]).unwrap();
            assert!(matches!(table.values.as_str(micro[0]), Some("append" | "r")), "{name}: {view:?}");
        }
        assert_eq!(notes.len(), if name == "paper-example" { 2 } else { 0 }, "{name}: {notes:?}");
    }
}

#[test]
fn logs_of_porcupine_are_read() {
    let Some(folder) = data("porcupine/jepsen") else { return };
    let files = files(&folder, "log");
    let mut filled = 0;
    for file in files {
        let (text, table, notes) = import(&file, crate::porcupine::read);
        let name = file.display();
        filled += usize::from(!text.is_empty());
        assert_eq!(found(&table), logged(&text), "{name}");
        let operations = text.lines().filter(|line| line.contains("jepsen.util - ")).count();
        assert_eq!(table.events(), operations, "{name}");
        let timed_out = text.matches(":timed-out").count();
        let errors = table.views().filter(|view| view.error().is_some()).count();
        assert_eq!(errors, timed_out, "{name}");
        let others = text.lines().count() - operations;
        assert_eq!(notes.iter().any(|note| note.contains("left out")), others > 0, "{name}: {notes:?}");
    }
    // One more is empty.
    assert_eq!(filled, 102);
}

#[test]
fn key_value_histories_of_porcupine_are_read() {
    let Some(folder) = data("porcupine/kv") else { return };
    let files = files(&folder, "txt");
    assert_eq!(files.len(), 6);
    for file in files {
        let (text, table, notes) = import(&file, crate::edn::read);
        let name = file.display();
        assert_eq!(table.events(), text.lines().count(), "{name}");
        assert_eq!(found(&table), named(&text), "{name}");
        assert!(notes.is_empty(), "{name}: {notes:?}");
        for view in table.views() {
            assert!(
                table.values.as_str(view.row.key).is_some() && matches!(view.f(), "get" | "put" | "append")
            );
        }
    }
}
