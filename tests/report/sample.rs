//! A run for the tests: 60 seconds of a register on five nodes under two partitions and a kill, with one stale read.

use std::sync::Arc;

use schism_checkers::{CheckResult, Validity, Violation};
use schism_history::{Event, Kind, Process, Random};
use serde_json::{Map, Value, json};

use schism::report::{self, Data, Digest, Facts, NodeFact, Reason, Results, Timing, Verdict, Version};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

pub fn facts() -> Facts {
    let version = |what: &str, version: &str| Version { what: what.to_owned(), version: version.to_owned() };
    Facts {
        name: "demo store that reads locally".to_owned(),
        started: "2026-11-21T10:13:28Z".to_owned(),
        seed: 42,
        system: "demo".to_owned(),
        workload: "register, 10 keys, 200/s, 10 workers".to_owned(),
        nodes: (1..=5)
            .map(|node| NodeFact { name: format!("n{node}"), address: format!("10.73.0.{node}") })
            .collect(),
        versions: vec![version("schism", "0.1.0"), version("demo", "0.1.0"), version("Linux", "6.1.0")],
        command: "schism run examples/demo-broken.yaml --seed 42".to_owned(),
    }
}

fn timings() -> Vec<Timing> {
    [
        ("bring up", 0.82),
        ("install and start", 0.31),
        ("workload", 60.0),
        ("heal and settle", 2.1),
        ("check", 0.4),
    ]
    .map(|(phase, seconds)| Timing { phase: phase.to_owned(), seconds })
    .to_vec()
}

/// Writes events in the order of time, with indices to match.
#[derive(Default)]
struct Writer {
    events: Vec<Event>,
}

impl Writer {
    fn push(&mut self, time: u64, process: Process, kind: Kind, f: &str, value: Value) -> &mut Event {
        let at = self.events.len();
        self.events.push(Event {
            index: 0,
            time,
            process,
            kind,
            f: f.to_owned().into(),
            key: None,
            value,
            node: None,
            error: None,
            extra: Map::new(),
        });
        &mut self.events[at]
    }

    fn fault(&mut self, kind: &str, id: &str, from: u64, to: u64, what: &str, seen: &[(&str, &str)]) {
        let mut say = |time, value| {
            self.push(time, Process::Nemesis, Kind::Info, kind, value);
        };
        let evidence: Vec<Value> =
            seen.iter().map(|(node, seen)| json!({ "node": node, "seen": seen })).collect();
        say(from, json!({ "id": id, "phase": "inject", "targets": ["n2"], "what": what }));
        say(from + 40 * MS, json!({ "id": id, "phase": "injected", "bit": true, "evidence": evidence }));
        say(to, json!({ "id": id, "phase": "heal" }));
        let healed = json!([{ "node": "n2", "seen": "answers again" }]);
        say(to + 25 * MS, json!({ "id": id, "phase": "healed", "evidence": healed }));
    }

    fn operation(&mut self, operation: Sketch) {
        let Sketch { process, node, key, f, from, to, kind, argument, result, error } = operation;
        let node: Arc<str> = Arc::from(format!("n{node}"));
        let process = Process::Client(process);
        let invoke = self.push(from, process, Kind::Invoke, f, argument);
        (invoke.key, invoke.node) = (Some(json!(key)), Some(Arc::clone(&node)));
        if let Some(to) = to {
            let complete = self.push(to, process, kind, f, result);
            (complete.key, complete.node) = (Some(json!(key)), Some(node));
            complete.error = error.map(|error| json!(error));
        }
    }

    fn finish(mut self) -> Vec<Event> {
        self.events.sort_by_key(|event| event.time);
        (0..).zip(&mut self.events).for_each(|(index, event)| event.index = index);
        self.events
    }
}

struct Sketch {
    process: u64,
    node: u64,
    key: u64,
    f: &'static str,
    from: u64,
    to: Option<u64>,
    kind: Kind,
    argument: Value,
    result: Value,
    error: Option<&'static str>,
}

/// When n2 is cut off, when the majority is split, when n4 is down.
const CUTS: [(u64, u64); 3] =
    [(10 * SECOND, 20 * SECOND), (32 * SECOND, 41 * SECOND), (36 * SECOND, 46 * SECOND)];

/// The events of the run.
pub fn events() -> Vec<Event> {
    let mut writer = Writer::default();
    let dropped = "dropped 41 packets from n1, n3, n4 and n5";
    let [first, second, kill] = CUTS;
    let what = "isolate n2 from n1, n3, n4, n5";
    writer.fault(
        "partition",
        "partition-1",
        first.0,
        first.1,
        what,
        &[("n2", dropped), ("n1", "n2 does not answer")],
    );
    let what = "split n1, n2 from n3, n4, n5";
    writer.fault(
        "partition",
        "partition-2",
        second.0,
        second.1,
        what,
        &[("n1", "dropped 97 packets from n3, n4 and n5")],
    );
    writer.fault("kill", "kill-1", kill.0, kill.1, "kill demo on n4", &[("n4", "pid 714 is gone")]);
    let mut random = Random::new(42, "sample");
    let mut value = 1_000;
    for worker in 0..10_u64 {
        worker_events(&mut writer, worker, &mut random, &mut value);
    }
    stale_read(&mut writer);
    writer.finish()
}

