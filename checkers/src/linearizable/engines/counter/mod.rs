//! Counters.
//!
//! If all amounts are equal, a counter is a count of steps and each result tells after how many of them it was: [`steps`] decides
//! that exactly. So it does if amounts of one sign differ but every operation saw the value, for then the values give the order.
//! Otherwise to find which operations add up to what was read is the subset sum problem, and only what is impossible whatever the order
//! is found here ([`bounds`]): a value outside of what the operations that can have come since another one was seen can add up to, or
//! not divisible by what divides them all.

mod bounds;
pub(crate) mod steps;

use rustc_hash::FxHashMap;

use super::super::budget::Budget;
use super::super::call::{Answer, Call, Contradiction, Decision};
use super::super::models::counter::CounterAction;
use steps::{Job, Kind, Sabotage};

/// The name as results show it.
const ENGINE: &str = "counter";

/// Calls of a pattern that are still worth showing.
const SHOWN: usize = 16;

/// Decides whether the calls on one counter are linearizable; `None` where this needs the general search.
pub(crate) fn decide(calls: &[Call<CounterAction>], _budget: Budget) -> Option<Decision> {
    let answer = match solve(calls, Sabotage::None)? {
        Ok(_) => Answer::Linearizable,
        Err(contradiction) => Answer::Impossible(contradiction),
    };
    Some(Decision { answer, engine: ENGINE })
}

/// A linearization of calls that [`decide`] found linearizable.
pub(crate) fn order(calls: &[Call<CounterAction>]) -> Option<Vec<usize>> {
    solve(calls, Sabotage::None)?.ok()
}

type Solution = Result<Vec<usize>, Contradiction>;

fn solve(calls: &[Call<CounterAction>], sabotage: Sabotage) -> Option<Solution> {
    let sees = |call: &&Call<CounterAction>| !matches!(call.action, CounterAction::Add(_));
    if !calls.iter().any(|call| sees(&call)) {
        return Some(Ok((0..calls.len()).collect()));
    }
    let mut amounts = calls.iter().map(|call| amount(&call.action)).filter(|amount| *amount != 0);
    let first = amounts.next().unwrap_or(1);
    if amounts.all(|amount| amount == first) {
        return Some(equal_amounts(calls, first, sabotage));
    }
    drop(amounts);
    chain(calls, sabotage).or_else(|| bounds::contradiction(calls, sabotage).map(Err))
}

fn amount(action: &CounterAction) -> i64 {
    match action {
        CounterAction::Add(delta) | CounterAction::Exchange { delta, .. } => *delta,
        CounterAction::Read(_) => 0,
    }
}

/// What an operation saw: the value before it.
fn seen(action: &CounterAction) -> Option<i128> {
    match action {
        CounterAction::Add(_) => None,
        CounterAction::Exchange { before, .. } => Some(*before),
        CounterAction::Read(value) => Some(*value),
    }
}

/// All amounts are `unit`, or 0.
fn equal_amounts(calls: &[Call<CounterAction>], unit: i64, sabotage: Sabotage) -> Solution {
    let unit = i128::from(unit);
    let mut jobs = Vec::with_capacity(calls.len());
    let mut before: Vec<(u32, u32)> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let kind = match seen(&call.action) {
            None => Kind::Step,
            Some(value) if value % unit != 0 || value / unit < 0 => {
                return Err(Contradiction { culprit: index, pattern: vec![index] });
            }
            Some(value) => {
                let level = u32::try_from(value / unit).unwrap_or(u32::MAX).min(u32::MAX - 2);
                if amount(&call.action) == 0 {
                    Kind::Look(level)
                } else {
                    before.push((level, index as u32));
                    Kind::Rung(level + 1)
                }
            }
        };
        jobs.push(Job { kind, invoked: call.invoked, returned: call.returned });
    }
    // To add nothing and to see nothing leaves nothing to order: such a call can come first of all, wherever it is.
    let idle = |index: usize| jobs[index].kind == Kind::Step && amount(&calls[index].action) == 0;
    twice(calls, before)?;
    run(&jobs, idle, sabotage)
}

