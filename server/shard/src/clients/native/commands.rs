//! The control frames of a client: hello, subscriptions, subjects with numbers, pings, close.

use super::{NUMBER_BYTES, NativeClient, Promise, decode_limits};
use crate::bus::Bus;
use crate::clients::sender::Stage;
use crate::closing::CloseReason;
use crate::ledger::{Kind, may_have};
use crate::limits::{SHARDS_MAX, SlowConsumerPolicy};
use crate::reserved;
use crate::router::subjects::SubjectId;
use crate::subscriptions::Wanted;
use crate::turn::Turn;
use crate::work::options::{WorkOptions, parse_group};
use hashbrown::HashMap;
use ringbolt_protocol::limits::{QUEUE_GROUP_BYTES_MAX, SUBJECT_BYTES_MAX};
use ringbolt_protocol::native::control::{
    Control, Hello, Intern, Interned, Pong, RefusalCode, SlowConsumer, Subscribe, Subscribed, Unsubscribe,
    Unsubscribed, Welcome, encode_control,
};
use ringbolt_protocol::native::header::FrameType;
use ringbolt_protocol::subject::{Pattern, Subject};
use std::borrow::Cow;

/// The version of the native dialect this server speaks.
const VERSION: u8 = 1;
const _: () = assert!(SHARDS_MAX <= 1 << 8, "the number of a connection begins with its shard's");
const _: () = assert!(SUBJECT_BYTES_MAX <= u16::MAX as usize, "a WELCOME says how long subjects are");
const OVERLOADED: &str = "too many answers wait for other shards: try again";

/// What a client asked for and does not get, and the words for why.
type Refusal = (RefusalCode, String);

impl NativeClient {
    pub(super) fn control(&mut self, control: &Control<'_>, bus: &mut Bus, turn: &mut Turn<'_>) {
        bus.remove_expired(turn);
        if self.sender.stage == Stage::AwaitingHello {
            return match control {
                Control::Hello(hello) => self.hello(hello, bus, turn),
                _ => self.violation("the first frame must be HELLO", bus, turn),
            };
        }
        match control {
            Control::Subscribe(subscribe) => self.subscribe_command(subscribe, bus, turn),
            Control::Unsubscribe(unsubscribe) => self.unsubscribe_command(unsubscribe, bus, turn),
            Control::Intern(intern) => self.intern(intern, bus, turn),
            Control::Ping(ping) => {
                let correlation_id = ping.correlation_id;
                if bus.has_no_room_for_answers() {
                    let refusal = (RefusalCode::Overloaded, OVERLOADED);
                    return self.refuse(FrameType::Ping, (correlation_id, 0), refusal, bus, turn);
                }
                self.answer_in_force(&Control::Pong(Pong { correlation_id }), bus, turn);
            }
            // Any received byte already proved the client alive.
            Control::Pong(_) => {}
            Control::Close(_) => self.close(CloseReason::Client, CloseReason::Client.native().1, bus, turn),
            Control::Hello(_) => self.violation("HELLO is said once", bus, turn),
            Control::Welcome(_)
            | Control::Subscribed(_)
            | Control::Unsubscribed(_)
            | Control::Interned(_)
            | Control::Refusal(_)
            | Control::Flow(_) => {
                self.violation("this frame goes from the server to the client only", bus, turn);
            }
        }
    }

    /// Gives an answer that promises earlier subscriptions are in force, or holds it back.
    fn answer_in_force(&mut self, answer: &Control<'_>, bus: &mut Bus, turn: &mut Turn<'_>) {
        let id = self.sender.id;
        if bus.outlets.mesh.interest.is_in_force() {
            return bus.outlets.delivery.send_control(id, answer, turn);
        }
        let mut frame = Vec::new();
        encode_control(answer, &mut frame);
        bus.hold_answer(id, Cow::Owned(frame));
    }

