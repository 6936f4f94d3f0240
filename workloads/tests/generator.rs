//! The laws of the generator algebra, in simulated time.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use schism_history::{Event, Kind, Process, Random};
use schism_workloads::generator::simulate::{End, World, hostile, perfect, sample, simulate};
use schism_workloads::generator::*;
use schism_workloads::register::{self, RecentKeys, RegisterSpec};
use schism_workloads::{Context, Gen, Generator, Op, Outcome, Step, Worker};
use serde_json::{Value, json};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// One operation called `f`.
fn one(f: &'static str) -> Gen {
    operation(Action::new(f, Value::Null))
}

/// Operations called `f` without end.
fn endless(f: &'static str) -> Gen {
    operations(Random::new(1, f), move |_, _| Action::new(f, Value::Null))
}

/// Numbers without end.
fn numbers() -> Gen {
    operations(Random::new(1, "numbers"), |_, context| Action::new("n", json!(context.turn)))
}

fn fs(ops: &[Op]) -> Vec<&str> {
    ops.iter().map(|op| &*op.f).collect()
}

fn invocations(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|event| event.kind == Kind::Invoke).collect()
}

/// What clients do, for `count` operations with two clients.
fn first(count: usize, generator: Gen) -> Vec<Op> {
    sample(clients(generator), World::new(2), count)
}

/// Every generator worth its name, by a number; built with the randomness of `seed`.
fn menagerie(which: usize, seed: u64) -> Gen {
    let random = |purpose| Random::new(seed, purpose);
    let spec = RegisterSpec { ops_per_key: 7.try_into().unwrap(), ..RegisterSpec::default() };
    match which {
        0 => stagger(random("a"), MS, endless("a")),
        1 => mix(
            random("m"),
            [(1, endless("a")), (2, delay(3 * MS, endless("b"))), (1, limit(3, endless("c")))],
        ),
        2 => any([
            clients(stagger(random("a"), 2 * MS, endless("a"))),
            nemesis(timeline([
                (5 * MS, Action::new("kill", json!(1))),
                (9 * MS, Action::new("start", json!(1))),
            ])),
        ]),
        3 => register::generator(&spec, 6, 3, &register::OPERATIONS, seed),
        4 => phases([limit(5, endless("a")), sleep(4 * MS), each_worker(limit(2, endless("b")))]),
        5 => {
            reserve([(2, endless("a")), (1, delay(MS, endless("b")))], stagger(random("s"), MS, endless("c")))
        }
        6 => {
            cycle_times([(3 * MS, stagger(random("s"), MS, endless("a"))), (2 * MS, delay(MS, endless("b")))])
        }
        7 => concurrency_limit(2, process_limit(12, endless("a"))),
        8 => flip_flop(until_ok(endless("a")), cycle(sequence([one("b"), sleep(MS), one("c")]))),
        _ => time_limit(
            20 * MS,
            filter(|op| op.f != "a", mix(random("m"), [(1, endless("a")), (1, endless("b"))])),
        ),
    }
}

const MENAGERIE: usize = 10;

fn world(clients: usize) -> World {
    World { events_max: 300, ..World::new(clients) }
}

/// Asks everything twice, and before that in a busier and later world, whose answers it drops.
struct Twice(Gen, Arc<Mutex<usize>>);

fn same(a: &Step, b: &Step) -> bool {
    match (a, b) {
        (Step::Done, Step::Done) => true,
        (Step::Pending(a), Step::Pending(b)) => a.until == b.until && a.next.is_some() == b.next.is_some(),
        (Step::Op(a, _), Step::Op(b, _)) => a == b,
        _ => false,
    }
}

impl Generator for Twice {
    fn op(&self, context: &Context<'_>) -> Step {
        let nobody = WorkerSet::default();
        drop(self.0.op(&context.within(nobody.view(), context.all)));
        drop(self.0.op(&Context { time: context.time + MS, ..*context }));
        let (dropped, step) = (self.0.op(context), self.0.op(context));
        assert!(same(&dropped, &step), "a dropped proposal changed the next");
        *self.1.lock().unwrap() += 1;
        let wrap = |next| -> Gen { Arc::new(Twice(next, Arc::clone(&self.1))) };
        match step {
            Step::Done => Step::Done,
            Step::Pending(Wait { until, next }) => Step::Pending(Wait { until, next: next.map(wrap) }),
            Step::Op(op, next) => Step::Op(op, wrap(next)),
        }
    }

