use std::path::Path;

use schism_history::{Builder, Kind, Process, Random, Record, Table, Values};
use serde_json::{Value, json};

use super::appends::{Mistake, as_registers_with};
use super::*;
use crate::linearizable::call::NEVER;
use crate::linearizable::models::acknowledgement::parsing::{problem, table, unknown};
use crate::linearizable::testing::{Shape, Simulated, brute_force, jolt, simulate};

const NULL: KeyValue = KeyValue { missing: Missing::Null };
const EMPTY: KeyValue = KeyValue { missing: Missing::EmptyText };

/// Key and action as text, for comparison.
fn shown(map: KeyValue, key: Option<Value>, f: &str, argument: Value, result: Option<Value>) -> String {
    let table = table(key, f, argument, result);
    let view = table.view(0);
    let show = |content: &Content| table.values.show(content.id);
    let part = map.part(&view);
    let key = if part.is_present() { table.values.show(part) } else { "-".into() };
    match map.action(&view) {
        Ok(None) => format!("{key} nothing"),
        Ok(Some(Action::Get(value))) => format!("{key} get {}", show(&value)),
        Ok(Some(Action::Put(value))) => format!("{key} put {}", show(&value)),
        Ok(Some(Action::Append(value))) => format!("{key} append {}", show(&value)),
        Ok(Some(Action::Delete)) => format!("{key} delete"),
        Ok(Some(Action::Cas(pair))) => format!("{key} cas {} {}", show(&pair.0), show(&pair.1)),
        Err(misfit) => format!("{misfit:?}"),
    }
}

#[test]
fn every_form_of_argument_is_read() {
    let key = || Some(json!("k"));
    for (key, f, argument, result, expected) in [
        (key(), "get", json!(null), json!(5), "- get 5"),
        (key(), "get", json!("k"), json!([1, 2]), "- get [1,2]"),
        (key(), "read", json!(null), json!(null), "- get null"),
        (key(), "put", json!([1, 2]), json!(null), "- put [1,2]"),
        (key(), "append", json!("x"), json!("x"), "- append \"x\""),
        (key(), "cas", json!([1, 2]), json!([1, 2]), "- cas 1 2"),
        (key(), "cas", json!({"old": null, "new": 2}), json!(null), "- cas null 2"),
        (key(), "delete", json!(null), json!(null), "- delete"),
        (None, "get", json!("k"), json!(5), "\"k\" get 5"),
        (None, "get", json!(7), json!([7, 5]), "7 get [7,5]"),
        (None, "get", json!({"key": 7}), json!(5), "7 get 5"),
        (None, "get", json!({"key": 7}), json!({"key": 7, "value": 5}), "7 get 5"),
        (None, "get", json!({"key": 7}), json!({"a": 7}), "7 get {\"a\":7}"),
        (None, "get", json!([7, null]), json!([7, 5]), "7 get 5"),
        (None, "write", json!([7, 5]), json!([7, 5]), "7 put 5"),
        (None, "put", json!({"key": "k", "value": null}), json!(null), "\"k\" put null"),
        (None, "append", json!({"key": "k", "value": "x"}), json!(null), "\"k\" append \"x\""),
        (None, "delete", json!(7), json!(7), "7 delete"),
        (None, "delete", json!([7, null]), json!(null), "7 delete"),
        (None, "cas", json!([7, [1, 2]]), json!(null), "7 cas 1 2"),
        (None, "cas", json!({"key": 7, "value": [1, 2]}), json!(null), "7 cas 1 2"),
        (None, "cas", json!({"key": 7, "old": 1, "new": 2}), json!(null), "7 cas 1 2"),
        // As readers number Clojure's keywords.
        (None, "cas", json!({":key": 7, ":old": 1, ":new": 2}), json!(null), "7 cas 1 2"),
        (None, "get", json!({":key": 7}), json!({":key": 7, ":value": 5}), "7 get 5"),
        (None, "get", json!({"key": 7}), json!({"key": 7, ":value": 5}), "7 get 5"),
        (None, "put", json!({":key": "k", ":value": 5}), json!(null), "\"k\" put 5"),
    ] {
        assert_eq!(shown(NULL, key, f, argument.clone(), Some(result)), expected, "{f} {argument}");
    }
    assert_eq!(shown(NULL, None, "get", json!("k"), None), "\"k\" nothing");
    assert_eq!(shown(NULL, None, "put", json!([7, 5]), None), "7 put 5");
}

