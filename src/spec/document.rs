//! From a source to a value of one of our types, with everything that is wrong on the way.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problems;
use super::source::Source;
use super::validate::validate;
use super::yaml::Data;

/// Reads a value: first against its schema, for everything that is wrong at once, then in earnest.
///
/// `what` is what messages call the whole file, `example` how a short one looks.
///
/// # Errors
/// Everything that is wrong, with line and column.
pub fn read<T: DeserializeOwned>(
    source: &Source,
    schema: &Value,
    what: &str,
    example: &str,
) -> Result<T, Problems> {
    if matches!(source.root().data, Data::Null) {
        let message = format!("{what} is empty; it could start like this:\n{}", indented(example));
        return Err(source.problem(&[], message).without_spot().into());
    }
    let misfits = validate(source.root(), schema, what).into_iter();
    let problems = misfits.map(|misfit| source.problem_at(misfit.place, misfit.message)).collect();
    if let Some(problems) = Problems::new(problems) {
        return Err(problems);
    }
    serde_path_to_error::deserialize(source.root().to_value()).map_err(|error| {
        let path = keys(error.path());
        source.problem(&path, error.inner().to_string()).into()
    })
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn keys(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        })
        .collect()
}
