//! Reads a test file.

use std::path::Path;

use super::document;
use super::overrides;
use super::problem::{Problem, Problems};
use super::schema;
use super::source::{self, Source};
use super::test::Test;

/// What a test file could look like, for whoever hands us an empty one.
const EXAMPLE: &str = "system: demo
cluster: { local: 5 }
workload:
  register: { keys: 5, rate: 500/s }
time-limit: 20s";

/// Reads and checks a test file with the `--set` options given, each `path.to.key=value`.
///
/// # Errors
/// Everything that is wrong, each with file, line and column or the option that said it.
pub fn load(path: &Path, overrides: &[String]) -> Result<(Test, Source), Problems> {
    let text = source::read_text(path)?;
    parse(path, text, overrides)
}

/// As [`load`], from a text already read; `path` names the test and is shown in messages.
///
/// # Errors
/// Everything that is wrong, each with file, line and column or the option that said it.
pub fn parse(path: &Path, text: String, overrides: &[String]) -> Result<(Test, Source), Problems> {
    let mut source = Source::parse(path, text)?;
    let wrong: Vec<Problem> =
        overrides.iter().filter_map(|option| overrides::apply(&mut source, option).err()).collect();
    if let Some(problems) = Problems::new(wrong) {
        return Err(problems);
    }
    let mut test: Test = document::read(&source, schema::shared(), "the test file", EXAMPLE)?;
    if test.name.is_empty() {
        test.name =
            path.file_stem().map_or_else(|| "test".to_owned(), |stem| stem.to_string_lossy().into_owned());
    }
    match Problems::new(check(&test, &source)) {
        Some(problems) => Err(problems),
        None => Ok((test, source)),
    }
}

/// What a schema cannot say.
fn check(test: &Test, source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |path: &[&str], message: String| {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        problems.push(source.problem(&path, message));
    };
    if test.name.starts_with('.') || test.name.contains(|c: char| c == '/' || c.is_control()) {
        wrong(
            &["name"],
            format!("`{}` cannot name a directory; use letters, digits, spaces and hyphens", test.name),
        );
    }
    if test.time_limit.0.is_zero() {
        wrong(&["time-limit"], "`time-limit` must be above zero; for example 60s".to_owned());
    }
    if test.checks.linearizable.time_limit.0.is_zero() {
        wrong(
            &["checks", "linearizable", "time-limit"],
            "the check needs some time; for example 60s".to_owned(),
        );
    }
    problems
}
