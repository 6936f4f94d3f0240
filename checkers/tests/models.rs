//! Every model, held against a judge that tries all orders: verdicts of all engines, evidence, and witnesses.
//!
//! As many histories as a test run can afford: 16,000 of each model, 10,000 of maps. `SCHISM_PROOF_SCALE` multiplies their number, and
//! `SCHISM_PROOF_SEED` makes them other ones. More than a million of each model, in some twenty minutes of a processor:
//!
//! ```text
//! SCHISM_PROOF_SCALE=100 cargo test --release -p schism-checkers --test models -- --nocapture
//! ```

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "support/judge.rs"]
mod judge;
#[path = "support/objects/mod.rs"]
mod objects;
#[path = "support/simulate.rs"]
mod simulate;

use std::collections::{BTreeMap, BTreeSet};

use judge::{Name, Op};
use objects::Object;
use schism_checkers::linearizable::{Engine, Model, Options, check, witness};
use schism_checkers::{CheckResult, Validity, Violation};
use schism_history::{Event, Process, Random, Table};
use serde_json::{Value, json};
use simulate::Shape;

/// Histories that are checked at once. With two objects each, every violation is explained.
const TOGETHER: usize = 8;

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// Several histories, one after the other, and what the judge says.
struct Batch {
    model: Model,
    initial: Value,
    missing: Value,
    events: Vec<Event>,
    objects: BTreeMap<Name, Vec<Op>>,
}

/// What was seen.
#[derive(Debug, Default)]
struct Tally {
    histories: u64,
    possible: u64,
    impossible: u64,
    special_unknown: u64,
    /// Violations whose evidence was looked at, and operations in all of them.
    evidence: u64,
    shown: u64,
    /// Evidence of which an operation could have been left out: where it begins in the middle of a history, more is known about that moment than
    /// the evidence says.
    not_minimal: u64,
    /// Evidence that rests on what was before it.
    after_a_cut: u64,
    samples: usize,
}

impl Batch {
    fn of(model: Model, initial: Value, histories: Vec<Vec<Event>>) -> Self {
        let mut events: Vec<Event> = Vec::new();
        let mut fresh = 0;
        for history in histories {
            let base = fresh;
            for mut event in history {
                let Process::Client(process) = event.process else { continue };
                event.process = Process::Client(base + process);
                fresh = fresh.max(base + process + 1);
                event.index = events.len() as u64;
                // Many at the same time: what came before what is said by the positions alone.
                event.time = (event.index / 3 + 1) * 1_000_000;
                events.push(event);
            }
        }
        let missing = initial.clone();
        let objects = judge::objects(model, &events);
        Self { model, initial, missing, events, objects }
    }

    fn machine(&self, ops: &[Op]) -> Box<dyn Object> {
        judge::machine(self.model, ops, &self.initial, &self.missing)
    }

    fn table(&self) -> (Table, Options) {
        let mut table = Table::from_events(&self.events).unwrap();
        let mut options = Options::new(self.model);
        options.threads = 1;
        // A machine that stands still for minutes is no reason to fail.
        options.time_budget = None;
        options.initial = table.values.json(&self.initial).unwrap();
        (table, options)
    }

    fn show(&self) -> String {
        let lines: Vec<String> =
            self.events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        format!("initially {}, missing {}\n{}", self.initial, self.missing, lines.join("\n"))
    }

    /// Checks it with every engine, and what comes with the verdict.
    fn check(&self, tally: &mut Tally, random: &mut Random) {
        let impossible: Vec<&Name> = self
            .objects
            .iter()
            .filter(|(_, ops)| !judge::possible(&*self.machine(ops), ops))
            .map(|(name, _)| name)
            .collect();
        tally.possible += (self.objects.len() - impossible.len()) as u64;
        tally.impossible += impossible.len() as u64;
        let (table, mut options) = self.table();
        let mut engines = vec![Engine::Auto, Engine::Search];
        engines.extend((random.below(3) == 0).then_some(Engine::Special));
        let registers = matches!(self.model, Model::Register | Model::CasRegister);
        engines.extend((registers && random.below(3) == 0).then_some(Engine::JustInTime));
        for engine in engines {
            options.engine = engine;
            let result = check(&table, &options).unwrap_or_else(|error| panic!("{error}\n{}", self.show()));
            let told = || format!("{engine}: {result:#?}\n{impossible:?}\n{}", self.show());
            assert_eq!(result.keys, self.objects.len(), "{}", told());
            if engine == Engine::Special && result.unknown.is_some() {
                tally.special_unknown += 1;
                assert!(result.violating_keys <= impossible.len(), "{}", told());
                let undecided = result.violating_keys == 0;
                assert_eq!(result.validity == Validity::Unknown, undecided, "{}", told());
                assert_ne!(result.validity, Validity::Pass, "{}", told());
            } else {
                let expected = if impossible.is_empty() { Validity::Pass } else { Validity::Violation };
                assert_eq!(
                    (result.validity, result.violating_keys),
                    (expected, impossible.len()),
                    "{}",
                    told()
                );
            }
            if engine == Engine::Auto {
                self.check_evidence(&result, &impossible, tally);
            }
        }
        self.check_witness(&table, &options, &impossible);
    }

