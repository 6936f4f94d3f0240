//! From a history to a verdict and a report. Works the same for a run that just ended and for one whose controller was killed.

use std::time::Instant;

use schism_checkers::linearizable::{self, UnknownModel};
use schism_checkers::{CheckResult, Validity};
use schism_history::{Event, History, Table};

use super::second_look;
use crate::plan::{Plan, PlannedCheck};
use crate::report::{self, Data, Digest, Facts, NodeFact, Reason, Results, Stopped, Timing, Version};
use crate::store::RunDir;
use crate::verdict::Verdict;
use crate::verdict::agreement::{self, Watched};
use crate::verdict::power::{self, Promised};

/// What is known of a run that its history does not show.
#[derive(Debug, Default)]
pub struct Known {
    /// Why it is not a pass.
    pub reasons: Vec<Reason>,
    /// How long its steps took.
    pub timings: Vec<Timing>,
    /// Why its load ended before its time, if a violation was the reason.
    pub stopped: Option<Stopped>,
    /// What was found while it went on.
    pub watched: Option<Watched>,
}

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

/// Checks the run's history, judges, and writes `results.json`, `junit.xml` and `report.html`.
pub fn conclude(dir: &RunDir, plan: &Plan, facts: Facts, known: Known) -> Conclusion {
    let Known { mut reasons, mut timings, stopped, watched } = known;
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
            let checked = options(planned).map_err(|error| error.to_string()).and_then(|options| {
                let mut result = check(&events, &options)?;
                let looked = second_look::confirm(watched.as_ref(), &events, &options, &mut result);
                Ok((result, looked))
            });
            let wrong = match checked {
                Ok((result, looked)) => {
                    checks.push(result);
                    looked.err()
                }
                Err(why) => Some(why),
            };
            reasons.extend(wrong.map(|what| Reason { verdict: Verdict::Infra, what }));
        }
    }
    timings.push(Timing { phase: "check".to_owned(), seconds: begun.elapsed().as_secs_f64() });
    reasons.extend(contradictions(watched.as_ref(), stopped.as_ref(), events.len() as u64, &checks));
    let promised = Promised {
        faults: plan.faults.faults.iter().map(|fault| fault.id.as_str()).collect(),
        operations: plan.workload.operations.iter().map(String::as_str).collect(),
        ok: plan.power.ok,
        load: plan.time_limit.nanos(),
    };
    // A load that a violation ended has shown its power, and cannot pass.
    if stopped.is_none() && (!events.is_empty() || reasons.is_empty()) {
        let missing = power::missing(&promised, &events);
        reasons.extend(missing.into_iter().map(|what| Reason { verdict: Verdict::Void, what }));
    }

    let digest = Digest::of(&events);
    let results = Results::judge(facts, &digest, checks, reasons, timings).stopped_by(stopped);
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

/// How a planned check is made, during the run and after it: the model, what registers have at first, the budgets.
///
/// # Errors
/// There is no such model.
pub fn options(planned: &PlannedCheck) -> Result<linearizable::Options, UnknownModel> {
    let mut options = linearizable::Options::new(planned.model.parse()?);
    options.time_budget = Some(planned.time_limit.0);
    options.memory_budget = Some(usize::try_from(planned.memory_limit.0).unwrap_or(usize::MAX));
    Ok(options)
}

/// Checks linearizability.
fn check(events: &[Event], options: &linearizable::Options) -> Result<CheckResult, String> {
    let table =
        Table::from_events(events).map_err(|error| format!("The history contradicts itself: {error}"))?;
    linearizable::check(&table, options).map_err(|error| format!("The history cannot be checked: {error}"))
}

