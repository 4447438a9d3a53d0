//! Settings that change while clients are connected.

use super::Members;
use crate::access::Access;
use crate::clients::Client;
use crate::identity::ConnectionId;
use crate::ledger::Kind;
use crate::limits::Limits;
use crate::turn::Turn;
use std::rc::Rc;

impl Members {
    /// Limits that may change.
    pub(super) fn change_limits(&mut self, limits: &Limits, turn: &mut Turn<'_>) {
        let mut changed = (*self.bus.outlets.limits).clone();
        changed.take_over(limits);
        debug_assert!(
            changed.payload_bytes_max <= changed.outbox_bytes_max,
            "an empty outbox takes any message"
        );
        let told = self.bus.limits().payload_bytes_max;
        self.bus.outlets.change_limits(Rc::new(changed));
        self.clients.iter_mut().for_each(|client| client.change_limits(limits));
        if limits.payload_bytes_max != told {
            self.send_info_to_all(false, turn);
        }
    }

    /// Who may connect changed: those who still may go on with what they may from now on.
    pub(super) fn change_access(&mut self, access: &Access, turn: &mut Turn<'_>) {
        let before = self.bus.accounts.change(access);
        let ids: Vec<ConnectionId> = self.clients.ids().collect();
        for id in ids {
            if !self.bus.outlets.delivery.is_open(id) {
                continue;
            }
            if let Some(Client::Nats(client)) = self.clients.get_mut(id) {
                client.change_access(&mut self.bus, turn);
            }
        }
        let bytes = self.bus.accounts.empty_removed(&before);
        self.bus.outlets.ledger.subtract(Kind::Interest, bytes);
    }

    /// Tells NATS clients what the server is by now, or to go elsewhere.
    pub(super) fn send_info_to_all(&mut self, leaving: bool, turn: &mut Turn<'_>) {
        for client in self.clients.iter() {
            if let Client::Nats(client) = client {
                client.send_info_again(leaving, &mut self.bus, turn);
            }
        }
    }
}
