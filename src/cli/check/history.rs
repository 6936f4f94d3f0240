//! A single history.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use schism_checkers::linearizable::{self, CheckError, Model, Options};
use schism_checkers::{CheckResult, Progress, Validity};
use schism_formats::{Format, Import, ImportError};
use schism_history::{OPEN, Outcome, Table};
use schism_units::counted;
use serde::Serialize;

use super::super::args;
use super::{page, waiting};
use crate::stderr::say;
use crate::verdict::Verdict;

/// A history that was judged.
pub(super) struct Judged {
    pub import: Import,
    pub result: CheckResult,
    pub verdict: Verdict,
    /// What to say besides the result.
    pub notes: Vec<String>,
    /// How it was checked.
    pub options: Options,
}

/// Why a history was not judged.
pub(super) enum Unjudged {
    /// It cannot be read.
    Import(ImportError),
    /// An operation in it is none of the model's.
    Operation {
        /// The line in which it was invoked, if the history has lines.
        line: Option<u64>,
        problem: String,
    },
    /// The flags do not fit it.
    Usage(String),
}

impl std::fmt::Display for Unjudged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unjudged::Import(error) => error.fmt(f),
            Unjudged::Operation { line: Some(line), problem } => write!(f, "line {line}: {problem}"),
            Unjudged::Operation { line: None, problem } | Unjudged::Usage(problem) => f.write_str(problem),
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Printed<'r> {
    pub file: String,
    pub verdict: Verdict,
    pub format: &'static str,
    pub notes: &'r [String],
    #[serde(flatten)]
    pub result: &'r CheckResult,
}

/// Judges the history and says what came of it.
pub(super) fn main(arguments: &args::Check) -> ExitCode {
    let name = name(&arguments.path);
    let judged = match judge(&arguments.path, arguments, true) {
        Ok(judged) => judged,
        // As editors and terminals know places in files.
        Err(Unjudged::Import(ImportError::Syntax { place, problem })) => {
            let message = format!("schism: {name}:{}:{}: {problem}", place.line, place.column);
            return super::super::usage(&message);
        }
        Err(Unjudged::Import(ImportError::Event { line, source })) => {
            return super::super::usage(&format!("schism: {name}:{line}: {source}"));
        }
        Err(Unjudged::Operation { line: Some(line), problem }) => {
            return super::super::usage(&format!("schism: {name}:{line}: {problem}"));
        }
        // Which says the name itself.
        Err(Unjudged::Import(error @ ImportError::Read(_))) => {
            return super::super::usage(&format!("schism: {error}"));
        }
        Err(why) => return super::super::usage(&format!("schism: {name}: {why}")),
    };
    for note in &judged.notes {
        say(format_args!("{name}: {note}"));
    }
    if let Some(path) = &arguments.report
        && let Err(error) = page::write(path, &arguments.path, &judged)
    {
        return super::super::usage(&format!("schism: {error}"));
    }
    if let Some(path) = &arguments.witness {
        if judged.verdict != Verdict::Pass {
            say(format_args!("{}: not written: only a pass has an order of all operations", path.display()));
        } else if let Err(error) = witness(path, &judged) {
            return super::super::usage(&format!("schism: {error}"));
        }
    }
    let said = if arguments.json {
        match serde_json::to_string_pretty(&printed(&name, &judged)) {
            Ok(json) => super::super::print(&format!("{json}\n")),
            Err(error) => super::super::usage(&format!("schism: {error}")),
        }
    } else {
        super::super::print(&describe(&judged, arguments.report.as_deref()))
    };
    told(said, judged.verdict)
}

/// The exit code of a verdict that was printed: whoever reads half of an answer must not take it for a pass.
pub(super) fn told(said: ExitCode, verdict: Verdict) -> ExitCode {
    if said != ExitCode::SUCCESS && verdict == Verdict::Pass {
        said
    } else {
        ExitCode::from(verdict.exit_code())
    }
}

/// How a path is called in messages.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

pub(super) fn printed<'j>(name: &str, judged: &'j Judged) -> Printed<'j> {
    Printed {
        file: name.to_owned(),
        verdict: judged.verdict,
        format: judged.import.format.name(),
        notes: &judged.notes,
        result: &judged.result,
    }
}

