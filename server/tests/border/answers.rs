//! Answers come in the order of what they answer.

use crate::play::{CONNECT, Play};

/// A PONG waits until another shard knows the subscription before it, and later answers wait with it.
#[test]
fn a_client_is_answered_in_the_order_it_asked_whatever_an_answer_waits_for() {
    for shards in [1, 2] {
        let mut play = Play::new(shards);
        let connect = CONNECT.replace("\"verbose\":false", "\"verbose\":true");
        let client = play.nats_as(0, &connect, "");
        play.hear(client);
        play.say(client, b"SUB a 1\r\nPING\r\nPUB b 0\r\n\r\nPING\r\nSUB c 2\r\n");
        assert_eq!(play.hear(client), "+OK\nPONG\n+OK\nPONG\n+OK\n", "{shards} shards");
    }
}
