//! Registers whose store numbers its versions.
