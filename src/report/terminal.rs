//! The last lines on the terminal: the verdict first, the evidence in a few lines, where to read more, how to repeat it.

use std::path::Path;

use schism_checkers::Validity;

use super::format::{clip, count, counted, duration, seconds};
use super::{Results, Verdict};

/// Reasons told beside the first.
const REASONS_MAX: usize = 5;
/// Lines of a reason beyond its first.
const REASON_LINES_MAX: usize = 24;
/// Sentences of the first violation.
const SENTENCES_MAX: usize = 5;
/// Characters of a sentence.
const SENTENCE_CHARS_MAX: usize = 400;

/// The summary of a run, a few lines that end with a newline. `report` is where the page is, if there is one; `colour` asks
/// for ANSI colours, which the caller decides (a terminal, `NO_COLOR`).
pub fn summary(results: &Results, report: Option<&Path>, colour: bool) -> String {
    let mut lines = vec![headline(results, colour)];
    match results.verdict {
        Verdict::Violation => evidence(results, &mut lines),
        _ => reasons(results, &mut lines),
    }
    lines.push(String::new());
    lines.push(format!("  load    {}", load(results)));
    if !results.faults.is_empty() {
        lines.push(format!("  faults  {}", faults(results)));
    }
    if let Some(path) = report {
        lines.push(format!("  report  {}", clean(&path.display().to_string())));
    }
    lines.push(format!("  repeat  {}", clean(&results.run.command)));
    lines.push(String::new());
    lines.join("\n")
}

fn headline(results: &Results, colour: bool) -> String {
    let word = results.verdict.word().to_uppercase();
    let sentence = shorten(&results.sentence);
    let code = match results.verdict {
        Verdict::Pass => "1;32",
        Verdict::Violation => "1;31",
        Verdict::Usage | Verdict::Unknown | Verdict::Void | Verdict::Infra | Verdict::Residue => "1;33",
    };
    match colour {
        true => format!("\u{1b}[{code}m{word}\u{1b}[0m  {sentence}"),
        false => format!("{word}  {sentence}"),
    }
}

fn evidence(results: &Results, lines: &mut Vec<String>) {
    let broken = results.checks.iter().filter(|check| check.validity == Validity::Violation);
    let all: Vec<_> = broken.flat_map(|check| &check.violations).collect();
    let Some(first) = all.first() else { return };
    lines.push(String::new());
    lines.push(format!("  {}", shorten(&first.summary)));
    lines.extend(
        first.explanation.iter().take(SENTENCES_MAX).map(|sentence| format!("    {}", shorten(sentence))),
    );
    let sentences = first.explanation.len().saturating_sub(SENTENCES_MAX);
    if sentences > 0 {
        lines.push(format!("    ({} in the report)", counted(sentences as u64, "more sentence")));
    }
    let keys: usize =
        results.checks.iter().map(|check| check.violating_keys.max(check.violations.len())).sum();
    if keys > 1 {
        let more = counted(keys as u64 - 1, "more violation");
        lines.push(match keys > all.len() {
            true => format!("  ({more}; the report explains {} of them)", all.len() - 1),
            false => format!("  ({more} in the report)"),
        });
    }
}

fn reasons(results: &Results, lines: &mut Vec<String>) {
    for (position, reason) in results.reasons.iter().take(1 + REASONS_MAX).enumerate() {
        let mut further = reason.what.lines();
        let first = further.next().unwrap_or_default();
        // The sentence has that of the first already.
        if position > 0 {
            lines.push(format!("  {}: {}", reason.verdict, shorten(first)));
        }
        lines.extend(further.by_ref().take(REASON_LINES_MAX).map(|line| format!("    {}", shorten(line))));
        let more = further.count();
        if more > 0 {
            lines.push(format!("    ({} in results.json)", counted(more as u64, "more line")));
        }
    }
    let more = results.reasons.len().saturating_sub(1 + REASONS_MAX);
    if more > 0 {
        lines.push(format!("  ({} in the report)", counted(more as u64, "more reason")));
    }
}

fn load(results: &Results) -> String {
    let total = results.total();
    let slowest = results.latencies.iter().max_by_key(|latency| latency.p99);
    let p99 = slowest.map_or_else(String::new, |latency| {
        format!(", p99 {} ({})", duration(latency.p99), clean(&latency.f))
    });
    format!(
        "{} in {}: {} ok, {} failed, {} unknown{p99}",
        counted(total.total(), "operation"),
        seconds(results.duration),
        count(total.ok),
        count(total.fail),
        count(total.info + total.open),
    )
}

fn faults(results: &Results) -> String {
    let all = results.faults.len();
    let bit = results.faults.iter().filter(|fault| fault.bit == Some(true)).count();
    let gone = results.faults.iter().filter(|fault| fault.gone == Some(true)).count();
    match bit == all && gone == all {
        true => format!("{}, seen to bite and to heal", counted(all as u64, "fault")),
        false => format!("{}, {bit} seen to bite, {gone} seen to heal", counted(all as u64, "fault")),
    }
}

fn shorten(text: &str) -> String {
    clip(&clean(text), SENTENCE_CHARS_MAX)
}

/// Values come from the system under test: they must not move the cursor or change colours.
fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
