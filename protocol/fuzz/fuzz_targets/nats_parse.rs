//! Any bytes as a stream of a NATS client.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/checks/nats_parse.rs"]
mod nats_parse;

fuzz_target!(|input: &[u8]| {
    nats_parse::check(input);
});
