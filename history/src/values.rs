//! Values of a history as small integers: equal values have equal numbers, so that a checker compares and hashes words.

use std::fmt;
use std::hash::Hasher;

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use serde_json::{Number, Value};

/// A value of a history, as [`Values`] numbers it. Small integers are their own number and take no memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(u32);

/// Set where the number is a place in the table, and not an integer itself.
const STORED: u32 = 1 << 31;

/// What is added to a small integer so that it is not negative.
const BIAS: i64 = 1 << 30;

impl ValueId {
    /// Null, which is also the initial value of a register.
    pub const NULL: Self = Self(STORED);
    /// No value at all, such as the key of an operation without one. Never the number of a value.
    pub const ABSENT: Self = Self(u32::MAX);

    /// The integer, if it is a small one.
    fn as_small(self) -> Option<i64> {
        (self.0 & STORED == 0).then(|| i64::from(self.0) - BIAS)
    }

    /// The number of an integer that is small enough to need no table: of 31 bits, with its sign.
    #[inline]
    pub fn small(integer: i64) -> Option<Self> {
        let biased = integer.checked_add(BIAS)?;
        u32::try_from(biased).ok().filter(|number| number & STORED == 0).map(Self)
    }

    /// Whether there is a value.
    pub fn is_present(self) -> bool {
        self != Self::ABSENT
    }

