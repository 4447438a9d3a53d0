//! A server without work takes no processor time.

use crate::server::Server;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Share of one core that the server took while nothing happened.
fn idle_share(server: &Server) -> f64 {
    let (before, started) = (server.cpu_time(), Instant::now());
    sleep(Duration::from_secs(4));
    (server.cpu_time() - before).as_secs_f64() / started.elapsed().as_secs_f64()
}

#[test]
fn an_idle_server_takes_less_than_a_hundredth_of_a_core() {
    for wait in ["balanced", "efficient"] {
        let server = Server::start(&["--cores", "0,1", "--wait", wait]);
        let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.subscribe("idle", None);
        }
        // Time is counted in hundredths of a second: one look may fall on a busy one.
        let share = idle_share(&server).min(idle_share(&server));
        eprintln!("{wait}: {:.2} % of a core", 100.0 * share);
        assert!(share < 0.01, "{wait}: {share}");
    }
}
