//! Fressian, the binary notation in which Jepsen writes Clojure's values.
//!
//! A byte says what follows; small integers, short texts and lists have it in the same byte. Everything else is a tagged structure: a
//! tag and a number of components. Tags and values that come often are numbered where they are written first, and only their number
//! is written from then on.

use std::rc::Rc;

use schism_history::{BuildError, Datum, TooMany, ValueId, Values};

use super::blocks::bad;
use crate::ImportError;
use crate::clojure::{Encoder, Misfit};

/// How deep values may be nested.
const MAX_DEPTH: u32 = 256;

/// How many times its own length a block may grow by what it takes from its cache, and what is always allowed. A reference is
/// one byte however much it stands for, and what it stands for may consist of references: without a limit, a hundred bytes hold a value
/// that fits nowhere once it is written out. Jepsen only caches names.
const MAX_GROWTH: usize = 256;
const MIN_GROWTH: usize = 1 << 20;

/// How long a part of a ratio may be: an integer, or what stands for one that is larger than any float.
const MAX_RATIO: usize = 64;

/// What was read.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A value, and how deep it is nested.
    Value(ValueId, u32),
    Bytes(Rc<[u8]>),
    Op(Rc<RawOp>),
    /// The number of a block.
    Ref(u32),
}

/// One of Jepsen's operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawOp {
    pub(crate) index: i64,
    pub(crate) time: i64,
    pub(crate) kind: ValueId,
    pub(crate) process: ValueId,
    pub(crate) f: ValueId,
    pub(crate) value: ValueId,
    /// All other fields, as an object; null if there are none.
    pub(crate) others: ValueId,
    /// How deep the deepest of them is nested.
    pub(crate) depth: u32,
}

/// What a structure is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tag {
    Map,
    Set,
    Uuid,
    BigInt,
    BigDecimal,
    Instant,
    Symbol,
    Keyword,
    Array,
    Char,
    Ratio,
    Record,
    Op,
    Pair,
    Ref,
    /// One component, which is the value.
    Plain,
    Unknown(Rc<str>),
}

impl Tag {
    fn of(name: &str) -> Self {
        match name {
            "map" => Tag::Map,
            "set" | "persistent-hash-set" | "persistent-sorted-set" => Tag::Set,
            "uuid" => Tag::Uuid,
            "bigint" => Tag::BigInt,
            "bigdec" => Tag::BigDecimal,
            "inst" => Tag::Instant,
            "sym" => Tag::Symbol,
            "key" => Tag::Keyword,
            "int[]" | "long[]" | "float[]" | "double[]" | "boolean[]" | "Object[]" => Tag::Array,
            "char" => Tag::Char,
            "ratio" => Tag::Ratio,
            "record" => Tag::Record,
            "jepsen.history.Op" => Tag::Op,
            "map-entry" => Tag::Pair,
            "block-ref" => Tag::Ref,
            "regex" | "uri" | "atom" | "date-time" | "instant" | "byte" | "vec" | "multiset"
            | "throwable" => Tag::Plain,
            _ => Tag::Unknown(name.into()),
        }
    }

    /// How many components the tag has; none: any number.
    fn components(&self) -> Option<i64> {
        match self {
            Tag::Array | Tag::Unknown(_) => None,
            Tag::Op => Some(7),
            Tag::BigDecimal | Tag::Symbol | Tag::Keyword | Tag::Ratio | Tag::Record | Tag::Pair => Some(2),
            _ => Some(1),
        }
    }
}

type Read<T> = Result<T, ImportError>;

/// Reads the values of one block.
pub(crate) struct Decoder<'a, 'v> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begins in the file.
    base: usize,
    values: &'v mut Values,
    encoder: &'v mut Encoder,
    /// Values that can be referred to, and how many bytes each stands for; none: it is still being read.
    cache: Vec<Option<(Item, usize)>>,
    /// How many bytes the values taken from the cache stand for.
    grown: usize,
    tags: Vec<(Tag, i64)>,
    text: String,
}

