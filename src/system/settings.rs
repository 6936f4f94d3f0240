//! The values that a test file chooses for a system's settings.

use std::collections::BTreeMap;

use schism_units::Span;
use serde_json::Value;

use super::def::{Setting, SettingKind, SystemDef};
use crate::spec::nearest;

/// A setting that is wrong: its name, whether the name itself is the trouble, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The setting.
    pub name: String,
    /// There is no such setting, so the name is wrong rather than the value.
    pub is_unknown: bool,
    /// What is wrong and what to do.
    pub message: String,
}

impl SystemDef {
    /// A value for every declared setting: the chosen one, else the default.
    ///
    /// # Errors
    /// Every choice that does not fit, in the order of their names.
    pub fn settings(
        &self,
        chosen: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Value>, Vec<SettingError>> {
        let mut errors = Vec::new();
        for name in chosen.keys().filter(|name| !self.settings.contains_key(*name)) {
            errors.push(SettingError {
                name: name.clone(),
                is_unknown: true,
                message: self.unknown_setting(name),
            });
        }
        let mut values = BTreeMap::new();
        for (name, setting) in &self.settings {
            let error = |message| SettingError { name: name.clone(), is_unknown: false, message };
            match (chosen.get(name), &setting.default) {
                (Some(value), _) => match setting.check(value) {
                    Ok(()) => _ = values.insert(name.clone(), value.clone()),
                    Err(message) => {
                        errors.push(error(format!("setting `{name}` of system `{}`: {message}", self.name)))
                    }
                },
                (None, Some(default)) => _ = values.insert(name.clone(), default.clone()),
                (None, None) => errors.push(error(format!(
                    "system `{}` needs a value for its setting `{name}` ({})",
                    self.name,
                    setting.description.trim_end_matches('.')
                ))),
            }
        }
        if errors.is_empty() { Ok(values) } else { Err(errors) }
    }

    fn unknown_setting(&self, name: &str) -> String {
        let known: Vec<&str> = self.settings.keys().map(String::as_str).collect();
        let hint = match (nearest(name, &known), known.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "it has none".to_owned(),
            (None, false) => format!("it has: {}", known.join(", ")),
        };
        format!("system `{}` has no setting `{name}`; {hint}", self.name)
    }
}

impl Setting {
    /// Whether a value fits.
    ///
    /// # Errors
    /// Why it does not, and what would.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let fits = match self.kind {
            SettingKind::Text => value.is_string(),
            SettingKind::Integer => value.is_i64() || value.is_u64(),
            SettingKind::Number => value.is_number(),
            SettingKind::Boolean => value.is_boolean(),
            SettingKind::Duration => match value.as_str().map(str::parse::<Span>) {
                Some(Err(error)) => return Err(error.to_string()),
                other => other.is_some(),
            },
        };
        if !fits {
            let expected = match self.kind {
                SettingKind::Text => "text",
                SettingKind::Integer => "a whole number",
                SettingKind::Number => "a number",
                SettingKind::Boolean => "true or false",
                SettingKind::Duration => "a duration like 500ms",
            };
            return Err(format!("expected {expected}, found {value}"));
        }
        if self.choices.is_empty() || self.choices.contains(value) {
            return Ok(());
        }
        let choices: Vec<String> = self.choices.iter().map(plain).collect();
        let names: Vec<&str> = choices.iter().map(String::as_str).collect();
        let hint = nearest(&plain(value), &names)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        Err(format!("`{}` is not one of {}{hint}", plain(value), names.join(", ")))
    }

    /// Some value that fits, to try templates with.
    pub(super) fn sample(&self) -> Value {
        if let Some(value) = self.default.as_ref().or_else(|| self.choices.first()) {
            return value.clone();
        }
        match self.kind {
            SettingKind::Text => Value::from("text"),
            SettingKind::Integer | SettingKind::Number => Value::from(1),
            SettingKind::Boolean => Value::from(true),
            SettingKind::Duration => Value::from("1s"),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
