//! The test file: what a person writes, checked with file, line and column.
