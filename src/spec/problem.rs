//! What is wrong with a file, shown where it stands.

use std::fmt;

/// Everything that is wrong, in the order of the files' lines. Printed as it is, one problem after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's path as it was given, or the `--set` option that said it.
    pub origin: String,
    /// Where in the file; absent where the file as a whole is meant.
    pub spot: Option<Spot>,
    /// What is wrong, what was expected, and what to do.
    pub message: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// How many characters are meant.
    pub width: usize,
}

impl Problems {
    /// `None` when there are none. Sorts them by place.
    pub fn new(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by_key(|problem| problem.spot.as_ref().map(|spot| (spot.line, spot.column)));
        problems.dedup();
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// All of them; at least one.
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl Problem {
    /// About a file, or an option, as a whole.
    pub fn whole(origin: impl Into<String>, message: impl Into<String>) -> Self {
        Self { origin: origin.into(), spot: None, message: message.into() }
    }

    /// The same about the file as a whole.
    pub fn without_spot(self) -> Self {
        Self { spot: None, ..self }
    }
}

impl std::error::Error for Problems {}
impl std::error::Error for Problem {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spot {
            None => write!(f, "{}: {}", self.origin, self.message),
            Some(spot) => {
                write!(f, "{}:{}:{}: {}", self.origin, spot.line, spot.column, self.message)?;
                spot.fmt(f)
            }
        }
    }
}

/// Characters of a line shown before the column meant, and in all: a file may be one line of a megabyte.
const SHOWN_BEFORE: usize = 60;
const SHOWN_MAX: usize = 120;

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One cell a character, whatever it is: the caret must stand under it, and nothing may steer the terminal.
        let cell = |c: char| if c.is_control() { ' ' } else { c };
        let column = self.column.saturating_sub(1);
        let skip = column.saturating_sub(SHOWN_BEFORE);
        let shown: String = self.text.chars().skip(skip).take(SHOWN_MAX).map(cell).collect();
        let length = shown.chars().count();
        let indent = column - skip;
        let width = self.width.min(length.saturating_sub(indent)).max(1);
        let number = self.line.to_string();
        write!(f, "\n  {number} | {}\n", shown.trim_end())?;
        write!(f, "  {:blank$} | {:indent$}{}", "", "", "^".repeat(width), blank = number.len())
    }
}
