//! A folder of histories: one line a file, and a summary.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use schism_formats::ImportError;
use schism_units::counted;
use serde::Serialize;
use serde_json::Value;

use super::super::args;
use super::history::{self, Unjudged};
use crate::stderr::say;
use crate::verdict::Verdict;

/// How many files ended how.
#[derive(Default, Serialize)]
struct Summary {
    pass: usize,
    violation: usize,
    unknown: usize,
    void: usize,
    /// Read, but not judged.
    error: usize,
    /// No histories.
    skipped: usize,
}

/// Judges every history in the folder and below it.
pub(super) fn main(arguments: &args::Check) -> ExitCode {
    if arguments.report.is_some() || arguments.witness.is_some() {
        return super::super::usage(
            &"schism: --report and --witness are about one history; give one of the folder's files",
        );
    }
    if arguments.model.is_none() {
        return super::super::usage(&format!(
            "schism: {} is no run directory (it has no plan.json), so it is a folder of histories; what they promise is named \
             with --model",
            arguments.path.display()
        ));
    }
    let mut files = Vec::new();
    if let Err(error) = collect(&arguments.path, &mut files) {
        return super::super::usage(&format!("schism: cannot list {}: {error}", arguments.path.display()));
    }
    files.sort();
    let mut summary = Summary::default();
    let mut worst = Verdict::Pass;
    let mut judged_any = false;
    let mut all: Vec<Value> = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&arguments.path).unwrap_or(file).display().to_string();
        let line = match history::judge(file, arguments, false) {
            Ok(judged) => {
                judged_any = true;
                worst = worst.worst(judged.verdict);
                match judged.verdict {
                    Verdict::Pass => summary.pass += 1,
                    Verdict::Violation => summary.violation += 1,
                    Verdict::Unknown => summary.unknown += 1,
                    _ => summary.void += 1,
                }
                if arguments.json {
                    all.extend(serde_json::to_value(history::printed(&name, &judged)).ok());
                }
                line(judged.verdict.word(), &name, &judged)
            }
            Err(Unjudged::Import(ImportError::Unrecognized(why))) => {
                summary.skipped += 1;
                format!("{:<10} {name}: {why}", "skipped")
            }
            Err(why) => {
                summary.error += 1;
                if arguments.json {
                    all.push(
                        serde_json::json!({ "file": name, "verdict": "usage", "error": why.to_string() }),
                    );
                }
                format!("{:<10} {name}: {why}", "error")
            }
        };
        if arguments.json {
            continue;
        }
        if super::super::print(&format!("{line}\n")) != ExitCode::SUCCESS {
            return ExitCode::from(Verdict::Infra.exit_code());
        }
    }
    if summary.error > 0 {
        worst = worst.worst(Verdict::Usage);
    }
    if !judged_any && summary.error == 0 {
        say(format_args!("schism: there is no history in {}", arguments.path.display()));
        return ExitCode::from(Verdict::Usage.exit_code());
    }
    let said = if arguments.json {
        let whole = serde_json::json!({ "files": all, "summary": summary });
        match serde_json::to_string_pretty(&whole) {
            Ok(json) => super::super::print(&format!("{json}\n")),
            Err(error) => return super::super::usage(&format!("schism: {error}")),
        }
    } else {
        super::super::print(&summary.describe())
    };
    history::told(said, worst)
}

fn line(word: &str, name: &str, judged: &history::Judged) -> String {
    let result = &judged.result;
    let mut line = format!(
        "{word:<10} {name}: {}, {}, {:.1} ms",
        counted(result.operations, "operation"),
        counted(result.keys, "object"),
        result.seconds * 1000.0
    );
    if let Some(violation) = result.violations.first() {
        let _ = write!(line, ": {}", violation.summary);
    } else if let Some(why) = &result.unknown {
        let _ = write!(line, ": {why}");
    }
    for note in &judged.notes {
        let _ = write!(line, " ({note})");
    }
    line
}

impl Summary {
    fn describe(&self) -> String {
        let parts = [
            (self.pass, "pass"),
            (self.violation, "violation"),
            (self.unknown, "unknown"),
            (self.void, "void"),
            (self.error, "not judged"),
            (self.skipped, "skipped"),
        ];
        let judged = self.pass + self.violation + self.unknown + self.void;
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let histories = if judged == 1 { "history" } else { "histories" };
        format!("{judged} {histories} judged: {}\n", parts.join(", "))
    }
}

/// Every file below `folder`. What a link points to is taken as a file, and never followed as a folder: that could go on for
/// ever.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() || (kind.is_symlink() && entry.path().is_file()) {
                files.push(entry.path());
            }
        }
    }
    Ok(())
}
