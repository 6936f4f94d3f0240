//! Finds and reads the description of a system.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use super::check::check;
use super::def::SystemDef;
use crate::spec::{Problems, Source, document, nearest, source};

/// A system with the file it comes from, for messages about it.
#[derive(Clone, Debug)]
pub struct System {
    /// What it says.
    pub def: SystemDef,
    /// Where it says so.
    pub source: Source,
}

/// The systems that come with Schism: file name and text, in the order of their names.
const BUILTIN: [(&str, &str); 2] =
    [("demo", include_str!("../../systems/demo.yaml")), ("etcd", include_str!("../../systems/etcd.yaml"))];

const EXAMPLE: &str = "name: my-store
description: A store of my own
install: { binaries: [my-store] }
ports: { client: 8080 }
# and so on:
# systems/etcd.yaml in the source of Schism is a complete one";

static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(SystemDef).to_value());

/// The JSON Schema (draft 2020-12) of a system's YAML.
pub fn schema() -> Value {
    SCHEMA.clone()
}

/// The systems that come with Schism: name and YAML, in the order of their names.
pub fn builtin() -> impl Iterator<Item = (&'static str, &'static str)> {
    BUILTIN.into_iter()
}

/// Whether this names a file rather than a system that comes with Schism.
fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml")
}

/// Why there is no system to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// There is none of this name, or no file at this path: whoever wrote the name is to blame.
    #[error("{0}")]
    Missing(String),
    /// The file is there, and this is wrong with it.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

/// Reads a system: one that comes with Schism by its name, or one of your own by its path (it contains a `/` or ends with
/// `.yaml`), which is relative to `base`, the directory of the test file.
///
/// # Errors
/// There is no such system, or everything that is wrong with its file.
pub fn load(name_or_path: &str, base: &Path) -> Result<System, LoadError> {
    if is_path(name_or_path) {
        let path: PathBuf = base.join(name_or_path);
        let text = source::read_text(&path).map_err(|problem| match problem.spot {
            None => LoadError::Missing(problem.to_string()),
            Some(_) => LoadError::Wrong(problem.into()),
        })?;
        return Ok(read(Source::parse(&path, text)?)?);
    }
    let Some((name, text)) = builtin().find(|(name, _)| *name == name_or_path) else {
        let names: Vec<&str> = builtin().map(|(name, _)| name).collect();
        let hint = match nearest(name_or_path, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "there are {}; for one of your own write its path, like ./my-store.yaml",
                names.join(", ")
            ),
        };
        return Err(LoadError::Missing(format!("unknown system `{name_or_path}`; {hint}")));
    };
    let path = PathBuf::from(format!("systems/{name}.yaml"));
    Ok(read(Source::labelled(&path, &format!("systems/{name}.yaml (built in)"), text.to_owned())?)?)
}

fn read(source: Source) -> Result<System, Problems> {
    let def: SystemDef = document::read(&source, &SCHEMA, "the system", EXAMPLE)?;
    match Problems::new(check(&def, &source)) {
        Some(problems) => Err(problems),
        None => Ok(System { def, source }),
    }
}
