//! The results of a run in machine form: the type of `results.json`, described in `docs/results.md`.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use hdrhistogram::Histogram;
use schism_checkers::{CheckResult, Validity};
use schism_history::Kind;
use serde::{Deserialize, Serialize};

use super::format::{count, counted, seconds};
use super::{Digest, Fault, Verdict};

/// The version of the format. Raised when a field goes away or changes its meaning; new fields may come at any time.
pub const FORMAT: u32 = 1;
/// Kinds of errors listed; others are counted together.
const ERRORS_MAX: usize = 50;
/// Characters of an error message that tell it from another.
const ERROR_CHARS_MAX: usize = 200;
/// An operation that took longer is counted as taking this long: one hour.
const LATENCY_MAX: u64 = 3_600_000_000_000;

/// What is known of a run before its first event: the part that the plan decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The test's name.
    pub name: String,
    /// When the run began, RFC 3339.
    pub started: String,
    /// The seed that fixes operations and faults.
    pub seed: u64,
    /// The system under test, e.g. `etcd`.
    pub system: String,
    /// The workload in one line, e.g. `register, 10 keys, 1000/s, 10 workers`.
    pub workload: String,
    /// The nodes, in order.
    pub nodes: Vec<NodeFact>,
    /// What ran: schism itself, the system, the kernel, …
    pub versions: Vec<Version>,
    /// The exact command that repeats the run.
    pub command: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFact {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// A component and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The component.
    pub what: String,
    /// Its version.
    pub version: String,
}

/// A reason why the verdict is not `pass`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The verdict it asks for.
    pub verdict: Verdict,
    /// What happened, where, and what to do, in one or two sentences.
    pub what: String,
}

/// How the operations of one name ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The operation's name.
    pub f: String,
    /// It happened.
    pub ok: u64,
    /// It certainly did not happen.
    pub fail: u64,
    /// Unknown.
    pub info: u64,
    /// Still open when the history ended: unknown as well.
    pub open: u64,
}

impl Count {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.ok + self.fail + self.info + self.open
    }
}

/// Latencies of the operations of one name that ended `ok`, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// The operation's name.
    pub f: String,
    /// How many were measured.
    pub count: u64,
    /// The fastest.
    pub min: u64,
    /// The median.
    pub p50: u64,
    /// 95 of 100 were at least as fast.
    pub p95: u64,
    /// 99 of 100 were at least as fast.
    pub p99: u64,
    /// 999 of 1000 were at least as fast.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
}

/// An error and how often it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The operation's name.
    pub f: String,
    /// How the operations ended: `fail` or `info`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The error as the client told it, shortened.
    pub error: String,
    /// How often.
    pub count: u64,
}

/// How long a step of the run took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The step, e.g. `bring up`, `workload`, `check`.
    pub phase: String,
    /// Its length.
    pub seconds: f64,
}

/// The load ended before its time, because a violation was found while it went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// When it was told to end, in nanoseconds since the start of the run.
    pub at: u64,
    /// Index of the completion up to which no order fits.
    pub index: u64,
    /// What was found, in one sentence.
    pub what: String,
}

/// Everything a machine wants to know of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// The verdict in one sentence.
    pub sentence: String,
    /// Why it is not `pass`, the worst first.
    pub reasons: Vec<Reason>,
    /// Why the load ended before its time; absent where it did not, and where something else ended it, which is a reason then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// What the plan decided.
    pub run: Facts,
    /// The answers of the checkers, violations first.
    pub checks: Vec<CheckResult>,
    /// From the start to the last event, nanoseconds.
    pub duration: u64,
    /// Events in the history.
    pub events: u64,
    /// How operations ended, by name.
    pub counts: Vec<Count>,
    /// How long successful operations took, by name.
    pub latencies: Vec<Latency>,
    /// Why operations did not succeed, the most frequent first.
    pub errors: Vec<ErrorCount>,
    /// Operations whose errors are not among `errors`.
    pub errors_left_out: u64,
    /// The faults, in the order in which they were decided.
    pub faults: Vec<Fault>,
    /// How long the steps of the run took, in order.
    pub timings: Vec<Timing>,
}

/// Why results cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// Not JSON, or not of this shape.
    #[error("{path} is not a results file: {source}")]
    Shape {
        /// The file.
        path: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Written by another version.
    #[error("{path} has format {found}, this schism reads format {FORMAT}; use the version that wrote it")]
    Format {
        /// The file.
        path: String,
        /// The format it has.
        found: u64,
    },
}

