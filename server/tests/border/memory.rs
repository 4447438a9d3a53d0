//! What clients may have the server keep: nobody takes what others need.

use crate::play::Play;
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::small_limits;
use ringbolt_shard::CloseReason;
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;

const SECOND: u64 = 1_000_000_000;

fn play(limits: Limits) -> Play {
    Play::with(&Access::default(), limits)
}

/// Room for two messages of 3000 bytes to be gathered, and large are those of 1000.
fn gathering() -> Play {
    play(Limits { gathered_bytes_max: 7000, gathered_bytes_min: 1000, ..small_limits(1) })
}

/// A NATS client that has begun a message, of which so many bytes are there.
fn beginner(play: &mut Play, there: usize) -> usize {
    let begun = format!("PUB a 3000\r\n{}", "x".repeat(there));
    play.nats(0, &begun)
}

#[test]
fn large_messages_are_gathered_as_far_as_there_is_room_and_the_others_wait_in_line() {
    let mut play = gathering();
    let listener = play.nats(0, "SUB a 1\r\n");
    let first = [beginner(&mut play, 1), beginner(&mut play, 2000)];
    // In parts, with its line cut, and in a frame.
    let parts = play.nats(0, "PUB a 30");
    play.say(parts, b"00\r\nxxx");
    let native = play.native(0, |_| {});
    let mut words = ringbolt_server::sim::SimClient::default();
    words.publish("a", &[b'x'; 3000]);
    let words = words.take_written();
    play.say(native, &words[..100]);
    let small = play.nats(0, "PUB a 900\r\nx");
    assert_eq!(first.map(|client| play.is_held_back(client)), [false; 2]);
    assert_eq!([parts, native, small].map(|client| play.is_held_back(client)), [true, true, false]);
    assert_eq!(play.count(Counter::MessagesWaiting), 2);
    // What they say meanwhile waits with them.
    play.say(parts, &[b'x'; 2997]);
    play.say(parts, b"\r\nPING\r\n");
    play.say(small, format!("{}\r\n", "x".repeat(899)).as_bytes());
    assert!(play.hear(listener).starts_with("MSG a 1 900\n"));
    play.say(first[1], format!("{}\r\n", "x".repeat(1000)).as_bytes());
    assert!(!play.is_held_back(parts) && play.hear(parts).ends_with("PONG\n"));
    assert!(!play.is_held_back(native), "who was first in line is done");
    play.say(native, &words[100..]);
    assert_eq!(play.hear(listener).matches("MSG a 1 3000\n").count(), 3);
    play.close(first[0]);
    assert_eq!((play.count(Counter::MemoryGathered), play.count(Counter::MessagesWaiting)), (0, 0));
}

#[test]
fn who_does_not_go_on_with_a_large_message_is_closed_when_others_wait() {
    let mut play = gathering();
    let (quiet, slow) = (beginner(&mut play, 1), beginner(&mut play, 1));
    play.pass(2 * SECOND);
    assert_eq!((play.reason(quiet), play.reason(slow)), (None, None), "nobody waits");
    let waits = beginner(&mut play, 1);
    play.say(slow, b"x");
    play.pass(SECOND / 2);
    play.say(slow, b"x");
    play.pass(SECOND / 2);
    assert_eq!((play.reason(quiet), play.reason(slow)), (Some(CloseReason::Memory), None));
    assert!(play.hear(quiet).ends_with("-ERR 'Memory Needed By Others'\n"));
    assert!(!play.is_held_back(waits));
    // A byte now and then is no way to keep others waiting.
    let mut last = beginner(&mut play, 1);
    for second in 0..12 {
        play.say(waits, b"x");
        play.say(slow, b"x");
        play.pass(SECOND / 2);
        play.say(slow, b"x");
        play.say(waits, b"x");
        play.pass(SECOND / 2);
        if play.reason(slow).is_some() {
            assert!(second >= 6, "it had ten seconds from when it began");
            last = beginner(&mut play, 1);
            break;
        }
    }
    assert_eq!((play.reason(slow), play.reason(last)), (Some(CloseReason::Memory), None));
}

