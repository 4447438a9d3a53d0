//! What the loops write to the log when something goes on and on.

use ringbolt_server::config::WaitMode;
use ringbolt_server::sim::edge::{LISTENERS, Server, Shape, Whim};
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::Access;
use ringbolt_shard::metrics::Counter;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Somebody waits at every listener, and there is a place for nobody.
#[test]
fn accepts_that_fail_at_every_tick_are_reported_now_and_then() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let (limits, access, wait) = (small_limits(1), Access::default(), WaitMode::Efficient);
    let mut server = Server::new(&Shape { limits, access, wait, slots: 0, proofs_waiting_max: 1, seed: 1 });
    LISTENERS.into_iter().for_each(|listener| assert!(server.connect(0, listener) < LISTENERS.len()));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..250 {
            while let Some(&first) = server.moves(0).first() {
                server.take(0, first, Whim::Plain);
            }
            server.run(0);
            server.pass(100_000_000);
        }
    });
    let failures = server.count(Counter::ConnectionsRefused);
    assert!(failures > 100, "{failures}");
    let text = String::from_utf8(lines.0.lock().expect("nobody panics").clone()).expect("UTF-8");
    let reports = text.lines().filter(|line| line.contains("accepting paused")).count();
    assert_eq!(reports, 3, "in 25 seconds: {text}");
}