#[test]
fn bad_shapes_are_refused() {
    for (f, argument, result) in [
        ("get", json!(null), json!(5)),
        ("get", json!([7, 8]), json!(5)),
        ("get", json!([7, null]), json!(5)),
        ("get", json!([7, null]), json!([8, 5])),
        ("get", json!({"key": 7}), json!({"key": 8, "value": 5})),
        ("get", json!({"k": 7}), json!(5)),
        ("put", json!(7), json!(null)),
        ("put", json!([7]), json!(null)),
        ("put", json!({"key": 7}), json!(null)),
        ("put", json!([7, 5]), json!([7, 6])),
        ("append", json!("x"), json!(null)),
        ("cas", json!([7, 1]), json!(null)),
        ("cas", json!({"key": 7, "old": 1}), json!(null)),
        ("cas", json!([7, [1, 2, 3]]), json!(null)),
        ("cas", json!([7, [1, 2]]), json!(false)),
        ("delete", json!([7, 8]), json!(null)),
    ] {
        let found = problem(&NULL, f, argument.clone(), Some(result));
        assert!(found.contains(f), "{f} {argument}: {found}");
    }
    let huge: Value = serde_json::from_str("[7, 18446744073709551617]").unwrap();
    assert!(problem(&NULL, "put", huge, Some(json!(null))).contains("too large"));
    let keyed = shown(NULL, Some(json!(1)), "get", json!(3), Some(json!(3)));
    assert!(keyed.contains("null where the operation has a key"), "{keyed}");
    assert!(unknown(&NULL, "scan", json!(1)).contains("`append`"));
}

/// What a key reads as after the operations, each a name and a value; `None` if one of them is not possible.
fn after(map: KeyValue, operations: &[(&str, Value)]) -> Option<Value> {
    let mut builder = Builder::new();
    for (f, value) in operations {
        let (argument, result) = match *f {
            "get" => (json!(null), value.clone()),
            _ => (value.clone(), json!(null)),
        };
        for (kind, value) in [(Kind::Invoke, argument), (Kind::Ok, result)] {
            let key = builder.values().int(1).unwrap();
            let value = builder.values().json(&value).unwrap();
            let process = Process::Client(0);
            let error = ValueId::ABSENT;
            builder
                .push(&Record { process, kind, f, key, value, time: None, index: None, node: None, error })
                .unwrap();
        }
    }
    let table = builder.finish();
    let actions = table.views().map(|view| map.action(&view).unwrap().unwrap());
    let state = actions.into_iter().try_fold(map.initial(), |state, action| map.step(&state, &action))?;
    Some(match state {
        State::Absent if map.missing == Missing::Null => json!(null),
        State::Absent => json!(""),
        State::Text(text) => json!(&*text),
        State::List(items) => items.iter().map(|item| table.values.to_json(*item)).collect(),
        State::Other(id) => table.values.to_json(id),
    })
}

