//! The results as JUnit XML, for build servers: one test case for each checker, and one for the run itself.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use schism_checkers::{CheckResult, Validity};

use super::format;
use super::{ReportError, Results, Verdict};

/// Violations described in one test case.
const VIOLATIONS_MAX: usize = 10;
/// Characters of a sentence.
const SENTENCE_CHARS_MAX: usize = 1000;

/// The text of `junit.xml`. A violation is a failure; everything else that is not a pass is an error.
///
/// # Errors
/// The encoder refuses: a mistake in this program.
pub fn junit(results: &Results) -> Result<String, ReportError> {
    let mut suite = TestSuite::new(results.run.name.as_str());
    for (name, value) in [
        ("verdict", results.verdict.word().to_owned()),
        ("seed", results.run.seed.to_string()),
        ("system", results.run.system.clone()),
        ("command", results.run.command.clone()),
    ] {
        suite.add_property((name, value.as_str()));
    }
    suite.add_test_case(whole_run(results));
    for check in &results.checks {
        suite.add_test_case(case(check, results));
    }
    let time = Duration::from_nanos(results.duration);
    suite.set_time(time);
    let mut report = Report::new("schism");
    report.set_time(time);
    report.add_test_suite(suite);
    report.to_string().map_err(|error| ReportError::Render(error.to_string()))
}

/// The run: load served, faults bit, everything healed. Checkers have cases of their own.
fn whole_run(results: &Results) -> TestCase {
    let other = |verdict: Verdict| !matches!(verdict, Verdict::Violation | Verdict::Unknown);
    let mut reasons: Vec<_> = results.reasons.iter().filter(|reason| other(reason.verdict)).collect();
    if results.checks.is_empty() {
        // Nobody else would tell.
        reasons = results.reasons.iter().collect();
    }
    let status = match reasons.first() {
        None => TestCaseStatus::success(),
        Some(first) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            let lines: Vec<String> =
                reasons.iter().map(|reason| format!("{}: {}", reason.verdict, clip(&reason.what))).collect();
            status
                .set_type(first.verdict.word())
                .set_message(clip(&first.what))
                .set_description(lines.join("\n"));
            status
        }
    };
    let mut case = TestCase::new("run", status);
    case.set_classname(results.run.name.as_str());
    case.set_time(Duration::from_nanos(results.duration));
    case
}

fn case(check: &CheckResult, results: &Results) -> TestCase {
    let status = match check.validity {
        Validity::Pass => TestCaseStatus::success(),
        Validity::Violation => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let first =
                check.violations.first().map_or("a violation without evidence", |first| &first.summary);
            status.set_type("violation").set_message(clip(first)).set_description(describe(check, results));
            status
        }
        Validity::Unknown => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status
                .set_type("unknown")
                .set_message(clip(check.unknown.as_deref().unwrap_or("no reason given")));
            status
        }
    };
    let mut case = TestCase::new(format!("{} ({})", check.checker, check.model), status);
    case.set_classname(results.run.name.as_str());
    case.set_time(Duration::try_from_secs_f64(check.seconds).unwrap_or_default());
    case
}

fn describe(check: &CheckResult, results: &Results) -> String {
    let mut lines = Vec::new();
    for violation in check.violations.iter().take(VIOLATIONS_MAX) {
        lines.push(clip(&violation.summary));
        lines.extend(violation.explanation.iter().take(20).map(|sentence| format!("  {}", clip(sentence))));
    }
    let more = check.violations.len().saturating_sub(VIOLATIONS_MAX);
    if more > 0 {
        lines.push(format!("and {}", format::counted(more as u64, "more violation")));
    }
    lines.push(format!("repeat: {}", results.run.command));
    lines.join("\n")
}

fn clip(text: &str) -> String {
    format::clip(text, SENTENCE_CHARS_MAX)
}
