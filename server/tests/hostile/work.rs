//! Attacks by requests and by groups whose members acknowledge.

use crate::nats::Nats;
use crate::victim::during;

/// A request that the server looks after for a long time.
fn watched(number: usize) -> String {
    let block = "NATS/1.0\r\nRingbolt-Deadline: 2500-01-01T00:00:00Z\r\n\r\n";
    format!("HPUB c6.ask c6.inbox.{number} {0} {0}\r\n{block}\r\n", block.len())
}

#[test]
fn requests_are_watched_until_the_year_2500() {
    during("C6 watched requests", &[], |server| {
        let mut responder = Nats::connect(&server.nats);
        responder.say("SUB c6.ask 1\r\nUNSUB 1 70000\r\n");
        responder.sync();
        let mut nats = Nats::connect(&server.nats);
        for from in (0..60_000).step_by(500) {
            nats.say(&(from..from + 500).map(watched).collect::<String>());
            nats.sync();
        }
        assert!(server.metric("ringbolt_requests_watched") > 20_000.0);
        drop(nats);
        server.await_metric("ringbolt_requests_watched", |watched| watched == 0.0);
        responder
    });
}