#[test]
fn appended_parts_are_joined() {
    let (a, b) = (("append", json!("a")), ("append", json!("b")));
    let get = |value: Value| ("get", value);
    let put = |value: Value| ("put", value);
    for map in [NULL, EMPTY] {
        assert_eq!(after(map, &[a.clone(), b.clone(), get(json!("ab"))]), Some(json!("ab")));
        assert_eq!(after(map, &[a.clone(), b.clone(), get(json!("ba"))]), None);
        assert_eq!(after(map, &[put(json!("x")), a.clone()]), Some(json!("xa")));
        assert_eq!(after(map, &[("append", json!(1)), ("append", json!(2))]), Some(json!([1, 2])));
        assert_eq!(after(map, &[("append", json!([1])), ("append", json!([2]))]), Some(json!([1, 2])));
        assert_eq!(after(map, &[put(json!([1])), a.clone()]), Some(json!([1, "a"])));
        assert_eq!(after(map, &[put(json!(1)), a.clone()]), None);
        assert_eq!(after(map, &[a.clone(), ("append", json!(1))]), None);
        assert_eq!(after(map, &[a.clone(), ("cas", json!(["a", "c"]))]), Some(json!("c")));
        assert_eq!(after(map, &[a.clone(), ("cas", json!(["b", "c"]))]), None);
    }
    let delete = ("delete", json!(null));
    assert_eq!(after(NULL, &[a.clone(), delete.clone(), get(json!(null))]), Some(json!(null)));
    assert_eq!(after(NULL, &[delete.clone(), get(json!(""))]), None);
    assert_eq!(after(NULL, &[put(json!(null)), a.clone()]), Some(json!("a")));
    assert_eq!(after(NULL, &[("append", json!("")), get(json!(null))]), None);
    assert_eq!(after(EMPTY, &[a.clone(), delete, get(json!(""))]), Some(json!("")));
    assert_eq!(after(EMPTY, &[get(json!(null))]), None);
    assert_eq!(after(EMPTY, &[put(json!("")), get(json!(""))]), Some(json!("")));
    assert_eq!(after(EMPTY, &[put(json!(null)), get(json!(""))]), None);
    assert_eq!(after(EMPTY, &[("append", json!("")), get(json!(""))]), Some(json!("")));
}

/// A register whose initial value is null.
struct Register;

impl Specification for Register {
    type Action = register::Action<ValueId>;
    type State = ValueId;

    fn initial(&self) -> ValueId {
        ValueId::NULL
    }

    fn action(&self, _: &View<'_>) -> Result<Option<Self::Action>, Misfit> {
        Err(Misfit::UNKNOWN)
    }

    fn step(&self, state: &ValueId, action: &Self::Action) -> Option<ValueId> {
        action.observes().is_none_or(|value| value == *state).then(|| action.produces().unwrap_or(*state))
    }
}

#[test]
fn without_appends_a_key_is_a_register() {
    let mut random = Random::new(1, "key-value");
    let mut values = Values::new();
    let texts = ["", "a"].map(|text| values.str(text).unwrap());
    let list = values.array(&texts).unwrap();
    let domain = [ValueId::NULL, texts[0], texts[1], list, values.int(1).unwrap()];
    let content = |map: KeyValue, id: ValueId| {
        let value = match values.get(id) {
            Datum::Null if map.missing == Missing::Null => State::Absent,
            Datum::Str("") if map.missing == Missing::EmptyText => State::Absent,
            Datum::Str(text) => State::Text(text.into()),
            Datum::Array(items) => State::List(items.into()),
            _ => State::Other(id),
        };
        Content { id, value }
    };
    let (mut verdicts, mut refused) = ([0_u32; 2], 0);
    for _ in 0..60_000 {
        let map = [NULL, EMPTY][random.below(2) as usize];
        let mut ends: Vec<u32> = (0..2 * (1 + random.below(6)) as u32).collect();
        random.shuffle(&mut ends);
        let mut any = || content(map, domain[random.below(5) as usize]);
        let contents: Vec<[Content; 2]> = ends.iter().map(|_| [any(), any()]).collect();
        let mut calls: Vec<Call<Action>> = Vec::new();
        for (pair, [one, other]) in ends.chunks(2).zip(contents) {
            let action = match random.below(16) {
                0..7 => Action::Get(one),
                7..11 => Action::Put(one),
                11..14 => Action::Cas(Box::new((one, other))),
                14 => Action::Delete,
                _ if random.below(8) == 0 => Action::Append(one),
                _ => Action::Delete,
            };
            let crashed = random.below(6) == 0 && !matches!(action, Action::Get(_));
            let returned = if crashed { NEVER } else { pair[0].max(pair[1]) };
            calls.push(Call { action, invoked: pair[0].min(pair[1]), returned, source: 0 });
        }
        calls.sort_by_key(|call| call.invoked);
        let Some(registers) = map.as_registers(&calls) else {
            refused += 1;
            let appends = calls.iter().any(|call| matches!(call.action, Action::Append(_)));
            assert!(appends || map.missing == Missing::EmptyText, "{calls:#?}");
            continue;
        };
        let expected = brute_force(&map, &calls);
        verdicts[usize::from(expected)] += 1;
        let register = registers.iter().any(|register| brute_force(&Register, register));
        assert_eq!(register, expected, "{map:?} {calls:#?}");
    }
    assert!(verdicts.iter().all(|count| *count > 5_000) && refused > 1_000, "{verdicts:?} {refused}");
}

