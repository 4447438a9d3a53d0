//! Headers that the server alone writes. Nobody is believed who writes them in its place.

use crate::play::{Play, hpub, reply_in};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::shard::metrics::Counter;

const SECOND: u64 = 1_000_000_000;
const OWNED: [&str; 9] = [
    "Ringbolt-Deliveries",
    "Ringbolt-Reply",
    "Ringbolt-Subject",
    "Ringbolt-Reason",
    "Ringbolt-Class",
    "Ringbolt-Accepted",
    "Ringbolt-Delivered",
    "Ringbolt-Error",
    "Ringbolt-Gathered",
];

#[test]
fn headers_of_the_server_are_taken_out_of_what_clients_publish_and_all_else_is_kept() {
    let mut lines =
        "Trace:  a b \r\nTrace: c\r\nringbolt-Deliveriesx: 1\r\nX: Ringbolt-Reply: y\r\n".to_owned();
    let kept = format!("NATS/1.0|{}|", lines.replace("\r\n", "|"));
    for name in OWNED {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            lines = format!("{name}: 65535\r\n{lines}{name} : 7\r\n{name}:8\r\n");
        }
    }
    for shards in [1, 2] {
        let mut play = Play::new(shards);
        let far = shards as u16 - 1;
        let nats = play.nats(far, "SUB a 1\r\n");
        let native = play.native(far, |client| client.subscribe(1, "a", None, SlowConsumer::Default));
        let block = format!("NATS/1.0\r\n{lines}\r\n");
        play.nats(0, &hpub("a", "", &lines, "hi"));
        let publisher = play.native(0, |client| client.publish_with_headers("a", None, &block, b"hi"));
        assert_eq!(play.hear(publisher), "");
        let bytes = kept.len() + kept.matches('|').count();
        let heard = play.hear(nats).replace('\n', "|");
        assert_eq!(heard, format!("HMSG a 1 {bytes} {}|{kept}hi|", bytes + 2).repeat(2));
        assert_eq!(play.hear(native), format!("1 0 - {kept}hi\n").repeat(2));
    }
}

/// Deliveries of a message as its member is told of them, one after the other, each failed at once.
fn deliveries(play: &mut Play, member: usize, words: &str) -> Vec<String> {
    let mut counts = Vec::new();
    for _ in 0..20 {
        let heard = play.hear(member);
        if !heard.contains("$JS.ACK.") {
            break;
        }
        let reply = reply_in(&heard);
        let told = heard
            .split("Ringbolt-Deliveries: ")
            .nth(1)
            .map_or("-", |rest| rest.lines().next().unwrap_or("-"));
        counts.push(format!("{}/{told}", reply.split('.').nth(4).unwrap_or_default()));
        play.say(member, format!("PUB {reply} {}\r\n{words}\r\n", words.len()).as_bytes());
        play.pass(SECOND);
    }
    counts
}

const MEMBER: &str = "SUB job g;ack;max=3;poison=9;backoff=1ms..1ms;breaker=off 1\r\n";

#[test]
fn a_publisher_does_not_say_how_often_its_message_was_delivered() {
    for said in ["0", "1", "4", "65534", "65535", "65536", "-1", "x"] {
        for native in [false, true] {
            let mut play = Play::new(1);
            let member = play.nats(0, MEMBER);
            let line = format!("Ringbolt-Deliveries: {said}\r\n");
            if native {
                let block = format!("NATS/1.0\r\n{line}\r\n");
                play.native(0, |client| client.publish_with_headers("job", None, &block, b"do"));
            } else {
                play.nats(0, &hpub("job", "", &line, "do"));
            }
            assert_eq!(deliveries(&mut play, member, "-NAK"), ["1/-", "2/2", "3/3"], "{said}");
            assert_eq!(play.count(Counter::DeadLettersExhausted), 1);
        }
    }
}

#[test]
fn a_dead_letter_that_is_sent_again_counts_anew() {
    let mut play = Play::new(1);
    let member = play.nats(0, MEMBER);
    let mourner = play.nats(0, "SUB $DLQ.> 9\r\n");
    play.nats(0, "PUB job 2\r\ndo\r\n");
    for _ in 0..3 {
        assert_eq!(deliveries(&mut play, member, "-NAK"), ["1/-", "2/2", "3/3"]);
        let letter = play.hear(mourner);
        assert!(letter.contains("Ringbolt-Deliveries: 3\n"), "{letter}");
        assert_eq!(play.replay(), 1);
    }
    assert_eq!(deliveries(&mut play, member, "-NAK"), ["1/-", "2/2", "3/3"]);
    // By hand, with all that the letter says.
    let letter = play.hear(mourner);
    let lines =
        letter.split("NATS/1.0\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    play.nats(0, &hpub("job", "", &format!("{}\r\n", lines.replace('\n', "\r\n")), "do"));
    assert_eq!(deliveries(&mut play, member, "-NAK"), ["1/-", "2/2", "3/3"]);
    assert_eq!(play.hear(mourner).matches("Ringbolt-Reason").count(), 1);
}

#[test]
fn a_group_that_works_dead_letters_off_has_its_own_count() {
    let mut play = Play::new(1);
    let member = play.nats(0, MEMBER);
    let undertaker = play.nats(0, "SUB $DLQ.> u;ack;max=4;poison=9;backoff=1ms..1ms;breaker=off 1\r\n");
    play.nats(0, "PUB job 2\r\ndo\r\n");
    assert_eq!(deliveries(&mut play, member, "-NAK").len(), 3);
    assert_eq!(deliveries(&mut play, undertaker, "-NAK"), ["1/3", "2/2", "3/3", "4/4"]);
}

#[test]
fn a_message_that_moves_to_another_shard_keeps_its_count() {
    let mut play = Play::new(2);
    let first = play.nats(0, MEMBER);
    play.nats(0, "PUB job 2\r\ndo\r\n");
    let reply = reply_in(&play.hear(first));
    play.say(first, format!("PUB {reply} 4\r\n-NAK\r\n").as_bytes());
    play.close(first);
    let second = play.nats(1, MEMBER);
    play.pass(SECOND);
    assert_eq!(deliveries(&mut play, second, "-NAK"), ["2/2", "3/3"]);
}
