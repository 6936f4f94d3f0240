//! The logs of Porcupine's tests: text, and EDN.

#![no_main]

#[allow(dead_code)] // Of all its assertions a target makes one.
#[path = "../assertions/import.rs"]
mod import;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| import::import_logs(bytes));
