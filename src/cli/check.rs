//! `schism check`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use schism_checkers::linearizable::Model;
use schism_checkers::{CheckResult, Validity};
use schism_history::{Event, History, Kind, Process};

use super::args;
use crate::plan::{Plan, PlanFileError};
use crate::report::{Facts, Reason, Results, terminal};
use crate::runner::conclude;
use crate::stderr::say;
use crate::store::RunDir;
use crate::verdict::Verdict;

/// Memory for a check, in bytes.
const MEMORY_MAX: u64 = 4 << 30;

pub fn main(arguments: &args::Check) -> ExitCode {
    // Which of the two it is to be nobody can know before it is there.
    match arguments.path.metadata() {
        Ok(found) if found.is_dir() => run(arguments),
        Ok(_) => file(arguments),
        Err(error) => super::usage(&format!("schism: cannot open {}: {error}", arguments.path.display())),
    }
}

/// A run directory: judged with its plan, and its report written again.
fn run(arguments: &args::Check) -> ExitCode {
    let dir = match RunDir::open(&arguments.path) {
        Ok(dir) => dir,
        Err(error) => return super::usage(&format!("schism: {error}")),
    };
    let plan = match Plan::read(&dir.plan()) {
        Ok(plan) => plan,
        Err(PlanFileError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return super::usage(&format!(
                "schism: {} has no plan.json, so there is nothing to judge: a run that ended before it began, or no run \
                 directory; give one, such as runs/latest, or a history.jsonl with --model",
                arguments.path.display()
            ));
        }
        Err(error) => {
            return super::usage(&format!("schism: {error}"));
        }
    };
    let (facts, reasons) = earlier(&dir, &plan);
    let conclusion = conclude::conclude(&dir, &plan, facts, reasons, Vec::new());
    for problem in &conclusion.unwritten {
        // The verdict is printed all the same; a run directory of somebody else's may be read-only.
        say(format_args!("schism: {problem}"));
    }
    let results = conclusion.results;
    let report = dir.report();
    let report = conclusion.has_report.then_some(report.as_path());
    if arguments.json {
        match results.to_json() {
            Ok(json) => super::print(&json),
            Err(error) => super::usage(&format!("schism: {error}")),
        };
    } else {
        super::print(&terminal::summary(&results, report, std::io::stdout().is_terminal()));
    }
    ExitCode::from(results.exit_code)
}

/// What an earlier conclusion knew that the history does not show; for a crashed run, that it crashed.
fn earlier(dir: &RunDir, plan: &Plan) -> (Facts, Vec<Reason>) {
    match Results::read(&dir.results()) {
        Ok(results) => {
            // What the checkers said they say again. Everything else stays: most of it the history cannot show, such as an
            // interruption or a system that did not recover, and what it can show is the same sentence.
            let kept = results.reasons.into_iter();
            let mut kept: Vec<Reason> = kept
                .filter(|reason| !matches!(reason.verdict, Verdict::Violation | Verdict::Unknown))
                .collect();
            kept.extend(shortened(dir, results.events));
            (results.run, kept)
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
                vec![crashed],
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

/// A history alone.
fn file(arguments: &args::Check) -> ExitCode {
    let Some(model) = &arguments.model else {
        return super::usage(
            &"schism: a history alone does not say what it promises; name it with --model register or --model cas-register",
        );
    };
    let model: Model = match model.parse() {
        Ok(model) => model,
        Err(error) => return super::usage(&format!("schism: {error}")),
    };
    let (result, acknowledged) = match check(&arguments.path, model, arguments.time_limit.0) {
        Ok(result) => result,
        Err(error) => return super::usage(&format!("schism: {error}")),
    };
    if arguments.json {
        match serde_json::to_string_pretty(&result) {
            Ok(json) => super::print(&format!("{json}\n")),
            Err(error) => super::usage(&format!("schism: {error}")),
        };
    } else {
        super::print(&describe(&result));
    }
    let verdict = match result.validity {
        Validity::Pass if result.operations == 0 => {
            say(format_args!("{}: there is no operation in it: it proves nothing", arguments.path.display()));
            Verdict::Void
        }
        Validity::Pass if acknowledged == 0 => {
            say(format_args!(
                "{}: no operation in it succeeded: it proves nothing",
                arguments.path.display()
            ));
            Verdict::Void
        }
        Validity::Pass => Verdict::Pass,
        Validity::Violation => Verdict::Violation,
        Validity::Unknown => Verdict::Unknown,
    };
    ExitCode::from(verdict.exit_code())
}

/// The answer, and how many operations succeeded.
fn check(path: &Path, model: Model, time: std::time::Duration) -> Result<(CheckResult, usize), String> {
    let history = History::open(path).map_err(|error| error.to_string())?;
    if let Some(torn) = &history.torn {
        say(format_args!("{}: {torn}; the rest is judged", path.display()));
    }
    let succeeded = |event: &&Event| event.kind == Kind::Ok && event.process != Process::Nemesis;
    let acknowledged = history.events.iter().filter(succeeded).count();
    conclude::check(&history.events, model, time, MEMORY_MAX).map(|result| (result, acknowledged))
}

fn describe(result: &CheckResult) -> String {
    let word = match result.validity {
        Validity::Pass => "pass",
        Validity::Violation => "VIOLATION",
        Validity::Unknown => "unknown",
    };
    let mut text = format!(
        "{word}: {} ({}), {} operations on {} keys, {:.3} s\n",
        result.checker, result.model, result.operations, result.keys, result.seconds
    );
    for violation in &result.violations {
        text.push_str(&format!("  {}\n", violation.summary));
        for line in &violation.explanation {
            text.push_str(&format!("    {line}\n"));
        }
    }
    if let Some(why) = &result.unknown {
        text.push_str(&format!("  {why}\n"));
    }
    text
}
