//! Says what happened, with values, processes, nodes and times.

use std::fmt::Write;

use schism_history::{Outcome, View};

use super::super::super::engines::just_in_time::{INITIAL, Number, RegisterCall};
use super::super::super::models::register::Action;
use super::super::words::{began, between, capital, ended, short, short_key};
use super::Scene;
use super::pattern::{Replaced, Story};

/// A story told.
pub(super) struct Told {
    pub summary: String,
    pub explanation: Vec<String>,
    /// The operations it mentions as evidence, as indices into all operations.
    pub sources: Vec<usize>,
}

/// Tells the stories of one key.
pub(super) struct Narrator<'a> {
    scene: &'a Scene<'a>,
}

/// Operations that a list shows at most.
const LISTED: usize = 24;

impl<'a> Narrator<'a> {
    pub fn new(scene: &'a Scene<'a>) -> Self {
        Self { scene }
    }

    pub fn tell(&self, story: &Story) -> Told {
        let mut told = match story {
            Story::Unwritten { culprit } => self.unwritten(*culprit),
            Story::Replaced(story) => self.replaced(story),
            Story::TakenTwice { culprit, first, writer } => self.taken_twice(*culprit, *first, *writer),
            Story::Unordered { calls } => self.unordered(calls),
        };
        told.sources.extend(story.calls().iter().map(|call| self.scene.past[*call].source));
        told
    }

    fn unwritten(&self, culprit: usize) -> Told {
        let call = &self.scene.past[culprit];
        let wanted = observed(call);
        let value = self.value(wanted);
        let begin = self.claim(culprit);
        let mut sources = Vec::new();
        let mut explanation = Vec::new();
        let scene = self.scene;
        let later = scene.calls.iter().find(|other| {
            other.action.produces() == Some(wanted)
                && other.action.observes() != Some(wanted)
                && other.invoked > call.returned
        });
        let failed = scene.rows.iter().copied().find(|row| {
            let view = scene.table.view(*row as usize);
            let values = view.values();
            let produced = match view.f() {
                "write" => Some(view.argument()),
                "cas" => values.as_array(view.argument()).and_then(|pair| pair.get(1).copied()),
                _ => None,
            };
            view.outcome() == Outcome::Fail && produced == Some(scene.numbering.value(wanted))
        });
        let reason = if let Some(later) = later {
            let writer = scene.operation(later);
            sources.push(later.source);
            let gap = between(&scene.operation(call), &writer);
            explanation.push(format!("{} was invoked at {}.", capital(&self.name(later)), began(&writer)));
            format!(
                "{value} was not written before {}, invoked at {}, {gap} after that",
                self.name(later),
                began(&writer)
            )
        } else if let Some(row) = failed {
            let writer = scene.table.view(row as usize);
            sources.push(row as usize);
            explanation.push("An operation that failed has certainly not happened and never will.".into());
            let at = ended(&writer);
            let why = writer.error().map(|error| short(&writer.values().to_json(error)));
            let why = why.map_or(String::new(), |why| format!(" ({why})"));
            format!(
                "the only operation that would have written {value}, {}, failed at {at}{why}",
                self.name_of(&writer)
            )
        } else {
            format!("nothing ever wrote {value}")
        };
        explanation.insert(0, self.account(culprit));
        Told { summary: format!("{begin}; but {reason}"), explanation, sources }
    }