    /// The number itself, for tables of the caller's own.
    pub fn raw(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.as_small()) {
            (Self::ABSENT, _) => f.write_str("absent"),
            (Self::NULL, _) => f.write_str("null"),
            (_, Some(integer)) => write!(f, "{integer}"),
            _ => write!(f, "#{}", self.0 & !STORED),
        }
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Datum<'v> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer. A float without a fraction is one, too: a store may answer 1.0 to who wrote 1.
    Int(i64),
    /// Any other number, as JSON writes it.
    Number(&'v str),
    /// A text.
    Str(&'v str),
    /// A list.
    Array(&'v [ValueId]),
    /// Names and values in turn, sorted by name.
    Object(&'v [ValueId]),
}

#[derive(Clone, Copy, Debug)]
enum Node {
    Null,
    Bool(bool),
    Int(i64),
    /// Where it stands in `text`.
    Number(u32, u32),
    Str(u32, u32),
    /// Where it stands in `items`.
    Array(u32, u32),
    Object(u32, u32),
}

/// A value in the hash table. Its hash stands beside it, so that to look for another value, and to make the table larger, nothing is
/// fetched from elsewhere: with millions of values every such fetch is a cache miss.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u32,
    place: u32,
}

impl Known {
    /// For the hash table, which looks at the highest and at the lowest bits.
    #[inline]
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The values of one history.
#[derive(Clone, Debug)]
pub struct Values {
    nodes: Vec<Node>,
    text: String,
    items: Vec<ValueId>,
    known: HashTable<Known>,
    /// Values that contain a number which lost digits when it was read, ascending.
    inexact: Vec<ValueId>,
}

/// The largest integer up to which floating point counts by ones: 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// More values, or longer texts, than 32 bits can number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history has more distinct values than can be numbered (2^31, or 4 GiB of text)")]
pub struct TooMany;

impl Default for Values {
    fn default() -> Self {
        let mut values = Self {
            nodes: Vec::new(),
            text: String::new(),
            items: Vec::new(),
            known: HashTable::new(),
            inexact: Vec::new(),
        };
        // The first one, which is why `ValueId::NULL` is what it is.
        values.nodes.push(Node::Null);
        values.insert(Known { hash: hash(&Datum::Null), place: 0 });
        values
    }
}

impl Values {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An integer.
    ///
    /// # Errors
    /// There are too many values.
    #[inline]
    pub fn int(&mut self, integer: i64) -> Result<ValueId, TooMany> {
        match ValueId::small(integer) {
            Some(id) => Ok(id),
            None => self.store(Datum::Int(integer)),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// There are too many values.
    pub fn str(&mut self, text: &str) -> Result<ValueId, TooMany> {
        self.store(Datum::Str(text))
    }

    /// True or false.
    ///
    /// # Errors
    /// There are too many values.
    pub fn bool(&mut self, value: bool) -> Result<ValueId, TooMany> {
        self.store(Datum::Bool(value))
    }

    /// A number that may be no integer, or too large for one.
    ///
    /// # Errors
    /// There are too many values.
    pub fn number(&mut self, number: &Number) -> Result<ValueId, TooMany> {
        if let Some(integer) = number.as_i64() {
            return self.int(integer);
        }
        let float = number.as_f64().filter(|_| number.is_f64());
        match float {
            Some(float) if float.fract() == 0.0 && float.abs() <= MAX_EXACT => self.int(float as i64),
            _ => {
                let id = self.store(Datum::Number(&number.to_string()))?;
                if float.is_some_and(|float| float.abs() > MAX_EXACT) {
                    self.mark_inexact(id);
                }
                Ok(id)
            }
        }
    }

    /// A list.
    ///
    /// # Errors
    /// There are too many values.
    pub fn array(&mut self, items: &[ValueId]) -> Result<ValueId, TooMany> {
        let id = self.store(Datum::Array(items))?;
        self.inherit_inexact(id, items);
        Ok(id)
    }

    /// An object. Of fields with the same name the last one counts.
    ///
    /// # Errors
    /// There are too many values.
    pub fn object(&mut self, fields: &[(ValueId, ValueId)]) -> Result<ValueId, TooMany> {
        let mut sorted: Vec<(ValueId, ValueId)> = fields.to_vec();
        sorted.sort_by(|a, b| self.as_str(a.0).cmp(&self.as_str(b.0)));
        sorted.reverse();
        sorted.dedup_by_key(|field| field.0);
        sorted.reverse();
        let flat: Vec<ValueId> = sorted.iter().flat_map(|(name, value)| [*name, *value]).collect();
        let id = self.store(Datum::Object(&flat))?;
        self.inherit_inexact(id, &flat);
        Ok(id)
    }

    /// Any JSON value.
    ///
    /// # Errors
    /// There are too many values.
    pub fn json(&mut self, value: &Value) -> Result<ValueId, TooMany> {
        match value {
            Value::Null => Ok(ValueId::NULL),
            Value::Bool(value) => self.bool(*value),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.str(text),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.json(item)).collect::<Result<Vec<_>, _>>()?;
                self.array(&items)
            }
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Ok((self.str(name)?, self.json(value)?)))
                    .collect::<Result<Vec<_>, _>>()?;
                self.object(&fields)
            }
        }
    }

    /// The value as JSON; null where there is none.
    pub fn to_json(&self, id: ValueId) -> Value {
        match self.get(id) {
            Datum::Null => Value::Null,
            Datum::Bool(value) => Value::Bool(value),
            Datum::Int(integer) => Value::from(integer),
            Datum::Number(text) => text.parse::<Number>().map_or(Value::Null, Value::Number),
            Datum::Str(text) => Value::from(text),
            Datum::Array(items) => Value::Array(items.iter().map(|item| self.to_json(*item)).collect()),
            Datum::Object(fields) => {
                let field = |pair: &[ValueId]| {
                    let name = pair.first().and_then(|name| self.as_str(*name)).unwrap_or_default();
                    (name.to_owned(), pair.get(1).map_or(Value::Null, |value| self.to_json(*value)))
                };
                Value::Object(fields.chunks(2).map(field).collect())
            }
        }
    }

    /// What the value is; null where there is none.
    pub fn get(&self, id: ValueId) -> Datum<'_> {
        if let Some(integer) = id.as_small() {
            return Datum::Int(integer);
        }
        match self.nodes.get((id.0 & !STORED) as usize) {
            Some(node) => self.datum(*node),
            None => Datum::Null,
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self, id: ValueId) -> Option<i64> {
        match self.get(id) {
            Datum::Int(integer) => Some(integer),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self, id: ValueId) -> Option<&str> {
        match self.get(id) {
            Datum::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_array(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.get(id) {
            Datum::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a field, if it is an object that has it. In Clojure's maps a keyword is the usual name: `:owner`, as readers of
    /// such histories number it, names the same field as `owner`, which comes first if there are both.
    pub fn field(&self, id: ValueId, name: &str) -> Option<ValueId> {
        let Datum::Object(fields) = self.get(id) else { return None };
        let find = |is_it: &dyn Fn(&str) -> bool| {
            let pair = fields.chunks_exact(2).find(|pair| self.as_str(pair[0]).is_some_and(is_it))?;
            Some(pair[1])
        };
        find(&|found| found == name).or_else(|| find(&|found| found.strip_prefix(':') == Some(name)))
    }

    /// Whether the value contains a number that lost digits when it was read: two that differ may have become equal.
    pub fn is_inexact(&self, id: ValueId) -> bool {
        self.inexact.binary_search(&id).is_ok()
    }

    /// The value as JSON text.
    pub fn show(&self, id: ValueId) -> String {
        self.to_json(id).to_string()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.text.capacity()
            + self.items.capacity() * size_of::<ValueId>()
            + self.known.capacity() * (size_of::<Known>() + 1)
    }

    #[inline]
    fn datum(&self, node: Node) -> Datum<'_> {
        datum(node, &self.text, &self.items)
    }

    #[inline]
    fn store(&mut self, datum: Datum<'_>) -> Result<ValueId, TooMany> {
        let hash = hash(&datum);
        let is_same =
            |known: &Known| known.hash == hash && self.datum(self.nodes[known.place as usize]) == datum;
        if let Some(known) = self.known.find(Known::spread(hash), is_same) {
            return Ok(ValueId(known.place | STORED));
        }
        let place = u32::try_from(self.nodes.len()).ok().filter(|place| place | STORED < u32::MAX);
        let place = place.filter(|place| place & STORED == 0).ok_or(TooMany)?;
        let node = match datum {
            Datum::Null => Node::Null,
            Datum::Bool(value) => Node::Bool(value),
            Datum::Int(integer) => Node::Int(integer),
            Datum::Number(text) => {
                let (from, to) = append_text(&mut self.text, text)?;
                Node::Number(from, to)
            }
            Datum::Str(text) => {
                let (from, to) = append_text(&mut self.text, text)?;
                Node::Str(from, to)
            }
            Datum::Array(items) => {
                let (from, to) = append_items(&mut self.items, items)?;
                Node::Array(from, to)
            }
            Datum::Object(items) => {
                let (from, to) = append_items(&mut self.items, items)?;
                Node::Object(from, to)
            }
        };
        self.nodes.push(node);
        self.insert(Known { hash, place });
        Ok(ValueId(place | STORED))
    }

    fn insert(&mut self, known: Known) {
        self.known.insert_unique(Known::spread(known.hash), known, |known| Known::spread(known.hash));
    }

    fn mark_inexact(&mut self, id: ValueId) {
        if let Err(place) = self.inexact.binary_search(&id) {
            self.inexact.insert(place, id);
        }
    }

    fn inherit_inexact(&mut self, id: ValueId, items: &[ValueId]) {
        if !self.inexact.is_empty() && items.iter().any(|item| self.is_inexact(*item)) {
            self.mark_inexact(id);
        }
    }
}

#[inline]
fn datum<'v>(node: Node, text: &'v str, items: &'v [ValueId]) -> Datum<'v> {
    let text = |from: u32, to: u32| text.get(from as usize..to as usize).unwrap_or_default();
    let items = |from: u32, to: u32| items.get(from as usize..to as usize).unwrap_or_default();
    match node {
        Node::Null => Datum::Null,
        Node::Bool(value) => Datum::Bool(value),
        Node::Int(integer) => Datum::Int(integer),
        Node::Number(from, to) => Datum::Number(text(from, to)),
        Node::Str(from, to) => Datum::Str(text(from, to)),
        Node::Array(from, to) => Datum::Array(items(from, to)),
        Node::Object(from, to) => Datum::Object(items(from, to)),
    }
}

fn append_text(text: &mut String, more: &str) -> Result<(u32, u32), TooMany> {
    let from = u32::try_from(text.len()).map_err(|_| TooMany)?;
    let to = u32::try_from(text.len() + more.len()).map_err(|_| TooMany)?;
    text.push_str(more);
    Ok((from, to))
}

fn append_items(items: &mut Vec<ValueId>, more: &[ValueId]) -> Result<(u32, u32), TooMany> {
    let from = u32::try_from(items.len()).map_err(|_| TooMany)?;
    let to = u32::try_from(items.len() + more.len()).map_err(|_| TooMany)?;
    items.extend_from_slice(more);
    Ok((from, to))
}

#[inline]
fn hash(datum: &Datum<'_>) -> u32 {
    let mut hasher = FxHasher::default();
    let mut list = |kind: u32, items: &[ValueId]| {
        hasher.write_u64(u64::from(kind) << 32 | (items.len() as u64 & u64::from(u32::MAX)));
        for two in items.chunks(2) {
            let second = two.get(1).map_or(0, |id| u64::from(id.0));
            hasher.write_u64(u64::from(two[0].0) << 32 | second);
        }
    };
    match datum {
        Datum::Null => hasher.write_u32(0),
        Datum::Bool(value) => hasher.write_u32(1 + u32::from(*value)),
        Datum::Int(integer) => hasher.write_i64(*integer),
        Datum::Number(text) | Datum::Str(text) => hasher.write(text.as_bytes()),
        Datum::Array(items) => list(3, items),
        Datum::Object(items) => list(4, items),
    }
    let hash = hasher.finish();
    (hash ^ hash >> 32) as u32
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
            vec![json!(i64::MAX)],
            vec![json!(i64::MIN)],
            vec![json!(BIAS)],
            vec![json!(BIAS - 1)],
            vec![json!(-BIAS)],
            vec![json!(-BIAS - 1)],
            vec![json!("1")],
            vec![json!("null")],
            vec![json!(true)],
            vec![json!([1, 2]), json!([1.0, 2])],
            vec![json!([2, 1])],
            vec![json!([[1], 2])],
            vec![json!({"a": 1, "b": [2]}), json!({"b": [2], "a": 1})],
            vec![json!({"a": "1,\"b\":[2]"})],
            vec![json!(["a", 1, "b", [2]])],
            vec![json!("")],
            vec![json!([])],
            vec![json!({})],
        ];
        let mut values = Values::new();
        let mut seen = Vec::new();
        for group in &groups {
            let ids: Vec<ValueId> = group.iter().map(|value| values.json(value).unwrap()).collect();
            assert!(ids.iter().all(|id| *id == ids[0]), "{group:?}");
            assert!(!seen.contains(&ids[0]) && ids[0].is_present(), "{group:?}");
            seen.push(ids[0]);
            for value in group {
                // Written otherwise, perhaps, but the same value when read again.
                let back = values.to_json(ids[0]);
                assert_eq!(values.json(&back).unwrap(), ids[0], "{value} came back as {back}");
            }
        }
        assert_eq!(values.json(&json!(null)).unwrap(), ValueId::NULL);
        let object = values.json(&json!({"b": [2], "a": 1})).unwrap();
        assert_eq!(values.field(object, "a").and_then(|id| values.as_int(id)), Some(1));
        assert_eq!(values.show(object), "{\"a\":1,\"b\":[2]}");
        assert_eq!(values.field(object, "c"), None);
    }

    #[test]
    fn of_two_fields_with_one_name_the_last_counts() {
        let mut values = Values::new();
        let (a, b) = (values.str("a").unwrap(), values.str("b").unwrap());
        let (one, two) = (values.int(1).unwrap(), values.int(2).unwrap());
        let twice = values.object(&[(a, one), (b, one), (a, two)]).unwrap();
        assert_eq!(values.show(twice), "{\"a\":2,\"b\":1}");
    }

    #[test]
    fn many_values_keep_their_numbers() {
        let mut values = Values::new();
        let ids: Vec<ValueId> = (0..20_000).map(|n| values.str(&format!("v{n}")).unwrap()).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(values.str(&format!("v{n}")).unwrap(), *id);
            assert_eq!(values.as_str(*id), Some(&*format!("v{n}")));
        }
    }

    #[test]
    fn numbers_that_lost_digits_are_noticed() {
        let mut values = Values::new();
        let lost = serde_json::from_str("[{\"a\":18446744073709551617}]").unwrap();
        let lost = values.json(&lost).unwrap();
        assert!(values.is_inexact(lost));
        let kept = json!([u64::MAX, 1.5, 9_007_199_254_740_992_i64, 9_007_199_254_740_992.0]);
        let kept = values.json(&kept).unwrap();
        assert!(!values.is_inexact(kept));
    }
}
