//! All engines over one small history.

#![no_main]

#[path = "../assertions/engines.rs"]
mod engines;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    engines::agree(bytes);
});
