//! What several clients say at random, in both dialects, right and wrong, against the real server: some read
//! slowly or not at all, they end in every way, limits are small, settings are read again, the admin address
//! is asked. Meanwhile two honest clients talk, and when it is over nothing is left of the others.
//!
//! `RINGBOLT_FUZZ_SECONDS=n` goes on for so long, `RINGBOLT_SEED=n` begins with that round. What clients say
//! is the same for a seed; how what they say meets is not.

#[path = "../end_to_end/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
mod honest;
mod life;
mod native_words;
#[path = "../hostile/nats.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod nats;
mod nats_words;
mod round;
#[path = "../end_to_end/server.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod server;
mod settings;
mod words;

use std::time::{Duration, Instant};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_clients_say_the_server_lives_answers_others_and_forgets_them() {
    let time = Duration::from_secs(number("RINGBOLT_FUZZ_SECONDS").unwrap_or(60));
    let first = number("RINGBOLT_SEED").unwrap_or(0);
    let started = Instant::now();
    let mut seed = first;
    while started.elapsed() < time {
        round::play(seed);
        seed += 1;
    }
    println!("{} rounds from seed {first} on", seed - first);
}
