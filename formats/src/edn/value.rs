//! Clojure notation, read into the values of a table.

use schism_history::{TooMany, ValueId, Values};

use super::scan::{Scan, Scanner, Stop};
use crate::clojure::{Encoder, Misfit};

/// How deep values may be nested.
const MAX_DEPTH: u32 = 512;

/// What the vector that is being read is to the transaction it belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing: this is no value of a transaction.
    Elsewhere,
    /// The list of micro-operations.
    Transaction,
    /// A micro-operation, whose first keyword is its name.
    Micro,
}

/// Reads values.
pub(crate) struct Valuer {
    pub(crate) encoder: Encoder,
    /// Items of the collections that are being read, innermost last.
    items: Vec<ValueId>,
    /// The names of micro-operations that came last, and their numbers: there are few, and they come in every transaction.
    heads: [(Vec<u8>, ValueId); 4],
    /// Which of them to forget next.
    oldest: usize,
    text: String,
}

impl Valuer {
    pub(crate) fn new() -> Self {
        let heads = std::array::from_fn(|_| (Vec::new(), ValueId::ABSENT));
        Self { encoder: Encoder::default(), items: Vec::new(), heads, oldest: 0, text: String::new() }
    }

    /// The next form.
    pub(crate) fn value(
        &mut self,
        scan: &mut Scanner<'_>,
        values: &mut Values,
        place: Place,
    ) -> Scan<ValueId> {
        self.items.clear();
        self.form(scan, values, place, 0)
    }

    fn form(
        &mut self,
        scan: &mut Scanner<'_>,
        values: &mut Values,
        place: Place,
        depth: u32,
    ) -> Scan<ValueId> {
        loop {
            let byte = scan.begin()?;
            let from = scan.at;
            return match byte {
                b'0'..=b'9' => self.number(scan, values),
                b'-' | b'+' if scan.second().is_some_and(|next| next.is_ascii_digit()) => {
                    self.number(scan, values)
                }
                b':' => {
                    let token = scan.token();
                    let text = scan.text(token)?;
                    if text.len() == 1 {
                        return scan.bad(from, "`:` stands alone; a keyword was expected");
                    }
                    fit(self.encoder.marked(values, text), from)
                }
                b'[' => self.list(scan, values, b']', place, depth),
                b'(' => self.list(scan, values, b')', place, depth),
                b'{' => self.map(scan, values, None, depth),
                b'"' => self.string(scan, values),
                b'\\' => self.char(scan, values),
                b'^' => {
                    scan.at += 1;
                    scan.skip_form()?;
                    continue;
                }
                b'#' => match scan.second() {
                    Some(b'{') => {
                        scan.at += 1;
                        let first = self.items.len();
                        self.collect(scan, values, b'}', Place::Elsewhere, depth)?;
                        let mut items = self.items.split_off(first);
                        fit(self.encoder.set(values, &mut items), from)
                    }
                    Some(b'"') => {
                        scan.at += 1;
                        self.string(scan, values)
                    }
                    Some(b'^') => {
                        scan.at += 1;
                        continue;
                    }
                    Some(b'<') => {
                        let inside = scan.unreadable()?;
                        let text = scan.text(inside)?;
                        fit(self.encoder.string(values, text), from)
                    }
                    Some(b'#') => {
                        let token = scan.token();
                        let text = scan.text(token)?;
                        self.marked(values, text, from)
                    }
                    Some(b':') => {
                        scan.at += 1;
                        let token = scan.token();
                        let space = scan.text(token)?;
                        match scan.begin()? {
                            b'{' => self.map(scan, values, Some(space), depth),
                            _ => scan.bad(scan.at, format!("a map was expected after `#{space}`")),
                        }
                    }
                    Some(_) => {
                        scan.tag()?;
                        continue;
                    }
                    None => Err(Stop::Torn),
                },
                _ => self.symbol(scan, values),
            };
        }
    }

