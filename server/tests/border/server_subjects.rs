//! Subjects that the server alone publishes to. Nothing a client says is taken for its word.

use crate::play::{Play, connect_as, hpub, reply_in, user};
use ringbolt_protocol::command::{Flags, SubjectRef};
use ringbolt_protocol::native::batch::BatchWriter;
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::{Access, Link, LinkKind, Mapping, User};
use ringbolt_shard::metrics::Counter;

const KEPT: [&str; 3] = ["$EVENTS.poison", "$EVENTS.breaker.open", "$DLQ.rejected.job"];

#[test]
fn nobody_publishes_what_only_the_server_says() {
    for shards in [1, 2] {
        let mut play = Play::new(shards);
        let far = shards as u16 - 1;
        let nats = play.nats(far, "SUB > 1\r\nSUB $EVENTS.> 2\r\nSUB $DLQ.> 3\r\n");
        let native = play.native(far, |client| client.subscribe(1, ">", None, SlowConsumer::Default));
        for subject in KEPT {
            // Twice: a publisher that stays with its subject is not checked anew.
            let publisher = play.nats(0, &format!("PUB {subject} 1\r\nx\r\n").repeat(3));
            let refused = format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\n");
            assert_eq!(play.hear(publisher), refused.repeat(3));
            play.say(publisher, hpub(subject, "", "A: b\r\n", "x").as_bytes());
            assert_eq!(play.hear(publisher), refused);
        }
        for subject in KEPT {
            let publisher = play.native(0, |client| {
                client.publish(subject, b"x");
                client.intern(1, subject);
                client.publish_as(SubjectRef::Interned(1), None, 0, b"x");
                client.garbage(&batch(subject));
            });
            let heard = play.hear(publisher);
            assert_eq!(heard.matches("InvalidSubject").count(), 3, "{heard}");
            assert_eq!(heard.matches("UnknownInternedSubject").count(), 1, "{heard}");
        }
        assert_eq!((play.hear(nats), play.hear(native)), (String::new(), String::new()));
    }
}

fn batch(subject: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let subject = SubjectRef::Literal(subject.as_bytes());
    let batch = BatchWriter::publish(&mut frame, Flags::default(), 0, 0, subject);
    batch.message_head(1, &mut frame);
    frame.push(b'x');
    batch.finish(&mut frame);
    frame
}

/// As in any account of nats-server but that of the system.
#[test]
fn what_is_published_for_the_system_is_an_ordinary_message() {
    let mut play = Play::new(1);
    let listener = play.nats(0, "SUB $SYS.> 1\r\n");
    play.nats(0, "PUB $SYS.x 1\r\nx\r\n");
    play.native(0, |client| client.publish("$SYS.y", b"y"));
    assert_eq!(play.hear(listener), "MSG $SYS.x 1 1\nx\nMSG $SYS.y 1 1\ny\n");
}

#[test]
fn no_answer_may_be_asked_to_what_only_the_server_says() {
    let mut play = Play::new(1);
    let listener = play.nats(0, "SUB $EVENTS.> 1\r\nSUB $DLQ.> 2\r\n");
    let member = play.nats(0, "SUB job g;ack 1\r\n");
    for reply in KEPT {
        let confirm = hpub("job", reply, "Nats-Expected-Stream: ringbolt\r\n", "do");
        let nats = play.nats(0, &format!("{confirm}PUB job {reply} 2\r\ndo\r\n"));
        let refused = format!("-ERR 'Permissions Violation for Publish with Reply of \"{reply}\"'\n");
        assert_eq!(play.hear(nats), refused.repeat(2));
        let native = play.native(0, |client| {
            client.publish_as(SubjectRef::Literal(b"job"), Some(reply), 0, b"do");
        });
        assert!(play.hear(native).starts_with("InvalidSubject"), "{reply}");
    }
    assert_eq!((play.hear(listener), play.count(Counter::WorkMessages)), (String::new(), 0));
    play.nats(0, "PUB job 2\r\ndo\r\n");
    let given = reply_in(&play.hear(member));
    play.say(member, format!("PUB {given} $EVENTS.poison 4\r\n+ACK\r\n").as_bytes());
    assert_eq!((play.hear(listener), play.count(Counter::WorkMessages)), (String::new(), 0));
}

/// Subjects are renamed between accounts, but not into the server's own.
#[test]
fn another_accounts_message_does_not_become_what_the_server_says() {
    let link = |from, pattern: &str, to, mapping| Link {
        kind: LinkKind::Stream,
        from,
        pattern: pattern.to_owned(),
        to,
        mapping,
    };
    let mut access = Access::default();
    let other = access.add_account("other").expect("one more");
    for (name, account) in [("ann", 0), ("bob", other)] {
        access.add_user(User { permissions: None, ..user(name, account, &[], &[]) });
    }
    access.links.push(link(0, "a.>", other, Mapping::Prefix("$EVENTS".to_owned())));
    access.links.push(link(0, "$DLQ.>", other, Mapping::Same));
    let mut play = Play::with(&access, small_limits(1));
    let bob = play.nats_as(0, &connect_as("bob"), "SUB $EVENTS.> 1\r\nSUB $DLQ.> 2\r\n");
    let ann = play.nats_as(0, &connect_as("ann"), "PUB a.b 1\r\nx\r\n");
    assert_eq!(play.hear(bob), "");
    play.say(ann, hpub("none", "", "Ringbolt-Unroutable: dead-letter\r\n", "x").as_bytes());
    assert!(play.hear(bob).starts_with("HMSG $DLQ.unroutable.none 2"), "what the server says goes on");
}
