//! Any bytes as a stream of native frames.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/checks/native_decode.rs"]
mod native_decode;

fuzz_target!(|input: &[u8]| {
    native_decode::check(input);
});