    fn check_witness(&self, table: &Table, options: &Options, impossible: &[&Name]) {
        let said = |value: &Option<Value>| value.as_ref().map_or(String::new(), Value::to_string);
        let witnesses = witness(table, options).unwrap();
        assert_eq!(witnesses.len(), self.objects.len());
        for found in witnesses {
            let name = (said(&found.key), said(&found.part));
            let ops = &self.objects[&name];
            match &found.order {
                Err(_) => assert!(impossible.contains(&&name), "{found:?}\n{}", self.show()),
                Ok(order) => {
                    let replayed = judge::is_witness(&*self.machine(ops), ops, order);
                    assert_eq!(replayed, Ok(()), "{found:?}\n{}", self.show());
                }
            }
        }
    }

    fn check_evidence(&self, result: &CheckResult, impossible: &[&Name], tally: &mut Tally) {
        assert_eq!(result.violations.len(), impossible.len(), "{result:#?}\n{}", self.show());
        let mut explained = Vec::new();
        for violation in &result.violations {
            let culprit = violation.operations[0];
            let owns = |ops: &Vec<Op>| ops.iter().any(|op| op.index == culprit);
            let (name, ops) = self.objects.iter().find(|(_, ops)| owns(ops)).unwrap();
            let told = || format!("{violation:#?}\n{}", self.show());
            assert!(impossible.contains(&name) && !explained.contains(&name), "{}", told());
            explained.push(name);
            let ops: Vec<Op> = ops.clone();
            let cut_short = self.proves(violation, &ops, tally);
            tally.evidence += 1;
            tally.shown += violation.operations.len() as u64;
            if tally.samples > 0 && violation.operations.len() > 2 {
                tally.samples -= 1;
                println!("--- {} ({cut_short})\n{}", self.model, violation.summary);
                violation.explanation.iter().for_each(|line| println!("  {line}"));
            }
        }
    }

