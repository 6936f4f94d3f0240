//! Clojure's values as values of a table.
//!
//! A table holds what JSON can say, and Clojure can say more. What JSON lacks is written in a way that keeps different values
//! different:
//!
//! | Clojure | here |
//! |---|---|
//! | `nil`, booleans, strings, vectors, lists | the same; a list and a vector of the same items are equal, as in Clojure |
//! | integers | the same; beyond 64 bits a number that [`Values::is_inexact`] knows |
//! | floating point, decimals (`1.25M`) | a number; a decimal of more than 15 digits is text: `'0.1234567890123456789M` |
//! | ratios, `##NaN`, `##Inf` | text: `'3/4`, `'##NaN` |
//! | keywords | text with the colon: `:a/b` |
//! | symbols | text after a quote: `'a/b` |
//! | characters | text after a backslash: `\a` |
//! | sets | a list without repetitions, in the same order for equal sets |
//! | maps | an object; a key that is no string, keyword, symbol or character is its JSON text (`{1 2}` is `{"1": 2}`), and so is a string that could be taken for such a text (`{"1" 2}` is `{"\"1\"": 2}`) |
//! | tagged values, records | the value without its tag |
//! | byte arrays, in binary files | text: `#bytes 01ff` |
//!
//! A string that reads like a keyword, symbol or character stays as it is. Should a history have both `:a` and `":a"` where it
//! matters, reading it fails with [`Misfit::Alike`] rather than taking one for the other.
//!
//! In the value of an operation called `txn` the keyword that begins a micro-operation loses its colon: `[[:append 1 2]]` is
//! `[["append", 1, 2]]`, as in our own histories.

use rustc_hash::{FxHashMap, FxHashSet};
use schism_history::{Datum, TooMany, ValueId, Values};
use serde_json::Number;

/// How many values and bytes of text the key of a map may consist of. The text counts because it is quoted anew on every level on which
/// a map is the key of a map, which doubles its length each time.
const MAX_KEY: usize = 1 << 14;

/// The operation in whose value micro-operations stand.
pub(crate) const TXN: &str = "txn";

/// Why a value cannot be taken.
#[derive(Debug)]
pub(crate) enum Misfit {
    TooMany,
    /// A string and something that is none would be the same text.
    Alike(String),
    /// The key of a map is very large.
    Key,
    /// A map has a keyword and a string that would be the same field.
    Twice(String),
}

impl Misfit {
    /// For a person, if it is not about the number of values.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Misfit::TooMany => None,
            Misfit::Alike(text) => Some(format!(
                "{text} occurs as a string and as a keyword, symbol or character; the two cannot be told apart"
            )),
            Misfit::Twice(name) => Some(format!(
                "the map has the keys :{name} and \"{name}\", which cannot be told apart as fields of an operation"
            )),
            Misfit::Key => Some(format!("the key of a map consists of more than {MAX_KEY} values or bytes")),
        }
    }
}

impl From<TooMany> for Misfit {
    fn from(_: TooMany) -> Self {
        Misfit::TooMany
    }
}

/// Numbers Clojure's values.
#[derive(Default)]
pub(crate) struct Encoder {
    /// Keywords and others that are marked, as their text.
    marked: FxHashMap<Box<str>, ValueId>,
    marked_ids: FxHashSet<ValueId>,
    /// Strings that read like something marked.
    alike: FxHashSet<ValueId>,
    /// Whether two values may be taken for each other: in errors it does not matter.
    pub(crate) lenient: bool,
}

impl Encoder {
    pub(crate) fn string(&mut self, values: &mut Values, text: &str) -> Result<ValueId, Misfit> {
        let id = values.str(text)?;
        if matches!(text.as_bytes().first(), Some(b':' | b'\'' | b'\\' | b'#')) && !self.lenient {
            self.alike.insert(id);
            if self.marked_ids.contains(&id) {
                return Err(Misfit::Alike(text.to_owned()));
            }
        }
        Ok(id)
    }

    /// Text that is no string: a keyword with its colon, a symbol after a quote.
    pub(crate) fn marked(&mut self, values: &mut Values, text: &str) -> Result<ValueId, Misfit> {
        if let Some(id) = self.marked.get(text) {
            return Ok(*id);
        }
        let id = values.str(text)?;
        if !self.lenient {
            if self.alike.contains(&id) {
                return Err(Misfit::Alike(text.to_owned()));
            }
            self.marked.insert(text.into(), id);
            self.marked_ids.insert(id);
        }
        Ok(id)
    }