    fn replaced(&self, story: &Replaced) -> Told {
        let scene = self.scene;
        let call = &scene.past[story.culprit];
        let old = self.value(observed(call));
        let newer_call = &scene.past[story.newer_before];
        let newer = self.value(story.newer);
        let gap = between(&scene.operation(newer_call), &scene.operation(call));
        let the_culprit = match call.action {
            Action::Cas(..) => "the cas",
            Action::Read(_) | Action::Write(_) => "the read",
        };
        let name = self.name(newer_call);
        let at = ended(&scene.operation(newer_call));
        let one = story.newer_after == story.newer_before;
        let reason = match newer_call.action {
            _ if !one => {
                let after = &scene.past[story.newer_after];
                format!(
                    "{old} and {newer} were written once each, and {newer} was there both before {the_culprit} began (by \
                     {at}: {name}) and after {old} had come (at {}: {})",
                    began(&scene.operation(after)),
                    self.name(after)
                )
            }
            Action::Read(_) => format!(
                "{old} was no longer there: {name} had already returned {newer} by {at}, {gap} before {the_culprit} began"
            ),
            Action::Write(_) => {
                format!(
                    "{old} had been overwritten by {name}, acknowledged at {at}, {gap} before {the_culprit} began"
                )
            }
            Action::Cas(..) => {
                format!(
                    "{old} had been replaced by {name}, acknowledged at {at}, {gap} before {the_culprit} began"
                )
            }
        };
        let mut explanation = Vec::new();
        match (story.writers.as_slice(), story.there_by) {
            ([], _) => explanation.push(format!("{old} is the initial value; nothing wrote it.")),
            (writers, there_by) => {
                match writers {
                    [writer] => explanation.push(format!(
                        "{} No other write of {old} began before {the_culprit} ended.",
                        self.account(*writer)
                    )),
                    writers => {
                        let last = there_by.map_or(String::new(), |last| self.account(last));
                        let count = writers.len();
                        explanation.push(format!(
                            "{old} was written {count} times; the last write of it to end was:"
                        ));
                        explanation.push(last);
                    }
                }
                if let Some(there_by) = there_by.filter(|there_by| !writers.contains(there_by)) {
                    let at = ended(&scene.operation(&scene.past[there_by]));
                    explanation
                        .push(format!("{} So {old} was in the register by {at}.", self.account(there_by)));
                }
            }
        }
        let newer_after = self.account(story.newer_after);
        let takes = scene.past[story.newer_after].action.observes() == call.action.observes();
        explanation.push(match story.there_by {
            _ if takes => format!("{newer_after} It took {old} away."),
            Some(_) => format!("{newer_after} It began after {old} was there."),
            None => newer_after,
        });
        if !one {
            explanation.push(format!(
                "{} So {newer} was in the register by {at}.",
                self.account(story.newer_before)
            ));
        }
        explanation.push(format!("{} That is {gap} after {at}.", self.account(story.culprit)));
        explanation.extend(self.fate(story.newer, &newer));
        if let Some(more) = self.writes_between(call, newer_call) {
            explanation.push(more);
        }
        let sources = story.newer_writer.map(|writer| scene.past[writer].source).into_iter().collect();
        Told { summary: format!("{}; but {reason}", self.claim(story.culprit)), explanation, sources }
    }

    /// Whether anyone ever saw the newer value: a lost write and a stale read look the same otherwise. Where it was written more than
    /// once, nobody can say which of the writes was seen.
    fn fate(&self, id: Number, value: &str) -> Option<String> {
        let calls = &self.scene.calls;
        let observer = calls.iter().find(|call| {
            call.action.observes() == Some(id) && self.scene.operation(call).outcome() == Outcome::Ok
        });
        let Some(call) = observer else {
            return Some(format!("No operation ever saw {value}: it may be lost, not only late."));
        };
        let writes = calls.iter().filter(|call| call.action.produces() == Some(id));
        (writes.count() == 1).then(|| {
            let at = ended(&self.scene.operation(call));
            format!("{value} was not lost: {} had it, completed at {at}.", self.name(call))
        })
    }

    fn writes_between(&self, culprit: &RegisterCall, newer: &RegisterCall) -> Option<String> {
        let scene = self.scene;
        let mut between: Vec<&RegisterCall> = scene
            .past
            .iter()
            .filter(|call| call.action.produces().is_some() && call.source != newer.source)
            .filter(|call| call.returned < culprit.invoked && call.returned > newer.returned)
            .collect();
        between.sort_unstable_by_key(|call| call.returned);
        let last = between.last()?;
        let (at, last) = (ended(&scene.operation(last)), self.name(last));
        Some(match between.len() {
            1 => format!("Another one was acknowledged before it began: {last} at {at}."),
            count => format!(
                "{count} more writes and cas were acknowledged before it began, the last one {last} at {at}."
            ),
        })
    }

