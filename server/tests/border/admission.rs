//! What clients may send before they are admitted: little each, and a bounded amount together.

use crate::play::{CONNECT, Play, connect_as};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{SimClient, small_limits};
use ringbolt_shard::access::{Access, Credential, Permissions, Rule, Rules, Secret, User, Verdict};
use ringbolt_shard::limits::{Limits, SlowConsumerPolicy, UNADMITTED_BYTES_MAX};
use ringbolt_shard::{CloseReason, Dialect};

/// What one client may say while its proof is checked.
const WAITING_BYTES_MAX: usize = 1 << 20;
const SECOND: u64 = 1_000_000_000;
const NEWCOMERS: usize = UNADMITTED_BYTES_MAX / WAITING_BYTES_MAX;

/// A user who is let in at once, and one whose password takes a while to check.
fn access() -> Access {
    let mut access = Access::default();
    let secrets = [("quick", Secret::Plain("x".to_owned())), ("slow", Secret::Bcrypt("hash".to_owned()))];
    for (name, secret) in secrets {
        access.add_user(User::new(name, Credential::Password(secret), 0));
    }
    access
}

fn play() -> Play {
    Play::with(&access(), small_limits(1))
}

/// A client whose proof is being checked, and that says as much meanwhile as it may.
fn newcomer(play: &mut Play) -> usize {
    let words: Vec<u8> = b"PONG\r\n".iter().copied().cycle().take(WAITING_BYTES_MAX).collect();
    let client = play.open(0, Dialect::Nats);
    play.say(client, connect_as("slow").as_bytes());
    play.say(client, &words);
    client
}

fn crowd(play: &mut Play) -> Vec<usize> {
    let crowd: Vec<usize> = (0..NEWCOMERS).map(|_| newcomer(play)).collect();
    assert!(crowd.iter().all(|&client| play.reason(client).is_none()), "there is room for them");
    crowd
}

#[test]
fn before_hello_a_native_client_has_room_for_no_more_than_one() {
    let mut words = SimClient::default();
    words.publish("a", &[0; 5 << 10]);
    let words = words.take_written();
    let mut play = Play::new(1);
    let client = play.open(0, Dialect::Native);
    play.say(client, &words[..64]);
    assert!(play.hear(client).starts_with("close ProtocolError "), "its first bytes say how long it is");
    assert_eq!(play.reason(client), Some(CloseReason::ProtocolError));
    // Whoever is admitted may say it, however it is cut.
    let client = play.native(0, |client| client.subscribe(1, "a", None, SlowConsumer::Default));
    let limits = small_limits(1);
    let mut allowed = SimClient::default();
    allowed.publish("a", &vec![b'x'; limits.payload_bytes_max]);
    allowed.take_written().chunks(1000).for_each(|chunk| play.say(client, chunk));
    assert_eq!((play.hear(client).len(), play.reason(client)), (limits.payload_bytes_max + 7, None));
}

#[test]
fn what_all_say_before_they_are_admitted_is_bounded_and_others_are_served() {
    let mut play = play();
    let listener = play.nats_as(0, &connect_as("quick"), "SUB a 1\r\n");
    let crowd = crowd(&mut play);
    // What is too much costs the one who said it; a HELLO or CONNECT has room, in whatever pieces it comes.
    let late = newcomer(&mut play);
    assert_eq!(play.reason(late), Some(CloseReason::UnadmittedBytes));
    assert!(play.hear(late).ends_with("-ERR 'maximum bytes of unauthenticated connections exceeded'\n"));
    let slow = play.open(0, Dialect::Nats);
    let native = play.open(0, Dialect::Native);
    let mut hello = SimClient::default();
    hello.hello();
    let hello = hello.take_written();
    connect_as("quick").as_bytes().iter().for_each(|byte| play.say(slow, &[*byte]));
    hello.iter().for_each(|byte| play.say(native, &[*byte]));
    play.say(slow, b"PING\r\n");
    assert!(play.hear(slow).ends_with("PONG\n"));
    assert_eq!((play.reason(slow), play.reason(native)), (None, None));
    // Those who were admitted go on, also with what comes in pieces, and so do those who say it at once.
    let publisher = play.nats_as(0, &connect_as("quick"), "PUB a 5\r\nwo");
    play.say(publisher, b"rds\r\n");
    assert_eq!(play.hear(listener), "MSG a 1 5\nwords\n");
    play.native(0, |client| client.publish("a", b"hello"));
    assert_eq!(play.hear(listener), "MSG a 1 5\nhello\n");
    // There is room again for what one said who is admitted, refused, or goes.
    play.verify(crowd[0], Verdict::Proven);
    play.verify(crowd[1], Verdict::Unproven);
    play.close(crowd[2]);
    for _ in 0..3 {
        let client = newcomer(&mut play);
        assert_eq!(play.reason(client), None);
    }
    let client = newcomer(&mut play);
    assert_eq!(play.reason(client), Some(CloseReason::UnadmittedBytes));
}

