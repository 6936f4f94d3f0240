//! The page: templates filled with [`Data`], one file that needs nothing else.
//!
//! The templates are in `templates/` and part of the binary. They escape everything; what they insert as it is (`safe`)
//! is the style sheet, the script, curves made of numbers, and the JSON for the script, which [`json_for_script`] makes
//! harmless.

use schism_checkers::Validity;
use serde::Serialize;
use tera::{Context, Kwargs, State, Tera};

use super::chart::Chart;
use super::format;
use super::timeline::Timeline;
use super::{Count, Data, ErrorCount, Evidence, Fault, Latency, Reason, ReportError, Results, Verdict};

/// Rows in the table of faults.
const FAULTS_MAX: usize = 300;
/// Pieces of evidence shown for one fault.
const SEEN_MAX: usize = 20;
/// Reasons shown.
const REASONS_MAX: usize = 50;
/// Names of operations shown.
const NAMES_MAX: usize = 100;
/// Characters of a sentence from outside.
const SENTENCE_CHARS_MAX: usize = 1000;

const TEMPLATES: [(&str, &str); 4] = [
    ("report.html", include_str!("../../templates/report.html")),
    ("chart.html", include_str!("../../templates/chart.html")),
    ("evidence.html", include_str!("../../templates/evidence.html")),
    ("timeline.html", include_str!("../../templates/timeline.html")),
];
const STYLE: &str = include_str!("../../templates/report.css");
const SCRIPT: &str = include_str!("../../templates/report.js");

/// What the templates see: parts of the data, bounded, and the pictures.
#[derive(Serialize)]
struct View<'d> {
    results: Head<'d>,
    reasons: Vec<Reason>,
    reasons_left_out: usize,
    total: Total,
    counts: &'d [Count],
    latencies: &'d [Latency],
    names_left_out: usize,
    errors: &'d [ErrorCount],
    errors_left_out: u64,
    evidence: Vec<Violation<'d>>,
    evidence_left_out: usize,
    faults: Vec<Fault>,
    faults_left_out: usize,
    checks: Vec<Check<'d>>,
    chart: Chart,
    style: &'static str,
    script: &'static str,
    json: String,
}

#[derive(Serialize)]
struct Head<'d> {
    verdict: &'static str,
    exit_code: u8,
    sentence: String,
    run: &'d super::Facts,
    duration: u64,
    events: u64,
    timings: &'d [super::Timing],
    schism: &'static str,
}

#[derive(Serialize)]
struct Total {
    all: u64,
    ok: u64,
    fail: u64,
    unknown: u64,
    ok_percent: String,
}

#[derive(Serialize)]
struct Violation<'d> {
    evidence: &'d Evidence,
    timeline: Timeline,
    around: Timeline,
    faults: Vec<String>,
}

#[derive(Serialize)]
struct Check<'d> {
    checker: &'d str,
    model: &'d str,
    engine: &'d str,
    validity: &'static str,
    keys: usize,
    operations: usize,
    violations: usize,
    unknown: Option<String>,
    seconds: f64,
}

/// What the script on the page reads.
#[derive(Serialize)]
struct ForScript<'d> {
    duration: u64,
    width: u64,
    ok: &'d [u64],
    fail: &'d [u64],
    info: &'d [u64],
    p50: &'d [Option<u64>],
    p99: &'d [Option<u64>],
    faults: Vec<FaultForScript>,
}

#[derive(Serialize)]
struct FaultForScript {
    what: String,
    from: u64,
    to: u64,
}

/// The page as text.
///
/// # Errors
/// A template does not fit the data: a mistake in this program.
pub fn render(data: &Data) -> Result<String, ReportError> {
    let failed = |error: tera::Error| ReportError::Render(chain(&error));
    let tera = engine().map_err(failed)?;
    let context = Context::from_serialize(&view(data)?).map_err(failed)?;
    tera.render("report.html", &context).map_err(failed)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn engine() -> Result<Tera, tera::Error> {
    let mut tera = Tera::default();
    tera.register_filter("duration", |ns: u64, _: Kwargs, _: &State| format::duration(ns));
    tera.register_filter("moment", |ns: u64, _: Kwargs, _: &State| format::moment(ns));
    tera.register_filter("seconds", |ns: u64, _: Kwargs, _: &State| format::seconds(ns));
    tera.register_filter("count", |number: u64, _: Kwargs, _: &State| format::count(number));
    tera.add_raw_templates(TEMPLATES)?;
    Ok(tera)
}

fn view(data: &Data) -> Result<View<'_>, ReportError> {
    let results = &data.results;
    let json = json_for_script(&for_script(data)).map_err(|error| ReportError::Render(error.to_string()))?;
    // A violation that is shown below needs no other reason.
    let shown = !data.evidence.is_empty();
    let reasons =
        || results.reasons.iter().filter(move |reason| !(shown && reason.verdict == Verdict::Violation));
    Ok(View {
        results: head(results),
        reasons: reasons().take(REASONS_MAX).map(short_reason).collect(),
        reasons_left_out: reasons().count().saturating_sub(REASONS_MAX),
        total: total(&results.total()),
        counts: first(&results.counts, NAMES_MAX),
        latencies: first(&results.latencies, NAMES_MAX),
        names_left_out: results.counts.len().saturating_sub(NAMES_MAX),
        errors: &results.errors,
        errors_left_out: results.errors_left_out,
        evidence: data.evidence.iter().map(|evidence| violation(evidence, data)).collect(),
        evidence_left_out: data.evidence_left_out,
        faults: results.faults.iter().take(FAULTS_MAX).map(short_fault).collect(),
        faults_left_out: results.faults.len().saturating_sub(FAULTS_MAX),
        checks: results.checks.iter().map(check).collect(),
        chart: Chart::of(data),
        style: STYLE,
        script: SCRIPT,
        json,
    })
}