    fn symbol(&mut self, scan: &mut Scanner<'_>, values: &mut Values) -> Scan<ValueId> {
        let from = scan.at;
        let token = scan.token();
        match token {
            b"nil" => Ok(ValueId::NULL),
            b"true" => fit(values.bool(true).map_err(Misfit::from), from),
            b"false" => fit(values.bool(false).map_err(Misfit::from), from),
            b"" => scan.no_form(),
            [b'\'' | b'%', ..] => scan.bad(from, "code was found where a value was expected"),
            _ => {
                let text = scan.text(token)?;
                self.marked(values, text, from)
            }
        }
    }

    /// Text after a quote: what is neither JSON nor a keyword.
    fn marked(&mut self, values: &mut Values, text: &str, at: usize) -> Scan<ValueId> {
        self.text.clear();
        self.text.push('\'');
        self.text.push_str(text);
        fit(self.encoder.marked(values, &self.text), at)
    }

    fn list(
        &mut self,
        scan: &mut Scanner<'_>,
        values: &mut Values,
        closing: u8,
        place: Place,
        depth: u32,
    ) -> Scan<ValueId> {
        let first = self.items.len();
        self.collect(scan, values, closing, place, depth)?;
        let list = values.array(&self.items[first..])?;
        self.items.truncate(first);
        Ok(list)
    }

    /// Puts the items up to the closing bracket onto the pile. The cursor is at the opening one.
    fn collect(
        &mut self,
        scan: &mut Scanner<'_>,
        values: &mut Values,
        closing: u8,
        place: Place,
        depth: u32,
    ) -> Scan<()> {
        if depth >= MAX_DEPTH {
            return scan.bad(scan.at, format!("values are nested more than {MAX_DEPTH} deep"));
        }
        scan.at += 1;
        let mut head = place == Place::Micro;
        let inner = if place == Place::Transaction { Place::Micro } else { Place::Elsewhere };
        loop {
            let byte = scan.begin()?;
            let item = match byte {
                b']' | b')' | b'}' => {
                    if byte != closing {
                        return scan.unexpected(byte, Some(closing));
                    }
                    scan.at += 1;
                    return Ok(());
                }
                b'0'..=b'9' if let Some(integer) = scan.small() => values.int(integer)?,
                b'[' => self.list(scan, values, b']', inner, depth + 1)?,
                b':' if head => {
                    let token = scan.token();
                    self.head(scan, values, &token[1..])?
                }
                _ => self.form(scan, values, inner, depth + 1)?,
            };
            head = false;
            self.items.push(item);
        }
    }

