//! `schism check` on a run directory: judged with its plan, and its report written again.

use std::io::IsTerminal;
use std::process::ExitCode;

use super::super::args;
use crate::plan::{Plan, PlanFileError};
use crate::report::{Facts, Reason, Results, terminal};
use crate::runner::conclude::{self, Known};
use crate::stderr::say;
use crate::store::RunDir;
use crate::verdict::Verdict;

/// Judges the run.
pub(super) fn main(arguments: &args::Check) -> ExitCode {
    let dir = match RunDir::open(&arguments.path) {
        Ok(dir) => dir,
        Err(error) => return super::super::usage(&format!("schism: {error}")),
    };
    let plan = match Plan::read(&dir.plan()) {
        Ok(plan) => plan,
        Err(PlanFileError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return super::super::usage(&format!(
                "schism: {} has no plan.json, so there is nothing to judge: a run that ended before it began, or no run \
                 directory; give one, such as runs/latest, or a history.jsonl with --model",
                arguments.path.display()
            ));
        }
        Err(error) => {
            return super::super::usage(&format!("schism: {error}"));
        }
    };
    let (facts, known) = earlier(&dir, &plan);
    let conclusion = conclude::conclude(&dir, &plan, facts, known);
    for problem in &conclusion.unwritten {
        // The verdict is printed all the same; a run directory of somebody else's may be read-only.
        say(format_args!("schism: {problem}"));
    }
    let results = conclusion.results;
    let report = dir.report();
    let report = conclusion.has_report.then_some(report.as_path());
    if arguments.json {
        match results.to_json() {
            Ok(json) => super::super::print(&json),
            Err(error) => super::super::usage(&format!("schism: {error}")),
        };
    } else {
        super::super::print(&terminal::summary(&results, report, std::io::stdout().is_terminal()));
    }
    ExitCode::from(results.exit_code)
}

/// What an earlier conclusion knew that the history does not show; for a crashed run, that it crashed.
fn earlier(dir: &RunDir, plan: &Plan) -> (Facts, Known) {
    match Results::read(&dir.results()) {
        Ok(results) => {
            // What the checkers said they say again. Everything else stays: most of it the history cannot show, such as an
            // interruption or a system that did not recover, and what it can show is the same sentence.
            let kept = results.reasons.into_iter();
            let mut kept: Vec<Reason> = kept
                .filter(|reason| !matches!(reason.verdict, Verdict::Violation | Verdict::Unknown))
                .collect();
            kept.extend(shortened(dir, results.events));
            (results.run, Known { reasons: kept, stopped: results.stopped, ..Known::default() })
        }
        Err(_) => {
            let crashed = Reason {
                verdict: Verdict::Void,
                what:
                    "The run did not come to its end: its controller was killed or crashed, or told to leave."
                        .to_owned(),
            };
            (
                conclude::facts(plan, "", Vec::new(), &format!("schism run {}", dir.test().display())),
                Known { reasons: vec![crashed], ..Known::default() },
            )
        }
    }
}

/// The history has lost events since it was judged to have `before` of them.
fn shortened(dir: &RunDir, before: u64) -> Option<Reason> {
    let text = std::fs::read(dir.history()).ok()?;
    let now = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count() as u64;
    (now < before).then(|| Reason {
        verdict: Verdict::Void,
        what: format!("The history has {now} lines; when the run was judged it had {before} events."),
    })
}
