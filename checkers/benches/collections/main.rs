//! How long the engines of queues and stacks take, and how that grows: `cargo bench -p schism-checkers --bench collections`.
//!
//! One object, distinct values; valid, and with one violation near the end.

#[path = "linearizable.rs"]
mod linearizable;

use std::time::Instant;

use linearizable::budget::Budget;
use linearizable::call::{Answer, Call, Decision};
use linearizable::engines::{bag, queue, stack};
use linearizable::models::collection::Action;
use schism_history::{Random, ValueId, Values};

type Decide = fn(&[Call<Action>], Budget) -> Option<Decision>;
type Order = fn(&[Call<Action>]) -> Option<Vec<usize>>;

/// Takes out which of so many.
type Pick = fn(&mut Random, usize) -> usize;

const FREE: Budget = Budget { deadline: None, bytes: usize::MAX, visits: u64::MAX };

struct Kind {
    name: &'static str,
    pick: Pick,
    decide: Decide,
    order: Order,
    spoil: fn(&mut [Call<Action>]),
}

const KINDS: [Kind; 3] = [
    Kind { name: "queue", pick: |_, _| 0, decide: queue::decide, order: queue::order, spoil: exchange },
    Kind {
        name: "bag",
        pick: |random, count| random.below(count as u64) as usize,
        decide: bag::decide,
        order: bag::order,
        spoil: find_nothing,
    },
    Kind {
        name: "stack",
        pick: |_, count| count - 1,
        decide: stack::decide,
        order: stack::order,
        spoil: exchange,
    },
];

enum Process {
    Idle,
    Invoked(usize),
    Done(usize),
}

/// Calls of an object with some dozens of values inside. Of ten thousand operations so many have an unknown outcome.
fn generate(kind: &Kind, count: usize, processes: usize, unknown: u64) -> Vec<Call<Action>> {
    let mut random = Random::new(1, kind.name);
    let mut values = Values::new();
    let mut inside: std::collections::VecDeque<ValueId> = std::collections::VecDeque::new();
    let mut workers: Vec<Process> = (0..processes).map(|_| Process::Idle).collect();
    let mut calls: Vec<Call<Action>> = Vec::with_capacity(count);
    let (mut position, mut target) = (0, 30);
    let mut returned = 0;
    while returned < count {
        if random.below(20_000) == 0 {
            target = random.below(60) as usize;
        }
        let at = random.below(processes as u64) as usize;
        match workers[at] {
            Process::Idle => {
                if calls.len() == count {
                    continue;
                }
                let insert = if inside.len() < target { random.below(10) < 6 } else { random.below(10) < 4 };
                let action = match values.int(calls.len() as i64) {
                    Ok(value) if insert => Action::Insert(value),
                    _ => Action::Empty,
                };
                workers[at] = Process::Invoked(calls.len());
                calls.push(Call {
                    action,
                    invoked: position,
                    returned: u32::MAX,
                    source: calls.len() as u32,
                });
                position += 1;
            }
            Process::Invoked(call) => {
                match calls[call].action {
                    Action::Insert(value) => inside.push_back(value),
                    _ if inside.is_empty() => {}
                    _ => {
                        let place = (kind.pick)(&mut random, inside.len());
                        calls[call].action = inside.remove(place).map_or(Action::Empty, Action::Remove);
                    }
                }
                workers[at] = Process::Done(call);
            }
            Process::Done(call) => {
                returned += 1;
                workers[at] = Process::Idle;
                if random.below(10_000) >= unknown {
                    calls[call].returned = position;
                    position += 1;
                } else if !matches!(calls[call].action, Action::Insert(_)) {
                    calls[call].action = Action::RemoveAny;
                }
            }
        }
    }
    calls
}

fn late_removals(calls: &[Call<Action>]) -> Vec<usize> {
    let from = calls.len() - (calls.len() / 20).max(500);
    (from..calls.len()).filter(|at| matches!(calls[*at].action, Action::Remove(_))).collect()
}

/// Exchanges what the first and the last of the late removals took out.
fn exchange(calls: &mut [Call<Action>]) {
    let late = late_removals(calls);
    if let (Some(first), Some(last)) = (late.first().copied(), late.last().copied()) {
        let action = calls[first].action;
        calls[first].action = calls[last].action;
        calls[last].action = action;
    }
}

/// Two late removals found nothing: what one should have taken out stays inside while the other looks.
fn find_nothing(calls: &mut [Call<Action>]) {
    let late = late_removals(calls);
    if let (Some(first), Some(last)) = (late.first().copied(), late.last().copied()) {
        calls[first].action = Action::Empty;
        calls[last].action = Action::Empty;
    }
}

/// Seconds this thread has computed, so that what else runs on the machine matters less; where the system does not say, those since the start.
fn computed(start: Instant) -> f64 {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = schedule.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds as f64 / 1e9)
}

fn main() {
    let origin = Instant::now();
    println!(
        "{:<6} {:>9} {:>4} {:>8} {:<10} {:>9} {:>9}",
        "kind", "calls", "proc", "unknown", "answer", "decide", "order"
    );
    for kind in &KINDS {
        for (processes, unknown) in [(5, 0), (100, 0), (5, 10)] {
            for spoilt in [false, true] {
                let mut times = Vec::new();
                for count in [1_000, 10_000, 100_000, 1_000_000] {
                    let mut calls = generate(kind, count, processes, unknown);
                    if spoilt {
                        (kind.spoil)(&mut calls);
                    }
                    let runs = (3_000_000 / count).max(5);
                    // The system counts in milliseconds: only many runs together can be measured.
                    let mut spent = (0.0, 0.0);
                    let mut answer = "none";
                    for _ in 0..runs {
                        let start = computed(origin);
                        let decision = (kind.decide)(&calls, FREE);
                        spent.0 += (computed(origin) - start) / runs as f64;
                        answer = match decision.map(|decision| decision.answer) {
                            Some(Answer::Linearizable) => "fits",
                            Some(Answer::Impossible(_)) => "violation",
                            Some(Answer::Unknown(..)) => "unknown",
                            None => "none",
                        };
                        if answer == "fits" {
                            let start = computed(origin);
                            assert!((kind.order)(&calls).is_some(), "there is an order");
                            spent.1 += (computed(origin) - start) / runs as f64;
                        }
                    }
                    assert!(answer != "violation" || spoilt, "a wrong violation");
                    assert!(answer != "fits" || !spoilt, "a wrong pass");
                    times.push(spent.0);
                    let order = if answer == "fits" { format!("{:.2}", spent.1 * 1e3) } else { "-".into() };
                    println!(
                        "{:<6} {count:>9} {processes:>4} {unknown:>8} {answer:<10} {:>6.2} ms {order:>6} ms",
                        kind.name,
                        spent.0 * 1e3,
                    );
                }
                let growth = |from: f64, to: f64| (to / from).log10();
                println!(
                    "       grows with the power {:.2} from 10^4 to 10^5, {:.2} from 10^5 to 10^6",
                    growth(times[1], times[2]),
                    growth(times[2], times[3])
                );
            }
        }
    }
}