    fn update(&self, context: &Context<'_>, worker: Worker, event: &Event) -> Option<Gen> {
        let next = self.0.update(context, worker, event)?;
        Some(Arc::new(Twice(next, Arc::clone(&self.1))))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_same_seed_gives_the_same_history(which in 0..MENAGERIE, seed in 0..u64::MAX, workers in 3..8_usize) {
        let run = || simulate(menagerie(which, seed), world(workers), hostile(Random::new(seed, "clients")));
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn a_dropped_proposal_leaves_no_trace(which in 0..MENAGERIE, seed in 0..u64::MAX) {
        let asked = Arc::new(Mutex::new(0));
        let run = |generator| simulate(generator, world(6), hostile(Random::new(seed, "clients")));
        let plain = run(menagerie(which, seed));
        let twice = run(Arc::new(Twice(menagerie(which, seed), Arc::clone(&asked))));
        prop_assert_eq!(plain, twice);
        prop_assert!(*asked.lock().unwrap() > 1);
    }

    #[test]
    fn a_history_is_well_formed_whatever_the_clients_do(which in 0..MENAGERIE, seed in 0..u64::MAX) {
        let (events, _) = simulate(menagerie(which, seed), world(6), hostile(Random::new(seed, "clients")));
        let (mut open, mut dead, mut time) = (BTreeMap::new(), BTreeSet::new(), 0);
        for (index, event) in events.iter().enumerate() {
            prop_assert_eq!(event.index, index as u64);
            prop_assert!(event.time >= time);
            time = event.time;
            if event.process == Process::Nemesis {
                prop_assert_eq!(event.kind, Kind::Info);
                continue;
            }
            prop_assert!(!dead.contains(&event.process));
            if event.kind == Kind::Invoke {
                prop_assert!(open.insert(event.process, event).is_none());
            } else {
                prop_assert!(open.remove(&event.process).is_some());
                if event.kind == Kind::Info {
                    dead.insert(event.process);
                }
            }
        }
    }

    #[test]
    fn a_limit_is_exact(count in 0..50_u64, which in 0..MENAGERIE, seed in 0..u64::MAX) {
        let world = World { events_max: 10_000, ..world(5) };
        // Those that end by themselves may end before.
        let (all, _) = simulate(menagerie(which, seed), world, perfect(MS));
        let (limited, _) = simulate(limit(count, menagerie(which, seed)), world, perfect(MS));
        let invoked = |events: &[Event]| {
            let nemesis = events.iter().filter(|event| event.process == Process::Nemesis).count() / 2;
            invocations(events).len() + nemesis
        };
        prop_assert_eq!(invoked(&limited), invoked(&all).min(count as usize));
    }

    #[test]
    fn a_time_limit_is_exact(millis in 1..40_u64, which in 0..MENAGERIE, seed in 0..u64::MAX) {
        let (events, end) = simulate(
            time_limit(millis * MS, menagerie(which, seed)),
            World { events_max: 100_000, ..world(5) },
            hostile(Random::new(seed, "clients")),
        );
        prop_assert_eq!(end, End::Done);
        for event in invocations(&events) {
            prop_assert!(event.time < millis * MS);
        }
    }

    #[test]
    fn a_stagger_keeps_the_mean_rate(seed in 0..u64::MAX, micros in 100..5_000_u64) {
        let count = 4_000;
        let interval = micros * 1_000;
        let paced = clients(stagger(Random::new(seed, "pace"), interval, endless("a")));
        let ops = sample(paced, World::new(50), count);
        let last = ops.last().unwrap().time;
        let mean = last as f64 / (count - 1) as f64;
        // The standard error of the mean of uniform gaps is interval / sqrt(3 count), about 1 %; this is six of them.
        prop_assert!((mean / interval as f64 - 1.0).abs() < 0.06, "{mean} {interval}");
        let gaps = ops.windows(2).map(|pair| pair[1].time - pair[0].time);
        prop_assert!(gaps.into_iter().all(|gap| gap <= 2 * interval));
    }

    #[test]
    fn concurrency_stays_below_its_limit(seed in 0..u64::MAX, count in 1..6_usize) {
        let (events, _) = simulate(
            clients(concurrency_limit(count, endless("a"))),
            world(8),
            hostile(Random::new(seed, "clients")),
        );
        let (mut open, mut most) = (0, 0);
        for event in &events {
            if event.kind == Kind::Invoke { open += 1 } else { open -= 1 }
            most = most.max(open);
        }
        prop_assert_eq!(most, count);
    }

    #[test]
    fn processes_stay_below_their_limit(seed in 0..u64::MAX, count in 5..30_u64) {
        let (events, end) = simulate(
            clients(process_limit(count, endless("a"))),
            World { events_max: 100_000, ..world(5) },
            hostile(Random::new(seed, "clients")),
        );
        prop_assert_eq!(end, End::Done);
        let processes: BTreeSet<_> = events.iter().map(|event| event.process).collect();
        prop_assert!(processes.len() as u64 <= count, "{}", processes.len());
        prop_assert!(processes.len() as u64 + 5 >= count, "{}", processes.len());
    }

    #[test]
    fn register_values_are_unique_and_keys_move_on(seed in 0..u64::MAX, workers in 1..20_usize, nodes in 1..6_usize) {
        let spec = RegisterSpec { ops_per_key: 10.try_into().unwrap(), ..RegisterSpec::default() };
        let generator = register::generator(&spec, workers, nodes, &register::OPERATIONS, seed);
        let world = World { events_max: 3_000, ..World::new(workers) };
        let (events, _) = simulate(generator, world, hostile(Random::new(seed, "clients")));
        let mut written = BTreeSet::new();
        let mut per_key: BTreeMap<u64, (u64, BTreeSet<u64>)> = BTreeMap::new();
        for event in invocations(&events) {
            let key = event.key.as_ref().unwrap().as_u64().unwrap();
            let Process::Client(process) = event.process else { unreachable!() };
            let entry = per_key.entry(key).or_default();
            entry.0 += 1;
            entry.1.insert(process % workers as u64);
            let value = if event.f == "cas" { &event.value[1] } else { &event.value };
            if event.f != "read" {
                prop_assert!(written.insert((key, value.as_u64().unwrap())), "{event:?} written twice");
            }
        }
        prop_assert!(per_key.len() > 10);
        prop_assert!(per_key.values().all(|(ops, _)| *ops <= 10));
    }
}

#[test]
fn every_key_is_used_through_every_node() {
    let (workers, nodes) = (10, 5);
    let generator = register::generator(&RegisterSpec::default(), workers, nodes, &register::OPERATIONS, 3);
    let world = World { events_max: 8_000, ..World::new(workers) };
    let (events, _) = simulate(generator, world, perfect(MS));
    let mut nodes_of: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut ops_of: BTreeMap<u64, u64> = BTreeMap::new();
    for event in invocations(&events) {
        let key = event.key.as_ref().unwrap().as_u64().unwrap();
        let Process::Client(process) = event.process else { panic!("{event:?}") };
        nodes_of.entry(key).or_default().insert(process % nodes as u64);
        *ops_of.entry(key).or_default() += 1;
    }
    for (key, ops) in ops_of {
        assert!(ops < 100 || nodes_of[&key].len() == nodes, "key {key}: {:?}", nodes_of[&key]);
    }
}

/// A register as a client, to see how often a compare-and-set succeeds.
#[test]
fn a_fair_share_of_compare_and_sets_succeeds() {
    let mut registers: BTreeMap<String, Value> = BTreeMap::new();
    let mut cas = [0, 0];
    let client = |op: &Op| {
        let register = registers.entry(format!("{:?}", op.key)).or_insert(Value::Null);
        let outcome = match &*op.f {
            "read" => Outcome::Ok(register.clone()),
            "write" => {
                *register = op.value.clone();
                Outcome::Ok(op.value.clone())
            }
            _ if *register == op.value[0] => {
                *register = op.value[1].clone();
                cas[0] += 1;
                Outcome::Ok(op.value.clone())
            }
            _ => {
                cas[1] += 1;
                Outcome::Fail("another value".to_owned())
            }
        };
        (2 * MS, outcome)
    };
    let generator = register::generator(&RegisterSpec::default(), 10, 5, &register::OPERATIONS, 9);
    let world = World { events_max: 10_000, ..World::new(10) };
    simulate(generator, world, client);
    let [succeeded, failed] = cas;
    assert!(succeeded > 500 && failed > 50, "{cas:?}");
}

#[test]
fn a_client_without_cas_gets_none() {
    let generator = register::generator(&RegisterSpec::default(), 4, 2, &["read", "write"], 5);
    let ops = sample(generator, World::new(4), 500);
    assert_eq!(ops.len(), 500);
    assert_eq!(fs(&ops).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["read", "write"]));
}

#[test]
fn final_reads_read_every_key_through_every_node() {
    for (workers, nodes, expected) in [(10, 5, 5), (3, 5, 3), (7, 2, 2)] {
        let keys = [json!(4), json!(7), json!(9)];
        let generator = register::final_reads(&keys, workers, nodes);
        let (events, end) = simulate(clients(generator), World::new(workers), perfect(MS));
        assert_eq!(end, End::Done);
        let mut reads = BTreeSet::new();
        for event in invocations(&events) {
            assert_eq!(event.f, "read");
            let Process::Client(process) = event.process else { panic!("{event:?}") };
            let read = (event.key.as_ref().unwrap().as_u64().unwrap(), process % expected);
            assert!(reads.insert(read), "twice: {read:?}");
        }
        assert_eq!(reads.len() as u64, 3 * expected, "{workers} workers on {nodes} nodes");
    }
}

#[test]
fn the_recent_keys_are_those_used_last() {
    let generator = register::generator(&RegisterSpec::default(), 4, 2, &["read", "write"], 5);
    let world = World { events_max: 20_000, ..World::new(4) };
    let (events, _) = simulate(generator, world, perfect(MS));
    let mut recent = RecentKeys::default();
    for event in &events {
        recent.observe(event);
    }
    let mut used = Vec::new();
    for event in invocations(&events).into_iter().rev() {
        let key = event.key.clone().unwrap();
        if !used.contains(&key) {
            used.push(key);
        }
    }
    used.truncate(10);
    used.sort_by_key(Value::as_u64);
    assert_eq!(recent.latest(10), used);
    assert!(recent.latest(1_000_000).len() > 20);
}

#[test]
fn sequences_repeats_and_cycles() {
    assert_eq!(
        fs(&first(9, sequence([one("a"), limit(2, endless("b")), nothing(), one("c")]))),
        ["a", "b", "b", "c"]
    );
    assert_eq!(fs(&first(9, repeat_times(3, sequence([one("a"), one("b")])))), ["a", "a", "a"]);
    assert_eq!(fs(&first(3, repeat(one("a")))), ["a", "a", "a"]);
    assert_eq!(fs(&first(5, cycle(sequence([one("a"), one("b")])))), ["a", "b", "a", "b", "a"]);
    assert_eq!(fs(&first(9, cycle_times_over(2, sequence([one("a"), one("b")])))), ["a", "b", "a", "b"]);
    assert_eq!(fs(&first(9, cycle_times_over(0, one("a")))), [""; 0]);
    assert_eq!(fs(&first(9, cycle(nothing()))), [""; 0]);
    assert_eq!(fs(&first(5, flip_flop(endless("a"), limit(2, endless("b"))))), ["a", "b", "a", "b", "a"]);
    assert_eq!(fs(&first(9, once(endless("a")))), ["a"]);
    assert_eq!(fs(&first(9, sequence([]))), [""; 0]);
}

#[test]
fn maps_and_filters() {
    let doubled = map(|op| Op { value: json!(op.value.as_u64().unwrap() * 2), ..op }, limit(3, numbers()));
    let values: Vec<_> = first(9, doubled).into_iter().map(|op| op.value).collect();
    assert_eq!(values, [json!(0), json!(2), json!(4)]);
    let mixed = cycle(sequence([one("a"), one("b")]));
    assert_eq!(fs(&first(3, filter(|op| op.f == "b", mixed))), ["b", "b", "b"]);
    // Nothing passes: it must not hang, and a time limit must end it.
    let never = time_limit(SECOND / 1000, filter(|_| false, endless("a")));
    assert_eq!(simulate(never, World::new(1), perfect(MS)).1, End::Done);
}

#[test]
fn routes_keep_to_their_workers() {
    let both = any([limit(20, clients(endless("c"))), limit(20, nemesis(endless("n")))]);
    let ops = sample(both, World { lanes: 2, ..World::new(3) }, 100);
    assert_eq!(ops.len(), 40);
    for op in &ops {
        assert_eq!(op.f == "n", matches!(op.worker, Worker::Nemesis(_)), "{op:?}");
    }
    let some: WorkerSet = [Worker::Client(1), Worker::Client(3)].into_iter().collect();
    let ops = sample(on_workers(some, limit(20, endless("a"))), World::new(5), 100);
    let used: BTreeSet<_> = ops.iter().map(|op| op.worker).collect();
    assert_eq!(used, BTreeSet::from([Worker::Client(1), Worker::Client(3)]));
    let parts = reserve([(2, limit(9, endless("a"))), (1, limit(9, endless("b")))], limit(9, endless("c")));
    let ops = sample(clients(parts), World::new(5), 100);
    assert_eq!(ops.len(), 27);
    for op in &ops {
        let Worker::Client(number) = op.worker else { panic!("{op:?}") };
        assert_eq!(&*op.f, ["a", "a", "b", "c", "c"][number]);
    }
    let ops = sample(clients(each_worker(sequence([one("a"), one("b")]))), World::new(3), 100);
    for number in 0..3 {
        let own: Vec<_> = ops.iter().filter(|op| op.worker == Worker::Client(number)).collect();
        assert_eq!(own.iter().map(|op| &*op.f).collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[test]
fn light_load_is_spread_over_all_workers() {
    for generator in [endless("a"), repeat(one("a"))] {
        let ops = sample(clients(delay(10 * MS, generator)), World::new(5), 200);
        let mut counts = [0; 5];
        for op in ops {
            let Worker::Client(number) = op.worker else { panic!("{op:?}") };
            counts[number] += 1;
        }
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }
}

#[test]
fn any_takes_the_soonest_and_starves_nobody() {
    let slow = any([delay(10 * MS, endless("slow")), delay(3 * MS, endless("fast"))]);
    let ops = first(40, slow);
    let count = |f| fs(&ops).into_iter().filter(|other| *other == f).count();
    assert!(count("fast") > 2 * count("slow") && count("slow") > 5, "{:?}", fs(&ops));
    let ready = first(10, any([endless("a"), endless("b")]));
    assert_eq!(fs(&ready), ["a", "b", "a", "b", "a", "b", "a", "b", "a", "b"]);
}

#[test]
fn a_sleep_passes_while_others_work_and_while_others_only_propose() {
    let late = |busy| any([sequence([sleep(10 * MS), one("late")]), busy]);
    for busy in [delay(4 * MS, endless("a")), timeline([(SECOND, Action::new("far", Value::Null))])] {
        let ops = first(20, late(busy));
        let at = ops.iter().find(|op| op.f == "late").unwrap().time;
        assert!((10 * MS..=11 * MS).contains(&at), "{at}");
    }
}

/// Proposes an operation of the far future, so that whatever it is combined with must not be lost over it.
struct Far;

impl Generator for Far {
    fn op(&self, context: &Context<'_>) -> Step {
        let Some(worker) = context.worker() else { return Step::pending() };
        let op =
            Op { time: context.time.max(SECOND), worker, f: "far".into(), key: None, value: Value::Null };
        Step::Op(op, nothing())
    }

    fn update(&self, _: &Context<'_>, _: Worker, _: &Event) -> Option<Gen> {
        None
    }
}

#[test]
fn a_proposal_of_the_far_future_holds_nobody_up() {
    let far = || -> Gen { Arc::new(Far) };
    let soon = || sequence([sleep(5 * MS), limit(3, delay(MS, endless("soon")))]);
    for generator in [
        any([far(), soon()]),
        any([soon(), far()]),
        mix(Random::new(1, "mix"), [(1_000, far()), (1, soon())]),
        mix(Random::new(1, "mix"), [(1, far()), (1_000, soon())]),
        reserve([(1, far())], soon()),
    ] {
        let ops = first(9, generator);
        assert_eq!(fs(&ops), ["soon", "soon", "soon", "far"]);
        assert!(ops[2].time < 20 * MS && ops[3].time == SECOND, "{ops:?}");
    }
}

#[test]
fn a_mix_keeps_its_weights_and_never_stalls() {
    let weighted = mix(Random::new(3, "mix"), [(3, endless("a")), (1, endless("b")), (0, endless("never"))]);
    let ops = first(4_000, weighted);
    let a = fs(&ops).into_iter().filter(|f| *f == "a").count();
    assert!((2_850..3_150).contains(&a), "{a}");
    assert!(!fs(&ops).contains(&"never"));
    // One branch waits for workers it can never have; another ends.
    let impossible = on_workers([Worker::Client(77)].into_iter().collect(), endless("impossible"));
    let stuck = mix(Random::new(3, "mix"), [(1_000, impossible), (1, limit(50, endless("a")))]);
    assert_eq!(first(1_000, stuck).len(), 50);
}

#[test]
fn phases_wait_for_everybody() {
    let (events, end) = simulate(
        clients(phases([limit(7, endless("a")), limit(7, endless("b"))])),
        World::new(3),
        hostile(Random::new(5, "clients")),
    );
    assert_eq!(end, End::Done);
    let first_b = events.iter().position(|event| event.f == "b").unwrap();
    assert!(events[first_b..].iter().all(|event| event.f == "b"));
    assert_eq!(events.len(), 28);
}

#[test]
fn until_ok_ends_with_the_first_success_of_its_own() {
    let mut left = 3;
    let client = |op: &Op| {
        if op.f == "other" {
            return (MS / 2, Outcome::Ok(Value::Null));
        }
        left -= 1;
        (MS, if left == 0 { Outcome::Ok(Value::Null) } else { Outcome::Fail("no".to_owned()) })
    };
    let generator = any([concurrency_limit(1, until_ok(endless("try"))), limit(20, endless("other"))]);
    let (events, end) = simulate(clients(generator), World::new(4), client);
    assert_eq!(end, End::Done);
    assert_eq!(invocations(&events).iter().filter(|event| event.f == "try").count(), 3);
}

#[test]
fn cycled_times_take_turns_by_the_clock() {
    let slots = cycle_times([(10 * MS, delay(MS, endless("a"))), (5 * MS, delay(MS, endless("b")))]);
    let ops = first(200, slots);
    assert!(ops.last().unwrap().time > 60 * MS);
    for op in &ops {
        let expected = if op.time % (15 * MS) < 10 * MS { "a" } else { "b" };
        assert_eq!(op.f, expected, "{op:?}");
    }
}

#[test]
fn a_timeline_is_kept_and_waits_for_a_lane() {
    let at = |time: u64, f: &'static str| (time * MS, Action::new(f, Value::Null));
    let faults = timeline([at(30, "c"), at(10, "a"), at(10, "b"), at(12, "d")]);
    let (events, end) = simulate(nemesis(faults), World::new(1), perfect(5 * MS));
    assert_eq!(end, End::Done);
    let starts: Vec<_> = events.iter().map(|event| (&*event.f, event.time / MS)).collect();
    // One lane: `b` begins when `a` is over.
    let expected = [("a", 10), ("a", 15), ("b", 15), ("b", 20), ("d", 20), ("d", 25), ("c", 30), ("c", 35)];
    assert_eq!(starts, expected);
}

#[test]
fn a_stagger_forgives_what_it_could_not_do() {
    // The only worker is stuck for ten seconds first, then answers at once.
    let mut calls = 0;
    let client = |_: &Op| {
        calls += 1;
        (if calls == 1 { 10 * SECOND } else { 1_000 }, Outcome::Ok(Value::Null))
    };
    let paced = time_limit(11 * SECOND, stagger(Random::new(1, "pace"), 10 * MS, endless("a")));
    let (events, _) = simulate(clients(paced), World { time_max: u64::MAX, ..World::new(1) }, client);
    let after: Vec<_> =
        invocations(&events).into_iter().map(|event| event.time).filter(|at| *at > SECOND).collect();
    // A second's worth, and ten intervals to catch up.
    assert!((80..140).contains(&after.len()), "{}", after.len());
    let burst = after.iter().filter(|at| **at < 10 * SECOND + MS).count();
    assert!(burst <= 20, "{burst}");
}

#[test]
fn a_stuck_generator_is_noticed() {
    let impossible = on_workers([Worker::Client(9)].into_iter().collect(), endless("a"));
    assert_eq!(simulate(impossible, World::new(2), perfect(MS)).1, End::Stalled);
}

#[test]
fn on_update_reacts_and_trace_tells() {
    let stop_after_three = on_update(
        |inner, _, _, event| match event.kind {
            Kind::Ok if event.value.as_u64() >= Some(3) => Some(nothing()),
            _ => Some(Arc::clone(inner)),
        },
        numbers(),
    );
    let told = Arc::new(Mutex::new((0, 0, 0, 0)));
    let counter = Arc::clone(&told);
    let traced = trace(
        move |_, what| {
            let mut told = counter.lock().unwrap();
            match what {
                Traced::Op(_) => told.0 += 1,
                Traced::Pending(_) => told.1 += 1,
                Traced::Update(_, _) => told.2 += 1,
                Traced::Done => told.3 += 1,
            }
        },
        stop_after_three,
    );
    let (events, end) = simulate(clients(traced), World::new(1), perfect(MS));
    assert_eq!(end, End::Done);
    assert_eq!(events.len(), 8);
    assert_eq!(*told.lock().unwrap(), (4, 4, 8, 1));
}
