//! Whatever it is, compressed or not.

#![no_main]

#[allow(dead_code)] // Of all its assertions a target makes one.
#[path = "../assertions/import.rs"]
mod import;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| import::import_any(bytes));