    /// The name of a micro-operation. Within one table it always has the same number.
    #[inline]
    fn head<'a>(&mut self, scan: &Scanner<'a>, values: &mut Values, name: &'a [u8]) -> Scan<ValueId> {
        match self.heads.iter().find(|(known, id)| known == name && id.is_present()) {
            Some((_, id)) => Ok(*id),
            None => self.new_head(scan, values, name),
        }
    }

    #[cold]
    fn new_head<'a>(&mut self, scan: &Scanner<'a>, values: &mut Values, name: &'a [u8]) -> Scan<ValueId> {
        let id = values.str(scan.text(name)?)?;
        self.heads[self.oldest] = (name.to_vec(), id);
        self.oldest = (self.oldest + 1) % self.heads.len();
        Ok(id)
    }

    /// A map, whose keys may have their namespace in front of it: `#:a{:b 1}`. The cursor is at the bracket.
    fn map(
        &mut self,
        scan: &mut Scanner<'_>,
        values: &mut Values,
        space: Option<&str>,
        depth: u32,
    ) -> Scan<ValueId> {
        let from = scan.at;
        let first = self.items.len();
        self.collect(scan, values, b'}', Place::Elsewhere, depth)?;
        let mut entries = self.items.split_off(first);
        if entries.len() % 2 == 1 {
            return scan.bad(from, "a map has a key without a value");
        }
        if let Some(space) = space {
            for key in entries.iter_mut().step_by(2) {
                let name = values.as_str(*key).and_then(|key| key.strip_prefix(':'));
                let Some(name) = name else { continue };
                let full = match name.strip_prefix("_/") {
                    Some(bare) => format!(":{bare}"),
                    None if name.contains('/') => continue,
                    None => format!("{space}/{name}"),
                };
                *key = fit(self.encoder.marked(values, &full), from)?;
            }
        }
        fit(self.encoder.map(values, &entries), from)
    }

    fn number(&mut self, scan: &mut Scanner<'_>, values: &mut Values) -> Scan<ValueId> {
        if let Some(integer) = scan.small() {
            return Ok(values.int(integer)?);
        }
        let from = scan.at;
        let token = scan.token();
        let text = scan.text(token)?;
        let id = match text.as_bytes() {
            [.., b'M'] => {
                let decimal = &text[..text.len() - 1];
                is_decimal(decimal).then(|| self.encoder.decimal(values, decimal))
            }
            _ => match integer(text) {
                Some(Integer::Small(integer)) => Some(values.int(integer).map_err(Misfit::from)),
                Some(Integer::Digits(digits)) => Some(self.encoder.integer(values, digits)),
                None if is_ratio(text) => return self.marked(values, text, from),
                None if is_decimal(text) => {
                    let float = text.parse::<f64>().unwrap_or(f64::NAN);
                    if float.is_infinite() {
                        return self.marked(values, text, from);
                    }
                    Some(self.encoder.float(values, float))
                }
                None => None,
            },
        };
        match id {
            Some(id) => fit(id, from),
            None => scan.bad(from, format!("`{}` is no number", shorten(text))),
        }
    }

    fn string(&mut self, scan: &mut Scanner<'_>, values: &mut Values) -> Scan<ValueId> {
        let from = scan.at;
        let (inside, escapes) = scan.string()?;
        let text = scan.text(inside)?;
        if !escapes {
            return fit(self.encoder.string(values, text), from);
        }
        unescape(scan, from + 1, text, &mut self.text)?;
        fit(self.encoder.string(values, &self.text), from)
    }

    fn char(&mut self, scan: &mut Scanner<'_>, values: &mut Values) -> Scan<ValueId> {
        let from = scan.at;
        let token = scan.char_token()?;
        let text = scan.text(token)?;
        let mut chars = text.chars();
        let char = match (chars.next(), chars.as_str()) {
            (Some(char), "") => Some(char),
            (Some('u'), digits) if digits.len() == 4 => {
                u32::from_str_radix(digits, 16).ok().map(|code| char::from_u32(code).unwrap_or('\u{fffd}'))
            }
            (Some('o'), digits) if digits.len() <= 3 => {
                u32::from_str_radix(digits, 8).ok().and_then(char::from_u32)
            }
            _ => match text {
                "newline" => Some('\n'),
                "space" => Some(' '),
                "tab" => Some('\t'),
                "return" => Some('\r'),
                "formfeed" => Some('\u{c}'),
                "backspace" => Some('\u{8}'),
                _ => None,
            },
        };
        match char {
            Some(char) => fit(self.encoder.char(values, char), from),
            None => scan.bad(from, format!("`\\{}` is no character", shorten(text))),
        }
    }
}

impl From<TooMany> for Stop {
    fn from(_: TooMany) -> Self {
        Stop::TooMany
    }
}

/// The result of numbering a value that begins at `at`.
#[inline]
fn fit(result: Result<ValueId, Misfit>, at: usize) -> Scan<ValueId> {
    result.map_err(|misfit| match misfit.problem() {
        Some(problem) => Stop::Bad(Box::new((at, problem))),
        None => Stop::TooMany,
    })
}

/// The beginning of a text that may be very long.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The usual integer: few digits, none before them but a minus.
pub(crate) fn small(token: &[u8]) -> Option<i64> {
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut number = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(digit - b'0');
    }
    Some(if digits.len() < token.len() { -number } else { number })
}

enum Integer<'t> {
    Small(i64),
    /// Decimal digits, perhaps after a sign.
    Digits(&'t str),
}

