//! The page about a single history: the same report as a run's, as far as a history can tell.

use std::path::Path;

use crate::report::{self, Data, Digest, Facts, Reason, Results, Timing, Version};
use crate::verdict::Verdict;

use super::history::Judged;

/// Writes it.
///
/// # Errors
/// What could not be written, as a person would say it.
pub(super) fn write(to: &Path, history: &Path, judged: &Judged) -> Result<(), String> {
    let table = &judged.import.table;
    let events = table.to_events();
    let digest = Digest::of(&events);
    let name = super::history::name(history);
    let mut versions = vec![
        Version { what: "schism".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        Version { what: "format".to_owned(), version: judged.import.format.name().to_owned() },
    ];
    if !table.is_timed() {
        let what = "none in the history; each event stands for a millisecond".to_owned();
        versions.push(Version { what: "times".to_owned(), version: what });
    }
    let facts = Facts {
        name: history.file_name().map_or_else(|| name.clone(), |name| name.to_string_lossy().into_owned()),
        started: String::new(),
        seed: 0,
        system: "a history".to_owned(),
        workload: format!("{} events, {}", table.events(), judged.import.format),
        nodes: Vec::new(),
        versions,
        command: format!("schism check --model {} {}", judged.result.model, super::super::run::quote(&name)),
    };
    let void = (judged.verdict == Verdict::Void).then_some(Verdict::Void);
    let reasons =
        judged.notes.iter().filter_map(|note| Some(Reason { verdict: void?, what: note.clone() })).collect();
    let timings = vec![Timing { phase: "check".to_owned(), seconds: judged.result.seconds }];
    let results = Results::judge(facts, &digest, vec![judged.result.clone()], reasons, timings);
    let page = report::render(&Data::new(results, &digest)).map_err(|error| error.to_string())?;
    std::fs::write(to, page).map_err(|error| format!("cannot write {}: {error}", to.display()))
}