/// Where what was found during the run and what the whole history shows contradict each other.
fn contradictions(
    watched: Option<&Watched>,
    stopped: Option<&Stopped>,
    events: u64,
    checks: &[CheckResult],
) -> Option<Reason> {
    let other = |watched: &Watched| checks.iter().find(|check| check.model == watched.model);
    let what = watched
        .and_then(|watched| agreement::disagreement(watched, events, other(watched)?))
        // Whatever became of the check that found it: a load that a violation ended is no pass.
        .or_else(|| {
            let Stopped { index, what, .. } = stopped?;
            let passes = !checks.is_empty() && checks.iter().all(|check| check.validity == Validity::Pass);
            passes.then(|| {
                format!(
                    "The load was stopped at event {index} because {what}, but the check of the whole history does not \
                     find that. This is a defect of Schism, unless the history was changed: please report it with the run directory."
                )
            })
        })?;
    tracing::error!(event = "disagreement", %what);
    Some(Reason { verdict: Verdict::Infra, what })
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use schism_checkers::linearizable::live::{Finding, Summary};
    use serde_json::{Value, json};

    use super::*;
    use crate::plan;

    /// A run of the example with faults, none of which was made, in which key 7 was written twice and then read as `read`.
    fn judged(read: u64, stopped: bool, watched: Option<Watched>) -> Value {
        let runs = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo.yaml");
        let (test, source, system) = plan::prepare(&example, &[]).unwrap();
        let plan = plan::resolve(&test, &source, &system, 1).unwrap();
        let dir = RunDir::create(runs.path(), &plan.name).unwrap();
        let steps = [("write", json!(1)), ("write", json!(2)), ("read", json!(read))];
        let mut history = String::new();
        for (place, (f, value)) in steps.into_iter().enumerate() {
            for (index, kind) in [(place * 2, "invoke"), (place * 2 + 1, "ok")] {
                let value = if (f, kind) == ("read", "invoke") { &Value::Null } else { &value };
                let event = json!({"index": index, "time": index, "process": 0, "type": kind, "f": f, "key": 7, "value": value});
                history.push_str(&format!("{event}\n"));
            }
        }
        dir.write(&dir.history(), history.as_bytes()).unwrap();
        let stopped = stopped.then(|| Stopped { at: 5, index: 5, what: "something is wrong".to_owned() });
        let known = Known { stopped, watched, ..Known::default() };
        let facts = facts(&plan, "", Vec::new(), "schism run");
        let conclusion = conclude(&dir, &plan, facts, known);
        assert_eq!(conclusion.unwritten, Vec::<String>::new());
        serde_json::from_slice(&std::fs::read(dir.results()).unwrap()).unwrap()
    }

    /// A view of all six events.
    fn watched(violated: bool) -> Option<Watched> {
        let finding = Finding { key: Some(json!(7)), part: None, index: 5, model: "cas-register" };
        let found = if violated { vec![finding] } else { Vec::new() };
        let validity = if violated { Validity::Violation } else { Validity::Pass };
        let summary = Some(Summary { validity, violating: found.clone(), unknown: Vec::new() });
        Some(Watched { events: 6, model: "cas-register", found, summary })
    }

    fn reasons<'r>(results: &'r Value, verdict: &str) -> Vec<&'r str> {
        let reasons = results["reasons"].as_array().unwrap().iter();
        reasons
            .filter(|reason| reason["verdict"] == verdict)
            .filter_map(|reason| reason["what"].as_str())
            .collect()
    }

    #[test]
    fn checks_that_contradict_each_other_make_the_run_infra() {
        let results = judged(2, false, watched(true));
        assert_eq!((&results["verdict"], &results["exit_code"]), (&json!("infra"), &json!(5)), "{results:#}");
        let [reason] = reasons(&results, "infra")[..] else { panic!("{results:#}") };
        let told = "no order of the operations of key 7 up to event 5 fits the model `cas-register`; the whole passes";
        assert!(reason.contains(told), "{reason}");
        // The other way round a violation is still the worst.
        let results = judged(1, false, watched(false));
        assert_eq!(results["verdict"], "violation", "{results:#}");
        let [reason] = reasons(&results, "infra")[..] else { panic!("{results:#}") };
        assert!(reason.contains("during the run, the operations of key 7 are in order"), "{reason}");
    }

    #[test]
    fn checks_that_agree_say_nothing() {
        for (read, violated) in [(1, true), (2, false)] {
            let results = judged(read, false, watched(violated));
            assert_eq!(reasons(&results, "infra"), [""; 0], "{results:#}");
            assert_eq!(results["checks"][0]["validity"] == "violation", violated);
        }
    }

    #[test]
    fn a_load_that_a_violation_ended_needs_no_further_power() {
        let results = judged(1, true, watched(true));
        assert_eq!(results["verdict"], "violation", "{results:#}");
        assert_eq!(results["reasons"].as_array().unwrap().len(), 1, "{results:#}");
        assert_eq!(results["stopped"], json!({"at": 5, "index": 5, "what": "something is wrong"}));
        assert!(
            results["sentence"]
                .as_str()
                .unwrap()
                .ends_with("The load was stopped at 0.0 s, when the first was found.")
        );
        // The same load to its end would have had faults.
        let results = judged(1, false, watched(true));
        assert!(!reasons(&results, "void").is_empty(), "{results:#}");
        assert_eq!(results["stopped"], Value::Null);
    }

    #[test]
    fn a_load_that_a_violation_ended_never_passes() {
        for watched in [None, watched(false)] {
            let results = judged(2, true, watched);
            assert_eq!(results["verdict"], "infra", "{results:#}");
            assert!(reasons(&results, "infra")[0].contains("stopped at event 5 because something is wrong"));
        }
    }
}
