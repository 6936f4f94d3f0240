//! The logs of Porcupine's tests: text, and EDN.

#![no_main]

#[path = "../assertions/import.rs"]
mod import;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| import::import_logs(bytes));
