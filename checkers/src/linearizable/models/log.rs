//! A log to which entries are appended.
