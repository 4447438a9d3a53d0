//! What time alone brings: silent clients are asked, dead ones closed, gauges brought up to date.

use super::metrics::Counter;
use super::router::subjects::Subjects;
use super::session::Stage;
use super::{ConnectionId, Effects, Nanos, Shard};
use ringbolt_protocol::native::control::{CloseCode, Control, Ping};
use ringbolt_protocol::nats;

/// Sessions are looked at this often; their limits are seconds.
const SCAN_NANOS: u64 = 1_000_000_000;

enum Finding {
    NoHello,
    Silent,
    Stale,
    Stalled,
}

impl Shard {
    pub(super) fn tick(&mut self, now: Nanos, effects: &mut Effects) {
        self.work_time(now);
        self.request_time(now);
        if now.since(self.scanned_at) < SCAN_NANOS {
            return;
        }
        self.scanned_at = now;
        self.leave_further(now, effects);
        let mut findings = Vec::new();
        for session in self.delivery.sessions.iter() {
            let limits = &self.delivery.limits;
            let silent_nanos = now.since(session.received_at);
            // A further ping is due an interval after the last.
            let ping_due = limits.ping_interval_nanos * (u64::from(session.pings_outstanding) + 1);
            let finding = match session.stage {
                Stage::Closing => continue,
                _ if !session.lenient && session.outbox.flight_nanos(now) > limits.send_stall_nanos_max => {
                    Finding::Stalled
                }
                Stage::AwaitingHello if now.since(session.opened_at) > limits.hello_timeout_nanos => {
                    Finding::NoHello
                }
                Stage::Ready if silent_nanos >= ping_due && session.pauses == 0 => {
                    let unanswered = session.pings_outstanding >= limits.ping_outstanding_max;
                    if unanswered { Finding::Stale } else { Finding::Silent }
                }
                _ => continue,
            };
            findings.push((session.id, finding));
        }
        for (id, finding) in findings {
            self.act_on(id, &finding, effects);
        }
    }

    /// Brings the gauges up to date; the edge calls it before it publishes the counters.
    pub fn refresh_gauges(&mut self) {
        let delivery = &mut self.delivery;
        let counters = &mut delivery.counters;
        counters.set(Counter::Connections, delivery.sessions.len() as u64);
        counters.set(Counter::Subscriptions, delivery.subscriptions.len() as u64);
        counters.set(Counter::InternedSubjects, delivery.interned_subjects);
        counters.set(Counter::PublishersPaused, delivery.paused_publishers);
        let sum = |of: fn(&Subjects) -> u64| self.spaces.iter().map(|space| of(&space.subjects)).sum();
        counters.set(Counter::SubjectsCached, sum(|subjects| subjects.len() as u64));
        counters.set(Counter::RouteCacheHits, sum(|subjects| subjects.hits));
        counters.set(Counter::RouteCacheMisses, sum(|subjects| subjects.misses));
        counters.set(Counter::BufferPoolHits, delivery.pool.hits);
        counters.set(Counter::BufferPoolMisses, delivery.pool.misses);
        counters.set(Counter::BufferPoolFree, delivery.pool.free() as u64);
        let (kept, in_flight) = delivery.book.counts();
        counters.set(Counter::WorkMessages, kept);
        counters.set(Counter::RequestsWatched, self.requests.count() as u64);
        counters.set(Counter::OutboxBytes, delivery.outbox_bytes as u64);
        counters.set(Counter::EmergencyLevel, delivery.emergency.level() as u64);
        let (letters, bytes) = delivery.book.letters_kept();
        counters.set(Counter::DeadLettersKept, letters);
        counters.set(Counter::DeadLettersBytes, bytes);
        counters.set(Counter::WorkInFlight, in_flight);
        counters.set(Counter::WorkBytes, delivery.book.bytes() as u64);
        let pending = delivery.links.iter().map(|link| link.pending_bytes() as u64).sum();
        counters.set(Counter::MeshPendingBytes, pending);
        let depth = delivery.links.iter().map(|link| link.pending_batches() as u64).sum();
        counters.set(Counter::MeshDepthBatches, depth);
    }

    fn act_on(&mut self, id: ConnectionId, finding: &Finding, effects: &mut Effects) {
        match finding {
            Finding::Stalled => self.delivery.cut(id),
            Finding::NoHello => {
                let (code, reason) = (CloseCode::HelloTimeout, Counter::ConnectionsClosedHelloTimeout);
                self.close(id, code, "no HELLO came in time", reason, effects);
            }
            Finding::Stale => {
                let (code, reason) = (CloseCode::Stale, Counter::ConnectionsClosedStale);
                self.close(id, code, "pings were not answered", reason, effects);
            }
            Finding::Silent => {
                if let Some(session) = self.delivery.sessions.get_mut(id) {
                    session.pings_outstanding += 1;
                }
                match self.delivery.sessions.get_mut(id) {
                    Some(session) if session.nats.is_some() => {
                        self.delivery.send_answer(
                            id,
                            |out| out.extend_from_slice(nats::encode::PING),
                            effects,
                        );
                    }
                    _ => {
                        self.delivery.send_control(id, &Control::Ping(Ping { correlation_id: 0 }), effects);
                    }
                }
            }
        }
    }
}