/// Reads and checks a history.
pub(super) fn judge(path: &Path, arguments: &args::Check, watched: bool) -> Result<Judged, Unjudged> {
    let progress = Arc::new(Progress::default());
    let _waiting = watched.then(|| waiting::Waiting::start(&name(path), Arc::clone(&progress)));
    let options = schism_formats::Options { format: arguments.format, keys: arguments.key.into() };
    let import = if path == Path::new("-") {
        schism_formats::read(std::io::stdin().lock(), &name(path), &options)
    } else {
        schism_formats::open(path, &options)
    };
    let mut import = import.map_err(Unjudged::Import)?;
    let Some(model) = arguments.model else { return Err(Unjudged::Usage(which_model(&import.table))) };
    let mut notes = import.notes.clone();
    let initial = match (&arguments.initial, model, import.format) {
        (Some(initial), ..) => initial.clone(),
        // That is what it means there; in anybody else's history it would hide a lost value, so it is said.
        (None, Model::KeyValue, Format::PorcupineKv) => {
            notes.push(
                "absent keys read as \"\", as in Porcupine's histories; if not, give --initial null"
                    .to_owned(),
            );
            serde_json::Value::from("")
        }
        (None, ..) => serde_json::Value::Null,
    };
    let initial = import.table.values.json(&initial).map_err(|error| Unjudged::Usage(error.to_string()))?;
    let mut options = Options::new(model);
    options.engine = arguments.engine;
    options.initial = initial;
    options.time_budget = Some(arguments.time_limit.0);
    options.memory_budget = Some(usize::try_from(arguments.memory_limit.bytes()).unwrap_or(usize::MAX));
    options.progress = Some(progress);
    let result =
        linearizable::check(&import.table, &options).map_err(|error| unfit(&import.table, &error))?;
    let verdict = match result.validity {
        Validity::Pass if result.operations == 0 => {
            notes.push("there is no operation in it: it proves nothing".to_owned());
            Verdict::Void
        }
        Validity::Pass if import.table.rows().iter().all(|row| row.outcome != Outcome::Ok) => {
            notes.push("no operation in it succeeded: it proves nothing".to_owned());
            Verdict::Void
        }
        Validity::Pass => Verdict::Pass,
        Validity::Violation => Verdict::Violation,
        Validity::Unknown => Verdict::Unknown,
    };
    Ok(Judged { import, result, verdict, notes, options })
}

/// Where the operation stands that the model cannot take.
fn unfit(table: &Table, error: &CheckError) -> Unjudged {
    let (CheckError::UnknownOperation { index, .. } | CheckError::Malformed { index, .. }) = error else {
        return Unjudged::Usage(format!("the history cannot be checked: {error}"));
    };
    let found = table.views().find(|view| view.index() == *index);
    let line = found.and_then(|view| table.line(view.row.invoked));
    let end = found.filter(|view| view.row.completed != OPEN).and_then(|view| table.line(view.row.completed));
    let completes = match (error, end) {
        (CheckError::Malformed { .. }, Some(end)) => format!(" (the operation completes in line {end})"),
        _ => String::new(),
    };
    Unjudged::Operation { line, problem: format!("the history cannot be checked: {error}{completes}") }
}

/// Writes an order of the operations of each object.
fn witness(path: &Path, judged: &Judged) -> Result<(), String> {
    let orders =
        linearizable::witness(&judged.import.table, &judged.options).map_err(|error| error.to_string())?;
    if let Some(why) = orders.iter().find_map(|witness| witness.order.as_ref().err()) {
        return Err(format!("{}: not written: {why}", path.display()));
    }
    let mut text = String::new();
    for witness in orders {
        text.push_str(&serde_json::to_string(&witness).map_err(|error| error.to_string())?);
        text.push('\n');
    }
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Asks for a model, and names those that have all operations of the history.
fn which_model(table: &Table) -> String {
    let found: BTreeSet<&str> = table.views().map(|view| view.f()).collect();
    let found: Vec<&str> = found.into_iter().collect();
    let fitting: Vec<&str> = Model::ALL
        .into_iter()
        .filter(|model| found.iter().all(|f| model.operations().contains(f)))
        .map(Model::name)
        .collect();
    let all: Vec<&str> = Model::ALL.into_iter().map(Model::name).collect();
    let has = if found.is_empty() { "no operations".to_owned() } else { found.join(", ") };
    if fitting.is_empty() || found.is_empty() {
        format!(
            "a history alone does not say what it promises; name it with --model. It has {has}; the models are {}",
            all.join(", ")
        )
    } else {
        format!(
            "a history alone does not say what it promises; name it with --model. It has {has}, as do the models {}",
            fitting.join(", ")
        )
    }
}

fn describe(judged: &Judged, report: Option<&Path>) -> String {
    let result = &judged.result;
    let word = match judged.verdict {
        Verdict::Violation => "VIOLATION",
        other => other.word(),
    };
    let mut text = format!(
        "{word}: {} ({}, decided by {}), {} on {}, {:.3} s\n",
        result.checker,
        result.model,
        if result.engine.is_empty() { "nobody" } else { &result.engine },
        counted(result.operations, "operation"),
        counted(result.keys, "object"),
        result.seconds
    );
    for violation in &result.violations {
        text.push_str(&format!("  {}\n", violation.summary));
        for line in &violation.explanation {
            text.push_str(&format!("    {line}\n"));
        }
    }
    if result.violating_keys > result.violations.len() {
        let more = result.violating_keys - result.violations.len();
        text.push_str(&format!("  … and {more} more objects that contradict the model.\n"));
    }
    if let Some(why) = &result.unknown {
        text.push_str(&format!("  {why}\n"));
    }
    if let Some(report) = report {
        text.push_str(&format!("  report  {}\n", report.display()));
    }
    text
}
