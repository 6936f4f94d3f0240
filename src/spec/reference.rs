//! The reference of a YAML format as Markdown, from its JSON Schema: what validates a file also documents it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

/// Renders `schema` as a Markdown page: the root first, then every type it leads to, in the order of their first mention.
pub fn markdown(schema: &Value, title: &str, introduction: &str) -> String {
    let mut page = Page {
        schema,
        out: format!("# {title}\n\n{introduction}\n"),
        queue: Vec::new(),
        seen: BTreeSet::new(),
    };
    page.body(schema);
    while !page.queue.is_empty() {
        let name = page.queue.remove(0);
        if let Some(definition) = schema["$defs"].get(&name) {
            let _ = write!(page.out, "\n## {name}\n");
            page.body(definition);
        }
    }
    page.out
}

struct Page<'s> {
    schema: &'s Value,
    out: String,
    queue: Vec<String>,
    seen: BTreeSet<String>,
}

impl Page<'_> {
    fn body(&mut self, definition: &Value) {
        if let Some(text) = description(definition) {
            let _ = write!(self.out, "\n{text}\n");
        }
        if let Some(choices) = alternatives(definition) {
            self.choices(choices);
        } else if let Some(properties) = definition["properties"].as_object() {
            let required: Vec<&str> = strings(&definition["required"]);
            let _ = write!(self.out, "\n| key | value | meaning |\n|---|---|---|\n");
            for (key, property) in properties {
                let kind = self.kind(property);
                let need = if required.contains(&key.as_str()) { " **Required.**" } else { "" };
                let meaning = description(property).unwrap_or_default();
                let default = match property.get("default") {
                    Some(value) if !meaning.contains("Default") && !value.is_object() && !value.is_null() => {
                        format!(" Default: {}.", plain(value))
                    }
                    _ => String::new(),
                };
                let _ = writeln!(self.out, "| `{key}` | {kind} | {}{default}{need} |", cell(meaning));
            }
        } else {
            let kind = self.kind(definition);
            let _ = write!(self.out, "\nWritten as {kind}.\n");
        }
    }

    /// One line for each way to write a value.
    fn choices(&mut self, choices: &[Value]) {
        self.out.push('\n');
        for choice in choices {
            let meaning = description(choice).map(|text| format!(": {}", cell(text))).unwrap_or_default();
            if let Some(word) = choice["const"].as_str() {
                let _ = writeln!(self.out, "- `{word}`{meaning}");
            } else if let Some((key, property)) = only_property(choice) {
                let kind = self.kind(property);
                let _ = writeln!(self.out, "- `{key}:` {kind}{meaning}");
            } else {
                let kind = self.kind(choice);
                let _ = writeln!(self.out, "- {kind}{meaning}");
            }
        }
    }

    /// What kind of value this is, in a few words; types with a section of their own become links to it.
    fn kind(&mut self, value: &Value) -> String {
        if let Some(name) = value["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            let name = name.to_owned();
            // A type that is one word long needs no section.
            if let Some(format) = self.schema["$defs"][&name]["format"].as_str() {
                return format.to_owned();
            }
            if self.seen.insert(name.clone()) {
                self.queue.push(name.clone());
            }
            return format!("[{name}](#{})", name.to_lowercase());
        }
        if let Some(choices) = alternatives(value) {
            let kinds: Vec<String> = choices
                .iter()
                .filter(|choice| choice["type"] != "null")
                .map(|choice| match choice["const"].as_str() {
                    Some(word) => format!("`{word}`"),
                    None => self.kind(choice),
                })
                .collect();
            return kinds.join(" or ");
        }
        if let Some(words) = value["enum"].as_array() {
            let words: Vec<String> = words.iter().map(|word| format!("`{}`", plain(word))).collect();
            return words.join(", ");
        }
        let kinds: Vec<&str> = match &value["type"] {
            Value::String(kind) => vec![kind],
            other => strings(other),
        };
        let mut words = Vec::new();
        for kind in kinds.into_iter().filter(|kind| *kind != "null") {
            words.push(match kind {
                "array" => format!("list of {}", self.kind(&value["items"])),
                "object" => match value.get("additionalProperties") {
                    Some(inner) if inner.is_object() => format!("mapping of names to {}", self.kind(inner)),
                    _ => "mapping".to_owned(),
                },
                kind => word(kind).to_owned(),
            });
        }
        if words.is_empty() { "any value".to_owned() } else { words.join(" or ") }
    }
}

fn alternatives(value: &Value) -> Option<&[Value]> {
    value.get("oneOf").or_else(|| value.get("anyOf")).and_then(Value::as_array).map(Vec::as_slice)
}

fn only_property(value: &Value) -> Option<(&String, &Value)> {
    let mut properties = value["properties"].as_object()?.iter();
    let only = properties.next()?;
    properties.next().is_none().then_some(only)
}

fn description(value: &Value) -> Option<&str> {
    value["description"].as_str()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn word(kind: &str) -> &str {
    match kind {
        "integer" => "whole number",
        "string" => "text",
        "boolean" => "true or false",
        other => other,
    }
}

/// Fits into one cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use schism_checkers::linearizable::Model;

    use super::*;

    /// The committed pages are what the schemas say. `SCHISM_WRITE_DOCS=1` writes them anew.
    #[test]
    fn the_committed_reference_is_what_the_schema_says() {
        for (file, schema, title, introduction) in [
            (
                "docs/test-file.md",
                crate::spec::schema(),
                "The test file",
                "Generated from the JSON Schema that `schism schema` prints. `examples/` has files to start from. Every key that \
                 is not listed here is an error.",
            ),
            (
                "docs/systems.md",
                crate::system::schema(),
                "Systems under test",
                "Generated from the JSON Schema that `schism schema --system` prints. `systems/etcd.yaml` and `systems/demo.yaml` are \
                 complete; a system of your own is the same kind of file, named by its path: `system: ./my-store.yaml`.",
            ),
        ] {
            let page = markdown(&schema, title, introduction);
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            if std::env::var_os("SCHISM_WRITE_DOCS").is_some() {
                std::fs::write(&path, &page).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                committed, page,
                "{file} is out of date: SCHISM_WRITE_DOCS=1 cargo nextest run reference"
            );
        }
    }

    #[test]
    fn the_committed_models_are_what_their_sources_say() {
        let mut page = "# Models\n\nWhat `schism check --model` and a test's checks can hold a history against. Generated from the \
                        documentation of the models; `schism list models` names them. A result of `fail` certainly did not happen and \
                        constrains nothing; the outcome of `info` is unknown.\n"
            .to_owned();
        let mut before = String::new();
        for model in Model::ALL {
            let manual = model.manual();
            page += &format!("\n## {model}\n\n");
            // Variants share a text.
            if manual == before {
                page += &format!("{} Its operations are those of the model before.\n", model.describe());
            } else {
                page += &format!("{manual}\n");
            }
            before = manual;
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
        if std::env::var_os("SCHISM_WRITE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            committed, page,
            "docs/models.md is out of date: SCHISM_WRITE_DOCS=1 cargo nextest run reference"
        );
    }
}
