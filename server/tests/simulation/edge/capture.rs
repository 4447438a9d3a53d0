//! Shards of random runs record themselves, and are run again from what they recorded.

use super::run::Run;
use ringbolt_server::capture::{
    Capture, Difference, End, Entry, Header, Outcome, Payloads, Recorder, Refused, Sink, replay,
};
use ringbolt_server::sim::edge::{File, Server};
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::Access;
use ringbolt_shard::random::Random;
use ringbolt_shard::{Effects, Event, Nanos, ServerIdentity};

const SEEDS: u64 = 250;

/// The captures of a run's shards.
fn captured(seed: u64, payloads: Payloads, bytes_max: u64) -> Vec<Vec<u8>> {
    let mut files: Vec<File> = Vec::new();
    let run = Run::on(seed, true, |shape| {
        let (server, made) = Server::captured(shape, payloads, bytes_max);
        files = made;
        server
    });
    run.play().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    files.into_iter().map(|file| file.0.take()).collect()
}

fn whole(file: &[u8]) -> Capture<'_> {
    let capture = Capture::read(file).expect("a capture");
    assert_eq!(capture.damage, None);
    capture
}

#[test]
fn a_captured_shard_is_replayed_to_the_same_bytes() {
    let (mut events, mut bytes) = (0, 0);
    for seed in 0..crate::seeds::number("RINGBOLT_SEEDS").unwrap_or(SEEDS) {
        let payloads = if seed % 3 == 0 { Payloads::Kept } else { Payloads::Lengths };
        for (shard, file) in captured(seed, payloads, u64::MAX).iter().enumerate() {
            let capture = whole(file);
            assert_eq!(capture.end, Some(End::Stopped));
            match replay(&capture, |_, _, _| {}) {
                Outcome::Same { events: run } => events += run,
                other => panic!("seed {seed}, shard {shard}: {other:?}"),
            }
            bytes += file.len();
            assert!(!contains(file, b"-secret"), "seed {seed}: a password is in the file");
        }
    }
    println!("{events} events, {bytes} bytes");
    assert!(events > 100_000, "the runs are long enough: {events}");
}

#[test]
fn a_capture_that_reached_its_length_is_replayed_as_far_as_it_goes() {
    let mut full = 0;
    for seed in 0..20 {
        for file in captured(seed, Payloads::Lengths, 20_000) {
            let capture = whole(&file);
            full += u32::from(capture.end == Some(End::Full));
            assert!(file.len() <= 20_100, "{} bytes", file.len());
            let outcome = replay(&capture, |_, _, _| {});
            assert!(matches!(outcome, Outcome::Same { .. }), "seed {seed}: {outcome:?}");
        }
    }
    assert!(full > 10, "some are longer: {full}");
}

#[test]
fn a_changed_or_missing_byte_is_told_by_its_position() {
    let mut random = Random::new(1);
    for seed in 0..5 {
        let file = captured(seed, Payloads::Lengths, 300_000).swap_remove(0);
        for _ in 0..300 {
            let place = random.below(file.len() as u32) as usize;
            let mut changed = file.clone();
            changed[place] ^= 1 << random.below(8);
            let told =
                damage_of(&changed).unwrap_or_else(|| panic!("seed {seed}: byte {place} is not missed"));
            assert!(told <= place && place - told < 70_000, "byte {place}, told {told}");
            let told = damage_of(&file[..place]).expect("an end that is missing is told");
            assert!(told <= place && place - told < 70_000, "ends at {place}, told {told}");
        }
    }
}

/// Where a file is damaged.
fn damage_of(file: &[u8]) -> Option<usize> {
    match Capture::read(file) {
        Err(damage) => Some(damage.place.offset),
        Ok(capture) => capture.damage.map(|damage| damage.place.offset),
    }
}

#[test]
fn a_shard_that_answers_otherwise_is_told_by_the_first_record_that_differs() {
    type Change = fn(&mut Header);
    let changes: [(&str, Change); 4] = [
        ("choices among equals", |header| header.random_seed ^= 0xff00),
        ("smaller payloads", |header| header.limits.payload_bytes_max = 256),
        ("fewer subscriptions", |header| header.limits.subscriptions_max = 1),
        ("smaller batches", |header| header.limits.mesh_batch_bytes = 16),
    ];
    for (what, change) in changes {
        let mut told = 0;
        for seed in 0..15 {
            for file in captured(seed, Payloads::Lengths, u64::MAX) {
                let mut capture = whole(&file);
                change(&mut capture.header);
                let outcome = replay(&capture, |_, _, _| {});
                if let Outcome::Differs(Difference { place, .. }) = outcome {
                    told += 1;
                    assert!(place.record < capture.records && place.offset < file.len());
                }
            }
        }
        println!("{what}: {told}");
        assert!(told > 5, "{what} is told: {told}");
    }
}

fn header() -> Header {
    Header {
        version: String::new(),
        shard: 0,
        payloads: Payloads::Lengths,
        limits: small_limits(1),
        access: Access::default(),
        identity: ServerIdentity {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            reply_key: (1, 2),
            unix_epoch_nanos: 0,
            nats: None,
        },
        hash_seed: 3,
        random_seed: 4,
    }
}

#[test]
fn the_last_record_of_a_shard_that_panics_is_what_it_panicked_at() {
    let file = File::default();
    let sink = Box::new(file.clone());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut shard = header().shard();
        let mut recorder = Recorder::new(header(), u64::MAX, sink);
        let mut effects = Effects::default();
        recorder.handle(&mut shard, Nanos(1), Event::Tick, &mut effects);
        // There is no such shard.
        recorder.handle(&mut shard, Nanos(2), Event::MeshRoom(7), &mut effects);
    }));
    assert!(panicked.is_err());
    let file = file.0.take();
    let capture = whole(&file);
    assert_eq!(capture.end, Some(End::Panicked));
    let (_, at, last) = capture.records().last().expect("records");
    assert_eq!((at, last), (Nanos(2), Entry::MeshRoom(7)));
    assert_eq!(replay(&capture, |_, _, _| {}), Outcome::Panicked { events: 2 });
}

/// A disk that takes so many blocks.
struct Narrow(File, usize);

impl Sink for Narrow {
    fn put(&mut self, bytes: Vec<u8>) -> Result<(), Refused> {
        self.1 = self.1.checked_sub(1).ok_or(Refused::Overrun)?;
        self.0.put(bytes)
    }

    fn finish(&mut self, bytes: Vec<u8>) {
        self.0.finish(bytes);
    }
}

#[test]
fn a_capture_that_its_file_does_not_keep_up_with_ends_and_says_so() {
    let file = File::default();
    let mut shard = header().shard();
    let mut recorder = Recorder::new(header(), u64::MAX, Box::new(Narrow(file.clone(), 4)));
    let mut effects = Effects::default();
    for tick in 1..10 {
        recorder.handle(&mut shard, Nanos(tick), Event::Tick, &mut effects);
        assert_eq!(recorder.is_running(), tick < 4, "the header took one of the blocks");
    }
    drop(recorder);
    let file = file.0.take();
    let capture = whole(&file);
    assert_eq!((capture.end, capture.records), (Some(End::Overrun), 3));
    assert_eq!(replay(&capture, |_, _, _| {}), Outcome::Same { events: 3 });
}

fn contains(file: &[u8], text: &[u8]) -> bool {
    file.windows(text.len()).any(|part| part == text)
}