/// A history as Porcupine's tests have it: `{:process 0, :type :ok, :f :get, :key "5", :value ""}`.
fn porcupine(path: &Path) -> Table {
    let mut builder = Builder::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!(":{name} ")).unwrap();
            rest.trim_end_matches('}').split(", :").next().unwrap().trim_matches('"')
        };
        let kind = if field("type") == ":ok" { Kind::Ok } else { Kind::Invoke };
        let key = builder.values().str(field("key")).unwrap();
        let value = match field("value") {
            "nil" => ValueId::NULL,
            text => builder.values().str(text).unwrap(),
        };
        let process = Process::Client(field("process").parse().unwrap());
        let (f, error) = (&field("f")[1..], ValueId::ABSENT);
        builder
            .push(&Record { process, kind, f, key, value, time: None, index: None, node: None, error })
            .unwrap();
    }
    builder.finish()
}

#[test]
fn histories_of_porcupine_fit() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let named = std::env::var_os("SCHISM_TEST_DATA").map(std::path::PathBuf::from);
    let found = [Some(beside), named].into_iter().flatten().map(|data| data.join("porcupine/kv"));
    let Some(folder) = found.into_iter().find(|folder| folder.is_dir()) else {
        eprintln!(
            "SKIPPED: there is no ../shared/data/porcupine/kv; SCHISM_TEST_DATA can name another place"
        );
        return;
    };
    for clients in ["c01", "c10", "c50"] {
        for verdict in ["ok", "bad"] {
            let table = porcupine(&folder.join(format!("{clients}-{verdict}.txt")));
            let map = EMPTY;
            assert_eq!(map.missing, Missing::EmptyText);
            let mut keys = std::collections::BTreeMap::new();
            for view in table.views() {
                if let Some(action) = map.action(&view).unwrap() {
                    keys.entry(view.row.key).or_insert_with(Vec::new).push(action);
                }
            }
            assert!(keys.len() >= 5, "{}", keys.len());
            // One client does one thing at a time, which leaves one order only.
            let in_turn = |actions: &Vec<Action>| {
                actions.iter().try_fold(map.initial(), |state, action| map.step(&state, action)).is_some()
            };
            if clients == "c01" {
                assert_eq!(keys.values().all(in_turn), verdict == "ok");
            }
        }
    }
}

/// A key to which texts are appended that say for themselves what they are: `a.`, `b.`, …
struct Texts {
    map: KeyValue,
    held: State,
    next: u32,
    /// Of ten requests, how many repeat a text, or use one that begins with another.
    unclear: u64,
    /// What the texts begin with: where it is long, their first eight bytes say little.
    stem: &'static str,
}

/// Short, as long as the first eight bytes, longer, and one that ends with what fills up short texts.
const STEMS: [&str; 5] = ["", "", "-------", "----------", "-\0"];

