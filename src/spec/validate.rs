//! Checks a tree against a JSON Schema and finds everything that is wrong with it in one go.
//!
//! It understands what `schemars` writes for our own types: `type`, `properties`, `required`, `additionalProperties`,
//! `enum`, `const`, `oneOf` and `anyOf` over externally tagged enums, `$ref`, `items`, bounds, lengths, and the formats
//! of [`schism_units::check_format`]. What it does not know it lets through: deserialising comes after it and is stricter.

use serde_json::{Map, Value};

use super::suggest::nearest;
use super::yaml::{Data, Entry, Node, Place};

/// Something that does not fit the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfit {
    /// Where.
    pub place: Place,
    /// What is wrong, what was expected, and an example.
    pub message: String,
}

/// Everything in the tree that does not fit. `what` is what messages call the whole: `the test file`.
pub fn validate(root: &Node, schema: &Value, what: &str) -> Vec<Misfit> {
    let mut validator = Validator { schema, what, path: Vec::new(), misfits: Vec::new() };
    validator.check(root, root.place, schema);
    validator.misfits
}

struct Validator<'a> {
    schema: &'a Value,
    what: &'a str,
    path: Vec<String>,
    misfits: Vec<Misfit>,
}

/// More references than this in a row are a loop.
const REFERENCES_MAX: usize = 32;

impl<'a> Validator<'a> {
    fn report(&mut self, place: Place, message: String) {
        self.misfits.push(Misfit { place, message });
    }

    /// What messages call the value at hand.
    fn here(&self) -> String {
        if self.path.is_empty() { self.what.to_owned() } else { format!("`{}`", dotted(&self.path)) }
    }