    fn hello(&mut self, hello: &Hello<'_>, bus: &mut Bus, turn: &mut Turn<'_>) {
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            let message = format!(
                "this server speaks version {VERSION}, the client versions {} to {}",
                hello.version_min, hello.version_max
            );
            let refusal = (RefusalCode::UnsupportedVersion, &*message);
            self.refuse(FrameType::Hello, (hello.correlation_id, 0), refusal, bus, turn);
            return self.violation(&message, bus, turn);
        }
        let (id, shard, limits) = (self.sender.id, bus.outlets.own, bus.limits());
        debug_assert!(id.slot < 1 << 24, "the number of a connection ends with its slot");
        let welcome = Welcome {
            correlation_id: hello.correlation_id,
            version: VERSION,
            server_id: &bus.identity.server_id,
            server_name: &bus.identity.server_name,
            server_version: &bus.identity.version,
            shard,
            connection_id: u64::from(shard) << 56 | u64::from(id.generation) << 24 | u64::from(id.slot),
            frame_bytes_max: decode_limits(limits, limits.payload_bytes_max).body_bytes_max,
            payload_bytes_max: limits.payload_bytes_max as u32,
            subject_bytes_max: SUBJECT_BYTES_MAX as u16,
            subscriptions_max: limits.subscriptions_max as u32,
            interned_subjects_max: limits.interned_subjects_max as u32,
            ping_interval_millis: (limits.ping_interval_nanos / 1_000_000) as u32,
        };
        let (payload_bytes_max, subscriptions_max) = (welcome.payload_bytes_max, welcome.subscriptions_max);
        self.promise = Promise { payload_bytes_max, subscriptions_max };
        self.limits = decode_limits(limits, limits.payload_bytes_max);
        bus.outlets.delivery.send_control(id, &Control::Welcome(welcome), turn);
        self.sender.admit(bus);
        if let Some(receiver) = bus.outlets.delivery.receivers.get_mut(id) {
            (receiver.batches, receiver.flow) = (hello.batches, hello.flow);
        }
    }

    fn subscribe_command(&mut self, subscribe: &Subscribe<'_>, bus: &mut Bus, turn: &mut Turn<'_>) {
        let about = (subscribe.correlation_id, subscribe.id);
        if bus.has_no_room_for_answers() {
            let refusal = (RefusalCode::Overloaded, OVERLOADED);
            return self.refuse(FrameType::Subscribe, about, refusal, bus, turn);
        }
        match self.subscribe(subscribe, bus, turn) {
            Ok(()) => {
                let (correlation_id, id) = about;
                self.answer_in_force(&Control::Subscribed(Subscribed { correlation_id, id }), bus, turn);
            }
            Err((code, message)) => {
                self.refuse(FrameType::Subscribe, about, (code, &message), bus, turn);
            }
        }
    }

    fn subscribe(
        &mut self,
        subscribe: &Subscribe<'_>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<(), Refusal> {
        let invalid = |error: &dyn std::fmt::Display| (RefusalCode::InvalidPattern, error.to_string());
        let pattern = Pattern::new(subscribe.pattern.as_bytes()).map_err(|error| invalid(&error))?;
        let (group, work): (Option<Cow<'_, str>>, Option<WorkOptions>) = match subscribe.queue_group {
            Some(name) => {
                let (name, work) = parse_group(name).map_err(|error| invalid(&error))?;
                check_group_name(&name)?;
                (Some(name), work)
            }
            None => (None, None),
        };
        self.check_subscription(subscribe.id, bus)?;
        if !bus.has_room_for_interest(self.sender.id, pattern, b"") {
            let message = "subscriptions take all the memory that they may".to_owned();
            return Err((RefusalCode::SubscriptionLimit, message));
        }
        if subscribe.slow_consumer == SlowConsumer::PausePublisher && !bus.limits().pause_publisher_by_clients
        {
            let message = "this server's publishers do not wait for its clients".to_owned();
            return Err((RefusalCode::NotPermitted, message));
        }
        let policy = match subscribe.slow_consumer {
            SlowConsumer::Default => None,
            SlowConsumer::Disconnect => Some(SlowConsumerPolicy::Disconnect),
            SlowConsumer::DropOldest => Some(SlowConsumerPolicy::DropOldest),
            SlowConsumer::DropNewest => Some(SlowConsumerPolicy::DropNewest),
            SlowConsumer::PausePublisher => Some(SlowConsumerPolicy::PausePublisher),
        };
        let wanted = Wanted {
            account: self.sender.account,
            client_id: subscribe.id,
            sid: b"",
            filter: None,
            pattern,
            group: group.as_deref(),
            work,
            policy,
        };
        bus.subscribe(self.sender.id, wanted, turn);
        Ok(())
    }

    /// Whether the client may have one more, of that number.
    fn check_subscription(&self, number: u32, bus: &Bus) -> Result<(), Refusal> {
        if number == 0 {
            let message = "subscriptions are numbered from 1".to_owned();
            return Err((RefusalCode::UnknownSubscription, message));
        }
        let Some(receiver) = bus.outlets.delivery.receivers.get(self.sender.id) else { return Ok(()) };
        if receiver.subscriptions.by_number(number).is_some() {
            let message = format!("subscription {number} exists on this connection");
            return Err((RefusalCode::DuplicateSubscription, message));
        }
        let limit = self.promise.subscriptions_max as usize;
        if receiver.subscriptions.count() >= limit {
            let message = format!("a connection may hold {limit} subscriptions");
            return Err((RefusalCode::SubscriptionLimit, message));
        }
        Ok(())
    }

    fn unsubscribe_command(&mut self, unsubscribe: &Unsubscribe, bus: &mut Bus, turn: &mut Turn<'_>) {
        let (correlation_id, id) = (unsubscribe.correlation_id, unsubscribe.id);
        let receiver = bus.outlets.delivery.receivers.get(self.sender.id);
        let Some(key) = receiver.and_then(|receiver| receiver.subscriptions.by_number(id)) else {
            let message = format!("this connection has no subscription {id}");
            let refusal = (RefusalCode::UnknownSubscription, &*message);
            return self.refuse(FrameType::Unsubscribe, (correlation_id, id), refusal, bus, turn);
        };
        bus.end_subscription_after(key, unsubscribe.deliveries_max, turn);
        let answer = Control::Unsubscribed(Unsubscribed { correlation_id, id });
        bus.outlets.delivery.send_control(self.sender.id, &answer, turn);
    }

    fn intern(&mut self, intern: &Intern<'_>, bus: &mut Bus, turn: &mut Turn<'_>) {
        let (correlation_id, id) = (intern.correlation_id, intern.id);
        match self.define(intern, bus) {
            Ok(()) => {
                let answer = Control::Interned(Interned { correlation_id, id });
                bus.outlets.delivery.send_control(self.sender.id, &answer, turn);
            }
            Err((code, message)) => {
                self.refuse(FrameType::Intern, (correlation_id, id), (code, &message), bus, turn);
            }
        }
    }

    /// Gives a subject a number, both ways.
    fn define(&mut self, intern: &Intern<'_>, bus: &mut Bus) -> Result<(), Refusal> {
        let subject = Subject::new(intern.subject.as_bytes())
            .map_err(|error| (RefusalCode::InvalidSubject, error.to_string()))?;
        if reserved::refuses_number(subject.as_bytes()) {
            let message = "this subject is written out or not at all".to_owned();
            return Err((RefusalCode::InvalidSubject, message));
        }
        let limit = bus.limits().interned_subjects_max;
        let place = intern.id as usize;
        let in_range = place >= 1 && place <= limit && self.has_room_for_number(place, bus);
        let subjects = &mut bus.accounts.space(self.sender.account).subjects;
        let Some(pinned) = in_range.then(|| subjects.pin(subject)).flatten() else {
            let message = format!("subject numbers go from 1 to {limit}, and the shard's table is bounded");
            return Err((RefusalCode::InternLimit, message));
        };
        if self.subjects.len() <= place {
            let before = self.own_bytes();
            self.subjects.resize(place + 1, None);
            bus.outlets.ledger.add(Kind::Connections, self.own_bytes() - before);
        }
        let before = self.subjects[place].replace(pinned);
        match before {
            Some(before) => subjects.unpin(before),
            None => bus.interned_subjects += 1,
        }
        self.name(pinned, before, intern.id, bus);
        Ok(())
    }

    /// Whether there is memory for a table with that place.
    fn has_room_for_number(&self, place: usize, bus: &Bus) -> bool {
        let more = (place + 1).saturating_sub(self.subjects.len()) * NUMBER_BYTES;
        let own = self.subjects.capacity() * NUMBER_BYTES;
        let most = bus.limits().numbers_bytes_max();
        more == 0 || may_have(own, more, bus.outlets.ledger.of(Kind::Connections), most)
    }

    /// Deliveries on a subject say its number from now on, and not that of what had it before.
    fn name(&self, subject: SubjectId, before: Option<SubjectId>, number: u32, bus: &mut Bus) {
        let seed = bus.outlets.seed;
        let Some(receiver) = bus.outlets.delivery.receivers.get_mut(self.sender.id) else { return };
        let names = receiver.names.get_or_insert_with(|| Box::new(HashMap::with_hasher(seed.table())));
        if let Some(before) = before
            && names.get(&before) == Some(&number)
        {
            names.remove(&before);
        }
        names.insert(subject, number);
        debug_assert!(names.len() < self.subjects.len(), "a subject has one of the client's numbers");
    }
}

fn check_group_name(name: &str) -> Result<(), Refusal> {
    let visible = name.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    if visible && (1..=QUEUE_GROUP_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    let message = format!("a queue group's name has 1 to {QUEUE_GROUP_BYTES_MAX} bytes and no blanks");
    Err((RefusalCode::InvalidPattern, message))
}