fn worker_events(writer: &mut Writer, worker: u64, random: &mut Random, value: &mut u64) {
    let node = worker % 5 + 1;
    let mut process = worker;
    let mut time = random.below(100 * MS);
    while time < 60 * SECOND {
        let within = |cut: (u64, u64)| time >= cut.0 && time < cut.1;
        let cut = (node == 2 && within(CUTS[0])) || (node <= 2 && within(CUTS[1]));
        let down = node == 4 && within(CUTS[2]);
        // A tail like that of real systems: mostly milliseconds, sometimes fifty.
        let mut took = MS + random.below(3 * MS);
        if random.below(50) == 0 {
            took += random.below(50 * MS);
        }
        let write = random.below(2) == 0;
        *value += 1;
        let argument = if write { json!(*value) } else { Value::Null };
        let (kind, error, to) = match (cut, down, write) {
            (false, false, _) => (Kind::Ok, None, time + took),
            (_, true, _) => (Kind::Fail, Some("connection refused"), time + MS / 3),
            (true, _, true) if random.below(3) > 0 => {
                (Kind::Info, Some("timed out after 1 s"), time + SECOND)
            }
            (true, _, _) => (Kind::Fail, Some("2 of 5 nodes answered, 3 are needed"), time + SECOND),
        };
        let result = if write { argument.clone() } else { json!(*value - 1) };
        let f = if write { "write" } else { "read" };
        let key = time / (6 * SECOND);
        writer.operation(Sketch {
            process,
            node,
            key,
            f,
            from: time,
            to: Some(to),
            kind,
            argument,
            result,
            error,
        });
        if kind == Kind::Info {
            process += 10;
        }
        time = to + 20 * MS + random.below(55 * MS);
    }
    if worker == 7 {
        let (from, argument) = (time, json!(9_999));
        let (kind, result, error) = (Kind::Info, Value::Null, None);
        writer.operation(Sketch {
            process,
            node,
            key: 10,
            f: "write",
            from,
            to: None,
            kind,
            argument,
            result,
            error,
        });
    }
}

/// The contradiction: n2 goes on answering with what it had before it was cut off.
fn stale_read(writer: &mut Writer) {
    let operation = |process, node, f, from, to, argument, result| Sketch {
        process,
        node,
        key: 77,
        f,
        from,
        to: Some(to),
        kind: Kind::Ok,
        argument,
        result,
        error: None,
    };
    let at = 12 * SECOND;
    for sketch in [
        operation(9_001, 1, "write", at, at + 3 * MS, json!(40), json!(40)),
        operation(9_003, 3, "read", at + 5 * MS, at + 7 * MS, Value::Null, json!(40)),
        operation(9_001, 1, "write", at + 60 * MS, at + 64 * MS, json!(41), json!(41)),
        operation(9_005, 5, "write", at + 66 * MS, at + 1_066 * MS, json!(43), json!(43)),
        operation(9_003, 3, "read", at + 70 * MS, at + 73 * MS, Value::Null, json!(41)),
        operation(9_004, 4, "read", at + 85 * MS, at + 88 * MS, Value::Null, json!(41)),
        operation(9_002, 2, "read", at + 90 * MS, at + 91 * MS, Value::Null, json!(40)),
        operation(9_001, 1, "cas", at + 95 * MS, at + 99 * MS, json!([41, 44]), json!([41, 44])),
    ] {
        writer.operation(sketch);
    }
    if let Some(last) = writer.events.iter_mut().rfind(|event| event.process == Process::Client(9_005)) {
        (last.kind, last.error) = (Kind::Info, Some(json!("timed out after 1 s")));
    }
}

/// The violation as the linearizability checker tells it.
fn violation(events: &[Event]) -> Violation {
    let find = |process: u64, f: &str, after: u64| {
        let wanted = |event: &&Event| {
            event.process == Process::Client(process)
                && event.f == f
                && event.kind == Kind::Invoke
                && event.time >= after
        };
        events.iter().find(wanted).map_or(0, |event| event.index)
    };
    let at = 12 * SECOND;
    Violation {
        key: Some(json!(77)),
        summary: "The read at n2 from 12.090 s to 12.091 s returned 40, which had been overwritten by 41 at least 26 ms \
                  before."
            .to_owned(),
        explanation: vec![
            "Process 9001 wrote 40 at n1; the write ended at 12.003 s.".to_owned(),
            "Process 9001 then wrote 41 at n1; the write ended at 12.064 s.".to_owned(),
            "Process 9003 read 41 at n3 at 12.073 s, so the new value was visible.".to_owned(),
            "Process 9002 began to read at n2 at 12.090 s, after all of that, and got 40: nobody wrote 40 again.".to_owned(),
        ],
        operations: vec![
            find(9_002, "read", at),
            find(9_001, "write", at),
            find(9_001, "write", at + 50 * MS),
            find(9_003, "read", at + 60 * MS),
        ],
        window: (at, at + 91 * MS),
    }
}

