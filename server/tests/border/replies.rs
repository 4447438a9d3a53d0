//! A reply subject that is no subject is nobody's.

use crate::play::{Play, hpub};
use ringbolt_protocol::native::control::SlowConsumer;

#[test]
fn a_reply_subject_that_is_none_is_not_routed() {
    for reply in ["in..x", ".in", "in.", "."] {
        for header in [
            "Ringbolt-Gather: 1\r\nRingbolt-Deadline: 1970-01-01T00:00:01Z",
            "Ringbolt-Deadline: 1970-01-01T00:00:01Z",
            "Nats-Expected-Stream: ringbolt",
        ] {
            let mut play = Play::new(1);
            let listener = play.nats(0, "SUB > 1\r\nSUB in.> 2\r\nSUB *.*.* 3\r\nSUB *.* 4\r\n");
            let native = play.native(0, |client| client.subscribe(1, "in.>", None, SlowConsumer::Default));
            play.nats(0, "SUB job g;ack 1\r\n");
            let client =
                play.nats(0, &format!("SUB > 1\r\n{}", hpub("job", reply, &format!("{header}\r\n"), "?")));
            play.hear(listener);
            play.hear(client);
            for publisher in [client, listener] {
                play.say(publisher, format!("PUB {reply} 1\r\nx\r\n").as_bytes());
            }
            (0..20).for_each(|_| play.pass(100_000_000));
            play.say(client, format!("PUB {reply} 1\r\nx\r\n").as_bytes());
            let heard = (play.hear(listener), play.hear(client), play.hear(native));
            assert_eq!(heard, Default::default(), "{reply} {header}");
        }
    }
}