    fn resolve(&self, mut schema: &'a Value) -> &'a Value {
        for _ in 0..REFERENCES_MAX {
            let target =
                schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
            match target.and_then(|pointer| self.schema.pointer(pointer)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// `key` is where the value's key stands, for values that stand nowhere.
    fn check(&mut self, node: &Node, key: Place, schema: &'a Value) {
        let schema = self.resolve(schema);
        let Some(keywords) = schema.as_object() else { return };
        let place = if matches!(node.data, Data::Null) { key } else { node.place };
        if let Some(branches) = branches(keywords) {
            return self.check_branches(node, place, schema, branches);
        }
        let words = words(keywords);
        if !words.is_empty() {
            return self.check_word(node, place, &words, &[]);
        }
        if !accepts(schema, &node.data) {
            return self.wrong_kind(node, place, schema);
        }
        match &node.data {
            Data::Map(entries) => self.check_map(node, entries, keywords),
            Data::List(items) => self.check_list(place, items, keywords),
            Data::Number(number, text) => {
                self.check_bounds(place, number.as_f64(), text, keywords);
            }
            Data::Text(text) => self.check_text(place, text, keywords),
            Data::Null | Data::Bool(_) => {}
        }
    }

    fn check_map(&mut self, node: &Node, entries: &[Entry], keywords: &'a Map<String, Value>) {
        let properties = keywords.get("properties").and_then(Value::as_object);
        let known: Vec<&str> =
            properties.into_iter().flat_map(|properties| properties.keys()).map(String::as_str).collect();
        let others = keywords.get("additionalProperties");
        for entry in entries {
            let schema = properties.and_then(|properties| properties.get(&entry.key));
            match (schema, others) {
                (Some(schema), _) => self.descend(&entry.key, &entry.value, entry.key_place, schema),
                (None, Some(Value::Bool(false))) => {
                    let missing =
                        known.iter().copied().filter(|name| node.entry(name).is_none()).collect::<Vec<_>>();
                    let message = self.unknown_key(&entry.key, &known, &missing);
                    self.report(entry.key_place, message);
                }
                (None, Some(schema)) => self.descend(&entry.key, &entry.value, entry.key_place, schema),
                (None, None) => {}
            }
        }
        let required = keywords
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        for name in required.filter(|name| node.entry(name).is_none()) {
            let example = properties
                .and_then(|properties| properties.get(name))
                .and_then(|schema| self.example(schema));
            let example =
                example.map(|example| format!("; for example `{name}: {example}`")).unwrap_or_default();
            let message = format!("`{name}` is missing in {}{example}", self.here());
            self.report(Place { width: 1, ..node.place }, message);
        }
    }

    /// The nearest name is looked for among those not given yet first: the others cannot be meant.
    fn unknown_key(&self, key: &str, known: &[&str], missing: &[&str]) -> String {
        let hint = match nearest(key, missing).or_else(|| nearest(key, known)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it has none".to_owned(),
            None => format!("it can have: {}", known.join(", ")),
        };
        format!("unknown key `{key}` in {}; {hint}", self.here())
    }

    fn descend(&mut self, part: &str, node: &Node, key: Place, schema: &'a Value) {
        self.path.push(part.to_owned());
        self.check(node, key, schema);
        self.path.pop();
    }

    fn check_list(&mut self, place: Place, items: &[Node], keywords: &'a Map<String, Value>) {
        if let Some(least) = keywords.get("minItems").and_then(Value::as_u64)
            && (items.len() as u64) < least
        {
            let message = match least {
                1 => format!("{} must not be empty", self.here()),
                _ => format!("{} must have at least {least} items, not {}", self.here(), items.len()),
            };
            self.report(place, message);
        }
        if let Some(most) = keywords.get("maxItems").and_then(Value::as_u64)
            && items.len() as u64 > most
        {
            let message = format!("{} must have at most {most} items, not {}", self.here(), items.len());
            self.report(place, message);
        }
        if let Some(schema) = keywords.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.descend(&index.to_string(), item, item.place, schema);
            }
        }
    }

    fn check_bounds(&mut self, place: Place, number: Option<f64>, text: &str, keywords: &Map<String, Value>) {
        let Some(number) = number else { return };
        let bound = |name: &str| keywords.get(name).and_then(Value::as_f64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        if least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most) {
            return;
        }
        let expected = match (least, most) {
            (Some(least), Some(most)) if most < 1e15 => format!("from {least} to {most}"),
            (Some(least), _) if number < least => format!("at least {least}"),
            (_, Some(most)) => format!("at most {most}"),
            _ => return,
        };
        let message = format!("{} must be {expected}, not {text}", self.here());
        self.report(place, message);
    }

    fn check_text(&mut self, place: Place, text: &str, keywords: &Map<String, Value>) {
        let length = text.chars().count() as u64;
        let bound = |name: &str| keywords.get(name).and_then(Value::as_u64);
        if bound("minLength").is_some_and(|least| length < least) {
            let message = format!("{} must not be empty", self.here());
            return self.report(place, message);
        }
        if let Some(most) = bound("maxLength").filter(|most| length > *most) {
            let message = format!("{} must have at most {most} characters, not {length}", self.here());
            return self.report(place, message);
        }
        let format = keywords.get("format").and_then(Value::as_str);
        if let Some(Err(error)) = format.and_then(|format| schism_units::check_format(format, text)) {
            let message = format!("{}: {error}", self.here());
            self.report(place, message);
        }
    }

    fn check_word(&mut self, node: &Node, place: Place, words: &[&str], tags: &[&str]) {
        let expected = || [tags, words].concat().join(", ");
        let message = match &node.data {
            Data::Text(text) if words.contains(&text.as_str()) => return,
            Data::Text(text) if tags.contains(&text.as_str()) => {
                format!("`{text}` at {} needs parameters; write `{text}: {{…}}`", self.here())
            }
            Data::Text(text) => match nearest(text, &[words, tags].concat()) {
                Some(near) => format!("unknown `{text}` at {}; did you mean `{near}`?", self.here()),
                None => format!("unknown `{text}` at {}; it can be: {}", self.here(), expected()),
            },
            other => format!("{} must be one of {}, not {}", self.here(), expected(), other.kind()),
        };
        self.report(place, message);
    }

    /// Something that can be one of several things. Which one it was meant to be follows from what it looks like, so that
    /// the messages are about that one.
    fn check_branches(&mut self, node: &Node, place: Place, schema: &'a Value, branches: &'a [Value]) {
        let branches = self.flatten(branches);
        if matches!(node.data, Data::Null)
            && branches.iter().any(|branch| accepts(branch, &Data::Null) && !is_open(branch))
        {
            return;
        }
        let words: Vec<&str> =
            branches.iter().filter_map(|branch| branch.as_object()).flat_map(words).collect();
        let tagged: Vec<(&str, &Value)> = branches.iter().filter_map(|branch| tagged(branch)).collect();
        let tags: Vec<&str> = tagged.iter().map(|(tag, _)| *tag).collect();
        let others: Vec<&'a Value> = branches
            .iter()
            .copied()
            .filter(|branch| self::tagged(branch).is_none())
            .filter(|branch| branch.as_object().is_none_or(|keywords| self::words(keywords).is_empty()))
            .filter(|branch| accepts(branch, &node.data))
            .collect();
        match &node.data {
            Data::Map(entries) if others.is_empty() && !tagged.is_empty() => {
                self.check_tagged(node, entries, &tagged, &words);
            }
            Data::Text(text) if words.contains(&text.as_str()) => {}
            _ if !others.is_empty() => self.check_best(node, place, &others),
            Data::Text(_) if !words.is_empty() || !tags.is_empty() => {
                self.check_word(node, place, &words, &tags)
            }
            _ => self.wrong_kind(node, place, schema),
        }
    }

    fn flatten(&self, branches: &'a [Value]) -> Vec<&'a Value> {
        let mut flat = Vec::new();
        for branch in branches {
            let branch = self.resolve(branch);
            match branch.as_object().and_then(self::branches) {
                Some(inner) if flat.len() < 1000 => flat.extend(self.flatten(inner)),
                _ => flat.push(branch),
            }
        }
        flat
    }

    /// An externally tagged enum: a mapping of one key.
    fn check_tagged(&mut self, node: &Node, entries: &[Entry], tagged: &[(&str, &'a Value)], words: &[&str]) {
        let tags: Vec<&str> = tagged.iter().map(|(tag, _)| *tag).collect();
        let expected = || tags.iter().map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(" or ");
        if entries.is_empty() {
            let message = format!("{} is empty; it needs {}", self.here(), expected());
            return self.report(node.place, message);
        }
        let mut first: Option<&str> = None;
        for entry in entries {
            let Some((_, schema)) = tagged.iter().find(|(tag, _)| *tag == entry.key) else {
                let message = if words.contains(&entry.key.as_str()) {
                    format!("`{}` at {} takes no parameters; write it alone", entry.key, self.here())
                } else {
                    self.unknown_key(&entry.key, &tags, &tags)
                };
                self.report(entry.key_place, message);
                continue;
            };
            match first {
                Some(first) => {
                    let message = format!(
                        "`{first}` and `{}` cannot both stand in {}; it needs one of them",
                        entry.key,
                        self.here()
                    );
                    self.report(entry.key_place, message);
                }
                None => first = Some(&entry.key),
            }
            self.descend(&entry.key, &entry.value, entry.key_place, schema);
        }
    }

    /// Of several that it could be, the one with the fewest complaints.
    fn check_best(&mut self, node: &Node, place: Place, branches: &[&'a Value]) {
        let before = self.misfits.len();
        let mut best: Option<Vec<Misfit>> = None;
        for branch in branches {
            self.check(node, place, branch);
            let misfits = self.misfits.split_off(before);
            if best.as_ref().is_none_or(|best| misfits.len() < best.len()) {
                best = Some(misfits);
            }
        }
        self.misfits.extend(best.unwrap_or_default());
    }

    fn wrong_kind(&mut self, node: &Node, place: Place, schema: &'a Value) {
        let keywords = schema.as_object();
        let format = keywords.and_then(|keywords| keywords.get("format")).and_then(Value::as_str);
        // A number where a quantity is wanted lacks its unit: the parser of the quantity says that best.
        if let (Some(format), Data::Number(_, text)) = (format, &node.data)
            && let Some(Err(error)) = schism_units::check_format(format, text)
        {
            let message = format!("{}: {error}", self.here());
            return self.report(place, message);
        }
        let expected = self.describe(schema);
        let message = match &node.data {
            Data::Null => format!("{} is empty; it must be {expected}", self.here()),
            Data::Number(_, text) if accepts(schema, &Data::Text(String::new())) => {
                format!(
                    "{} must be {expected}, not the number {text}; put it in quotes: \"{text}\"",
                    self.here()
                )
            }
            other => format!("{} must be {expected}, not {}", self.here(), found(other)),
        };
        let example =
            self.example(schema).map(|example| format!("; for example {example}")).unwrap_or_default();
        self.report(place, format!("{message}{example}"));
    }

    /// What a schema wants, for people.
    fn describe(&self, schema: &'a Value) -> String {
        let schema = self.resolve(schema);
        let Some(keywords) = schema.as_object() else { return "something".to_owned() };
        if let Some(branches) = branches(keywords) {
            let branches = self.flatten(branches);
            let words: Vec<&str> =
                branches.iter().filter_map(|branch| branch.as_object()).flat_map(words).collect();
            let tags: Vec<String> = branches
                .iter()
                .filter_map(|branch| tagged(branch))
                .map(|(tag, _)| format!("`{tag}:`"))
                .collect();
            let mut parts: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            if !tags.is_empty() {
                parts.push(format!("a mapping with {}", tags.join(" or ")));
            }
            for branch in branches {
                let plain = branch.as_object().is_some_and(|keywords| self::words(keywords).is_empty())
                    && tagged(branch).is_none();
                if plain && branch.get("type") != Some(&Value::from("null")) {
                    parts.push(self.describe(branch));
                }
            }
            parts.dedup();
            return parts.join(" or ");
        }
        let words = words(keywords);
        if !words.is_empty() {
            return format!("one of {}", words.join(", "));
        }
        match keywords.get("format").and_then(Value::as_str) {
            Some("duration") => return "a duration like 10s or 1m 30s".to_owned(),
            Some("rate") => return "a rate like 1000/s".to_owned(),
            Some("size") => return "an amount of data like 1GiB".to_owned(),
            Some("concurrency") => return "a number of workers like 10 or 2n".to_owned(),
            _ => {}
        }
        let names = types(schema).into_iter().filter(|name| *name != "null").map(|name| match name {
            "string" => "text",
            "integer" => "a whole number",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            _ => "a mapping",
        });
        let names: Vec<&str> = names.collect();
        if names.is_empty() { "something else".to_owned() } else { names.join(" or ") }
    }

    /// How a person could write it, on one line.
    fn example(&self, schema: &'a Value) -> Option<String> {
        let own = |schema: &Value| schema.get("examples")?.as_array()?.first().map(flow);
        let resolved = self.resolve(schema);
        own(schema).or_else(|| own(resolved)).or_else(|| {
            let branches = self.flatten(branches(resolved.as_object()?)?);
            let (tag, inner) = branches.iter().find_map(|branch| tagged(branch))?;
            let inner = self.example(inner).unwrap_or_else(|| "{…}".to_owned());
            Some(format!("{{ {tag}: {inner} }}"))
        })
    }
}

/// A path as people write it: `nemesis.faults[1].kill`.
pub fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{part}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(part);
        }
    }
    text
}

/// A value in YAML's flow style.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let plain = matches!(super::scalar::resolve(text), Ok(super::scalar::Scalar::Text))
                && text.chars().all(|c| c.is_alphanumeric() || "-_./+ ".contains(c));
            if plain { text.clone() } else { Value::from(text.as_str()).to_string() }
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn found(data: &Data) -> String {
    match data {
        Data::Bool(value) => value.to_string(),
        Data::Number(_, text) => format!("the number {text}"),
        Data::Text(text) if text.chars().count() <= 40 => format!("the text `{text}`"),
        other => other.kind().to_owned(),
    }
}

fn branches(keywords: &Map<String, Value>) -> Option<&[Value]> {
    keywords.get("oneOf").or_else(|| keywords.get("anyOf"))?.as_array().map(Vec::as_slice)
}

/// The words a schema is about, where it is about words.
fn words(keywords: &Map<String, Value>) -> Vec<&str> {
    let one = keywords.get("const").and_then(Value::as_str);
    let many = keywords.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many).collect()
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A schema that says nothing about types takes everything.
fn is_open(schema: &Value) -> bool {
    types(schema).is_empty()
}

fn accepts(schema: &Value, data: &Data) -> bool {
    is_open(schema)
        || types(schema).into_iter().any(|name| match data {
            Data::Null => name == "null",
            Data::Bool(_) => name == "boolean",
            Data::Number(number, _) => name == "number" || name == "integer" && !number.is_f64(),
            Data::Text(_) => name == "string",
            Data::List(_) => name == "array",
            Data::Map(_) => name == "object",
        })
}

/// The tag and the content's schema, where this is a variant of an externally tagged enum.
fn tagged(branch: &Value) -> Option<(&str, &Value)> {
    let required = branch.get("required")?.as_array()?;
    let properties = branch.get("properties")?.as_object()?;
    let closed = branch.get("additionalProperties") == Some(&Value::Bool(false));
    let (tag, schema) = properties.iter().next()?;
    let alone = properties.len() == 1 && required.len() == 1 && required[0].as_str() == Some(tag);
    (closed && alone).then_some((tag, schema))
}
