//! Clojure's notation.

#![no_main]

#[path = "../assertions/import.rs"]
mod import;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| import::import_edn(bytes));
