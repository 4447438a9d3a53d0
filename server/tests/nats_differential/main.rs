//! The same transcripts played to nats-server and to ringbolt: the answers are the same, but for the
//! differences that `docs/NATS.md` lists.
//!
//! `RINGBOLT_NATS_SERVER` names the nats-server to compare with; without it nothing is compared, and the
//! test says so. `RINGBOLT_TRANSCRIPTS` is how many are played, `RINGBOLT_SEED` with which first seed.

mod compare;
mod play;
mod servers;
mod transcript;

use compare::difference;
use play::play;
use servers::Servers;
use std::sync::atomic::{AtomicU64, Ordering};
use transcript::Transcript;

const TRANSCRIPTS_DEFAULT: u64 = 1000;
/// More than cores: a player mostly waits for answers.
const PLAYERS: u64 = 4;

fn number_of(variable: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{variable} is a number"))
}

fn compare_all(shards: u32, users: Option<&str>, first_seed: u64) {
    let transcripts = number_of("RINGBOLT_TRANSCRIPTS", TRANSCRIPTS_DEFAULT);
    let first_seed = number_of("RINGBOLT_SEED", first_seed);
    let Some(servers) = Servers::start(shards, users) else {
        eprintln!("RINGBOLT_NATS_SERVER names no nats-server: nothing is compared");
        return;
    };
    let next = AtomicU64::new(first_seed);
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first_seed + transcripts {
                        return;
                    }
                    let transcript = Transcript::generate(seed, users.is_some());
                    let (theirs, ours) =
                        (play(&transcript, servers.nats), play(&transcript, servers.ringbolt));
                    if let Some(difference) = difference(&transcript, &theirs, &ours, shards > 1) {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        panic!("RINGBOLT_SEED={seed} RINGBOLT_TRANSCRIPTS=1, {shards} shards\n{difference}");
                    }
                }
            });
        }
    });
}

#[test]
fn transcripts_are_answered_like_nats_server_does() {
    compare_all(1, None, 0);
}

#[test]
fn transcripts_across_shards_are_answered_like_nats_server_does() {
    compare_all(2, None, 1 << 32);
}

const USERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nats_differential/users.conf");

#[test]
fn users_may_what_they_may_with_nats_server() {
    compare_all(1, Some(USERS), 1 << 33);
}