impl Texts {
    fn content(text: &str) -> Content {
        // Numbers of their own, equal for equal texts.
        let id = text.bytes().fold(7_i64, |hash, byte| (hash * 31 + i64::from(byte)) % (1 << 29));
        Content { id: ValueId::small(id).unwrap(), value: State::Text(text.into()) }
    }
}

impl Simulated<KeyValue> for Texts {
    type Request = Option<Action>;

    fn request(&mut self, random: &mut Random, _: usize) -> Option<Action> {
        self.next += 1;
        let stem = self.stem;
        let text = match random.below(10) < self.unclear {
            true => format!("{stem}{}{}", random.below(3), ["", ".", ".", "."][random.below(4) as usize]),
            false => format!("{stem}{}.", self.next),
        };
        match random.below(20) {
            0..8 => None,
            8..16 => Some(Action::Append(Self::content(&text))),
            16..18 => Some(Action::Put(Self::content(&text))),
            _ => Some(Action::Delete),
        }
    }

    fn perform(&mut self, _: &mut Random, request: &Option<Action>) -> Option<Action> {
        let action = request.clone().unwrap_or_else(|| {
            Action::Get(match &self.held {
                State::Text(text) => Self::content(text),
                _ => Content { id: ValueId::NULL, value: State::Absent },
            })
        });
        self.held = self.map.step(&self.held, &action)?;
        Some(action)
    }

    fn crashed(&mut self, request: &Option<Action>) -> Option<Action> {
        request.clone()
    }

    fn lie(&mut self, random: &mut Random, action: Action) -> Action {
        let Action::Get(content) = action else { return action };
        let text = match &content.value {
            State::Text(text) => text.to_string(),
            _ => String::new(),
        };
        let pieces: Vec<&str> = text.split_inclusive('.').collect();
        let lie = match (random.below(4), &pieces[..]) {
            (0, [most @ .., _]) => most.concat(),
            (1, [first, second, rest @ ..]) => [&[*second, *first], rest].concat().concat(),
            (2, [_, rest @ ..]) => rest.concat(),
            _ => text + &format!("{}{}.", self.stem, 1 + random.below(u64::from(self.next))),
        };
        match lie.is_empty() {
            true => Action::Get(Content { id: ValueId::NULL, value: State::Absent }),
            false => Action::Get(Self::content(&lie)),
        }
    }
}

/// A history of a key to which texts are appended.
fn texts(random: &mut Random, unclear: u64) -> Vec<Call<Action>> {
    let stem = random.pick(&STEMS).copied().unwrap_or_default();
    let mut object = Texts { map: KeyValue::default(), held: State::Absent, next: 0, unclear, stem };
    let shape = Shape::draw(random, 9);
    let mut calls = simulate(random, &mut object, shape);
    if random.below(3) == 0 {
        jolt(random, &mut calls);
    }
    calls
}

#[test]
fn appended_texts_that_tell_themselves_apart_are_a_register() {
    let mut random = Random::new(21, "appended texts");
    let (mut verdicts, mut refused, mut chosen) = ([0_u32; 2], 0, 0);
    for _ in 0..120_000 {
        let unclear = [0, 2, 8][random.below(3) as usize];
        let calls = texts(&mut random, unclear);
        let Some(registers) = NULL.as_registers(&calls) else {
            refused += 1;
            continue;
        };
        let expected = brute_force(&NULL, &calls);
        verdicts[usize::from(expected)] += 1;
        let register = registers.iter().any(|register| brute_force(&Register, register));
        chosen += usize::from(registers.len() > 1);
        assert_eq!(register, expected, "{calls:#?}");
    }
    assert!(
        verdicts.iter().all(|count| *count > 10_000) && refused > 1_000 && chosen > 2_000,
        "{verdicts:?} {refused} {chosen}"
    );
}