#[test]
fn one_client_takes_no_more_memory_for_subscriptions_than_it_leaves_to_others() {
    let limits = Limits { memory_bytes_max: 1 << 20, subscriptions_max: 10_000, ..small_limits(1) };
    let mut play = play(limits);
    let refused = "-ERR 'maximum subscriptions exceeded'\n";
    let greedy = play.nats(0, "");
    let subscribe = |play: &mut Play, client: usize, id: usize| {
        play.say(client, format!("SUB {id}.{}* {id}\r\n", "t.".repeat(30)).as_bytes());
        play.hear(client) != refused
    };
    let had = (0..).find(|&id| !subscribe(&mut play, greedy, id)).unwrap_or_default();
    let taken = play.count(Counter::MemoryInterest) as usize;
    // The last one may take a little more than was reckoned.
    let half = (1 << 17) * 9 / 10..=(1 << 17) * 21 / 20;
    assert!(had > 0 && half.contains(&taken), "{had} subscriptions, {taken} bytes");
    let other = play.nats(0, "");
    assert!(subscribe(&mut play, other, 1), "there is as much again for others");
    let native = play.native(0, |client| client.subscribe(1, "a.*", None, SlowConsumer::Default));
    assert_eq!(play.hear(native), "");
    (0..had).for_each(|id| play.say(greedy, format!("UNSUB {id}\r\n").as_bytes()));
    assert!((0..had).all(|id| subscribe(&mut play, greedy, id)), "what ended does not count");
    play.close(greedy);
    play.close(other);
    play.close(native);
    let left = play.count(Counter::MemoryInterest) as usize;
    assert!(left < taken / 3, "{left} bytes are kept for nodes to come");
    let again = play.nats(0, "");
    assert!((0..had).all(|id| subscribe(&mut play, again, id)), "it is given back");
}

#[test]
fn numbers_of_subjects_take_a_part_of_the_memory() {
    let limits = Limits { memory_bytes_max: 4 << 20, interned_subjects_max: 4096, ..small_limits(1) };
    let mut play = play(limits);
    let mut refused = 0;
    for _ in 0..20 {
        let client = play.native(0, |client| client.intern(4096, "a.b"));
        refused += play.hear(client).matches("InternLimit").count();
        // A table for few numbers takes little.
        play.speak(client, |client| client.intern(100, "a.b"));
        assert!(!play.hear(client).contains("InternLimit"));
    }
    assert!((1..20).contains(&refused), "{refused} were refused");
    let taken = play.count(Counter::MemoryConnections);
    assert!(taken <= (4 << 20) / 8 + (20 << 12), "{taken} bytes");
    (0..20).for_each(|client| play.close(client));
    assert_eq!(play.count(Counter::MemoryConnections), 0);
}

#[test]
fn who_takes_nothing_is_cut_when_memory_runs_short_and_who_reads_loses_nothing() {
    let limits = Limits { memory_bytes_max: 256 << 10, outbox_bytes_max: 1 << 20, ..small_limits(1) };
    let mut play = play(limits);
    let reader = play.nats(0, "SUB a 1\r\n");
    let deaf = play.nats(0, "SUB a 1\r\n");
    let half_deaf = play.nats(0, "SUB b 1\r\n");
    play.deafen(deaf);
    play.deafen(half_deaf);
    let publisher = play.nats(0, &format!("PUB b 2\r\nxx\r\nPUB b 3000\r\n{}\r\n", "x".repeat(3000)));
    let message = format!("PUB a 3000\r\n{}\r\n", "x".repeat(3000));
    for _ in 0..200 {
        play.say(publisher, message.as_bytes());
        assert!(play.hear(reader).starts_with("MSG a 1 3000\n"), "who reads gets all");
    }
    assert!(play.count(Counter::DropsEmergency) > 0 && play.count(Counter::OutboxBytes) <= 280 << 10);
    // Also answers are not read.
    (0..3).for_each(|_| play.say(deaf, "PING\r\n".repeat(5000).as_bytes()));
    let closed = |play: &Play| (play.reason(deaf), play.reason(half_deaf));
    assert_eq!(closed(&play), (Some(CloseReason::SlowConsumer), None), "answers come on top of all there is");
    assert!(play.count(Counter::OutboxBytes) < 8 << 10, "what is left is the other's");

    let deaf = play.nats(0, "SUB a 1\r\n");
    play.deafen(deaf);
    play.say(publisher, message.as_bytes());
    play.stall(deaf);
    assert!(play.count(Counter::OutboxBytes) > 3000, "what is being sent is held");
    (0..70).for_each(|_| play.say(publisher, message.as_bytes()));
    play.pass(SECOND / 2);
    assert_eq!(play.reason(deaf), None, "it may be about to read");
    play.pass(SECOND / 2);
    let closed = (play.reason(deaf), play.reason(half_deaf), play.reason(reader));
    assert_eq!(closed, (Some(CloseReason::SlowConsumer), None, None), "the largest goes, and is enough");
}

