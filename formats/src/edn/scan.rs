//! Clojure notation as bytes: white space, tokens, strings, and forms that nobody wants to know.

/// Why reading cannot go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The input ends within a form.
    Torn,
    /// Something else than expected stands there.
    Bad(Box<(usize, String)>),
    /// There are too many values.
    TooMany,
}

pub(crate) type Scan<T> = Result<T, Stop>;

/// Reads bytes from one place on.
pub(crate) struct Scanner<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    /// Closing brackets that are due while a form is skipped.
    due: Vec<u8>,
}

/// What every operation has, or nearly every.
const OPERATION: [&[u8]; 2] = [b":process", b":invoke"];

const SPACE: u8 = 1;
const DELIMITER: u8 = 2;

/// What each byte is: white space ends a token, and so do delimiters.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let spaces = b" \t\n\r,\x0b\x0c\x1c\x1d\x1e\x1f";
    let mut next = 0;
    while next < spaces.len() {
        class[spaces[next] as usize] = SPACE;
        next += 1;
    }
    let delimiters = b"()[]{}\";^\\@`~";
    let mut next = 0;
    while next < delimiters.len() {
        class[delimiters[next] as usize] = DELIMITER;
        next += 1;
    }
    class
};

/// The bracket that closes this one.
fn closing(open: u8) -> u8 {
    match open {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, due: Vec::new() }
    }

    pub(crate) fn bad<T>(&self, at: usize, problem: impl Into<String>) -> Scan<T> {
        Err(Stop::Bad(Box::new((at, problem.into()))))
    }

    /// The next byte, if there is one.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The byte after the next.
    #[inline]
    pub(crate) fn second(&self) -> Option<u8> {
        self.bytes.get(self.at + 1).copied()
    }

    /// Goes to the next form or closing bracket, past white space, comments and discarded forms.
    #[inline]
    pub(crate) fn blank(&mut self) -> Scan<()> {
        loop {
            match self.peek() {
                Some(byte) if CLASS[usize::from(byte)] == SPACE => self.at += 1,
                Some(b';') => self.comment(),
                Some(b'#') if self.second() == Some(b'_') => self.skip()?,
                Some(b'#') if self.second() == Some(b'!') => self.comment(),
                _ => return Ok(()),
            }
        }
    }

    /// The next byte of a form, which must be there.
    #[inline]
    pub(crate) fn begin(&mut self) -> Scan<u8> {
        self.blank()?;
        self.peek().ok_or(Stop::Torn)
    }

    fn comment(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }

    /// A token: everything up to white space, a bracket or a quote.
    #[inline]
    pub(crate) fn token(&mut self) -> &'a [u8] {
        let from = self.at;
        while let Some(byte) = self.peek() {
            if CLASS[usize::from(byte)] != 0 {
                break;
            }
            self.at += 1;
        }
        &self.bytes[from..self.at]
    }

    /// The usual integer: at most 18 digits, none before them but a minus, and then the end of the token. Anything else is left to
    /// who reads tokens, and the cursor stays.
    #[inline]
    pub(crate) fn small(&mut self) -> Option<i64> {
        let from = self.at;
        let negative = self.peek()? == b'-';
        let first = from + usize::from(negative);
        let mut at = first;
        let mut number = 0_i64;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(at).copied() {
            if at - first == 18 {
                return None;
            }
            number = number * 10 + i64::from(digit - b'0');
            at += 1;
        }
        let ends = self.bytes.get(at).is_none_or(|next| CLASS[usize::from(*next)] != 0);
        if at == first || !ends || (self.bytes[first] == b'0' && at - first > 1) {
            return None;
        }
        self.at = at;
        Some(if negative { -number } else { number })
    }

    /// Bytes of the input as text.
    #[inline]
    pub(crate) fn text(&self, bytes: &'a [u8]) -> Scan<&'a str> {
        std::str::from_utf8(bytes).or_else(|error| self.no_text(bytes, error.valid_up_to()))
    }

    #[cold]
    fn no_text<T>(&self, bytes: &[u8], valid: usize) -> Scan<T> {
        // The bytes are a part of the input, which says where they stand.
        let from = bytes.as_ptr() as usize - self.bytes.as_ptr() as usize;
        self.bad(from + valid, "the text is not UTF-8")
    }

    /// The inside of a string, as it is written, and whether it has escapes. The cursor is at the opening quote.
    pub(crate) fn string(&mut self) -> Scan<(&'a [u8], bool)> {
        let from = self.at + 1;
        let mut escapes = false;
        let mut at = from;
        loop {
            match self.bytes.get(at) {
                None => {
                    self.at = self.bytes.len();
                    return Err(Stop::Torn);
                }
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes = true;
                    at += 2;
                }
                Some(_) => at += 1,
            }
        }
        let inside = &self.bytes[from..at];
        // Clojure prints a line's end as `\n`. If there is one, the quote may have been lost, and operations with it.
        if inside.contains(&b'\n')
            && OPERATION.iter().any(|word| inside.windows(word.len()).any(|at| at == *word))
        {
            return self.bad(from - 1, "this string has operations in it: its closing quote is missing");
        }
        self.at = at + 1;
        Ok((inside, escapes))
    }

    /// A character, from its backslash on: at least one byte, also if that is a delimiter, and the rest of a token.
    pub(crate) fn char_token(&mut self) -> Scan<&'a [u8]> {
        let from = self.at + 1;
        let first = *self.bytes.get(from).ok_or(Stop::Torn)?;
        self.at = from + 1;
        // A character of several bytes stays whole, and a delimiter stands alone.
        if CLASS[usize::from(first)] == 0 {
            self.token();
        }
        Ok(&self.bytes[from..self.at])
    }

    /// The inside of `#<…>`, with which old versions of Clojure print what cannot be read again. The cursor is at the `#`.
    pub(crate) fn unreadable(&mut self) -> Scan<&'a [u8]> {
        let from = self.at + 2;
        let mut open = 1_usize;
        for (offset, byte) in self.bytes[from..].iter().enumerate() {
            match byte {
                b'<' => open += 1,
                b'>' => open -= 1,
                b'\n' => return self.bad(self.at, "`#<` has no `>` on its line"),
                _ => {}
            }
            if open == 0 {
                self.at = from + offset + 1;
                return Ok(&self.bytes[from..from + offset]);
            }
        }
        Err(Stop::Torn)
    }

    /// The next form is not wanted.
    pub(crate) fn skip_form(&mut self) -> Scan<()> {
        self.begin()?;
        self.skip()
    }

    /// The form that begins here is not wanted; one that begins with `#_` takes the form that it discards with it, and no other. Needs no stack
    /// however deep the form is.
    fn skip(&mut self) -> Scan<()> {
        self.due.clear();
        // Forms to come on the outermost level: the form itself, or what is discarded, or metadata and the form it is of.
        let mut due = 0_usize;
        let mut begun = false;
        loop {
            match self.peek() {
                Some(byte) if CLASS[usize::from(byte)] == SPACE => {
                    self.at += 1;
                    continue;
                }
                Some(b';') => {
                    self.comment();
                    continue;
                }
                _ => {}
            }
            let outermost = self.due.is_empty();
            let Some(byte) = self.peek() else { return Err(Stop::Torn) };
            if !begun {
                begun = true;
                // `blank` calls for the sake of a `#_`, which adds the one form itself.
                due = usize::from(!(byte == b'#' && self.second() == Some(b'_')));
            }
            match byte {
                b'(' | b'[' | b'{' => {
                    self.at += 1;
                    self.due.push(closing(byte));
                    continue;
                }
                b')' | b']' | b'}' => match self.due.pop() {
                    Some(closing) if closing == byte => self.at += 1,
                    expected => return self.unexpected(byte, expected),
                },
                b'"' => {
                    self.string()?;
                }
                b'\\' => {
                    self.char_token()?;
                }
                b'^' => {
                    self.at += 1;
                    due += usize::from(outermost);
                    continue;
                }
                b'#' => match self.second() {
                    Some(b'_') => {
                        self.at += 2;
                        due += usize::from(outermost);
                        continue;
                    }
                    Some(b'{' | b'(' | b'"') => {
                        self.at += 1;
                        continue;
                    }
                    Some(b'^') => {
                        self.at += 1;
                        continue;
                    }
                    Some(b'<') => {
                        self.unreadable()?;
                    }
                    Some(b'#') => {
                        self.token();
                    }
                    None => return Err(Stop::Torn),
                    Some(_) => {
                        self.tag()?;
                        continue;
                    }
                },
                _ => {
                    if self.token().is_empty() {
                        return self.no_form();
                    }
                }
            }
            if self.due.is_empty() {
                due = due.saturating_sub(1);
                if due == 0 {
                    return Ok(());
                }
            }
        }
    }

    /// The tag of the form that follows, without the `#` at which the cursor is.
    pub(crate) fn tag(&mut self) -> Scan<&'a [u8]> {
        let from = self.at;
        self.at += 1;
        let tag = self.token();
        if tag.is_empty() {
            return self.bad(from, "`#` stands alone; a tag, a set or `#_` was expected");
        }
        Ok(tag)
    }

    /// No form begins here.
    pub(crate) fn no_form<T>(&self) -> Scan<T> {
        match self.peek() {
            None => Err(Stop::Torn),
            Some(byte @ (b')' | b']' | b'}')) => self.unexpected(byte, None),
            Some(byte) => self.bad(self.at, format!("a value was expected, not `{}`", char::from(byte))),
        }
    }

    /// A closing bracket stands where another one, or none, is due.
    pub(crate) fn unexpected<T>(&self, found: u8, expected: Option<u8>) -> Scan<T> {
        let found = char::from(found);
        let problem = match expected {
            Some(expected) => format!("`{found}` was found where `{}` was expected", char::from(expected)),
            None => format!("`{found}` was found where a value was expected"),
        };
        self.bad(self.at, problem)
    }
}