impl<'a, 'v> Decoder<'a, 'v> {
    pub(crate) fn new(
        bytes: &'a [u8],
        base: usize,
        values: &'v mut Values,
        encoder: &'v mut Encoder,
    ) -> Self {
        Decoder {
            bytes,
            at: 0,
            base,
            values,
            encoder,
            cache: Vec::new(),
            grown: 0,
            tags: Vec::new(),
            text: String::new(),
        }
    }

    /// Whether everything was read.
    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Where the next byte stands in the file.
    pub(crate) fn place(&self) -> usize {
        self.base + self.at
    }

    /// The next value.
    pub(crate) fn item(&mut self) -> Read<Item> {
        self.read(0)
    }

    /// The elements of the vector that comes next, and where each begins; nil has none.
    pub(crate) fn elements(&mut self) -> Read<Vec<(Item, usize)>> {
        let count = match self.byte()? {
            0xf7 => Some(0),
            code @ 0xe4..=0xeb => Some(i64::from(code) - 0xe4),
            0xec => Some(self.integer()?),
            0xed | 0xee => None,
            _ => return bad(self.place() - 1, "a vector of operations was expected"),
        };
        let mut elements = Vec::new();
        while count != Some(elements.len() as i64) {
            if count.is_none() && self.bytes.get(self.at) == Some(&0xfd) {
                self.at += 1;
                break;
            }
            let at = self.place();
            elements.push((self.read(1)?, at));
        }
        Ok(elements)
    }

    fn bad<T>(&self, problem: impl Into<String>) -> Read<T> {
        bad(self.place(), problem)
    }

    fn fit(&self, result: Result<ValueId, Misfit>) -> Read<Item> {
        match result {
            Ok(id) => Ok(Item::Value(id, 0)),
            Err(misfit) => match misfit.problem() {
                Some(problem) => self.bad(problem),
                None => Err(ImportError::Event { line: 0, source: BuildError::TooMany(TooMany) }),
            },
        }
    }