    /// Whether the operations shown are a proof, the smallest of its kind, and whether there was no earlier one.
    fn proves(&self, violation: &Violation, ops: &[Op], tally: &mut Tally) -> bool {
        let machine = self.machine(ops);
        let told = |problem: &str| format!("{problem}\n{violation:#?}\n{}", self.show());
        assert!(!violation.summary.is_empty() && !violation.explanation.is_empty(), "{}", told("silent"));
        let culprit = ops.iter().find(|op| op.index == violation.operations[0]).unwrap();
        let end = culprit.returned.unwrap_or_else(|| panic!("{}", told("the culprit never returned")));
        // The history is possible right until the culprit returns, and not after.
        let until = |end: i64| -> Vec<Op> {
            ops.iter().filter(|op| op.invoked < end).map(|op| op.cut(end)).collect()
        };
        assert!(judge::possible(&*machine, &until(end - 1)), "{}", told("an earlier return is impossible"));
        let past = until(end);
        assert!(!judge::possible(&*machine, &past), "{}", told("the culprit can return"));
        // The operations are impossible by themselves, or with the number of those before.
        let shown = |op: &&Op| violation.operations.contains(&op.index);
        let alone: Vec<Op> = past.iter().filter(shown).cloned().collect();
        let counted = violation.explanation.iter().any(|line| line.contains("matter only by their number"));
        let by_themselves = counted || !judge::possible(&*machine, &alone);
        assert!(by_themselves, "{}", told("possible by itself"));
        // And whatever the others did, whenever; those before some moment are known, or can have done anything.
        let begins = begins(violation);
        tally.after_a_cut += u64::from(begins[0].is_some());
        let starts = |begin: i64| {
            let begun: Vec<Op> = past.iter().filter(|op| op.invoked < begin).cloned().collect();
            judge::states(&*machine, &begun)
        };
        let any_state = violation.explanation.iter().any(|line| line.contains("in whatever state"));
        // The judge holds such evidence against what was before as it was; that only its sum matters is not for it to say.
        let sums = begins[0].is_some() && !any_state;
        assert!(!sums || self.model == Model::Mutex, "{}", told("a sum"));
        let all = past.len();
        let freed = |begin: Option<i64>, gone: Option<u64>| -> bool {
            let mut known: Vec<Op> = Vec::new();
            let mut anything: Vec<Op> = Vec::new();
            for op in &past {
                let is_over = begin.is_some_and(|begin| op.returned.is_some_and(|returned| returned < begin));
                let is_open = begin.is_some_and(|begin| op.invoked < begin && op.returned.is_some());
                let is_kept = violation.operations.contains(&op.index) && gone != Some(op.index);
                let whole = ops.iter().find(|other| other.index == op.index).unwrap();
                // What is left out of a register counts as a write of its value, whatever it expected.
                let freed = || match gone {
                    None => Op { result: whole.result.clone(), ..whole.freed() },
                    Some(_) => Op { result: None, ..self.blind(whole).freed() },
                };
                if is_over {
                    known.push(op.clone());
                    continue;
                }
                known.push(if is_kept { op.clone() } else { freed() });
                anything.push(if is_kept { Op { optional: is_open, ..op.clone() } } else { freed() });
            }
            assert_eq!(known.len(), all);
            let in_any_state =
                begin.is_some_and(|begin| !judge::possible_from(&*machine, &starts(begin), &anything));
            in_any_state || (begin.is_none() || sums) && !judge::possible(&*machine, &known)
        };
        let begin = begins.into_iter().find(|begin| freed(*begin, None));
        let begin = begin.unwrap_or_else(|| panic!("{}", told("the others matter")));
        // None of them could be left out, neither by freeing it nor with all that concerns the same element.
        let superfluous: Vec<u64> = alone
            .iter()
            .filter(|gone| gone.index != culprit.index)
            .filter(|gone| {
                if freed(begin, Some(gone.index)) {
                    return !sums && !self.shows_where_a_value_is_from(&*machine, gone, &alone);
                }
                let concern = concerns(self.model, gone);
                let related = |op: &Op| !concerns(self.model, op).is_disjoint(&concern);
                let grouped =
                    !concern.is_empty() && concern.iter().all(|name| !name.starts_with("operation"));
                let shown = |op: &Op| violation.operations.contains(&op.index);
                let rest: Vec<Op> = past
                    .iter()
                    .filter(|op| !related(op))
                    .map(|op| if shown(op) { op.clone() } else { op.freed() })
                    .collect();
                grouped && begin.is_none() && !related(culprit) && !judge::possible(&*machine, &rest)
            })
            .map(|op| op.index)
            .collect();
        if !superfluous.is_empty() {
            tally.not_minimal += 1;
            if std::env::var_os("SCHISM_PROOF_SHOW").is_some() {
                println!("{}", told(&format!("{superfluous:?} could be left out")));
            }
        }
        begin.is_some()
    }
}

impl Batch {
    /// A compare-and-set as a write.
    fn blind(&self, op: &Op) -> Op {
        if op.f != "cas" || !matches!(self.model, Model::CasRegister | Model::KeyValue) {
            return op.clone();
        }
        let new = |pair: &Value| pair.get("new").unwrap_or(&pair[1]).clone();
        let argument = match (&op.argument, self.model) {
            (Value::Object(fields), Model::KeyValue) if fields.contains_key("key") => {
                json!({"key": fields["key"], "value": op.argument.get("value").map_or_else(|| fields["new"].clone(), new)})
            }
            (Value::Array(pair), Model::KeyValue)
                if pair[0].as_str().is_some_and(|key| key.contains('/')) =>
            {
                json!([pair[0], new(&pair[1])])
            }
            (pair, _) => new(pair),
        };
        Op { f: "write".to_owned(), argument, ..op.clone() }
    }

    /// Where registers are concerned, what wrote a value that is observed is shown even if its time does not matter.
    fn shows_where_a_value_is_from(&self, machine: &dyn Object, op: &Op, shown: &[Op]) -> bool {
        if !matches!(self.model, Model::Register | Model::CasRegister | Model::KeyValue) {
            return false;
        }
        let mut states = judge::states(machine, shown);
        // The contradiction may be that what a compare-and-set expects was never there.
        states.extend(values(&op.argument));
        let others = || shown.iter().filter(|other| other.index != op.index);
        let freed = op.freed();
        let left: Vec<Value> = states.iter().flat_map(|state| judge::after(machine, state, &freed)).collect();
        let fits = |other: &Op, state: &Value| judge::after(machine, state, other).next().is_some();
        others().any(|other| {
            left.iter().any(|state| fits(other, state)) && !states.iter().all(|state| fits(other, state))
        })
    }
}

/// A value and all that it contains.
fn values(value: &Value) -> Vec<Value> {
    let mut all = vec![value.clone()];
    match value {
        Value::Array(items) => items.iter().for_each(|item| all.extend(values(item))),
        Value::Object(fields) => fields.values().for_each(|field| all.extend(values(field))),
        _ => {}
    }
    all
}

