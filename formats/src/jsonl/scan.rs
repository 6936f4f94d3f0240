//! The usual line of a client, in one pass over its bytes.
//!
//! A line is taken here only if it is certain what it says. Whatever is unusual (an escape in a name, the nemesis, a field that comes
//! twice, anything that is wrong) is left to `schism_history::line::parse`, so that errors and odd cases have one definition.

use schism_history::{Kind, ValueId, Values};
use serde_json::Number;

/// What the line says. Its index and time may be missing.
pub(super) struct Found<'l> {
    pub index: Option<u64>,
    pub time: Option<u64>,
    pub process: u64,
    pub kind: Kind,
    pub f: &'l str,
    pub key: ValueId,
    pub value: ValueId,
    pub node: Option<&'l str>,
    pub error: ValueId,
}

/// Lists and objects nested deeper are left to the general parser, which has a limit of its own.
const DEEPEST: usize = 64;

/// So many unknown fields are told apart; lines with more are left to the general parser.
const UNKNOWN: usize = 8;

/// Space for the items of lists that are not complete yet, used again from line to line.
#[derive(Default)]
pub(super) struct Scratch {
    items: Vec<ValueId>,
    fields: Vec<(ValueId, ValueId)>,
}

/// What a number is.
enum Numeral<'l> {
    Int(i64),
    Other(&'l [u8]),
}

/// Where the scan stands.
struct Cursor<'l, 'v> {
    bytes: &'l [u8],
    at: usize,
    values: &'v mut Values,
    scratch: &'v mut Scratch,
}

/// The line that starts at `at`, and where the next one starts; nothing if the line is unusual.
pub(super) fn client<'l>(
    bytes: &'l [u8],
    at: usize,
    values: &mut Values,
    scratch: &mut Scratch,
) -> Option<(Found<'l>, usize)> {
    scratch.items.clear();
    scratch.fields.clear();
    let mut cursor = Cursor { bytes, at, values, scratch };
    let found = cursor.event()?;
    Some((found, cursor.at))
}

