//! Values of a history as small integers, so that an engine compares and hashes words.

use rustc_hash::FxHashMap;
use serde_json::{Number, Value};

/// A value of one register.
pub(crate) type ValueId = u32;

/// The initial value: null.
pub(crate) const INITIAL: ValueId = 0;

/// Gives equal values equal numbers, in the order in which they are first seen.
pub(crate) struct Interner<'h> {
    integers: FxHashMap<i64, ValueId>,
    strings: FxHashMap<&'h str, ValueId>,
    others: FxHashMap<String, ValueId>,
    values: Vec<&'h Value>,
}

impl<'h> Interner<'h> {
    pub fn new() -> Self {
        Self {
            integers: FxHashMap::default(),
            strings: FxHashMap::default(),
            others: FxHashMap::default(),
            values: vec![&Value::Null],
        }
    }

    pub fn intern(&mut self, value: &'h Value) -> ValueId {
        let next = self.values.len() as ValueId;
        let id = match value {
            Value::Null => return INITIAL,
            Value::Number(number) => match integer(number) {
                Some(integer) => *self.integers.entry(integer).or_insert(next),
                None => *self.others.entry(canonical(value)).or_insert(next),
            },
            Value::String(text) => *self.strings.entry(text).or_insert(next),
            _ => *self.others.entry(canonical(value)).or_insert(next),
        };
        if id == next {
            self.values.push(value);
        }
        id
    }

    /// How many values there are, the initial one included.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The value as it was first seen.
    pub fn value(&self, id: ValueId) -> &'h Value {
        self.values.get(id as usize).copied().unwrap_or(&Value::Null)
    }
}

/// Numbers that are equal are the same value, however they are written: a store may answer 1.0 to who wrote 1.
fn integer(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|_| number.is_f64())?;
        (float.fract() == 0.0 && float.abs() <= MAX_EXACT).then_some(float as i64)
    })
}

/// The largest integer up to which floating point counts by ones: 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether the value contains a number that lost digits when it was read: two that differ may have become equal.
pub(crate) fn inexact(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_f64() && number.as_f64().is_some_and(|float| float.abs() > MAX_EXACT)
        }
        Value::Array(items) => items.iter().any(inexact),
        Value::Object(fields) => fields.values().any(inexact),
        _ => false,
    }
}

/// A text that is the same for equal values only: JSON with sorted fields and one way to write a number.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Number(number) => match integer(number) {
            Some(integer) => text.push_str(&integer.to_string()),
            None => text.push_str(&number.to_string()),
        },
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            text.push('{');
            for name in names {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(&fields[name.as_str()], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_are_one_and_others_are_not() {
        let groups = [
            vec![json!(null)],
            vec![json!(1), json!(1.0)],
            vec![json!(0), json!(-0.0)],
            vec![json!(-1)],
            vec![json!(1.5)],
            vec![json!(u64::MAX)],
            vec![json!("1")],
            vec![json!(true)],
            vec![json!([1, 2]), json!([1.0, 2])],
            vec![json!([2, 1])],
            vec![json!([[1], 2])],
            vec![json!({"a": 1, "b": [2]}), json!({"b": [2], "a": 1})],
            vec![json!({"a": "1,\"b\":[2]"})],
            vec![json!("")],
            vec![json!([])],
            vec![json!({})],
        ];
        let mut interner = Interner::new();
        for (expected, group) in groups.iter().enumerate() {
            for value in group {
                assert_eq!(interner.intern(value) as usize, expected, "{value}");
            }
        }
        assert_eq!(interner.count(), groups.len());
        assert_eq!(interner.value(4), &json!(1.5));
    }

    #[test]
    fn numbers_that_lost_digits_are_noticed() {
        let read: Value = serde_json::from_str("[{\"a\":18446744073709551617}]").unwrap();
        assert!(inexact(&read));
        assert!(!inexact(&json!([u64::MAX, 1.5, 9_007_199_254_740_992_i64, 9_007_199_254_740_992.0])));
    }
}
