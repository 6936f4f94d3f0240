//! The words for a contradiction of any model.

use std::collections::BTreeMap;

use schism_history::{Outcome, ValueId, View};

use super::super::budget::Budget;
use super::super::call::{Call, NEVER};
use super::super::engines::general::longest_order;
use super::super::specification::Specification;
use super::minimal::{self, Before, Core};
use super::words::{began, between, capital, ended, short, short_key};
use super::{Failure, NOT_MINIMAL, orders};
use crate::Violation;

/// Configurations that finding a longest order may visit.
const VISITS: u64 = 1_000_000;

/// Operations that a list shows at most.
const LISTED: usize = 24;

/// The contradiction in the history of an object that an engine found impossible.
pub(in super::super) fn explain<S: Specification>(failure: &Failure<'_, S>) -> Violation {
    tell(failure, &minimal::core(failure), None)
}

/// Says what the contradiction is, and why if somebody knows better than that there is no order.
pub(super) fn tell<S: Specification>(
    failure: &Failure<'_, S>,
    core: &Core<S>,
    why: Option<String>,
) -> Violation {
    let Failure { specification, table, calls, .. } = *failure;
    // What says no more than that it took effect is an acknowledgement, in whatever words.
    let answers = |call: usize| {
        let call = &calls[call];
        let is_asked = minimal::forget(specification, table, call).as_ref() != Some(&call.action);
        is_asked.then(|| table.view(call.source as usize).result()).flatten()
    };
    let row = |call: usize| calls.get(call).map_or(0, |call| call.source);
    let view = |call: usize| table.view(row(call) as usize);
    let culprit = view(core.culprit);
    let key = if failure.key.is_present() {
        format!(" of key {}", short_key(&table.values.to_json(failure.key)))
    } else {
        String::new()
    };
    let count = core.calls.len();
    let reason = match count {
        _ if matches!(core.before, Before::Left { sum: Some(sum), .. } if sum != 0) => {
            "no order of all that was done by then gives that".to_owned()
        }
        1 => "no state of the object allows that".to_owned(),
        2 => "no order of these 2 operations gives that".to_owned(),
        count => format!("no order of the following {count} operations gives that"),
    };
    let summary = format!("{}; but {}", claim(&culprit, answers(core.culprit), &key), why.unwrap_or(reason));
    let mut explanation: Vec<String> =
        core.calls.iter().take(LISTED).map(|call| account(&view(*call), answers(*call))).collect();
    if count > LISTED {
        explanation.push(format!("… and {} more.", count - LISTED));
    }
    if let Before::Left { over, first, sum, .. } = &core.before {
        explanation.push(left_out(over, &view(*first), *sum, &view));
    }
    if !core.is_minimal {
        explanation.push(NOT_MINIMAL.to_owned());
    }
    explanation.extend(gaps(&culprit, &core.calls, &view));
    // What is of unknown outcome stays open and is looked at again and again.
    let open = calls.iter().filter(|call| !call.is_required()).count() as u64;
    let visits = VISITS / (1 + open / 64);
    if count > LISTED
        && let Some(order) = longest_order(
            specification,
            calls,
            core.culprit,
            Budget { deadline: failure.deadline, ..Budget::visits(visits) },
        )
    {
        let step = |call: &usize| step(&view(*call), answers(*call));
        let events: Vec<String> = order.iter().rev().take(5).rev().map(step).collect();
        explanation.push(format!(
            "A longest legal order of everything before has {} operations and ends with {}.",
            order.len(),
            events.join(", ")
        ));
    }
    let shown: Vec<Call<S::Action>> = core.calls.iter().map(|call| calls[*call].clone()).collect();
    let starts = match &core.before {
        Before::Nothing | Before::Left { sum: Some(0), .. } => vec![specification.initial()],
        Before::Left { sum: None, states, .. } => states.clone(),
        // Only the sum says which.
        Before::Left { .. } => Vec::new(),
    };
    explanation.extend(describe_orders(specification, starts, &shown, |call| {
        let call = core.calls[call];
        step(&view(call), answers(call))
    }));
    let rows = core.calls.iter().map(|call| row(*call)).collect();
    super::violation(table, failure.key, row(core.culprit), rows, summary, explanation)
}