impl Results {
    /// Puts the verdict together: of all reasons, those the caller knows of (`reasons`) and those that the checks and the
    /// history show by themselves, the worst wins. Without any reason it is a pass.
    ///
    /// What the history shows: no operation succeeded, a fault was not seen to bite or not seen to heal, no checker ran.
    pub fn judge(
        facts: Facts,
        digest: &Digest<'_>,
        mut checks: Vec<CheckResult>,
        reasons: Vec<Reason>,
        timings: Vec<Timing>,
    ) -> Self {
        checks.sort_by_key(|check| match check.validity {
            Validity::Violation => 0,
            Validity::Unknown => 1,
            Validity::Pass => 2,
        });
        let (counts, latencies) = measure(digest);
        let (errors, errors_left_out) = errors(digest);
        let mut all = reasons;
        all.extend(checks.iter().filter_map(check_reason));
        // A run that never came to its first operation has its reason; that there was no load follows.
        let explained = digest.events.is_empty()
            && all.iter().any(|reason| reason.verdict.severity() >= Verdict::Void.severity());
        if checks.is_empty() && !explained {
            all.push(void("No checker looked at the history.".to_owned()));
        }
        if counts.iter().all(|count| count.ok == 0) && !explained {
            let attempted = counts.iter().map(Count::total).sum();
            all.push(void(format!(
                "None of {} succeeded: there was no load.",
                counted(attempted, "operation")
            )));
        }
        all.extend(digest.faults.iter().flat_map(fault_reasons));
        all.sort_by_key(|reason| std::cmp::Reverse(reason.verdict.severity()));
        let mut seen = std::collections::HashSet::new();
        all.retain(|reason| seen.insert(reason.what.clone()));
        let verdict = all.iter().fold(Verdict::Pass, |worst, reason| worst.worst(reason.verdict));
        let mut results = Self {
            format: FORMAT,
            verdict,
            exit_code: verdict.exit_code(),
            sentence: String::new(),
            reasons: all,
            stopped: None,
            run: facts,
            checks,
            duration: digest.end - digest.start,
            events: digest.events.len() as u64,
            counts,
            latencies,
            errors,
            errors_left_out,
            faults: digest.faults.clone(),
            timings,
        };
        results.sentence = results.sentence();
        results
    }

    /// Takes note that the load ended before its time, if it did.
    #[must_use]
    pub fn stopped_by(mut self, stopped: Option<Stopped>) -> Self {
        self.stopped = stopped;
        self.sentence = self.sentence();
        self
    }

    /// Operations of all names together.
    pub fn total(&self) -> Count {
        let mut total = Count { f: "all".to_owned(), ok: 0, fail: 0, info: 0, open: 0 };
        for count in &self.counts {
            total.ok += count.ok;
            total.fail += count.fail;
            total.info += count.info;
            total.open += count.open;
        }
        total
    }

    fn sentence(&self) -> String {
        let load = format!("{} in {}", counted(self.total().total(), "operation"), seconds(self.duration));
        match self.verdict {
            Verdict::Pass => match self.faults.len() as u64 {
                0 => format!("Every promise held over {load}. No fault was injected."),
                1 => format!(
                    "Every promise held over {load}, under 1 fault that was seen to bite and to heal."
                ),
                faults => format!(
                    "Every promise held over {load}, under {} faults that were all seen to bite and to heal.",
                    count(faults)
                ),
            },
            Verdict::Violation => {
                let broken: Vec<String> = self
                    .checks
                    .iter()
                    .filter(|check| check.validity == Validity::Violation)
                    .map(|check| {
                        let found = counted(
                            check.violating_keys.max(check.violations.len()).max(1) as u64,
                            "violation",
                        );
                        format!("the {} checker found {found} of the {} model", check.checker, check.model)
                    })
                    .collect();
                if broken.is_empty() {
                    return self.first_reason();
                }
                let stopped = self.stopped.as_ref().map_or_else(String::new, |stopped| {
                    format!(" The load was stopped at {}, when the first was found.", seconds(stopped.at))
                });
                format!("{} broke its promise: {}.{stopped}", self.run.system, broken.join("; "))
            }
            Verdict::Usage | Verdict::Unknown | Verdict::Void | Verdict::Infra | Verdict::Residue => {
                self.first_reason()
            }
        }
    }

    fn first_reason(&self) -> String {
        // Further lines are logs and the like, which the reasons have.
        let first = self.reasons.first().and_then(|reason| reason.what.lines().next()).unwrap_or("");
        match self.reasons.len() {
            0 | 1 => first.to_owned(),
            more => format!("{first} (And {}.)", counted(more as u64 - 1, "more reason")),
        }
    }

    /// Reads `results.json` back.
    ///
    /// # Errors
    /// The file cannot be read, is something else, or has another format.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let name = || path.display().to_string();
        let bytes = fs::read(path).map_err(|source| ResultsError::Read { path: name(), source })?;
        let shape = |source| ResultsError::Shape { path: name(), source };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(shape)?;
        // The format first: another one may not fit this shape, and should be told apart from a damaged file.
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(FORMAT) => Err(ResultsError::Format { path: name(), found }),
            _ => serde_json::from_value(value).map_err(shape),
        }
    }

    /// The text of `results.json`.
    ///
    /// # Errors
    /// A number that JSON cannot express, such as a check that took NaN seconds.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