    fn byte(&mut self) -> Read<u8> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => self.bad("the block ends within a value"),
        }
    }

    /// This many bytes.
    fn take(&mut self, count: i64) -> Read<&'a [u8]> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => {
                self.bad(format!("{count} bytes were expected, but {} are left", self.bytes.len() - self.at))
            }
        }
    }

    /// An unsigned big-endian number of this many bytes.
    fn raw(&mut self, count: i64) -> Read<i64> {
        Ok(self.take(count)?.iter().fold(0, |number, byte| (number << 8) | i64::from(*byte)))
    }

    fn read(&mut self, depth: u32) -> Read<Item> {
        if depth > MAX_DEPTH {
            return self.bad(format!("values are nested more than {MAX_DEPTH} deep"));
        }
        let code = self.byte()?;
        let tag = match code {
            0xff => return self.small(-1),
            0x00..=0x3f => return self.small(i64::from(code)),
            0x40..=0x5f => return self.packed(i64::from(code) - 0x50, 1),
            0x60..=0x6f => return self.packed(i64::from(code) - 0x68, 2),
            0x70..=0x73 => return self.packed(i64::from(code) - 0x72, 3),
            0x74..=0x77 => return self.packed(i64::from(code) - 0x76, 4),
            0x78..=0x7b => return self.packed(i64::from(code) - 0x7a, 5),
            0x7c..=0x7f => return self.packed(i64::from(code) - 0x7e, 6),
            0x80..=0x9f => return self.cached(i64::from(code) - 0x80),
            0xa0..=0xaf => return self.known_structure(i64::from(code) - 0xa0, depth),
            0xb0..=0xb5 => Tag::Array,
            0xc0 => Tag::Map,
            0xc1 => Tag::Set,
            0xc3 => Tag::Uuid,
            0xc4 | 0xc5 => Tag::Plain,
            0xc6 => Tag::BigInt,
            0xc7 => Tag::BigDecimal,
            0xc8 => Tag::Instant,
            0xc9 => Tag::Symbol,
            0xca => Tag::Keyword,
            0xcc => {
                let number = self.integer()?;
                return self.cached(number);
            }
            0xcd => {
                let number = self.cache.len();
                self.cache.push(None);
                let before = self.at.saturating_add(self.grown);
                let item = self.read(depth + 1)?;
                let size = self.at.saturating_add(self.grown) - before;
                match self.cache.get_mut(number) {
                    Some(place) => *place = Some((item.clone(), size)),
                    None => return self.bad("the cache was emptied while a value for it was read"),
                }
                return Ok(item);
            }
            0xcf => {
                // The end of a section: its length and checksum, which the block's own checksum makes needless.
                if self.raw(3)? != 0x00cf_cfcf {
                    return self.bad("a footer was expected");
                }
                self.take(8)?;
                self.forget();
                return self.read(depth + 1);
            }
            0xd0..=0xd7 => return Ok(Item::Bytes(self.take(i64::from(code) - 0xd0)?.into())),
            0xd8 | 0xd9 => return self.byte_array(code),
            0xda..=0xe3 => return self.string(code),
            0xe4..=0xeb => return self.list(Some(i64::from(code) - 0xe4), depth),
            0xec => {
                let count = self.integer()?;
                return self.list(Some(count), depth);
            }
            0xed | 0xee => return self.list(None, depth),
            0xef => {
                let name = self.read(depth + 1)?;
                let count = self.integer()?;
                let name = self.text_of(&name);
                let Some(name) = name else { return self.bad("the name of a tag is no text") };
                let tag = Tag::of(&name);
                self.tags.push((tag.clone(), count));
                return self.structure(&tag, count, depth);
            }
            0xf0 => {
                let number = self.integer()?;
                return self.known_structure(number, depth);
            }
            0xf5 | 0xf6 => {
                let value = self.values.bool(code == 0xf5).map_err(Misfit::from);
                return self.fit(value);
            }
            0xf7 => return Ok(Item::Value(ValueId::NULL, 0)),
            0xf8 => {
                let number = self.raw(8)?;
                return self.small(number);
            }
            0xf9 => {
                // The shortest decimal that means it, as Clojure prints it.
                let float = f32::from_bits(self.raw(4)? as u32);
                let float = float.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(float));
                return self.float(float);
            }
            0xfa => {
                let float = f64::from_bits(self.raw(8)? as u64);
                return self.float(float);
            }
            0xfb => return self.float(0.0),
            0xfc => return self.float(1.0),
            0xfe => {
                self.forget();
                return self.read(depth + 1);
            }
            _ => {
                self.at -= 1;
                return self.bad(format!("the byte {code:#04x} begins no value"));
            }
        };
        let count = tag.components().unwrap_or(2);
        self.structure(&tag, count, depth)
    }

    fn forget(&mut self) {
        self.cache.clear();
        self.tags.clear();
    }

    fn small(&mut self, integer: i64) -> Read<Item> {
        let value = self.values.int(integer).map_err(Misfit::from);
        self.fit(value)
    }

    fn float(&mut self, float: f64) -> Read<Item> {
        let value = self.encoder.float(self.values, float);
        self.fit(value)
    }

    /// An integer whose high bits came with its code.
    fn packed(&mut self, high: i64, bytes: i64) -> Read<Item> {
        let low = self.raw(bytes)?;
        self.small((high << (8 * bytes)) | low)
    }

    /// A value that is an integer.
    fn integer(&mut self) -> Read<i64> {
        let from = self.place();
        match self.read(MAX_DEPTH)? {
            Item::Value(id, _) if self.values.as_int(id).is_some() => {
                Ok(self.values.as_int(id).unwrap_or_default())
            }
            _ => bad(from, "an integer was expected"),
        }
    }

    fn cached(&mut self, number: i64) -> Read<Item> {
        match usize::try_from(number).ok().and_then(|number| self.cache.get(number)) {
            Some(Some((item, size))) => {
                let item = item.clone();
                self.grown = self.grown.saturating_add(*size);
                if self.grown > MIN_GROWTH.max(self.bytes.len().saturating_mul(MAX_GROWTH)) {
                    return self.bad(format!(
                        "written out, the values of this block are more than {MAX_GROWTH} times as large as the block"
                    ));
                }
                Ok(item)
            }
            Some(None) => self.bad("a value contains itself"),
            None => self.bad(format!("value {number} of the cache is used before it is there")),
        }
    }

    fn known_structure(&mut self, number: i64, depth: u32) -> Read<Item> {
        let known = usize::try_from(number).ok().and_then(|number| self.tags.get(number)).cloned();
        match known {
            Some((tag, count)) => self.structure(&tag, count, depth),
            None => self.bad(format!("tag {number} is used before it is there")),
        }
    }

    fn byte_array(&mut self, mut code: u8) -> Read<Item> {
        let mut bytes = Vec::new();
        loop {
            let count = self.integer()?;
            bytes.extend_from_slice(self.take(count)?);
            if code == 0xd9 {
                return Ok(Item::Bytes(bytes.into()));
            }
            code = self.byte()?;
            if code != 0xd8 && code != 0xd9 {
                return self.bad("the rest of an array of bytes was expected");
            }
        }
    }

    /// A text. Its characters beyond 16 bits are written as pairs of surrogates, each in three bytes.
    fn string(&mut self, mut code: u8) -> Read<Item> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        // A pair may be in two pieces.
        let mut bytes = Vec::new();
        loop {
            let count = match code {
                0xda..=0xe1 => i64::from(code) - 0xda,
                0xe2 | 0xe3 => self.integer()?,
                _ => return self.bad("the rest of a text was expected"),
            };
            let piece = self.take(count)?;
            if code != 0xe2
                && bytes.is_empty()
                && let Ok(whole) = std::str::from_utf8(piece)
            {
                text.push_str(whole);
                break;
            }
            bytes.extend_from_slice(piece);
            if code != 0xe2 {
                if !surrogates(&bytes, &mut text) {
                    return self.bad("a text is not UTF-8");
                }
                break;
            }
            code = self.byte()?;
        }
        let value = self.encoder.string(self.values, &text);
        self.text = text;
        self.fit(value)
    }

    /// This many items, or all up to the end mark.
    fn list(&mut self, count: Option<i64>, depth: u32) -> Read<Item> {
        let (items, inner) = self.items(count, depth)?;
        self.array(&items, inner)
    }

    fn array(&mut self, items: &[ValueId], inner: u32) -> Read<Item> {
        let list = self.values.array(items).map_err(Misfit::from);
        self.fit(list).and_then(|list| self.deeper(list, inner))
    }

    /// The value is nested deeper than its parts. Parts may come from the cache, which is why the code does not show it.
    fn deeper(&self, item: Item, inner: u32) -> Read<Item> {
        match item {
            Item::Value(_, _) if inner >= MAX_DEPTH => {
                self.bad(format!("values are nested more than {MAX_DEPTH} deep"))
            }
            Item::Value(id, _) => Ok(Item::Value(id, inner + 1)),
            other => Ok(other),
        }
    }

    fn items(&mut self, count: Option<i64>, depth: u32) -> Read<(Vec<ValueId>, u32)> {
        let mut items = Vec::new();
        let mut inner = 0;
        if count.is_some_and(|count| count < 0) {
            return self.bad("a list has a negative number of items");
        }
        while count != Some(items.len() as i64) {
            if count.is_none() && self.bytes.get(self.at) == Some(&0xfd) {
                self.at += 1;
                break;
            }
            let (id, nested) = self.value(depth)?;
            inner = inner.max(nested);
            items.push(id);
        }
        Ok((items, inner))
    }

    /// The next value as one of the table, and how deep it is.
    fn value(&mut self, depth: u32) -> Read<(ValueId, u32)> {
        let item = self.read(depth + 1)?;
        self.plain(item)
    }

    fn plain(&mut self, item: Item) -> Read<(ValueId, u32)> {
        let item = match item {
            Item::Value(id, depth) => return Ok((id, depth)),
            Item::Bytes(bytes) => {
                let mut text = String::from("#bytes ");
                for byte in bytes.iter() {
                    text.push_str(&format!("{byte:02x}"));
                }
                let value = self.encoder.marked(self.values, &text);
                self.fit(value)?
            }
            Item::Ref(number) => {
                let value = self.encoder.marked(self.values, &format!("{REF}{number}"));
                self.fit(value)?
            }
            Item::Op(op) => {
                let parts = [op.kind, op.process, op.f, op.value, op.others];
                self.array(&parts, op.depth)?
            }
        };
        match item {
            Item::Value(id, depth) => Ok((id, depth)),
            _ => self.bad("a value was expected"),
        }
    }

    /// The text of a value, if it is one.
    fn text_of(&self, item: &Item) -> Option<Rc<str>> {
        match item {
            Item::Value(id, _) => self.values.as_str(*id).map(Rc::from),
            _ => None,
        }
    }

    fn some_bytes(&mut self, depth: u32) -> Read<Rc<[u8]>> {
        match self.read(depth + 1)? {
            Item::Bytes(bytes) => Ok(bytes),
            _ => self.bad("an array of bytes was expected"),
        }
    }

    /// The digits of a big integer.
    fn digits(&mut self, depth: u32) -> Read<String> {
        let bytes = self.some_bytes(depth)?;
        if bytes.len() <= 16 {
            let fill = if bytes.first().is_some_and(|first| *first >= 0x80) { -1_i128 } else { 0 };
            let number = bytes.iter().fold(fill, |number, byte| (number << 8) | i128::from(*byte));
            return Ok(number.to_string());
        }
        // Only its size counts: so large a number is inexact anyway.
        let first = bytes.first().copied().unwrap_or_default() as i8;
        let rest = bytes.iter().skip(1);
        let float = rest.fold(f64::from(first), |number, byte| number * 256.0 + f64::from(*byte));
        Ok(if float.is_finite() {
            format!("{float}")
        } else {
            format!("{}e999", if first < 0 { "-1" } else { "1" })
        })
    }

    fn named(&mut self, mark: char, depth: u32) -> Read<Item> {
        let space = self.read(depth + 1)?;
        let name = self.read(depth + 1)?;
        let (space, name) = (self.text_of(&space), self.text_of(&name));
        let Some(name) = name else { return self.bad("the name of a keyword or symbol was expected") };
        let text = match space {
            Some(space) => format!("{mark}{space}/{name}"),
            None => format!("{mark}{name}"),
        };
        let value = self.encoder.marked(self.values, &text);
        self.fit(value)
    }

    fn structure(&mut self, tag: &Tag, count: i64, depth: u32) -> Read<Item> {
        if let Some(expected) = tag.components().filter(|expected| *expected != count) {
            return self.bad(format!("a {tag:?} with {count} components was found; it has {expected}"));
        }
        match tag {
            Tag::Map | Tag::Set => {
                let (list, inner) = self.value(depth)?;
                let mut items = match self.values.as_array(list) {
                    Some(items) => items.to_vec(),
                    // An empty set is written as nothing.
                    None if list == ValueId::NULL => Vec::new(),
                    None => return self.bad("the items of a set or map were expected"),
                };
                let value = match tag {
                    Tag::Set => self.encoder.set(self.values, &mut items),
                    _ if items.len() % 2 == 1 => return self.bad("a map has a key without a value"),
                    _ => self.encoder.map(self.values, &items),
                };
                Ok(match self.fit(value)? {
                    Item::Value(id, _) => Item::Value(id, inner),
                    other => other,
                })
            }
            Tag::Uuid => {
                let bytes = self.some_bytes(depth)?;
                let Ok(bytes) = <[u8; 16]>::try_from(&*bytes) else {
                    return self.bad("a UUID of 16 bytes was expected");
                };
                let mut text = String::new();
                for (place, byte) in bytes.iter().enumerate() {
                    text.push_str(if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" });
                    text.push_str(&format!("{byte:02x}"));
                }
                let value = self.encoder.string(self.values, &text);
                self.fit(value)
            }
            Tag::BigInt => {
                let digits = self.digits(depth)?;
                let value = self.encoder.integer(self.values, &digits);
                self.fit(value)
            }
            Tag::BigDecimal => {
                let digits = self.digits(depth)?;
                let scale = self.integer()?;
                let value = self.encoder.decimal(self.values, &format!("{digits}e{}", -i128::from(scale)));
                self.fit(value)
            }
            Tag::Instant => {
                let text = instant(self.integer()?);
                let value = self.encoder.string(self.values, &text);
                self.fit(value)
            }
            Tag::Symbol => self.named('\'', depth),
            Tag::Keyword => self.named(':', depth),
            Tag::Array => {
                let count = self.integer()?;
                self.list(Some(count), depth)
            }
            Tag::Char => {
                let code = self.integer()?;
                let char = u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
                let value = self.encoder.char(self.values, char);
                self.fit(value)
            }
            Tag::Ratio => {
                let (above, _) = self.value(depth)?;
                let (below, _) = self.value(depth)?;
                let is_part = |id: ValueId| match self.values.get(id) {
                    Datum::Int(_) | Datum::Number(_) => true,
                    Datum::Str(text) => text.len() <= MAX_RATIO,
                    _ => false,
                };
                // Anything else would be quoted again on every level on which a ratio is a part of a ratio.
                if !is_part(above) || !is_part(below) {
                    return self.bad("a ratio of two integers was expected");
                }
                let text = format!("'{}/{}", self.values.show(above), self.values.show(below));
                let value = self.encoder.marked(self.values, &text);
                self.fit(value)
            }
            Tag::Record => {
                self.value(depth)?;
                self.read(depth + 1)
            }
            Tag::Op => {
                let index = self.integer()?;
                let time = self.integer()?;
                let mut deepest = 0;
                let mut field = |decoder: &mut Self| {
                    let (id, depth) = decoder.value(depth)?;
                    deepest = deepest.max(depth);
                    Ok::<ValueId, ImportError>(id)
                };
                let (kind, process) = (field(self)?, field(self)?);
                let (f, value) = (field(self)?, field(self)?);
                self.encoder.lenient = true;
                let others = field(self);
                self.encoder.lenient = false;
                let others = others?;
                let op = RawOp { index, time, kind, process, f, value, others, depth: deepest };
                Ok(Item::Op(Rc::new(op)))
            }
            Tag::Pair => self.list(Some(2), depth),
            Tag::Ref => match u32::try_from(self.integer()?) {
                Ok(number) => Ok(Item::Ref(number)),
                Err(_) => self.bad("the number of a block was expected"),
            },
            Tag::Plain => self.read(depth + 1),
            Tag::Unknown(name) => {
                let (mut parts, inner) = self.items(Some(count), depth)?;
                if let [one] = parts[..] {
                    return Ok(Item::Value(one, inner));
                }
                let name = self.encoder.marked(self.values, &format!("#{name}"));
                if let Item::Value(name, _) = self.fit(name)? {
                    parts.insert(0, name);
                }
                self.array(&parts, inner)
            }
        }
    }
}

