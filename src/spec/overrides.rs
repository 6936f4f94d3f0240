//! `--set a.b=c`: one value of a file said on the command line.

use super::problem::Problem;
use super::source::Source;
use super::suggest::nearest;
use super::yaml::{self, Data, Entry, Node, Origin, Place};

/// Applies one option. The value is YAML. Steps of the path that are not there yet are made, so that a wrong name is found
/// by the schema like any other; a step into a list must be the number of an item.
///
/// # Errors
/// The option is not of that form, or its path leads through something that is neither mapping nor list.
pub(super) fn apply(source: &mut Source, option: &str) -> Result<(), Problem> {
    let option = option.trim();
    source.apply(option, |root, origin| {
        let expected = "write a path, `=` and a value, like `--set workload.register.rate=500/s`";
        let (path, text) = option.split_once('=').ok_or_else(|| format!("there is no `=`; {expected}"))?;
        let path: Vec<&str> = path.split('.').map(str::trim).collect();
        if path.iter().any(|part| part.is_empty()) {
            return Err(format!("the path has an empty step; {expected}"));
        }
        let (mut value, errors) = yaml::parse(text);
        if let Some(error) = errors.into_iter().next() {
            return Err(format!("the value is wrong: {}", error.message));
        }
        relocate(&mut value, origin);
        set(root, &path, value, origin)
    })
}

fn at(origin: Origin) -> Place {
    Place { origin, line: 1, column: 1, width: 1 }
}

fn relocate(node: &mut Node, origin: Origin) {
    node.place = at(origin);
    match &mut node.data {
        Data::List(items) => items.iter_mut().for_each(|item| relocate(item, origin)),
        Data::Map(entries) => {
            for entry in entries {
                entry.key_place = at(origin);
                relocate(&mut entry.value, origin);
            }
        }
        _ => {}
    }
}

fn set(node: &mut Node, path: &[&str], value: Node, origin: Origin) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    expand_shorthand(node, step, origin);
    match &mut node.data {
        Data::Map(entries) => {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *step) {
                entry.key_place = if rest.is_empty() { at(origin) } else { entry.key_place };
                return set(&mut entry.value, rest, value, origin).map_err(|error| within(step, rest, error));
            }
            let mut inner = Node { data: Data::Null, place: at(origin) };
            set(&mut inner, rest, value, origin)?;
            entries.push(Entry { key: (*step).to_owned(), key_place: at(origin), value: inner });
            Ok(())
        }
        Data::List(items) => {
            let count = items.len();
            let item = step.parse::<usize>().ok().and_then(|index| items.get_mut(index));
            let Some(item) = item else {
                return Err(match count {
                    0 => format!("`{step}` leads into a list that is empty"),
                    _ => format!("`{step}` leads into a list; its items are 0 to {}", count - 1),
                });
            };
            set(item, rest, value, origin)
        }
        other => Err(format!("`{step}` leads into {}, which has nothing inside", other.kind())),
    }
}

fn within(step: &str, rest: &[&str], error: String) -> String {
    // Only the innermost step is of interest where the error is about the one below it.
    if rest.len() == 1 { format!("below `{step}`: {error}") } else { error }
}

/// `system: etcd` is short for `system: { name: etcd }`, and nothing is short for an empty mapping.
fn expand_shorthand(node: &mut Node, step: &str, origin: Origin) {
    let is_detail = ["name", "version", "package", "settings"].contains(&step)
        || nearest(step, &["version", "package", "settings"]).is_some();
    match std::mem::replace(&mut node.data, Data::Null) {
        Data::Null => {
            node.data = Data::Map(Vec::new());
            node.place = at(origin);
        }
        Data::Text(name) if is_detail => {
            let value = Node { data: Data::Text(name), place: node.place };
            node.data = Data::Map(vec![Entry { key: "name".to_owned(), key_place: node.place, value }]);
        }
        other => node.data = other,
    }
}