fn void(what: String) -> Reason {
    Reason { verdict: Verdict::Void, what }
}

fn check_reason(check: &CheckResult) -> Option<Reason> {
    let name = format!("{} ({})", check.checker, check.model);
    match check.validity {
        Validity::Pass => None,
        Validity::Violation => {
            let found = counted(check.violating_keys.max(check.violations.len()).max(1) as u64, "violation");
            Some(Reason { verdict: Verdict::Violation, what: format!("{name} found {found}.") })
        }
        Validity::Unknown => {
            let why = check.unknown.as_deref().unwrap_or("it did not say why");
            Some(Reason { verdict: Verdict::Unknown, what: format!("{name} could not decide: {why}") })
        }
    }
}

fn fault_reasons(fault: &Fault) -> Vec<Reason> {
    let name = match fault.what.as_str() {
        "" => fault.id.clone(),
        what => format!("{} ({what})", fault.id),
    };
    let error = fault.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    let mut reasons = Vec::new();
    if fault.bit != Some(true) {
        reasons.push(void(format!("{name} was not seen to bite{error}.")));
    }
    match fault.gone {
        // It was there and is gone, but not as it was meant to: the system was not tested as the plan says.
        Some(true) if fault.bit == Some(true) && fault.error.is_some() => {
            reasons.push(void(format!("{name}{error}.")))
        }
        Some(true) => {}
        Some(false) => reasons
            .push(Reason { verdict: Verdict::Residue, what: format!("{name} could not be healed{error}.") }),
        // What was never made cannot heal; that it was not is said above.
        None if fault.bit == Some(false) => {}
        None => reasons.push(void(format!("{name} was not seen to heal before the history ended{error}."))),
    }
    reasons
}

/// Counts and latencies by name, in the order of the names.
fn measure(digest: &Digest<'_>) -> (Vec<Count>, Vec<Latency>) {
    let mut by_name: BTreeMap<&str, (Count, Option<Histogram<u64>>)> = BTreeMap::new();
    for operation in &digest.operations {
        let f = &*digest.invocation(*operation).f;
        let (count, histogram) = by_name.entry(f).or_insert_with(|| {
            let count = Count { f: f.to_owned(), ok: 0, fail: 0, info: 0, open: 0 };
            // The bounds are constants that the histogram accepts.
            (count, Histogram::new_with_bounds(1, LATENCY_MAX, 3).ok())
        });
        match digest.outcome(*operation) {
            Some(Kind::Ok) => {
                count.ok += 1;
                if let (Some(histogram), Some(latency)) = (histogram, digest.latency(*operation)) {
                    histogram.saturating_record(latency);
                }
            }
            Some(Kind::Fail) => count.fail += 1,
            Some(Kind::Info | Kind::Invoke) => count.info += 1,
            None => count.open += 1,
        }
    }
    let mut counts = Vec::new();
    let mut latencies = Vec::new();
    for (count, histogram) in by_name.into_values() {
        if let Some(histogram) = histogram.filter(|histogram| !histogram.is_empty()) {
            latencies.push(Latency {
                f: count.f.clone(),
                count: histogram.len(),
                min: histogram.min(),
                p50: histogram.value_at_quantile(0.5),
                p95: histogram.value_at_quantile(0.95),
                p99: histogram.value_at_quantile(0.99),
                p999: histogram.value_at_quantile(0.999),
                max: histogram.max(),
            });
        }
        counts.push(count);
    }
    (counts, latencies)
}

fn errors(digest: &Digest<'_>) -> (Vec<ErrorCount>, u64) {
    let mut by_error: BTreeMap<(&str, bool, String), u64> = BTreeMap::new();
    for operation in &digest.operations {
        let Some(completion) = digest.completion(*operation) else { continue };
        let unknown = match completion.kind {
            Kind::Fail => false,
            Kind::Info => true,
            Kind::Ok | Kind::Invoke => continue,
        };
        let error = match &completion.error {
            Some(serde_json::Value::String(text)) => super::format::clip(text, ERROR_CHARS_MAX),
            Some(error) => super::format::value(error, ERROR_CHARS_MAX),
            None => "no reason given".to_owned(),
        };
        *by_error.entry((&digest.invocation(*operation).f, unknown, error)).or_default() += 1;
    }
    let mut errors: Vec<ErrorCount> = by_error
        .into_iter()
        .map(|((f, unknown, error), count)| ErrorCount {
            f: f.to_owned(),
            kind: if unknown { Kind::Info } else { Kind::Fail },
            error,
            count,
        })
        .collect();
    // A stable sort: equal counts stay in the order of their names.
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    let left_out = errors.iter().skip(ERRORS_MAX).map(|error| error.count).sum();
    errors.truncate(ERRORS_MAX);
    (errors, left_out)
}