/// How a reference to a block looks as a value.
pub(crate) const REF: &str = "#block-ref ";

/// Appends text in which characters beyond 16 bits are pairs of surrogates. Half of a pair is spelled out. False: it is no such text.
fn surrogates(bytes: &[u8], text: &mut String) -> bool {
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(all) => {
                text.push_str(all);
                return true;
            }
            Err(error) => {
                let (good, from) = rest.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(good).unwrap_or_default());
                rest = from;
            }
        }
        let half = |bytes: &[u8]| match bytes {
            [0xed, b @ 0xa0..=0xbf, c @ 0x80..=0xbf, ..] => {
                Some(0xd000 | (u32::from(b & 0x3f) << 6) | u32::from(c & 0x3f))
            }
            _ => None,
        };
        let Some(first) = half(rest) else { return false };
        let second = half(rest.get(3..).unwrap_or_default());
        let pair = second.filter(|second| first < 0xdc00 && *second >= 0xdc00);
        match pair.and_then(|second| char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))) {
            Some(char) => {
                text.push(char);
                rest = &rest[6..];
            }
            None => {
                text.push_str(&format!("\\u{first:04x}"));
                rest = &rest[3..];
            }
        }
    }
}

/// Milliseconds since 1970 as Clojure prints them after `#inst`.
fn instant(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Years are counted from March, so that the day that some years have more is their last; eras have 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let in_month = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hours, minutes, seconds) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!(
        "{year:04}-{month:02}-{in_month:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}-00:00",
        rest % 1000
    )
}
