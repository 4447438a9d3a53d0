//! Clients' words in what the server writes: they are one value, and never more than that.

use crate::play::{Play, reply_in};
use ringbolt_protocol::native::control::SlowConsumer;

const ODD: [&str; 9] = ["\r", "\n", "\x0b", "\x0c", "\x1c", "\x00", "\x7f", "\u{85}", "\u{2028}"];

/// No byte of a block of headers is a control but those that end its lines.
fn assert_clean(heard: &str) {
    let block = heard.split("NATS/1.0").nth(1).unwrap_or_else(|| panic!("{heard}"));
    let block = block.split("\n\n").next().unwrap_or_default();
    assert!(!block.contains("\\x0") && !block.contains("\\x1") && !block.contains("\\x7f"), "{block}");
    assert!(
        !block.contains("\\r") && !block.contains("\\xc2\\x85") && !block.contains("\\xe2\\x80\\xa8"),
        "{block}"
    );
    assert!(!block.lines().any(|line| line.starts_with("Injected")), "{block}");
}

#[test]
fn why_a_member_failed_a_message_is_one_line_of_a_letter() {
    for odd in ODD {
        for native in [false, true] {
            let mut play = Play::new(1);
            let mourner = play.nats(0, "SUB $DLQ.> 9\r\n");
            let words = format!("+TERM bad{odd}Injected: yes{odd}{odd}more");
            if native {
                let member =
                    play.native(0, |client| client.subscribe(1, "job", Some("g;ack"), SlowConsumer::Default));
                play.nats(0, "PUB job 2\r\ndo\r\n");
                let reply = play.hear(member).split(' ').nth(2).unwrap_or_default().to_owned();
                play.speak(member, |client| client.publish(&reply, words.as_bytes()));
            } else {
                let member = play.nats(0, "SUB job g;ack 1\r\n");
                play.nats(0, "PUB job 2\r\ndo\r\n");
                let reply = reply_in(&play.hear(member));
                play.say(member, format!("PUB {reply} {}\r\n{words}\r\n", words.len()).as_bytes());
            }
            let letter = play.hear(mourner);
            assert!(letter.contains("Ringbolt-Error: bad"), "{letter}");
            assert_clean(&letter);
        }
    }
}

#[test]
fn subjects_and_reply_subjects_are_one_value_of_a_header() {
    for odd in ODD.into_iter().filter(|odd| !["\r", "\n"].contains(odd)) {
        let mut play = Play::new(1);
        let mourner = play.nats(0, "SUB $DLQ.> 9\r\n");
        let member = play.nats(0, "SUB job.* g;ack;max=1;backoff=1ms..1ms 1\r\n");
        play.nats(0, &format!("PUB job.a{odd}b in.c{odd}d 2\r\ndo\r\n"));
        let given = play.hear(member);
        assert_clean(&given);
        let reply = reply_in(&given);
        play.say(member, format!("PUB {reply} 4\r\n-NAK\r\n").as_bytes());
        assert_clean(&play.hear(mourner));
        let asker = play.nats(0, &format!("SUB in 1\r\nPUB no{odd}body in 1\r\nx\r\n"));
        let answer = play.hear(asker);
        assert!(answer.contains(" 503\nNats-Subject: no"), "{answer}");
        assert_clean(&answer);
    }
}

#[test]
fn what_an_error_repeats_is_quoted() {
    let mut play = Play::new(1);
    let client = play.nats(0, "PUB $GR.a\x0b\x01\x7f\"b\\ 0\r\n\r\nPUB a _R_.\x0c 0\r\n\r\n");
    // As Go quotes it; what is shown here is escaped once more.
    assert_eq!(
        play.hear(client),
        "-ERR 'Permissions Violation for Publish to \"$GR.a\\\\v\\\\x01\\\\x7f\\\\\"b\\\\\\\\\"'\n\
         -ERR 'Permissions Violation for Publish with Reply of \"_R_.\\\\f\"'\n"
    );
}

#[test]
fn the_name_of_a_group_is_one_token_of_where_it_acknowledges() {
    for name in ["a\x0bb", "a.b", "*", ">", "a\x00", "é"] {
        let mut play = Play::new(1);
        let member = play.nats(0, &format!("SUB job {name};ack 1\r\nPUB job 2\r\ndo\r\n"));
        let reply = reply_in(&play.hear(member));
        assert_eq!(reply.split('.').count(), 9, "{reply}");
        assert!(!reply.contains("\\x0") && !reply.contains('*') && !reply.contains('>'), "{reply}");
    }
}
