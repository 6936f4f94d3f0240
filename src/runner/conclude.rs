//! From a history to a verdict and a report. Works the same for a run that just ended and for one whose controller was killed.

use std::time::{Duration, Instant};

use schism_checkers::CheckResult;
use schism_checkers::linearizable::{self, Model, UnknownModel};
use schism_history::{Event, History, Table};

use crate::plan::Plan;
use crate::report::{self, Data, Digest, Facts, NodeFact, Reason, Results, Timing, Version};
use crate::store::RunDir;
use crate::verdict::Verdict;
use crate::verdict::power::{self, Promised};

/// A verdict, and what could not be written of it.
pub struct Conclusion {
    /// The results.
    pub results: Results,
    /// Files that could not be written, a sentence each; the verdict stands all the same.
    pub unwritten: Vec<String>,
    /// Whether the page is there to be opened.
    pub has_report: bool,
}

/// What the plan says of a run, for the report.
pub fn facts(plan: &Plan, started: &str, versions: Vec<Version>, command: &str) -> Facts {
    Facts {
        name: plan.name.clone(),
        started: started.to_owned(),
        seed: plan.seed,
        system: plan.system.def.name.clone(),
        workload: plan.workload.line(),
        nodes: plan
            .cluster
            .nodes
            .iter()
            .map(|node| NodeFact { name: node.name.clone(), address: node.address.to_string() })
            .collect(),
        versions,
        command: command.to_owned(),
    }
}

/// Checks the run's history, judges, and writes `results.json`, `junit.xml` and `report.html`. `reasons` are those that the
/// history does not show.
pub fn conclude(
    dir: &RunDir,
    plan: &Plan,
    facts: Facts,
    mut reasons: Vec<Reason>,
    mut timings: Vec<Timing>,
) -> Conclusion {
    let events = match read(dir) {
        Ok((events, notes)) => {
            reasons.extend(notes);
            events
        }
        // Why it ended before there was a history says it all.
        Err(reason) if reason.verdict == Verdict::Void && !reasons.is_empty() => Vec::new(),
        Err(reason) => {
            reasons.push(reason);
            Vec::new()
        }
    };
    let begun = Instant::now();
    let mut checks = Vec::new();
    if !events.is_empty() {
        for planned in &plan.checks {
            let checked = planned
                .model
                .parse()
                .map_err(|error: UnknownModel| error.to_string())
                .and_then(|model| check(&events, model, planned.time_limit.0, planned.memory_limit.0));
            match checked {
                Ok(result) => checks.push(result),
                Err(why) => reasons.push(Reason { verdict: Verdict::Infra, what: why }),
            }
        }
    }
    timings.push(Timing { phase: "check".to_owned(), seconds: begun.elapsed().as_secs_f64() });
    let promised = Promised {
        faults: plan.faults.faults.iter().map(|fault| fault.id.as_str()).collect(),
        operations: plan.workload.operations.iter().map(String::as_str).collect(),
        ok: plan.power.ok,
        load: plan.time_limit.nanos(),
    };
    if !events.is_empty() || reasons.is_empty() {
        let missing = power::missing(&promised, &events);
        reasons.extend(missing.into_iter().map(|what| Reason { verdict: Verdict::Void, what }));
    }

    let digest = Digest::of(&events);
    let results = Results::judge(facts, &digest, checks, reasons, timings);
    let data = Data::new(results, &digest);
    let (unwritten, has_report) = write(dir, &data);
    tracing::info!(event = "verdict", verdict = %data.results.verdict, sentence = %data.results.sentence);
    Conclusion { results: data.results, unwritten, has_report }
}

/// The events of the run, and what is wrong with their recording.
fn read(dir: &RunDir) -> Result<(Vec<Event>, Vec<Reason>), Reason> {
    let path = dir.history();
    if !path.exists() {
        let what =
            "There is no history.jsonl: the run ended before its first operation, or somebody removed it."
                .to_owned();
        return Err(Reason { verdict: Verdict::Void, what });
    }
    match History::open(&path) {
        Ok(history) => {
            let void = |what: String| Reason { verdict: Verdict::Void, what };
            let torn = history
                .torn
                .map(|torn| void(format!("The history was cut off in the middle of its last line: {torn}")));
            // A run numbers its events one by one, unlike other tools.
            let gap = (0..).zip(&history.events).find(|(index, event)| *index != event.index);
            let gap = gap.map(|(index, event)| {
                let found = event.index;
                void(format!("The history is not whole: event {found} stands where event {index} belongs."))
            });
            Ok((history.events, torn.into_iter().chain(gap).collect()))
        }
        Err(error) => {
            Err(Reason { verdict: Verdict::Infra, what: format!("The history cannot be read: {error}") })
        }
    }
}

/// Checks linearizability.
///
/// # Errors
/// The history contradicts itself or has operations that the model does not know.
pub fn check(events: &[Event], model: Model, time: Duration, memory: u64) -> Result<CheckResult, String> {
    let table =
        Table::from_events(events).map_err(|error| format!("The history contradicts itself: {error}"))?;
    let mut options = linearizable::Options::new(model);
    options.time_budget = Some(time);
    options.memory_budget = Some(usize::try_from(memory).unwrap_or(usize::MAX));
    linearizable::check(&table, &options).map_err(|error| format!("The history cannot be checked: {error}"))
}

/// Writes what it can, and names what it cannot; and whether the page is among what it could.
fn write(dir: &RunDir, data: &Data) -> (Vec<String>, bool) {
    let files = [
        (dir.results(), data.results.to_json().map_err(|error| error.to_string())),
        (dir.junit(), report::junit(&data.results).map_err(|error| error.to_string())),
        (dir.report(), report::render(data).map_err(|error| error.to_string())),
    ];
    let mut unwritten = Vec::new();
    let mut has_report = true;
    for (path, text) in files {
        let written =
            text.and_then(|text| dir.write(&path, text.as_bytes()).map_err(|error| error.to_string()));
        if let Err(why) = written {
            has_report &= path != dir.report();
            unwritten.push(why);
        }
    }
    (unwritten, has_report)
}