#[test]
fn who_says_more_than_may_wait_is_closed_alone() {
    let mut play = play();
    let (greedy, other) = (newcomer(&mut play), newcomer(&mut play));
    play.say(greedy, b"x");
    assert_eq!(play.reason(greedy), Some(CloseReason::UnadmittedBytes));
    play.verify(other, Verdict::Proven);
    play.say(other, b"\r\nPING\r\n");
    assert!(play.hear(other).ends_with("PONG\n"), "what it said while it waited was kept whole");
}

#[test]
fn who_is_not_admitted_in_time_is_closed_whatever_it_waits_for() {
    let mut play = play();
    let silent = [play.open(0, Dialect::Nats), play.open(0, Dialect::Native)];
    for _ in 0..2 {
        let crowd = crowd(&mut play);
        play.pass(4_000_000_000);
        assert!(crowd.iter().all(|&client| play.reason(client).is_none()));
        play.pass(2_000_000_000);
        for client in crowd {
            assert_eq!(play.reason(client), Some(CloseReason::AdmissionTimeout));
            assert!(play.hear(client).ends_with("-ERR 'Authentication Timeout'\n"));
            // A verdict that comes after that is nobody's.
            play.verify(client, Verdict::Proven);
        }
    }
    assert_eq!(silent.map(|client| play.reason(client)), [Some(CloseReason::AdmissionTimeout); 2]);
    let client = play.nats_as(0, CONNECT, "");
    assert_eq!(play.reason(client), Some(CloseReason::Authorization));
}

#[test]
fn who_proves_anew_who_it_is_has_all_its_time_again() {
    let mut play = play();
    let client = play.nats_as(0, &connect_as("quick"), "");
    for _ in 0..10 {
        play.pass(SECOND);
        play.say(client, b"PONG\r\n");
    }
    play.say(client, connect_as("slow").as_bytes());
    play.pass(2 * SECOND);
    assert_eq!(play.reason(client), None, "it began two seconds ago");
    play.pass(4 * SECOND);
    assert_eq!(play.reason(client), Some(CloseReason::AdmissionTimeout));
}

#[test]
fn a_publisher_that_is_held_back_as_soon_as_it_is_let_in_is_not_received_from() {
    let mut play = play();
    let slow = play.nats_as(0, &connect_as("quick"), "SUB a 1\r\n");
    play.deafen(slow);
    let limits = Limits { slow_consumer: SlowConsumerPolicy::PausePublisher, ..small_limits(1) };
    play.change(&access(), &limits);
    let publisher = play.open(0, Dialect::Nats);
    play.say(publisher, connect_as("slow").as_bytes());
    assert!(play.is_held_back(publisher), "its proof is checked");
    let line = format!("PUB a 2000\r\n{}\r\n", "x".repeat(2000));
    play.say(publisher, line.repeat(9).as_bytes());
    play.verify(publisher, Verdict::Proven);
    assert!(play.is_held_back(publisher), "its receiver is full");
    play.close(slow);
    assert!(!play.is_held_back(publisher));
}

#[test]
fn rights_that_were_taken_back_while_a_proof_is_checked_are_gone_at_once() {
    let with = |denied: &[&str]| {
        let mut access = Access::default();
        for name in ["slow", "other"] {
            let mut user = User::new(name, Credential::Password(Secret::Bcrypt("hash".to_owned())), 0);
            let deny = denied.iter().filter_map(|rule| Rule::parse(rule)).collect();
            let subscribe = Rules { allow: None, deny };
            user.permissions = Some(Permissions { subscribe, ..Permissions::default() });
            access.add_user(user);
        }
        access
    };
    let mut play = Play::with(&with(&[]), small_limits(1));
    let connect = |play: &mut Play, name: &str| {
        let client = play.open(0, Dialect::Nats);
        play.say(client, connect_as(name).as_bytes());
        play.verify(client, Verdict::Proven);
        client
    };
    let (reader, publisher) = (connect(&mut play, "slow"), connect(&mut play, "other"));
    play.say(reader, b"SUB secret.> 1\r\nSUB all.> 2\r\n");
    play.hear(reader);
    play.say(reader, connect_as("slow").as_bytes());
    play.change_access(&with(&["secret.>", "all.of.it"]));
    for moment in ["while it is checked", "afterwards"] {
        play.say(publisher, b"PUB secret.a 1\r\ns\r\nPUB all.of.it 1\r\ns\r\nPUB all.else 1\r\nx\r\n");
        let heard = play.hear(reader);
        assert!(!heard.contains("secret.a") && !heard.contains("all.of.it"), "{moment}: {heard}");
        assert!(heard.contains("all.else"), "{moment}: {heard}");
        play.verify(reader, Verdict::Proven);
    }
}

#[test]
fn who_says_too_much_while_a_proof_is_checked_is_told_why_it_is_closed() {
    let mut play = play();
    let client = play.open(0, Dialect::Nats);
    play.say(client, connect_as("slow").as_bytes());
    play.hear(client);
    play.say(client, &b"PONG\r\n".repeat(1 << 18));
    assert!(play.hear(client).contains("maximum bytes of unauthenticated connections exceeded"));
    assert_eq!(play.reason(client), Some(CloseReason::UnadmittedBytes));
}