fn first<T>(items: &[T], max: usize) -> &[T] {
    &items[..items.len().min(max)]
}

fn head(results: &Results) -> Head<'_> {
    Head {
        verdict: results.verdict.word(),
        exit_code: results.exit_code,
        sentence: format::clip(&results.sentence, SENTENCE_CHARS_MAX),
        run: &results.run,
        duration: results.duration,
        events: results.events,
        timings: &results.timings,
        schism: env!("CARGO_PKG_VERSION"),
    }
}

fn total(total: &Count) -> Total {
    let all = total.total();
    let percent = if all == 0 { 0.0 } else { total.ok as f64 / all as f64 * 100.0 };
    // 99.996 % is not 100 %: only all of them are.
    let ok_percent =
        if total.ok == all { format!("{percent:.0} %") } else { format!("{:.1} %", percent.min(99.9)) };
    Total { all, ok: total.ok, fail: total.fail, unknown: total.info + total.open, ok_percent }
}

fn short_reason(reason: &Reason) -> Reason {
    Reason { verdict: reason.verdict, what: format::clip(&reason.what, SENTENCE_CHARS_MAX) }
}

fn short_fault(fault: &Fault) -> Fault {
    let mut short = fault.clone();
    short.what = format::clip(&fault.what, SENTENCE_CHARS_MAX);
    short.targets.truncate(SEEN_MAX);
    short.error = fault.error.as_ref().map(|error| format::clip(error, SENTENCE_CHARS_MAX));
    for evidence in [&mut short.evidence, &mut short.healed_evidence] {
        evidence.truncate(SEEN_MAX);
        evidence.iter_mut().for_each(|seen| seen.seen = format::clip(&seen.seen, SENTENCE_CHARS_MAX));
    }
    short
}

fn violation<'d>(evidence: &'d Evidence, data: &Data) -> Violation<'d> {
    let fault = |position: &usize| data.results.faults.get(*position);
    let words = |fault: &Fault| match fault.what.as_str() {
        "" => fault.id.clone(),
        what => format!("{} ({})", fault.id, format::clip(what, 200)),
    };
    Violation {
        evidence,
        timeline: Timeline::of(evidence, data),
        around: Timeline::around(evidence, data),
        faults: evidence.faults.iter().filter_map(fault).map(words).collect(),
    }
}

fn check(check: &schism_checkers::CheckResult) -> Check<'_> {
    Check {
        checker: &check.checker,
        model: &check.model,
        engine: &check.engine,
        validity: match check.validity {
            Validity::Pass => "pass",
            Validity::Violation => "violation",
            Validity::Unknown => "unknown",
        },
        keys: check.keys,
        operations: check.operations,
        violations: check.violations.len(),
        unknown: check.unknown.as_ref().map(|why| format::clip(why, SENTENCE_CHARS_MAX)),
        seconds: check.seconds,
    }
}

fn for_script(data: &Data) -> ForScript<'_> {
    let series = &data.series;
    let fault = |fault: &Fault| {
        let (from, to) = fault.window(data.end);
        let what = if fault.what.is_empty() { &fault.id } else { &fault.what };
        FaultForScript {
            what: format::clip(what, 200),
            from: from.saturating_sub(data.start),
            to: to.saturating_sub(data.start),
        }
    };
    ForScript {
        duration: data.end - data.start,
        width: series.width,
        ok: &series.ok,
        fail: &series.fail,
        info: &series.info,
        p50: &series.p50,
        p99: &series.p99,
        faults: data.results.faults.iter().take(FAULTS_MAX).map(fault).collect(),
    }
}

/// JSON that cannot end the script element it stands in, whatever the values say: `</script>`, `<!--` and `<script` all
/// need a `<`.
fn json_for_script<T: Serialize>(value: &T) -> serde_json::Result<String> {
    Ok(serde_json::to_string(value)?.replace('<', "\\u003c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_element_cannot_be_ended_from_inside() {
        let text = json_for_script(&"</script><!-- <script>").unwrap();
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), "</script><!-- <script>");
    }
}
