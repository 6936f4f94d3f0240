//! The JSON Schema of the test file, for editors and for our own check.

use std::sync::LazyLock;

use serde_json::Value;

use super::test::Test;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(Test).to_value());

/// The JSON Schema (draft 2020-12) of the test file.
pub fn schema() -> Value {
    SCHEMA.clone()
}

/// The same, without a copy.
pub(super) fn shared() -> &'static Value {
    &SCHEMA
}