impl<'l> Cursor<'l, '_> {
    #[inline]
    fn event(&mut self) -> Option<Found<'l>> {
        let (mut index, mut time, mut process, mut kind, mut f) = (None, None, None, None, None);
        let (mut key, mut value, mut node, mut error) = (None, None, None, None);
        let mut unknown = [&b""[..]; UNKNOWN];
        let mut unknowns = 0;
        self.space();
        self.expect(b'{')?;
        loop {
            self.space();
            self.expect(b'"')?;
            let name = self.raw()?;
            self.colon()?;
            // A field that comes twice is for the general parser.
            let twice = match name {
                b"index" => index.replace(self.natural()?).is_some(),
                b"time" => time.replace(self.natural()?).is_some(),
                b"process" => process.replace(self.natural()?).is_some(),
                b"type" => kind.replace(self.kind()?).is_some(),
                b"f" => {
                    self.expect(b'"')?;
                    f.replace(self.text()?).is_some()
                }
                b"key" => key.replace(self.value(0)?).is_some(),
                b"value" => value.replace(self.value(0)?).is_some(),
                b"node" => node.replace(self.optional_text()?).is_some(),
                b"error" => error.replace(self.value(0)?).is_some(),
                other => {
                    std::str::from_utf8(other).ok()?;
                    let before = unknown.get(..unknowns)?.contains(&other);
                    *unknown.get_mut(unknowns)? = other;
                    unknowns += 1;
                    self.skip(0)?;
                    before
                }
            };
            if twice {
                return None;
            }
            self.space();
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        self.space();
        if self.at < self.bytes.len() {
            self.expect(b'\n')?;
        }
        let unless_null =
            |id: Option<ValueId>| id.filter(|id| *id != ValueId::NULL).unwrap_or(ValueId::ABSENT);
        Some(Found {
            index,
            time,
            process: process?,
            kind: kind?,
            f: f?,
            key: unless_null(key),
            value: value.unwrap_or(ValueId::NULL),
            node: node.flatten(),
            error: unless_null(error),
        })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let is_here = self.bytes.get(self.at..)?.starts_with(word);
        self.at += word.len();
        is_here.then_some(())
    }

    /// A newline is space in JSON, but here it ends the line.
    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// A text without escapes, whose opening quote is already behind. Stays where it is if there is none.
    #[inline]
    fn text(&mut self) -> Option<&'l str> {
        let start = self.at;
        let text = std::str::from_utf8(self.raw()?).ok();
        if text.is_none() {
            self.at = start;
        }
        text
    }

    /// The bytes of such a text, which may be no UTF-8.
    #[inline]
    fn raw(&mut self) -> Option<&'l [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20)?;
        if rest[length] != b'"' {
            return None;
        }
        self.at += length + 1;
        Some(&rest[..length])
    }

    fn optional_text(&mut self) -> Option<Option<&'l str>> {
        match self.next()? {
            b'"' => self.text().map(Some),
            b'n' => self.word(b"ull").map(|()| None),
            _ => None,
        }
    }

    #[inline]
    fn kind(&mut self) -> Option<Kind> {
        self.expect(b'"')?;
        match self.raw()? {
            b"invoke" => Some(Kind::Invoke),
            b"ok" => Some(Kind::Ok),
            b"fail" => Some(Kind::Fail),
            b"info" => Some(Kind::Info),
            _ => None,
        }
    }

    #[inline]
    fn natural(&mut self) -> Option<u64> {
        match self.number()? {
            Numeral::Int(integer) => u64::try_from(integer).ok().filter(|integer| {
                // Minus zero is a floating-point number.
                *integer != 0 || self.bytes.get(self.at.wrapping_sub(2)) != Some(&b'-')
            }),
            Numeral::Other(_) => None,
        }
    }

    /// A number; one of more than 18 digits, or with a fraction or an exponent, as it is written.
    #[inline]
    fn number(&mut self) -> Option<Numeral<'l>> {
        let start = self.at;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let first = self.at;
        let mut integer = 0_i64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if self.at - first >= 18 {
                return self.long_number(start);
            }
            integer = integer * 10 + i64::from(digit - b'0');
            self.at += 1;
        }
        match (self.at - first, self.bytes.get(first), self.peek()) {
            (_, _, Some(b'.' | b'e' | b'E')) => self.long_number(start),
            (0, _, _) => None,
            // JSON knows no leading zeros.
            (2.., Some(b'0'), _) => None,
            _ => Some(Numeral::Int(if negative { -integer } else { integer })),
        }
    }

    fn long_number(&mut self, start: usize) -> Option<Numeral<'l>> {
        while let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = self.peek() {
            self.at += 1;
        }
        self.bytes.get(start..self.at).map(Numeral::Other)
    }

    /// The text that starts behind the quote at `self.at - 1` and has escapes.
    #[cold]
    fn escaped(&mut self) -> Option<String> {
        let start = self.at.checked_sub(1)?;
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => self.at += 1,
                b'\n' => return None,
                _ => {}
            }
        }
        serde_json::from_slice(self.bytes.get(start..self.at)?).ok()
    }

    #[inline]
    fn value(&mut self, depth: usize) -> Option<ValueId> {
        match self.peek()? {
            b'n' => self.word(b"null").map(|()| ValueId::NULL),
            b'0'..=b'9' | b'-' => match self.number()? {
                Numeral::Int(integer) => self.values.int(integer).ok(),
                Numeral::Other(text) => {
                    let number: Number = serde_json::from_slice(text).ok()?;
                    self.values.number(&number).ok()
                }
            },
            b'"' => self.string(),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            b't' => {
                self.word(b"true")?;
                self.values.bool(true).ok()
            }
            b'f' => {
                self.word(b"false")?;
                self.values.bool(false).ok()
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<ValueId> {
        self.expect(b'"')?;
        match self.text() {
            Some(text) => self.values.str(text).ok(),
            None => {
                let text = self.escaped()?;
                self.values.str(&text).ok()
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<ValueId> {
        let start = self.scratch.items.len();
        self.items(depth, b'[', b']', |cursor, depth| {
            let item = cursor.value(depth)?;
            cursor.scratch.items.push(item);
            Some(())
        })?;
        let id = self.values.array(self.scratch.items.get(start..)?).ok()?;
        self.scratch.items.truncate(start);
        Some(id)
    }

    fn object(&mut self, depth: usize) -> Option<ValueId> {
        let start = self.scratch.fields.len();
        self.items(depth, b'{', b'}', |cursor, depth| {
            let name = cursor.string()?;
            cursor.colon()?;
            let value = cursor.value(depth)?;
            cursor.scratch.fields.push((name, value));
            Some(())
        })?;
        let id = self.values.object(self.scratch.fields.get(start..)?).ok()?;
        self.scratch.fields.truncate(start);
        Some(id)
    }

    #[inline]
    fn colon(&mut self) -> Option<()> {
        self.space();
        self.expect(b':')?;
        self.space();
        Some(())
    }

    /// What stands between the brackets, by `each`.
    #[inline]
    fn items(
        &mut self,
        depth: usize,
        open: u8,
        close: u8,
        each: impl Fn(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        if depth >= DEEPEST {
            return None;
        }
        self.expect(open)?;
        self.space();
        if self.peek()? == close {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            each(self, depth + 1)?;
            self.space();
            match self.next()? {
                b',' => {}
                byte if byte == close => return Some(()),
                _ => return None,
            }
        }
    }

    /// A value that nobody needs, but that must be one.
    fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'"' => self.skip_text(),
            b'[' => self.items(depth, b'[', b']', Self::skip),
            b'{' => self.items(depth, b'{', b'}', |cursor, depth| {
                cursor.skip_text()?;
                cursor.colon()?;
                cursor.skip(depth)
            }),
            _ => match self.number()? {
                Numeral::Int(_) => Some(()),
                Numeral::Other(text) => serde_json::from_slice::<Number>(text).ok().map(|_| ()),
            },
        }
    }

    fn skip_text(&mut self) -> Option<()> {
        self.expect(b'"')?;
        match self.text() {
            Some(_) => Some(()),
            None => self.escaped().map(|_| ()),
        }
    }
}