    /// An integer in decimal digits.
    pub(crate) fn integer(&mut self, values: &mut Values, text: &str) -> Result<ValueId, Misfit> {
        if let Ok(integer) = text.parse::<i64>() {
            return Ok(values.int(integer)?);
        }
        if let Ok(integer) = text.parse::<u64>() {
            return Ok(values.number(&Number::from(integer))?);
        }
        match text.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Ok(values.number(&number)?),
            None => self.marked(values, &format!("'{text}")),
        }
    }

    /// A floating point number.
    pub(crate) fn float(&mut self, values: &mut Values, float: f64) -> Result<ValueId, Misfit> {
        match Number::from_f64(float) {
            Some(number) => Ok(values.number(&number)?),
            None if float.is_nan() => self.marked(values, "'##NaN"),
            None if float > 0.0 => self.marked(values, "'##Inf"),
            None => self.marked(values, "'##-Inf"),
        }
    }

    /// A decimal number without its `M`. Up to 15 digits survive as floating point.
    pub(crate) fn decimal(&mut self, values: &mut Values, text: &str) -> Result<ValueId, Misfit> {
        let digits = text.split(['e', 'E']).next().unwrap_or_default();
        let digits = digits.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
        match text.parse::<f64>() {
            Ok(float) if digits <= 15 && float.is_finite() && (float.is_normal() || digits == 0) => {
                self.float(values, float)
            }
            _ => self.marked(values, &format!("'{text}M")),
        }
    }

    pub(crate) fn char(&mut self, values: &mut Values, char: char) -> Result<ValueId, Misfit> {
        let mut text = String::from("\\");
        text.push(char);
        self.marked(values, &text)
    }

    /// A set; its items are sorted and made unique.
    pub(crate) fn set(&mut self, values: &mut Values, items: &mut Vec<ValueId>) -> Result<ValueId, Misfit> {
        items.sort_unstable();
        items.dedup();
        Ok(values.array(items)?)
    }

    /// Refuses a keyword beside a string of the same name: models that ask for a field take either.
    fn apart(&self, values: &Values, fields: &[(ValueId, ValueId)]) -> Result<(), Misfit> {
        let texts = || fields.iter().filter_map(|(name, _)| values.as_str(*name));
        let (keywords, plain): (Vec<&str>, Vec<&str>) = texts().partition(|text| text.starts_with(':'));
        if keywords.is_empty() || plain.is_empty() {
            return Ok(());
        }
        let plain: FxHashSet<&str> = plain.into_iter().collect();
        match keywords.iter().find(|keyword| plain.contains(&keyword[1..])) {
            Some(keyword) => Err(Misfit::Twice(keyword[1..].to_owned())),
            None => Ok(()),
        }
    }

    /// A map of keys and values in turn.
    pub(crate) fn map(&mut self, values: &mut Values, entries: &[ValueId]) -> Result<ValueId, Misfit> {
        let mut fields = Vec::with_capacity(entries.len() / 2);
        for entry in entries.chunks_exact(2) {
            fields.push((name(values, entry[0])?, entry[1]));
        }
        if !self.lenient && !entries.is_empty() {
            self.apart(values, &fields)?;
        }
        Ok(values.object(&fields)?)
    }
}

/// The name of a field that stands for the key of a map.
fn name(values: &mut Values, key: ValueId) -> Result<ValueId, Misfit> {
    if let Some(text) = values.as_str(key) {
        let like_json = matches!(text.as_bytes().first(), Some(b'0'..=b'9' | b'-' | b'[' | b'{' | b'"'))
            || matches!(text, "null" | "true" | "false");
        if !like_json {
            return Ok(key);
        }
    }
    let mut room = MAX_KEY;
    if !fits(values, key, &mut room) {
        return Err(Misfit::Key);
    }
    let text = values.show(key);
    Ok(values.str(&text)?)
}

/// Whether the value has few parts and short texts. Parts are shared, so that a small file can hold a value with more of them than fit anywhere.
fn fits(values: &Values, id: ValueId, room: &mut usize) -> bool {
    let datum = values.get(id);
    let text = match datum {
        Datum::Str(text) | Datum::Number(text) => text.len(),
        _ => 0,
    };
    match room.checked_sub(1 + text) {
        Some(left) => *room = left,
        None => return false,
    }
    match datum {
        Datum::Array(items) | Datum::Object(items) => items.iter().all(|item| fits(values, *item, room)),
        _ => true,
    }
}

/// The value of a transaction, its micro-operations without the colon that a keyword has here.
pub(crate) fn strip_heads(values: &mut Values, value: ValueId) -> Result<ValueId, TooMany> {
    let Some(micros) = values.as_array(value) else { return Ok(value) };
    let mut micros = micros.to_vec();
    for micro in &mut micros {
        let Some(parts) = values.as_array(*micro) else { continue };
        let head = parts.first().and_then(|head| values.as_str(*head));
        let Some(head) = head.and_then(|head| head.strip_prefix(':')).map(str::to_owned) else { continue };
        let mut parts = parts.to_vec();
        parts[0] = values.str(&head)?;
        *micro = values.array(&parts)?;
    }
    values.array(&micros)
}
