//! The words for a contradiction of any model.

use std::collections::BTreeMap;

use schism_history::{Outcome, View};

use super::super::budget::Budget;
use super::super::call::{Call, NEVER};
use super::super::engines::general::longest_order;
use super::super::specification::Specification;
use super::minimal::{self, Before, Core};
use super::words::{began, between, capital, ended, short, short_key};
use super::{Failure, orders};
use crate::Violation;

/// Configurations that finding a longest order may visit.
const VISITS: u64 = 1_000_000;

/// Operations that a list shows at most.
const LISTED: usize = 24;

/// The contradiction in the history of an object that an engine found impossible.
pub(in super::super) fn explain<S: Specification>(failure: &Failure<'_, S>) -> Violation {
    tell(failure, &minimal::core(failure))
}

/// Says what the contradiction is.
pub(super) fn tell<S: Specification>(failure: &Failure<'_, S>, core: &Core<S>) -> Violation {
    let Failure { specification, table, calls, .. } = *failure;
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
        1 => "no state of the object allows that".to_owned(),
        2 => "no order of these 2 operations gives that".to_owned(),
        count => format!("no order of the following {count} operations gives that"),
    };
    let summary = format!("{}; but {reason}", claim(&culprit, &key));
    let mut explanation: Vec<String> =
        core.calls.iter().take(LISTED).map(|call| account(&view(*call))).collect();
    if count > LISTED {
        explanation.push(format!("… and {} more.", count - LISTED));
    }
    if let Before::Left { over, first, sum, .. } = &core.before {
        explanation.push(left_out(over, &view(*first), *sum, &view));
    }
    if !core.is_minimal {
        explanation.push("Not all of them may be needed: the search for fewer was cut short.".to_owned());
    }
    explanation.extend(gaps(&culprit, &core.calls, &view));
    if count > LISTED
        && let Some(order) = longest_order(specification, calls, core.culprit, Budget::visits(VISITS))
    {
        let events: Vec<String> = order.iter().rev().take(5).rev().map(|call| step(&view(*call))).collect();
        explanation.push(format!(
            "A longest legal order of everything before has {} operations and ends with {}.",
            order.len(),
            events.join(", ")
        ));
    }
    let shown: Vec<Call<S::Action>> = core.calls.iter().map(|call| calls[*call].clone()).collect();
    let starts = match &core.before {
        Before::Left { sum: None, states, .. } => states.clone(),
        Before::Left { .. } | Before::Nothing => vec![specification.initial()],
    };
    explanation.extend(describe_orders(specification, starts, &shown, |call| view(core.calls[call])));
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
pub(super) fn describe_orders<'t, S: Specification>(
    specification: &S,
    starts: Vec<S::State>,
    calls: &[Call<S::Action>],
    view: impl Fn(usize) -> View<'t>,
) -> Vec<String> {
    if calls.len() > LISTED {
        return Vec::new();
    }
    let required = calls.iter().filter(|call| call.returned != NEVER).count();
    orders::longest(specification, starts, calls)
        .iter()
        .filter(|order| !order.is_empty())
        .map(|order| {
            let steps: Vec<String> = order.iter().map(|call| step(&view(*call))).collect();
            let missing: Vec<String> = (0..calls.len())
                .filter(|call| !order.contains(call) && calls[*call].returned != NEVER)
                .map(|call| step(&view(call)))
                .collect();
            format!(
                "A longest legal order has {} of them: {}. No place is left for: {}.",
                order.len().min(required),
                steps.join(", "),
                missing.join(", ")
            )
        })
        .collect()
}

/// What an operation did, in a list of several.
fn step(operation: &View<'_>) -> String {
    let values = operation.values();
    let mut text = operation.f().to_owned();
    let argument = values.to_json(operation.argument());
    if !argument.is_null() {
        text = format!("{text} {}", short(&argument));
    }
    match operation.result() {
        Some(result) if result != operation.argument() || argument.is_null() => {
            format!("{text} → {}", short(&values.to_json(result)))
        }
        _ => text,
    }
}

/// What the culprit says, as the beginning of a sentence.
fn claim(operation: &View<'_>, key: &str) -> String {
    let values = operation.values();
    let place =
        operation.node().map_or(format!("by process {}", operation.process()), |node| format!("at {node}"));
    let argument = values.to_json(operation.argument());
    let what = if argument.is_null() { String::new() } else { format!(" {}", short(&argument)) };
    let result = match operation.result() {
        Some(result) if result != operation.argument() || argument.is_null() => {
            format!("returned {}", short(&values.to_json(result)))
        }
        _ => "succeeded".to_owned(),
    };
    format!(
        "{}{what}{key} {place} {result}, invoked at {}, completed at {}",
        operation.f(),
        began(operation),
        ended(operation)
    )
}

/// What an operation did and when, as a sentence.
fn account(operation: &View<'_>) -> String {
    let (start, end) = (began(operation), ended(operation));
    let name = capital(&name(operation));
    match (operation.outcome(), operation.result(), operation.completion_index()) {
        (Outcome::Ok, Some(result), _)
            if result != operation.argument()
                || operation.values().to_json(operation.argument()).is_null() =>
        {
            let result = short(&operation.values().to_json(result));
            format!("{name} was invoked at {start} and returned {result} at {end}.")
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