/// Why what was over before the first of them began is not shown.
fn left_out<'t>(
    over: &[usize],
    first: &View<'_>,
    sum: Option<i64>,
    view: &impl Fn(usize) -> View<'t>,
) -> String {
    let count = over.len();
    let (operations, do_not, them) = match count {
        1 => ("operation that was", "does not", "it"),
        _ => ("operations that were", "do not", "they"),
    };
    let begin = format!("The {count} {operations} over before {}", began(first));
    match sum {
        None => format!("{begin} {do_not} matter: no order fits, in whatever state {them} left the object."),
        Some(0) => {
            format!("{begin} {do_not} matter: taken together {them} left everything as it was at first.")
        }
        Some(_) => {
            let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
            for call in over {
                *kinds.entry(view(*call).f().to_owned()).or_default() += 1;
            }
            let kinds: Vec<String> = kinds.iter().map(|(f, count)| format!("{count} {f}")).collect();
            format!("{begin} matter only by their number: {}.", kinds.join(", "))
        }
    }
}

/// What was over before the culprit began.
fn gaps<'t>(culprit: &View<'t>, calls: &[usize], view: &impl Fn(usize) -> View<'t>) -> Option<String> {
    let before = calls
        .iter()
        .map(|call| view(*call))
        .filter(|other| other.outcome() == Outcome::Ok && other.row.completed < culprit.row.invoked)
        .max_by_key(|other| other.row.completed)?;
    let gap = between(&before, culprit);
    Some(format!("{} began {gap} after {} was over.", capital(&name(culprit)), name(&before)))
}

/// The longest legal orders, as sentences.
fn describe_orders<S: Specification>(
    specification: &S,
    starts: Vec<S::State>,
    calls: &[Call<S::Action>],
    step: impl Fn(usize) -> String,
) -> Vec<String> {
    if calls.len() > LISTED {
        return Vec::new();
    }
    let required = calls.iter().filter(|call| call.returned != NEVER).count();
    let mut sentences: Vec<String> = Vec::new();
    for order in orders::longest(specification, starts, calls) {
        let missing: Vec<String> = (0..calls.len())
            .filter(|call| !order.contains(call) && calls[*call].returned != NEVER)
            .map(&step)
            .collect();
        if order.is_empty() || missing.is_empty() {
            continue;
        }
        let steps: Vec<String> = order.iter().map(|call| step(*call)).collect();
        let sentence = format!(
            "A longest legal order has {} of them: {}. No place is left for: {}.",
            order.len().min(required),
            steps.join(", "),
            missing.join(", ")
        );
        // Operations that look alike make orders that look alike.
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    sentences
}

/// What an operation did, in a list of several, with what it answered.
fn step(operation: &View<'_>, answer: Option<ValueId>) -> String {
    let values = operation.values();
    let mut text = operation.f().to_owned();
    let argument = values.to_json(operation.argument());
    if !argument.is_null() {
        text = format!("{text} {}", short(&argument));
    }
    match answer {
        Some(answer) => format!("{text} → {}", short(&values.to_json(answer))),
        None => text,
    }
}

/// What the culprit says, as the beginning of a sentence.
fn claim(operation: &View<'_>, answer: Option<ValueId>, key: &str) -> String {
    let values = operation.values();
    let place =
        operation.node().map_or(format!("by process {}", operation.process()), |node| format!("at {node}"));
    let argument = values.to_json(operation.argument());
    let what = if argument.is_null() { String::new() } else { format!(" {}", short(&argument)) };
    let result = match answer {
        Some(answer) => format!("returned {}", short(&values.to_json(answer))),
        None => "succeeded".to_owned(),
    };
    format!(
        "{}{what}{key} {place} {result}, invoked at {}, completed at {}",
        operation.f(),
        began(operation),
        ended(operation)
    )
}

/// What an operation did and when, as a sentence.
fn account(operation: &View<'_>, answer: Option<ValueId>) -> String {
    let (start, end) = (began(operation), ended(operation));
    let name = capital(&name(operation));
    match (operation.outcome(), answer, operation.completion_index()) {
        (Outcome::Ok, Some(answer), _) => {
            let answer = short(&operation.values().to_json(answer));
            format!("{name} was invoked at {start} and returned {answer} at {end}.")
        }
        (Outcome::Ok, ..) => format!("{name} was invoked at {start} and acknowledged at {end}."),
        (_, _, Some(_)) => format!("{name} was invoked at {start}; since {end} its outcome is unknown."),
        (_, _, None) => format!("{name} was invoked at {start} and never completed."),
    }
}

/// The name of an operation in the middle of a sentence: `enqueue 5 (process 2 at n1)`.
fn name(operation: &View<'_>) -> String {
    let place = operation.node().map_or(String::new(), |node| format!(" at {node}"));
    let who = format!("(process {}{place})", operation.process());
    let argument = operation.values().to_json(operation.argument());
    if argument.is_null() {
        format!("the {} {who}", operation.f())
    } else {
        format!("{} {} {who}", operation.f(), short(&argument))
    }
}