/// Decides the jobs, of which each is the call of the same number.
fn run(jobs: &[Job], idle: impl Fn(usize) -> bool, sabotage: Sabotage) -> Solution {
    let busy: Vec<u32> = (0..jobs.len()).filter(|index| !idle(*index)).map(|index| index as u32).collect();
    let kept: Vec<Job> = busy.iter().map(|index| jobs[*index as usize]).collect();
    let call = |job: u32| busy[job as usize] as usize;
    match steps::order(&kept, sabotage) {
        Ok(order) if busy.len() == jobs.len() => Ok(order.into_iter().map(call).collect()),
        Ok(order) => Ok(with_idle(jobs, order.into_iter().map(call).collect(), idle)),
        Err(failure) => {
            let mut pattern: Vec<usize> = failure.pattern.iter().map(|job| call(*job)).collect();
            if pattern.len() > SHOWN {
                pattern.clear();
            }
            let culprit = call(failure.culprit);
            // One that is known only later need not be part of the pattern.
            if !pattern.is_empty() && !pattern.contains(&culprit) {
                pattern.push(culprit);
            }
            pattern.sort_unstable();
            Err(Contradiction { culprit, pattern })
        }
    }
}

/// Puts calls that do nothing into an order of the others: each before the first one invoked after its return.
fn with_idle(jobs: &[Job], order: Vec<usize>, idle: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut idle: Vec<usize> = (0..jobs.len()).filter(|index| idle(*index)).collect();
    idle.sort_unstable_by_key(|index| std::cmp::Reverse(jobs[*index].returned));
    let mut all = Vec::with_capacity(jobs.len());
    for index in order {
        while let Some(next) = idle.pop_if(|next| jobs[*next].returned < jobs[index].invoked) {
            all.push(next);
        }
        all.push(index);
    }
    all.extend(idle.into_iter().rev());
    all
}

/// Two calls that both took the counter away from the same value, to which it never comes back.
fn twice(calls: &[Call<CounterAction>], mut before: Vec<(u32, u32)>) -> Result<(), Contradiction> {
    before.sort_unstable();
    let pairs = before.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let pairs = pairs.map(|pair| [pair[0].1 as usize, pair[1].1 as usize]);
    let returned = |index: &usize| calls[*index].returned;
    let first = pairs.min_by_key(|pair| pair.iter().map(returned).max());
    match first {
        None => Ok(()),
        Some(pair) => {
            let culprit = if returned(&pair[0]) > returned(&pair[1]) { pair[0] } else { pair[1] };
            let mut pattern = pair.to_vec();
            pattern.sort_unstable();
            Err(Contradiction { culprit, pattern })
        }
    }
}

/// Amounts of one sign, all of which saw the value: they must make a chain from 0 upwards, each link of which is a rung.
fn chain(calls: &[Call<CounterAction>], sabotage: Sabotage) -> Option<Solution> {
    let positive = calls.iter().any(|call| amount(&call.action) > 0);
    let fits = |call: &Call<CounterAction>| match call.action {
        CounterAction::Add(delta) => delta == 0,
        CounterAction::Exchange { delta, .. } => delta == 0 || (delta > 0) == positive,
        CounterAction::Read(_) => true,
    };
    if !calls.iter().all(fits) {
        return None;
    }
    let sign = if positive { 1 } else { -1 };
    let mut links: Vec<(i128, i128, u32)> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        if let CounterAction::Exchange { delta, before } = call.action
            && delta != 0
        {
            links.push((sign * before, sign * (before + i128::from(delta)), index as u32));
        }
    }
    links.sort_unstable();
    // Where the chain breaks, all its links are needed to see it: until they returned, others could still have closed it.
    let last = |more: Option<usize>| {
        let links = links.iter().map(|link| link.2 as usize);
        links.chain(more).max_by_key(|index| calls[*index].returned).unwrap_or(0)
    };
    let mut end = 0;
    let mut level = FxHashMap::default();
    level.insert(0, 0_u32);
    for (place, (before, after, _)) in links.iter().enumerate() {
        if *before != end {
            return Some(Err(Contradiction { culprit: last(None), pattern: Vec::new() }));
        }
        end = *after;
        level.insert(end, place as u32 + 1);
    }
    let mut jobs: Vec<Job> = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let kind = match (seen(&call.action), amount(&call.action)) {
            (None, _) => Kind::Step,
            (Some(value), delta) => match level.get(&(sign * value)) {
                Some(level) if delta == 0 => Kind::Look(*level),
                Some(level) => Kind::Rung(level + 1),
                None => return Some(Err(Contradiction { culprit: last(Some(index)), pattern: Vec::new() })),
            },
        };
        jobs.push(Job { kind, invoked: call.invoked, returned: call.returned });
    }
    let idle = |index: usize| jobs[index].kind == Kind::Step;
    let solution = run(&jobs, idle, sabotage);
    // That a link leads from one value to the next needs all the links between, so a pattern would not be one by itself.
    Some(solution.map_err(|found| {
        let culprit = if found.pattern.len() == 2 { found.culprit } else { last(Some(found.culprit)) };
        Contradiction { culprit, pattern: Vec::new() }
    }))
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
pub(crate) mod tests;