    fn taken_twice(&self, culprit: usize, first: usize, writer: Option<usize>) -> Told {
        let scene = self.scene;
        let value = self.value(observed(&scene.past[culprit]));
        let other = &scene.past[first];
        let at = ended(&scene.operation(other));
        let once = if writer.is_some() {
            "was written only once"
        } else {
            "is the initial value and was never written"
        };
        let reason = format!("{} succeeded too, completed at {at}, and {value} {once}", self.name(other));
        let mut explanation: Vec<String> = writer.iter().map(|writer| self.account(*writer)).collect();
        explanation.push(self.account(first));
        explanation.push(self.account(culprit));
        explanation
            .push(format!("Each of the two needs {value} and takes it away; only one can have found it."));
        Told { summary: format!("{}; but {reason}", self.claim(culprit)), explanation, sources: Vec::new() }
    }

    fn unordered(&self, calls: &[usize]) -> Told {
        let scene = self.scene;
        let count = calls.len();
        let reason = format!(
            "no order of {} {count} operations gives that, whatever all others did",
            if count == 2 { "these" } else { "the following" }
        );
        let mut explanation: Vec<String> =
            calls.iter().take(LISTED).map(|call| self.account(*call)).collect();
        if count > LISTED {
            explanation.push(format!("… and {} more.", count - LISTED));
        }
        explanation.push(format!(
            "These {count} operations cannot be put in any order that agrees with their times and their values. Every other \
             write may have taken effect at any time at all or never, and still there is none."
        ));
        let culprit = scene.culprit;
        Told { summary: format!("{}; but {reason}", self.claim(culprit)), explanation, sources: Vec::new() }
    }

    /// What the culprit says, as the beginning of a sentence.
    fn claim(&self, culprit: usize) -> String {
        let call = &self.scene.past[culprit];
        let operation = self.scene.operation(call);
        let key = self.scene.key().map_or(String::new(), |key| format!(" of key {}", short_key(&key)));
        let place = operation
            .node()
            .map_or(format!("by process {}", operation.process()), |node| format!("at {node}"));
        let times = format!("invoked at {}, completed at {}", began(&operation), ended(&operation));
        match call.action {
            Action::Cas(expected, new) => format!(
                "cas{key} {place} from {} to {} succeeded, {times}",
                self.value(expected),
                self.value(new)
            ),
            Action::Read(value) | Action::Write(value) => {
                format!("read{key} {place} returned {}, {times}", self.value(value))
            }
        }
    }

    /// What a call did and when, as a sentence.
    fn account(&self, position: usize) -> String {
        let call = &self.scene.past[position];
        let operation = self.scene.operation(call);
        let mut text = capital(&self.name(call));
        let _ = write!(text, " was invoked at {}", began(&operation));
        let end = ended(&operation);
        let _ = match (operation.outcome(), call.action, operation.completion_index()) {
            (Outcome::Ok, Action::Read(value), _) => {
                write!(text, " and returned {} at {end}.", self.value(value))
            }
            (Outcome::Ok, Action::Write(_), _) => write!(text, " and acknowledged at {end}."),
            (Outcome::Ok, Action::Cas(..), _) => write!(text, " and succeeded at {end}."),
            (_, _, Some(_)) => write!(text, "; since {end} its outcome is unknown."),
            (_, _, None) => write!(text, " and never completed."),
        };
        text
    }

    /// The name of a call in the middle of a sentence: `write 5 (process 2 at n1)`.
    fn name(&self, call: &RegisterCall) -> String {
        self.name_of(&self.scene.operation(call))
    }

    fn name_of(&self, operation: &View<'_>) -> String {
        let place = operation.node().map_or(String::new(), |node| format!(" at {node}"));
        let who = format!("(process {}{place})", operation.process());
        let values = operation.values();
        let show = |value| short(&values.to_json(value));
        match (operation.f(), values.as_array(operation.argument())) {
            ("read", _) => format!("the read {who}"),
            ("cas", Some([expected, new])) => format!("cas from {} to {} {who}", show(*expected), show(*new)),
            (f, _) => format!("{f} {} {who}", show(operation.argument())),
        }
    }

    fn value(&self, id: Number) -> String {
        short(&self.scene.table.values.to_json(self.scene.numbering.value(id)))
    }
}

/// The value a culprit observed.
fn observed(call: &RegisterCall) -> Number {
    call.action.observes().unwrap_or(INITIAL)
}
