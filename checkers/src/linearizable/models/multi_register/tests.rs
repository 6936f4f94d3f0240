use serde_json::{Value, json};

use super::*;
use crate::linearizable::models::acknowledgement::parsing::{problem, table, unknown};

const REGISTERS: MultiRegister = MultiRegister { initial: ValueId::NULL };

/// The steps as text.
fn shown(f: &str, argument: Value, result: Option<Value>) -> String {
    let table = table(None, f, argument, result);
    let Some(action) = REGISTERS.action(&table.view(0)).unwrap() else { return "nothing".into() };
    let show = |id: &ValueId| table.values.show(*id);
    let step = |step: &Step| match step {
        Step::Read(register, value) => format!("{}={}", show(register), show(value)),
        Step::Write(register, value) => format!("{}:={}", show(register), show(value)),
    };
    action.iter().map(step).collect::<Vec<_>>().join(" ")
}

#[test]
fn operations_are_read() {
    let asked = json!([["read", "x", null], ["write", "y", 2], ["r", "y", null]]);
    let got = json!([["read", "x", 1], ["w", "y", 2], ["r", "y", 2]]);
    assert_eq!(shown("txn", asked.clone(), Some(got)), "\"x\"=1 \"y\":=2 \"y\"=2");
    let unread = json!([["read", "x", null], ["write", "y", 2], ["r", "y", null]]);
    assert_eq!(shown("txn", asked.clone(), Some(unread)), "\"y\":=2");
    assert_eq!(shown("txn", asked, None), "\"y\":=2");
    assert_eq!(shown("txn", json!([["read", "x", null]]), None), "nothing");
    assert_eq!(shown("txn", json!([["write", "x", null]]), Some(json!(null))), "\"x\":=null");
    assert_eq!(shown("txn", json!([]), Some(json!([]))), "nothing");
    for argument in [json!(null), json!(["x", "y", "z"]), json!({"x": null, "y": null, "z": 5})] {
        let got = json!({"x": 1, "y": 2, "z": null});
        assert_eq!(shown("read", argument.clone(), Some(got)), "\"x\"=1 \"y\"=2");
        assert_eq!(shown("read", argument, None), "nothing");
    }
    assert_eq!(shown("write", json!({"x": 1, "y": null}), Some(json!(null))), "\"x\":=1 \"y\":=null");
    assert_eq!(shown("write", json!({"x": 1}), None), "\"x\":=1");
}

#[test]
fn bad_shapes_are_refused() {
    for (f, argument, result) in [
        ("txn", json!(1), json!(1)),
        ("txn", json!([["read", "x"]]), json!(null)),
        ("txn", json!([["swap", "x", 1]]), json!(null)),
        ("txn", json!([["read", "x", null]]), json!(null)),
        ("txn", json!([["read", "x", null]]), json!([["read", "y", 1]])),
        ("txn", json!([["read", "x", null]]), json!([["write", "x", 1]])),
        ("txn", json!([["read", "x", null]]), json!([])),
        ("txn", json!([["write", "x", 1]]), json!([["write", "x", 2]])),
        ("read", json!("x"), json!({"x": 1})),
        ("read", json!(["x"]), json!({"y": 1})),
        ("read", json!(["x", "y"]), json!({"x": 1})),
        ("read", json!(["x"]), json!(1)),
        ("write", json!(["x", 1]), json!(null)),
        ("write", json!({"x": 1}), json!({"x": 2})),
    ] {
        let found = problem(&REGISTERS, f, argument.clone(), Some(result));
        assert!(found.contains(f), "{f} {argument}: {found}");
    }
    let huge: Value = serde_json::from_str("{\"x\": 18446744073709551617}").unwrap();
    assert!(problem(&REGISTERS, "write", huge, None).contains("too large"));
    assert!(unknown(&REGISTERS, "cas", json!(1)).contains("`txn`"));
}

#[test]
fn steps_happen_in_turn() {
    let mut values = Values::new();
    let [x, y] = ["x", "y"].map(|text| values.str(text).unwrap());
    let [zero, one, two] = [0, 1, 2].map(|integer| values.int(integer).unwrap());
    let registers = MultiRegister { initial: zero };
    let run = |steps: &[Step]| registers.step(&registers.initial(), &steps.into());
    assert_eq!(run(&[Step::Read(x, zero), Step::Read(y, zero)]), Some(registers.initial()));
    assert_eq!(run(&[Step::Read(x, one)]), None);
    assert_eq!(run(&[Step::Read(x, ValueId::NULL)]), None);
    let both = run(&[Step::Write(y, two), Step::Read(y, two), Step::Write(x, one)]).unwrap();
    assert_eq!(run(&[Step::Write(x, one), Step::Write(y, two)]), Some(both.clone()));
    assert_eq!(run(&[Step::Write(x, one), Step::Read(x, zero)]), None);
    // Back at first, by another way.
    let back = registers.step(&both, &[Step::Write(x, zero), Step::Write(y, zero)].as_slice().into());
    assert_eq!(back, Some(registers.initial()));
    let changed = registers.step(&both, &[Step::Read(x, one), Step::Write(x, two)].as_slice().into());
    assert_eq!(changed, run(&[Step::Write(x, two), Step::Write(y, two)]));
}
