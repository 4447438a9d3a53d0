//! What time alone brings: silent clients are asked, dead ones closed, work that is due is done.

use super::Members;
use crate::clients::Client;
use crate::clients::sender::Stage;
use crate::closing::CloseReason;
use crate::identity::ConnectionId;
use crate::turn::Turn;

/// Connections are looked at this often; their limits are seconds.
const SCAN_NANOS: u64 = 1_000_000_000;

enum Finding {
    /// It is to be asked whether it is there.
    Silent,
    /// It takes nothing of what is sent.
    Stalled,
    Over(CloseReason),
}

impl Members {
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        self.bus.outlets.pass_time(turn);
        self.bus.requests.pass_time(turn);
        self.bus.weigh_others();
        self.shed_holders(turn);
        self.shed_gatherers(turn);
        debug_assert!(self.scanned_at <= turn.now, "time does not go back");
        if turn.now.since(self.scanned_at) < SCAN_NANOS {
            return;
        }
        self.scanned_at = turn.now;
        self.leave_further(turn);
        let found: Vec<(ConnectionId, Finding)> = self
            .clients
            .iter()
            .filter_map(|client| Some((client.id(), self.finding(client, turn)?)))
            .collect();
        found.into_iter().for_each(|(id, finding)| self.act_on(id, &finding, turn));
    }

    fn finding(&self, client: &Client, turn: &Turn<'_>) -> Option<Finding> {
        let (limits, sender) = (self.bus.limits(), client.sender());
        let receiver = self.bus.outlets.delivery.receivers.get(sender.id).filter(|receiver| receiver.open)?;
        if !receiver.lenient && receiver.outbox.flight_nanos(turn.now) > limits.send_stall_nanos_max {
            return Some(Finding::Stalled);
        }
        if sender.stage != Stage::Ready {
            let late = turn.now.since(sender.admitting_since) > limits.hello_timeout_nanos;
            // What it said may be what admits it.
            return (late && !sender.waits()).then_some(Finding::Over(CloseReason::AdmissionTimeout));
        }
        // A further ping is due an interval after the last.
        let ping_due = limits.ping_interval_nanos * (u64::from(sender.pings_outstanding) + 1);
        if turn.now.since(sender.received_at) < ping_due || receiver.pauses > 0 || sender.waits() {
            return None;
        }
        let unanswered = sender.pings_outstanding >= limits.ping_outstanding_max;
        Some(if unanswered { Finding::Over(CloseReason::Stale) } else { Finding::Silent })
    }

    fn act_on(&mut self, id: ConnectionId, finding: &Finding, turn: &mut Turn<'_>) {
        match finding {
            Finding::Stalled => self.bus.outlets.delivery.cut(id, turn),
            Finding::Over(reason) => self.close_client(id, *reason, turn),
            Finding::Silent => {
                if let Some(client) = self.clients.get_mut(id) {
                    client.ping(&mut self.bus, turn);
                }
            }
        }
    }
}
