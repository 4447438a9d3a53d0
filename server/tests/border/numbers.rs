//! Numbers of subjects are a client's own, and take a place in a table that all share.

use crate::play::Play;
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_shard::CloseReason;
use ringbolt_shard::metrics::Counter;

/// Clients of four fill the table.
const CLIENTS: usize = 4;

fn take_numbers(play: &mut Play, name: &str) -> usize {
    play.native(0, |client| {
        client.subscribe(1, "flood", None, SlowConsumer::Default);
        (1..=8).for_each(|number| client.intern(number, &format!("{name}.{number}")));
    })
}

#[test]
fn numbers_of_who_ends_are_free_for_others_however_it_ends() {
    let ends: [fn(&mut Play, usize); 3] = [
        |play, client| play.close(client),
        |play, client| play.say(client, &[0x55; 40]),
        |play, client| {
            // More in one turn than an outbox holds.
            play.nats(0, &format!("PUB flood 1000\r\n{}\r\n", "x".repeat(1000)).repeat(40));
            assert_eq!(play.reason(client), Some(CloseReason::SlowConsumer));
        },
    ];
    for end in ends {
        let mut play = Play::new(1);
        let clients: Vec<usize> =
            (0..CLIENTS).map(|number| take_numbers(&mut play, &format!("client{number}"))).collect();
        assert_eq!(play.count(Counter::InternedSubjects), 32);
        let late = take_numbers(&mut play, "late");
        assert_eq!(play.hear(late).matches("InternLimit").count(), 8, "the table is full of theirs");
        clients.into_iter().for_each(|client| end(&mut play, client));
        play.close(late);
        assert_eq!(play.count(Counter::InternedSubjects), 0);
        let next = take_numbers(&mut play, "next");
        assert_eq!((play.hear(next), play.count(Counter::InternedSubjects)), (String::new(), 8));
    }
}