/// What the checker says of the run.
pub fn check(events: &[Event], validity: Validity) -> CheckResult {
    CheckResult {
        checker: "linearizable".to_owned(),
        model: "cas-register".to_owned(),
        engine: "just-in-time".to_owned(),
        validity,
        keys: 11,
        operations: events.len() / 2,
        violating_keys: usize::from(validity == Validity::Violation),
        violations: if validity == Validity::Violation { vec![violation(events)] } else { Vec::new() },
        unknown: (validity == Validity::Unknown)
            .then(|| "1 of 11 keys needed more than 2 GiB of memory".to_owned()),
        seconds: 0.217,
    }
}

/// The results of the run.
pub fn results() -> Results {
    let events = events();
    let check = check(&events, Validity::Violation);
    Results::judge(facts(), &Digest::of(&events), vec![check], Vec::new(), timings())
}

/// The results of the run if its checker and its runner had said something else.
pub fn judged(validity: Validity, verdict: Option<Verdict>) -> Results {
    let events = events();
    let reasons = verdict.map(|verdict| Reason { verdict, what: format!("A reason for {verdict}.") });
    let check = check(&events, validity);
    Results::judge(facts(), &Digest::of(&events), vec![check], reasons.into_iter().collect(), timings())
}

/// The page of the run if its checker and its runner had said something else.
pub fn judged_page(validity: Validity, verdict: Option<Verdict>) -> String {
    let events = events();
    report::render(&Data::new(judged(validity, verdict), &Digest::of(&events))).unwrap()
}

/// The page of the run.
pub fn page() -> String {
    let events = events();
    report::render(&Data::new(results(), &Digest::of(&events))).unwrap()
}

/// The page of a run in which everything that can be a string says `evil`.
pub fn hostile_page(evil: &str) -> String {
    let mut events = events();
    for event in &mut events {
        match event.process {
            Process::Nemesis => {
                for field in ["what", "error"] {
                    event.value[field] = json!(evil);
                }
                event.value["evidence"] = json!([{ "node": evil, "seen": evil }]);
                event.f = evil.to_owned().into();
            }
            Process::Client(_) => {
                event.value = json!({ evil: evil });
                event.node = Some(Arc::from(evil));
                event.error = Some(json!(evil));
                event.key = event.key.as_ref().map(|_| json!(evil));
                event.f = evil.to_owned().into();
            }
        }
    }
    let check = CheckResult {
        checker: evil.to_owned(),
        model: evil.to_owned(),
        engine: evil.to_owned(),
        violations: vec![Violation {
            key: Some(json!(evil)),
            summary: evil.to_owned(),
            explanation: vec![evil.to_owned()],
            ..violation(&self::events())
        }],
        ..check(&events, Validity::Violation)
    };
    let unknown = CheckResult {
        validity: Validity::Unknown,
        violations: Vec::new(),
        unknown: Some(evil.to_owned()),
        ..check.clone()
    };
    let facts = Facts {
        name: evil.to_owned(),
        started: evil.to_owned(),
        system: evil.to_owned(),
        workload: evil.to_owned(),
        nodes: vec![NodeFact { name: evil.to_owned(), address: evil.to_owned() }],
        versions: vec![Version { what: evil.to_owned(), version: evil.to_owned() }],
        command: evil.to_owned(),
        ..facts()
    };
    let reasons = vec![Reason { verdict: Verdict::Residue, what: evil.to_owned() }];
    let timings = vec![Timing { phase: evil.to_owned(), seconds: 1.0 }];
    let digest = Digest::of(&events);
    let results = Results::judge(facts, &digest, vec![check, unknown], reasons, timings);
    report::render(&Data::new(results, &digest)).unwrap()
}

/// A history of this many events, for the tests of size and speed.
pub fn long_history(events: u64) -> Vec<Event> {
    let mut writer = Writer::default();
    let mut random = Random::new(7, "long");
    for number in 0..events / 2 {
        let from = number * 120_000;
        let kind = if random.below(100) == 0 { Kind::Info } else { Kind::Ok };
        writer.operation(Sketch {
            process: number,
            node: number % 5 + 1,
            key: number / 1_000,
            f: "write",
            from,
            to: Some(from + (1 << random.below(34))),
            kind,
            argument: json!(number),
            result: json!(number),
            error: (kind == Kind::Info).then_some("timed out"),
        });
    }
    writer.finish()
}
