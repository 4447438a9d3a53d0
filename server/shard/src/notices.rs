//! What the server itself publishes about requests and memory.

use crate::bus::Bus;
use crate::message::{Payload, Publication};
use crate::outcome::Gathered;
use crate::turn::Turn;
use ringbolt_protocol::command::{Compression, Flags, Priority};
use ringbolt_protocol::headers;
use serde_json::json;

/// Where a shard publishes how many lanes it sheds for want of memory.
const EMERGENCY: &str = "$EVENTS.emergency";

impl Bus {
    /// Sheds more lanes or fewer, and publishes that.
    #[cold]
    pub fn turn_emergency(&mut self, bytes: usize, turn: &mut Turn<'_>) {
        let delivery = &mut self.outlets.delivery;
        let before = delivery.emergency.level();
        delivery.emergency.turn(bytes);
        delivery.heed_emergency();
        if delivery.emergency.level() == before {
            // It is tight, or no longer, and nothing is shed.
            return;
        }
        let event = json!({
            "shard": self.outlets.own,
            "lanes_shed": delivery.emergency.level(),
            "bytes": bytes,
            "bytes_max": delivery.emergency.bytes_max(),
        });
        let payload = event.to_string();
        // It must not be shed itself as long as anything is taken.
        let flags = Flags::new(Priority::Critical, Compression::None);
        let payload = Payload::Copied(payload.as_bytes());
        self.say(EMERGENCY, &Publication { flags, payload, ..Publication::EMPTY }, turn);
    }

    /// Tells a requester that gathers no more how many replies it got, after the last of them.
    #[cold]
    pub fn tell_gathered(&mut self, gathered: &Gathered, turn: &mut Turn<'_>) {
        if !self.outlets.delivery.is_open(gathered.requester) {
            return;
        }
        let mut block = Vec::new();
        headers::with(b"", &[(headers::GATHERED, gathered.replies.to_string().as_bytes())], &mut block);
        let end = Publication {
            account: gathered.account,
            correlation_id: gathered.correlation_id,
            header_bytes: block.len() as u32,
            payload: Payload::Copied(&block),
            ..Publication::EMPTY
        };
        self.tell(gathered.requester, &gathered.reply, &end, turn);
    }
}