/// The position at which the evidence begins, if it leaves out what was over by then. It names a time, which is that of three events.
fn begins(violation: &Violation) -> Vec<Option<i64>> {
    let Some(line) = violation.explanation.iter().find(|line| line.contains(" over before ")) else {
        return vec![None];
    };
    let (_, time) = line.split_once(" over before ").unwrap();
    let time: String = time.chars().take_while(|one| one.is_ascii_digit() || *one == '.').collect();
    let first = 3 * (time.replace('.', "").parse::<i64>().unwrap() - 1);
    (first..first + 3).map(Some).collect()
}

/// The elements or owners that an operation shares with others: without one of those, the others would mean something else.
fn concerns(model: Model, op: &Op) -> BTreeSet<String> {
    let shared = match model {
        Model::FifoQueue | Model::UnorderedQueue | Model::Stack => {
            vec![&op.argument, op.result.as_ref().unwrap_or(&Value::Null)]
        }
        Model::OwnerLock | Model::ReentrantLock | Model::FencedLock | Model::ReentrantFencedLock => {
            let owner = op.argument.get("owner").or(op.argument.get("client")).unwrap_or(&op.argument);
            if owner.is_null() {
                return BTreeSet::from([format!("process {}", op.process)]);
            }
            vec![owner]
        }
        _ => return BTreeSet::from([format!("operation {}", op.index)]),
    };
    shared.into_iter().filter(|value| !value.is_null()).map(Value::to_string).collect()
}

fn prove(model: Model, batches: u64) {
    let mut random = Random::new(variable("SCHISM_PROOF_SEED", 1), model.name());
    let mut tally = Tally { samples: variable("SCHISM_PROOF_SAMPLES", 0) as usize, ..Tally::default() };
    for _ in 0..batches * variable("SCHISM_PROOF_SCALE", 1) {
        let initial = match model {
            Model::Register | Model::CasRegister | Model::MultiRegister => {
                random.pick(&[Value::Null, json!(0), json!(1)]).cloned().unwrap()
            }
            Model::KeyValue => random.pick(&[Value::Null, Value::Null, json!("")]).cloned().unwrap(),
            _ => Value::Null,
        };
        let missing = initial.clone();
        let context = objects::Context { initial: initial.clone(), missing, ..objects::Context::default() };
        let simulated = match model {
            Model::VersionedRegister | Model::FencedLock | Model::ReentrantFencedLock => {
                objects::object(model, None)
            }
            _ => objects::object(model, Some(&context)),
        };
        let keyed = model != Model::KeyValue || random.below(2) == 0;
        // What an absent key reads as is found out from a whole history, so such histories come alone.
        let together = if model == Model::KeyValue { 1 } else { TOGETHER };
        let histories: Vec<Vec<Event>> = (0..together)
            .map(|number| {
                let mut shape = Shape::draw(&mut random, 9, keyed);
                shape.keys = if together == 1 && keyed { 1 } else { shape.keys };
                simulate::history(&*simulated, &mut random, shape, number as u64)
            })
            .collect();
        tally.histories += histories.len() as u64;
        Batch::of(model, initial, histories).check(&mut tally, &mut random);
    }
    println!("{model}: {tally:?}");
    let judged = tally.possible + tally.impossible;
    assert!(tally.not_minimal * 500 <= tally.evidence, "{model}: {tally:?}");
    assert!(tally.possible * 5 > judged && tally.impossible * 10 > judged, "{model}: {tally:?}");
}

macro_rules! models {
    ($($name:ident: $model:ident, $batches:literal;)*) => {
        $(#[test]
        fn $name() {
            prove(Model::$model, $batches);
        })*

        #[test]
        fn no_model_is_forgotten() {
            assert_eq!([$(Model::$model),*], Model::ALL);
        }
    };
}

models! {
    registers: Register, 2_000;
    cas_registers: CasRegister, 2_000;
    versioned_registers: VersionedRegister, 2_000;
    multi_registers: MultiRegister, 2_000;
    maps: KeyValue, 10_000;
    mutexes: Mutex, 2_000;
    owner_locks: OwnerLock, 2_000;
    reentrant_locks: ReentrantLock, 2_000;
    fenced_locks: FencedLock, 2_000;
    reentrant_fenced_locks: ReentrantFencedLock, 2_000;
    counters: Counter, 2_000;
    sets: Set, 2_000;
    fifo_queues: FifoQueue, 2_000;
    unordered_queues: UnorderedQueue, 2_000;
    stacks: Stack, 2_000;
    logs: Log, 2_000;
}
