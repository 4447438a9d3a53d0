//! A run of messages into the outboxes of those who want it.

use super::Delivery;
use super::run::{HEAD_BYTES_MAX, Run, Shape};
use crate::lanes::Lane;
use crate::message::Message;
use crate::metrics::Counter;
use crate::router::Target;
use crate::turn::Turn;

impl Delivery {
    /// Puts the messages of a run into the outbox of every target. `common` is what all of them say.
    pub fn deliver_run(
        &mut self,
        targets: &[Target],
        run: &Run<'_>,
        common: &Message<'_>,
        turn: &mut Turn<'_>,
    ) {
        self.encoded.forget();
        let Some((last, others)) = targets.split_last() else { return };
        others.iter().for_each(|&target| self.deliver_run_to(target, false, run, common, turn));
        self.deliver_run_to(*last, true, run, common, turn);
    }

    /// `last`: nobody else gets the same, so what was encoded need not be copied.
    fn deliver_run_to(
        &mut self,
        target: Target,
        last: bool,
        run: &Run<'_>,
        common: &Message<'_>,
        turn: &mut Turn<'_>,
    ) {
        let subscription = self.subscriptions.at_mut(target.subscription);
        let Some(receiver) = self.receivers.at(target.slot) else { return };
        debug_assert_eq!(subscription.slot, target.slot, "a target names the slot of its subscription");
        let after = subscription.delivered + run.messages();
        // A long line before each of many small messages may be far more than they are.
        let line_bytes = subscription.line.len() + common.subject.len() + HEAD_BYTES_MAX;
        let run_bytes = run.payload_bytes + run.messages() as usize * line_bytes;
        let plain = common.publication.lane() == Lane::Normal
            && subscription.filter.is_none()
            && after < subscription.deliveries_max
            && receiver.open
            && receiver.watch.is_none()
            && run_bytes <= 2 * self.limits.outbox_segment_bytes
            && receiver.outbox.queued_bytes() + run_bytes <= self.outbox_room;
        let shape = if plain { Shape::of(receiver, subscription, run, common.publication) } else { None };
        let Some(shape) = shape else {
            let queued = receiver.outbox.queued_bytes() + run_bytes;
            if queued > self.outbox_room && !receiver.outbox.is_empty() {
                let policy = subscription.policy;
                self.heed_half_full((target.slot, queued), policy, common, run_bytes, turn);
            }
            return run.each(common.publication, |publication| {
                self.deliver(target, &Message { publication, ..*common }, turn);
            });
        };
        self.encoded.fill(shape, subscription, run, common);
        let written = self.encoded.put(&mut receiver.outbox, last, &self.limits, &mut self.pool);
        debug_assert!(written <= run_bytes, "no more than was reckoned with");
        self.outbox_bytes += written;
        if receiver.outbox.wrote(written) {
            turn.effects.send.push(receiver.id);
        }
        receiver.messages_out += run.messages();
        receiver.bytes_out += run.payload_bytes as u64;
        subscription.delivered = after;
        turn.counters.add(Counter::MessagesOut, run.messages());
    }
}