#[test]
fn messages_with_deadlines_and_answers_between_them_weigh_what_they_take() {
    let mut play = play(small_limits(1));
    let deaf = play.nats(0, "SUB a 1\r\n");
    play.deafen(deaf);
    let block = "NATS/1.0\r\nRingbolt-Deadline: 2500-01-01T00:00:00Z\r\n\r\n";
    let message = format!("HPUB a {0} {0}\r\n{block}\r\n", block.len());
    play.say(deaf, format!("PUB a 0\r\n\r\n{}", message.repeat(10)).as_bytes());
    let before = play.count(Counter::OutboxBytes);
    assert!(before > 10 * (384 + message.len() as u64), "{before}");
    play.say(deaf, format!("PING\r\n{message}PING\r\n").as_bytes());
    assert!(play.count(Counter::OutboxBytes) > before + 384 + 2 * 96);
    play.close(deaf);
    assert_eq!(play.count(Counter::OutboxBytes), 0);
}

#[test]
fn of_whom_most_waits_is_closed_when_too_much_does() {
    let limits = Limits {
        gathered_bytes_max: 1,
        gathered_bytes_min: 1000,
        deferred_bytes_max: 5000,
        ..small_limits(1)
    };
    let mut play = play(limits);
    let first = beginner(&mut play, 1);
    let (modest, greedy) = (beginner(&mut play, 500), beginner(&mut play, 2000));
    play.say(modest, b"xxx");
    assert!(play.count(Counter::MemoryDeferred) > 2500 && play.reason(greedy).is_none());
    play.say(greedy, &[b'x'; 2500]);
    let closed = [first, modest, greedy].map(|client| play.reason(client));
    assert_eq!(closed, [None, None, Some(CloseReason::Memory)]);
    play.say(first, format!("{}\r\n", "x".repeat(2999)).as_bytes());
    play.say(modest, format!("{}\r\nPING\r\n", "x".repeat(2497)).as_bytes());
    assert!(play.hear(modest).ends_with("PONG\n"), "what waited was kept whole");
    assert_eq!(play.count(Counter::MemoryDeferred), 0);
}

#[test]
fn who_leaves_the_line_is_in_nobodys_way() {
    let mut play = play(Limits { gathered_bytes_max: 1, gathered_bytes_min: 1000, ..small_limits(1) });
    let listener = play.nats(0, "SUB a 1\r\n");
    let first = beginner(&mut play, 1);
    let gone = beginner(&mut play, 1);
    // Its line alone is no reason to wait yet: it has said nothing that could not be kept.
    let last = play.nats(0, "PUB a 30");
    play.say(last, b"00\r\n");
    assert_eq!((play.is_held_back(last), play.count(Counter::MessagesWaiting)), (false, 1));
    play.say(last, b"x");
    assert_eq!((play.is_held_back(last), play.count(Counter::MessagesWaiting)), (true, 2));
    play.close(gone);
    assert_eq!(play.count(Counter::MessagesWaiting), 1);
    play.say(first, format!("{}\r\n", "x".repeat(2999)).as_bytes());
    assert!(!play.is_held_back(last));
    play.say(last, format!("{}\r\n", "x".repeat(2999)).as_bytes());
    assert_eq!(play.hear(listener).matches("MSG a 1 3000\n").count(), 2);
    assert_eq!((play.count(Counter::MessagesWaiting), play.count(Counter::MemoryDeferred)), (0, 0));
}

#[test]
fn who_takes_no_headers_gets_the_little_that_is_left_of_a_large_message() {
    let most = 64 << 10;
    let small = small_limits(1);
    let limits = Limits { payload_bytes_max: most / 2, outbox_bytes_max: most, ..small };
    let mut play = play(Limits { mesh_pending_bytes_max: most, ..limits });
    let connect = "CONNECT {\"verbose\":false}\r\n";
    let plain = play.nats_as(0, connect, "SUB a 1\r\n");
    let block = format!("NATS/1.0\r\nA: {}\r\n\r\n", "x".repeat(20_000));
    let publisher = play.nats(0, &format!("HPUB a {} {}\r\n{block}", block.len(), block.len() + 1));
    play.say(publisher, b"!\r\n");
    assert_eq!(play.hear(plain), "MSG a 1 1\n!\n", "without the headers it did not ask for");
}
