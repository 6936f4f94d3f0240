//! A file as read, and the tree that knows where everything in it stands.

use std::path::{Path, PathBuf};

use super::problem::{Problem, Problems, Spot};
use super::yaml::{Node, Origin, Place};

/// A file that was read, with the `--set` options applied to it.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    label: String,
    text: String,
    overrides: Vec<String>,
    root: Node,
}

/// A file larger than this is none of ours.
const FILE_LEN_MAX: u64 = 4 << 20;

/// Reads a file as text.
///
/// # Errors
/// It cannot be read, is no file, is too large, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Problem> {
    let label = path.display().to_string();
    let failed = |message: String| Problem::whole(label.clone(), message);
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed("there is no such file".to_owned()),
        _ => failed(format!("it cannot be read: {error}")),
    })?;
    if metadata.is_dir() {
        return Err(failed("it is a directory; name the YAML file in it".to_owned()));
    }
    if metadata.len() > FILE_LEN_MAX {
        return Err(failed(format!("it is larger than {} MiB", FILE_LEN_MAX >> 20)));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(format!("it cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid =
            String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let line = valid.matches('\n').count() + 1;
        let text = valid.rsplit('\n').next().unwrap_or_default().to_owned();
        let spot = Spot { line, column: text.chars().count() + 1, text, width: 1 };
        let byte = error.as_bytes().get(valid.len()).copied().unwrap_or_default();
        let message = format!("byte 0x{byte:02x} is not UTF-8; save the file as UTF-8");
        Problem { origin: label.clone(), spot: Some(spot), message }
    })
}

impl Source {
    /// Parses the text of a file. `path` is where it was read from; messages show it as it is.
    ///
    /// # Errors
    /// Everything that is wrong with it as YAML.
    pub fn parse(path: &Path, text: String) -> Result<Self, Problems> {
        Self::labelled(path, &path.display().to_string(), text)
    }

    /// As [`Self::parse`], with another name for messages: for files that come with Schism.
    ///
    /// # Errors
    /// Everything that is wrong with it as YAML.
    pub fn labelled(path: &Path, label: &str, text: String) -> Result<Self, Problems> {
        // An editor's byte order mark is no part of the text.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let (root, errors) = super::yaml::parse(&text);
        let mut source =
            Self { path: path.to_owned(), label: label.to_owned(), text, overrides: Vec::new(), root };
        let problems =
            errors.into_iter().map(|error| source.problem_at(error.place, error.message)).collect();
        match Problems::new(problems) {
            Some(problems) => Err(problems),
            None => {
                source.root.place.width = 1;
                Ok(source)
            }
        }
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text, byte for byte but for a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The `--set` options applied to it.
    pub fn overrides(&self) -> &[String] {
        &self.overrides
    }

    /// The tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Changes the tree as one `--set` option says.
    pub(super) fn apply(
        &mut self,
        text: &str,
        change: impl FnOnce(&mut Node, Origin) -> Result<(), String>,
    ) -> Result<(), Problem> {
        let origin = Origin::Override(self.overrides.len());
        self.overrides.push(text.to_owned());
        change(&mut self.root, origin).map_err(|message| Problem::whole(format!("--set {text}"), message))
    }

    /// A problem with whatever stands at this path of keys and indices, or where it would stand.
    pub fn problem(&self, path: &[String], message: impl Into<String>) -> Problem {
        self.problem_at(self.root.locate(path), message)
    }

    /// A problem with the key at the end of this path.
    pub fn problem_with_key(&self, path: &[String], message: impl Into<String>) -> Problem {
        self.problem_at(self.root.locate_key(path), message)
    }

    /// A problem with something inside the text that stands at this path: `line` and `column` count from 0 in that text.
    pub fn problem_inside(
        &self,
        path: &[String],
        (line, column): (usize, usize),
        message: impl Into<String>,
    ) -> Problem {
        let mut place = self.root.locate(path);
        if let Some(found) = self.inside(place, line, column) {
            place = found;
        }
        self.problem_at(place, message)
    }

    /// Lines of a block scalar (`|`) stand below its indicator, indented; only those can be told.
    fn inside(&self, place: Place, line: usize, column: usize) -> Option<Place> {
        let Origin::File = place.origin else { return None };
        let header = self.text.lines().nth(place.line.checked_sub(1)?)?;
        if !matches!(header.chars().nth(place.column.checked_sub(1)?), Some('|')) {
            return None;
        }
        let below = self.text.lines().nth(place.line + line)?;
        let first = self.text.lines().skip(place.line).find(|text| !text.trim().is_empty())?;
        let indent = first.chars().take_while(|c| *c == ' ').count();
        (below.chars().count() >= indent).then_some(Place {
            origin: Origin::File,
            line: place.line + line + 1,
            column: indent + column + 1,
            width: 1,
        })
    }

    pub(super) fn problem_at(&self, place: Place, message: impl Into<String>) -> Problem {
        let message = message.into();
        match place.origin {
            Origin::File => {
                let text = self.text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default().to_owned();
                let spot = Spot { line: place.line, column: place.column, text, width: place.width };
                Problem { origin: self.label.clone(), spot: Some(spot), message }
            }
            Origin::Override(index) => {
                let option = self.overrides.get(index).map(String::as_str).unwrap_or_default();
                Problem::whole(format!("--set {option}"), message)
            }
        }
    }
}
