//! YAML as a tree that knows where each key and value stands.
//!
//! Built from the events of `saphyr-parser`, so that the tree keeps what a value alone loses: places, and every
//! duplicate key. Anchors and aliases are understood; tags and keys that are not scalars are refused.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

use super::scalar::{self, Scalar};

/// Where something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the file.
    File,
    /// In this `--set` option, from 0.
    Override(usize),
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which text.
    pub origin: Origin,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub data: Data,
    /// Where it stands.
    pub place: Place,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Nothing: absent, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, and how it was written.
    Number(serde_json::Number, String),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written. No two keys are equal.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_place: Place,
    /// The value.
    pub value: Node,
}

/// Why a text is not the YAML we take.
#[derive(Clone, Debug, PartialEq)]
pub struct YamlError {
    /// Where.
    pub place: Place,
    /// What is wrong and what to do.
    pub message: String,
}

/// Deeper nesting is refused: whoever walks the tree recurses.
const DEPTH_MAX: usize = 64;
/// More nodes are refused, counting what aliases repeat: a few lines of aliases can stand for billions.
const NODES_MAX: usize = 200_000;

impl Data {
    /// What a person would call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(..) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The plain value, without places.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(number, _) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Data::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The entry of this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value at this path of keys and indices, as deep as the path can be followed.
    fn follow<'a>(&'a self, path: &[String]) -> (Place, &'a Self, usize) {
        let (mut key, mut node) = (self.place, self);
        for (depth, part) in path.iter().enumerate() {
            let next = match &node.data {
                Data::Map(_) => node.entry(part).map(|entry| (entry.key_place, &entry.value)),
                Data::List(items) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (item.place, item)),
                _ => None,
            };
            match next {
                Some(next) => (key, node) = next,
                None => return (key, node, depth),
            }
        }
        (key, node, path.len())
    }

    /// Where the value at this path stands; where it is not there, the key of the last thing that is.
    pub fn locate(&self, path: &[String]) -> Place {
        match self.follow(path) {
            (_, node, depth) if depth == path.len() && !matches!(node.data, Data::Null) => node.place,
            (key, ..) => key,
        }
    }

    /// Where the key at the end of this path stands; where it is not there, the key of the last thing that is.
    pub fn locate_key(&self, path: &[String]) -> Place {
        self.follow(path).0
    }
}

/// Parses one document. The tree is only good for use when there are no errors.
pub fn parse(text: &str) -> (Node, Vec<YamlError>) {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if !builder.event(event, span) {
                    break;
                }
            }
            Err(error) => {
                let marker = error.marker();
                let place = place_of(text, marker.line(), marker.col());
                builder.errors.push(YamlError { place, message: explain(text, place, error.info()) });
                break;
            }
        }
    }
    let start = Place { origin: Origin::File, line: 1, column: 1, width: 1 };
    let root = builder.root.unwrap_or(Node { data: Data::Null, place: start });
    (root, builder.errors)
}

/// The scanner may point past the end; people look at the last line that has something on it.
fn place_of(text: &str, line: usize, column: usize) -> Place {
    let count = text.lines().count();
    if line <= count {
        return Place { origin: Origin::File, line: line.max(1), column: column + 1, width: 1 };
    }
    let last = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()).last();
    let (index, column) = last.map_or((0, 0), |(index, text)| (index, text.trim_end().chars().count()));
    Place { origin: Origin::File, line: index + 1, column: column + 1, width: 1 }
}

fn explain(text: &str, place: Place, info: &str) -> String {
    let line = text.lines().nth(place.line - 1).unwrap_or_default();
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    if indent.contains('\t') {
        return "a tab in the indentation; YAML is indented with spaces".to_owned();
    }
    format!("not valid YAML: {}", info.trim_end_matches('.'))
}

fn place(span: Span, width: Option<usize>) -> Place {
    let same_line = span.start.line() == span.end.line();
    let width = width.unwrap_or(if same_line { span.end.col().saturating_sub(span.start.col()) } else { 1 });
    Place {
        origin: Origin::File,
        line: span.start.line().max(1),
        column: span.start.col() + 1,
        width: width.max(1),
    }
}

/// A collection being built.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, Place)>,
    /// The next value belongs to a key that was refused.
    skip: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    root: Option<Node>,
    errors: Vec<YamlError>,
    documents: usize,
    nodes: usize,
}