#[test]
fn every_mistake_about_appended_texts_is_found() {
    let mut missed = vec![
        Mistake::PutIsForgotten,
        Mistake::FirstAppendTookIt,
        Mistake::OnlyTheHeads,
        Mistake::BeginningsAreFine,
        Mistake::ReadShowsTheLast,
    ];
    let mut random = Random::new(22, "mistakes about appended texts");
    for _ in 0..400_000 {
        let calls = texts(&mut random, 3);
        let said: Vec<_> = calls.iter().map(Call::said).collect();
        let mut expected = None;
        missed.retain(|mistake| {
            let Some(registers) = as_registers_with(&said, |call, _| calls[call].action.text(), *mistake)
            else {
                return true;
            };
            let register = registers.iter().any(|register| brute_force(&Register, register));
            register == *expected.get_or_insert_with(|| brute_force(&NULL, &calls))
        });
        if missed.is_empty() {
            return;
        }
    }
    panic!("the comparison does not notice {missed:?}");
}

/// Random operations of a few processes on one key, in every form and with every outcome, a few of them malformed.
fn any_table(random: &mut Random) -> Table {
    let mut builder = Builder::new();
    let domain =
        [json!("a"), json!("b"), json!("b"), json!("ab"), json!(""), json!(null), json!([1]), json!(2)];
    // Mostly texts, as otherwise little comes of appends.
    let most = [2, 3, 4, 6, 8][random.below(5) as usize];
    let names = ["get", "get", "put", "append", "append", "delete", "cas"];
    let known = [4, 7][random.below(2) as usize];
    let keyed = random.below(2) == 0;
    let mut open: Vec<Option<(&str, Value)>> = vec![None; 3];
    for _ in 0..24 {
        let process = random.below(3) as usize;
        let mut any = || domain[random.below(most) as usize].clone();
        let (one, other) = (any(), any());
        let (kind, f, value) = match open[process].take() {
            None => {
                let f = names[random.below(known) as usize];
                let rest = match f {
                    "get" | "delete" => json!(null),
                    "cas" => json!([one, other]),
                    _ => one,
                };
                let argument = if keyed { rest } else { json!(["k", rest]) };
                open[process] = Some((f, argument.clone()));
                (Kind::Invoke, f, argument)
            }
            Some((f, argument)) => {
                let result = match f {
                    "get" if keyed => one,
                    "get" => json!(["k", one]),
                    _ if random.below(60) == 0 => json!("malformed"),
                    _ => argument,
                };
                match random.below(10) {
                    0 => (Kind::Fail, f, result),
                    _ => (Kind::Ok, f, result),
                }
            }
        };
        let key = if keyed { builder.values().int(1).unwrap() } else { ValueId::ABSENT };
        let value = builder.values().json(&value).unwrap();
        let (process, error) = (Process::Client(process as u64), ValueId::ABSENT);
        builder
            .push(&Record { process, kind, f, key, value, time: None, index: None, node: None, error })
            .unwrap();
    }
    builder.finish()
}

#[test]
fn rows_are_the_same_registers_as_the_calls_that_they_are() {
    let mut random = Random::new(23, "rows");
    let (mut same, mut appended, mut refused) = (0, 0, 0);
    for _ in 0..30_000 {
        let table = any_table(&mut random);
        let map = [NULL, EMPTY][random.below(2) as usize];
        let rows: Vec<u32> = (0..table.rows().len() as u32).collect();
        let direct = map.rows_as_registers(&table, &rows);
        let calls = objects::calls(&map, &table, &rows);
        let expected = calls.as_ref().ok().and_then(|calls| map.as_registers(calls));
        assert_eq!(direct, expected, "{:#?}", table.views().collect::<Vec<_>>());
        let appends = |call: &Call<Action>| matches!(call.action, Action::Append(_));
        match direct {
            Some(_) if calls.is_ok_and(|calls| calls.iter().any(appends)) => appended += 1,
            Some(_) => same += 1,
            None => refused += 1,
        }
    }
    assert!(same > 500 && appended > 500 && refused > 500, "{same} {appended} {refused}");
}
