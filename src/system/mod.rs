//! Systems under test, described in YAML.
