//! How a run ends: everything comes to rest, and what was promised is compared with what was given.

use super::client::Nature;
use super::oracle;
use super::run::{MILLISECOND, Run, judge};
use ringbolt_server::io::platform::WorkKind;
use ringbolt_server::sim::edge::{LISTENERS, Whim};
use ringbolt_shard::metrics::Counter;

/// What the runs came to, to see that they reach what they are for.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outcome {
    pub(super) deliveries: u64,
    exhausted: u64,
    refused: u64,
    waits: u64,
    doorbells: u64,
    pauses: u64,
    cut: u64,
    drained: u64,
    pub(super) reloads: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.deliveries += other.deliveries;
        self.exhausted += other.exhausted;
        self.refused += other.refused;
        self.waits += other.waits;
        self.doorbells += other.doorbells;
        self.pauses += other.pauses;
        self.cut += other.cut;
        self.drained += other.drained;
        self.reloads += other.reloads;
    }

    pub fn is_thorough(&self) -> bool {
        let all = [self.deliveries, self.exhausted, self.refused, self.waits, self.doorbells, self.pauses];
        all.iter().chain(&[self.cut, self.drained, self.reloads]).all(|&count| count > 100)
    }
}

impl Run {
    /// Takes every step there is until nothing moves, again and again while so much time passes.
    fn settle(&mut self, millis: u64, each: u64) -> Result<(), String> {
        for _ in 0..millis.div_ceil(each) {
            let mut rounds = 0;
            while self.settle_now()? {
                rounds += 1;
                if rounds > 20_000 {
                    return Err("it never comes to rest".to_owned());
                }
            }
            if let Some(shard) = self.server.sleeps_on_work() {
                return Err(format!("shard {shard} sleeps although it has work"));
            }
            self.server.pass(each * MILLISECOND);
        }
        Ok(())
    }

    fn settle_now(&mut self) -> Result<bool, String> {
        let mut moved = false;
        for shard in 0..self.server.shards() {
            while let Some(&first) = self.server.moves(shard).first() {
                self.server.take(shard, first, Whim::Plain);
                moved = true;
            }
            moved |= self.server.hear_bell(shard);
            for kind in WorkKind::ALL {
                moved |= self.server.verify(shard, kind, judge);
            }
            moved |= self.server.run(shard);
        }
        self.server.pass(1_000);
        for client in 0..self.clients.len() {
            self.read(client, usize::MAX)?;
        }
        Ok(moved)
    }

    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.settle(300, 50)?;
        self.slow_ones_stand = false;
        let staying: Vec<usize> =
            (0..self.clients.len()).filter(|&client| !self.clients[client].gone).collect();
        for &client in &staying {
            if self.clients[client].nature != Nature::Hostile {
                self.clients[client].mark();
                self.write(client);
            }
        }
        self.settle(500, 50)?;
        if !self.ending {
            for &client in &staying {
                self.check_healthy(client)?;
            }
        }
        let judged = oracle::judge(&self.clients, &self.subscriptions, &self.published);
        judged.map_err(|error| format!("{error} ({:?})", self.drops()))?;
        self.count();
        if self.ending {
            self.settle(15_000, 250)?;
            let (over, left_open) = self.server.over();
            if (over, left_open) != (self.server.shards(), 0) {
                return Err(format!("{over} shards ended, and cut {left_open} connections"));
            }
            self.outcome.drained += 1;
            return Ok(());
        }
        self.everyone_leaves()
    }

    fn check_healthy(&mut self, number: usize) -> Result<(), String> {
        let client = &self.clients[number];
        if client.nature != Nature::Healthy {
            return Ok(());
        }
        if self.server.network.borrow().wires[client.wire].server_ended {
            return Err(format!("client {number} was cut although it kept up"));
        }
        // Who found no slot waits to be accepted.
        if client.ready && client.marked < client.marks {
            return Err(format!("client {number} was not answered: {} of {}", client.marked, client.marks));
        }
        Ok(())
    }

    /// Whatever was refused and failed before, who comes now is let in, by every listener.
    fn check_still_served(&mut self) -> Result<(), String> {
        let first = self.clients.len();
        for shard in 0..self.server.shards() as u16 {
            for listener in LISTENERS {
                self.greet(shard, listener);
            }
        }
        self.settle(1_000, 100)?;
        for client in first..self.clients.len() {
            if !self.clients[client].ready {
                return Err(format!("client {client} came when all had left, and was not let in"));
            }
            self.leave(client);
        }
        self.settle(8_000, 100)
    }

    fn everyone_leaves(&mut self) -> Result<(), String> {
        for client in 0..self.clients.len() {
            if !self.clients[client].gone {
                self.leave(client);
            }
        }
        self.settle(8_000, 100)?;
        self.check_still_served()?;
        let connections = self.server.connections();
        let sockets: usize =
            self.server.network.borrow().kernels.iter().map(|kernel| kernel.open_sockets()).sum();
        if (connections, sockets) != (0, 0) {
            return Err(format!("{connections} connections and {sockets} sockets are left behind"));
        }
        if !self.server.network.borrow().kernels.iter().all(|kernel| kernel.buffers_are_back()) {
            return Err("a receive buffer was not given back".to_owned());
        }
        let gauges = [
            Counter::Connections,
            Counter::Subscriptions,
            Counter::OutboxBytes,
            Counter::InternedSubjects,
            Counter::PublishersPaused,
            Counter::MeshPendingBytes,
        ];
        for gauge in gauges {
            let left = self.server.count(gauge);
            if left > 0 {
                return Err(format!("{gauge:?} is {left} after everyone left"));
            }
        }
        Ok(())
    }

    /// What the server says it dropped.
    fn drops(&mut self) -> Vec<(Counter, u64)> {
        let named = |counter: &&Counter| format!("{counter:?}").starts_with("Drops");
        let counters = Counter::ALL.iter().filter(named);
        counters
            .map(|&counter| (counter, self.server.count(counter)))
            .filter(|&(_, count)| count > 0)
            .collect()
    }

    fn count(&mut self) {
        let server = &mut self.server;
        self.outcome.exhausted = server.count(Counter::ReceiveBufferExhausted);
        self.outcome.refused = server.count(Counter::ConnectionsRefused);
        self.outcome.waits = server.count(Counter::Waits);
        self.outcome.doorbells = server.count(Counter::Doorbells);
        self.outcome.pauses = server.count(Counter::PublisherPauses);
        self.outcome.cut = server.count(Counter::ConnectionsClosedSlowConsumer);
    }
}