impl Builder {
    /// Takes one event; `false` to stop.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        let at = place(span, None);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return self.stop(at, "a second document starts here; one file holds one");
                }
                true
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                None => self.stop(at, "an alias inside what it stands for"),
                Some((node, ..)) if self.open.len() + depth(&node) > DEPTH_MAX => {
                    self.stop(at, "nested too deeply")
                }
                Some((node, size)) => self.value(node, 0, size, at),
            },
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(tag) = tag {
                    self.refuse_tag(at, &tag.to_string());
                }
                let data = match self.scalar(&text, style) {
                    Ok(data) => data,
                    Err(message) => {
                        self.error(at, message);
                        Data::Null
                    }
                };
                let width = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded).then_some(1);
                self.value(Node { data, place: place(span, width) }, anchor, 1, at)
            }
            Event::SequenceStart(anchor, tag) => {
                if let Some(tag) = tag {
                    self.refuse_tag(at, &tag.to_string());
                }
                self.start(Node { data: Data::List(Vec::new()), place: at }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                if let Some(tag) = tag {
                    self.refuse_tag(at, &tag.to_string());
                }
                self.start(Node { data: Data::Map(Vec::new()), place: at }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                None => true,
                Some(open) => self.value(open.node, open.anchor, 1, at),
            },
        }
    }

    fn error(&mut self, place: Place, message: impl Into<String>) {
        self.errors.push(YamlError { place, message: message.into() });
    }

    fn stop(&mut self, place: Place, message: &str) -> bool {
        self.error(place, message);
        false
    }

    fn refuse_tag(&mut self, place: Place, tag: &str) {
        self.error(
            place,
            format!("the tag `{tag}` is not supported; leave it out, and put text in quotes where needed"),
        );
    }

    /// The key position of the innermost mapping takes the text as it is written.
    fn scalar(&self, text: &str, style: ScalarStyle) -> Result<Data, String> {
        let is_key = self
            .open
            .last()
            .is_some_and(|open| matches!(open.node.data, Data::Map(_)) && open.key.is_none() && !open.skip);
        if is_key || style != ScalarStyle::Plain {
            return Ok(Data::Text(text.to_owned()));
        }
        Ok(match scalar::resolve(text)? {
            Scalar::Null => Data::Null,
            Scalar::Bool(value) => Data::Bool(value),
            Scalar::Number(number) => Data::Number(number, text.to_owned()),
            Scalar::Text => Data::Text(text.to_owned()),
        })
    }

    fn start(&mut self, node: Node, anchor: usize) -> bool {
        if self.open.len() >= DEPTH_MAX {
            return self.stop(node.place, "nested too deeply");
        }
        self.open.push(Open { node, anchor, key: None, skip: false });
        true
    }

    /// A finished value: an item, a key, a key's value, or the whole document.
    fn value(&mut self, node: Node, anchor: usize, size: usize, at: Place) -> bool {
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > NODES_MAX {
            return self.stop(at, "too large: aliases and values stand for too many items");
        }
        if anchor != 0 {
            let size = count(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return true;
        };
        let entries = match &mut open.node.data {
            Data::List(items) => {
                items.push(node);
                return true;
            }
            Data::Map(entries) => entries,
            _ => return true,
        };
        if std::mem::take(&mut open.skip) {
            return true;
        }
        match open.key.take() {
            Some((key, key_place)) => {
                entries.push(Entry { key, key_place, value: node });
                true
            }
            None => {
                let error = match &node.data {
                    Data::Text(key) => match entries.iter().find(|entry| entry.key == *key) {
                        Some(first) => Some(format!(
                            "key `{key}` is given twice; it is first given in line {}",
                            first.key_place.line
                        )),
                        None => {
                            open.key = Some((key.clone(), node.place));
                            None
                        }
                    },
                    other => Some(format!("a key must be text, not {}", other.kind())),
                };
                if let Some(error) = error {
                    open.skip = true;
                    self.error(node.place, error);
                }
                true
            }
        }
    }
}

/// The number of nodes, itself included.
fn count(node: &Node) -> usize {
    match &node.data {
        Data::List(items) => items.iter().map(count).sum::<usize>() + 1,
        Data::Map(entries) => entries.iter().map(|entry| count(&entry.value)).sum::<usize>() + 1,
        _ => 1,
    }
}

/// How many levels of collections, itself included.
fn depth(node: &Node) -> usize {
    match &node.data {
        Data::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Data::Map(entries) => 1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
        _ => 0,
    }
}