/// An integer in any of Clojure's forms: `12`, `12N`, `0x1f`, `017`, `2r101`.
fn integer(text: &str) -> Option<Integer<'_>> {
    let (negative, bare) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let signed = |magnitude: i64| Some(Integer::Small(if negative { -magnitude } else { magnitude }));
    let radix = |digits: &str, radix: u32| {
        let digits = digits.strip_suffix('N').filter(|_| radix < 24).unwrap_or(digits);
        let plain = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
        i64::from_str_radix(digits, radix).ok().filter(|_| plain)
    };
    if let Some(hex) = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")) {
        return signed(radix(hex, 16)?);
    }
    if let Some((base, digits)) = bare.split_once(['r', 'R']) {
        let base = base.parse::<u32>().ok().filter(|base| (2..=36).contains(base))?;
        return signed(radix(digits, base)?);
    }
    let digits = bare.strip_suffix('N').unwrap_or(bare);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return signed(radix(digits, 8)?);
    }
    let end = text.len() - (bare.len() - digits.len());
    Some(Integer::Digits(text[..end].trim_start_matches('+')))
}

/// Digits, perhaps with a sign, a point and an exponent.
fn is_decimal(text: &str) -> bool {
    let bare = text.trim_start_matches(['-', '+']);
    text.len() - bare.len() <= 1
        && bare.starts_with(|char: char| char.is_ascii_digit())
        && bare.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'))
        && text.parse::<f64>().is_ok()
}

fn is_ratio(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('/').is_some_and(|(above, below)| {
        digits(above.strip_prefix(['-', '+']).unwrap_or(above)) && digits(below)
    })
}

/// The text of a string with escapes, of which `inside` stands between the quotes, from `at` on.
fn unescape(scan: &Scanner<'_>, at: usize, inside: &str, text: &mut String) -> Scan<()> {
    text.clear();
    let mut rest = inside;
    while let Some(next) = rest.find('\\') {
        text.push_str(&rest[..next]);
        let place = at + inside.len() - rest.len() + next;
        let escape = &rest[next + 1..];
        let mut length = 1;
        match escape.as_bytes().first() {
            Some(b'n') => text.push('\n'),
            Some(b't') => text.push('\t'),
            Some(b'r') => text.push('\r'),
            Some(b'b') => text.push('\u{8}'),
            Some(b'f') => text.push('\u{c}'),
            Some(quoted @ (b'"' | b'\\' | b'\'')) => text.push(char::from(*quoted)),
            Some(b'u') => match unicode(escape) {
                Some((char, taken)) => {
                    length = taken;
                    match char {
                        Some(char) => text.push(char),
                        // Half of a pair is no character; its own spelling keeps it different from the other halves.
                        None => text.push_str(&rest[next..next + 1 + taken]),
                    }
                }
                None => return scan.bad(place, "four hexadecimal digits were expected after `\\u`"),
            },
            Some(b'0'..=b'7') => {
                length = escape.bytes().take(3).take_while(|digit| (b'0'..b'8').contains(digit)).count();
                let code = u32::from_str_radix(&escape[..length], 8).unwrap_or(0);
                text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            _ => {
                let char = escape.chars().next().unwrap_or(' ');
                return scan.bad(place, format!("`\\{char}` is no escape that a string can have"));
            }
        }
        rest = &escape[length..];
    }
    text.push_str(rest);
    Ok(())
}

/// The character of `uXXXX`, or of a pair of those, and how long that is.
fn unicode(escape: &str) -> Option<(Option<char>, usize)> {
    let code = |from: usize| {
        let digits = escape.get(from..from + 4)?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
        u32::from_str_radix(digits, 16).ok()
    };
    let first = code(1)?;
    if (0xd800..0xdc00).contains(&first)
        && escape.get(5..7) == Some("\\u")
        && let Some(second) = code(7).filter(|second| (0xdc00..0xe000).contains(second))
    {
        let both = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return Some((char::from_u32(both), 11));
    }
    Some((char::from_u32(first), 5))
}
