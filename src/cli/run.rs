//! `schism run`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use super::{args, plan};
use crate::report::terminal;
use crate::runner;
use crate::stderr::say;
use crate::verdict::Verdict;

pub fn main(arguments: &args::Run) -> ExitCode {
    let planned = match plan::resolve(&arguments.test, plan::drawn) {
        Ok(planned) => planned,
        Err(problems) => return super::usage(&problems),
    };
    if arguments.dry_run {
        return super::print(&planned.plan.print_commands(runner::LEASE));
    }
    let options = runner::Options {
        runs: arguments.runs.clone(),
        quiet: arguments.quiet,
        command: repeat(arguments, planned.plan.seed),
        stop_on_violation: arguments.stop_on_violation,
    };
    if !arguments.quiet {
        say(format_args!("{}, seed {}", planned.plan.headline(), planned.plan.seed));
    }
    let finished = match runner::run(&planned.plan, &planned.text, &options) {
        Ok(finished) => finished,
        Err(error) => {
            say(format_args!("schism: {error}"));
            return ExitCode::from(Verdict::Infra.exit_code());
        }
    };
    let summary = match &finished.results {
        Some(results) => {
            let report = finished.dir.report();
            let report = finished.has_report.then_some(report.as_path());
            terminal::summary(results, report, io::stdout().is_terminal())
        }
        None => format!(
            "left before judging; `schism check {}` judges what there is\n",
            finished.dir.path().display()
        ),
    };
    let mut stdout = io::stdout().lock();
    // The verdict is in the exit code and in results.json too.
    let _ = stdout.write_all(summary.as_bytes()).and_then(|()| stdout.flush());
    ExitCode::from(exit_code(finished.verdict, &finished.unwritten))
}

/// The exit code of a verdict of which not all could be written: whoever goes on to read the files of a run that passed
/// must not find those of another, or none.
fn exit_code(verdict: Verdict, unwritten: &[String]) -> u8 {
    for problem in unwritten {
        say(format_args!("schism: {problem}"));
    }
    let code = if unwritten.is_empty() { verdict } else { verdict.worst(Verdict::Infra) }.exit_code();
    if code != verdict.exit_code() {
        say(format_args!(
            "schism: the verdict stands ({verdict}), but not all of it is written: exit code {code}"
        ));
    }
    code
}

/// The command that repeats the run: the seed pins the plan.
fn repeat(arguments: &args::Run, seed: u64) -> String {
    let test = &arguments.test;
    let mut words = vec!["schism".to_owned(), "run".to_owned(), quote(&test.test.display().to_string())];
    for set in &test.set {
        words.push("--set".to_owned());
        words.push(quote(set));
    }
    words.push("--seed".to_owned());
    words.push(seed.to_string());
    if arguments.stop_on_violation {
        words.push("--stop-on-violation".to_owned());
    }
    words.join(" ")
}

/// Quotes a word for a shell where it needs it.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_survives_a_shell() {
        let test = args::Test {
            test: "my tests/a.yaml".into(),
            set: vec!["time-limit=5s".to_owned(), "name=it's".to_owned()],
            seed: None,
        };
        let mut run =
            args::Run { test, runs: "runs".into(), quiet: false, stop_on_violation: false, dry_run: false };
        let plain = r"schism run 'my tests/a.yaml' --set time-limit=5s --set 'name=it'\''s' --seed 7";
        assert_eq!(repeat(&run, 7), plain);
        run.stop_on_violation = true;
        assert_eq!(repeat(&run, 7), format!("{plain} --stop-on-violation"));
    }
}
