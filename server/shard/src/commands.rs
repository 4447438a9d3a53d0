//! The control frames of a client: hello, subscriptions, interned subjects, pings, close.

use super::mesh::interest::Answer;
use super::metrics::Counter;
use super::reserved;
use super::session::{Interned as InternedSubjects, Promise, Stage};
use super::{ConnectionId, Effects, Shard, decode_limits, is_lenient};
use crate::limits::SlowConsumerPolicy;
use ringbolt_protocol::native::control::{
    CloseCode, Control, Hello, Intern, Interned, Pong, Refusal, RefusalCode, SlowConsumer, Subscribe,
    Subscribed, Unsubscribe, Unsubscribed, Welcome,
};
use ringbolt_protocol::native::header::FrameType;
use ringbolt_protocol::subject::Subject;

/// The version of the native dialect this server speaks.
const VERSION: u8 = 1;

/// Answers held back for the interest of other shards; more are refused.
const WAITING_ANSWERS_MAX: usize = 1 << 16;
const OVERLOADED: &str = "too many answers wait for other shards: try again";

impl Shard {
    pub(super) fn control(&mut self, id: ConnectionId, control: &Control<'_>, effects: &mut Effects) {
        self.remove_expired(effects);
        let Some(session) = self.delivery.sessions.get(id) else { return };
        if session.stage == Stage::AwaitingHello {
            return match control {
                Control::Hello(hello) => self.hello(id, hello, effects),
                _ => self.violation(id, "the first frame must be HELLO", effects),
            };
        }
        match control {
            Control::Subscribe(subscribe) => self.subscribe_command(id, subscribe, effects),
            Control::Unsubscribe(unsubscribe) => self.unsubscribe_command(id, unsubscribe, effects),
            Control::Intern(intern) => self.intern(id, intern, effects),
            Control::Ping(ping) => {
                let correlation_id = ping.correlation_id;
                if self.interest.waiting() >= WAITING_ANSWERS_MAX {
                    let (code, about) = (RefusalCode::Overloaded, (correlation_id, 0));
                    return self.refuse(id, code, FrameType::Ping, about, OVERLOADED, effects);
                }
                self.answer_in_force(id, Answer::Pong { correlation_id }, effects);
            }
            // Any received byte already proved the client alive.
            Control::Pong(_) => {}
            Control::Close(_) => {
                let reason = Counter::ConnectionsClosedClient;
                self.close(id, CloseCode::Normal, "closed by the client", reason, effects);
            }
            Control::Hello(_) => self.violation(id, "HELLO is said once", effects),
            Control::Welcome(_)
            | Control::Subscribed(_)
            | Control::Unsubscribed(_)
            | Control::Interned(_)
            | Control::Refusal(_)
            | Control::Flow(_) => {
                self.violation(id, "this frame goes from the server to the client only", effects);
            }
        }
    }

    pub(super) fn refuse(
        &mut self,
        id: ConnectionId,
        code: RefusalCode,
        frame_type: FrameType,
        (correlation_id, subscription_id): (u64, u32),
        message: &str,
        effects: &mut Effects,
    ) {
        let refusal = Refusal { correlation_id, code, frame_type, id: subscription_id, message };
        self.delivery.send_control(id, &Control::Refusal(refusal), effects);
    }

    /// Gives an answer that promises earlier subscriptions are in force, or holds it back.
    fn answer_in_force(&mut self, id: ConnectionId, answer: Answer, effects: &mut Effects) {
        if self.interest.is_in_force() {
            self.answer(id, answer, effects);
        } else {
            self.interest.hold(id, answer);
        }
    }

    pub(super) fn answer(&mut self, id: ConnectionId, answer: Answer, effects: &mut Effects) {
        let frame = match answer {
            Answer::Pong { correlation_id } => Control::Pong(Pong { correlation_id }),
            Answer::Subscribed { id, correlation_id } => {
                Control::Subscribed(Subscribed { correlation_id, id })
            }
            Answer::Line(line) => return self.nats_answer_in_force(id, &line, effects),
        };
        self.delivery.send_control(id, &frame, effects);
    }

    fn hello(&mut self, id: ConnectionId, hello: &Hello<'_>, effects: &mut Effects) {
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            let message = format!(
                "this server speaks version {VERSION}, the client versions {} to {}",
                hello.version_min, hello.version_max
            );
            let code = RefusalCode::UnsupportedVersion;
            self.refuse(id, code, FrameType::Hello, (hello.correlation_id, 0), &message, effects);
            return self.violation(id, &message, effects);
        }
        let limits = &self.delivery.limits;
        let welcome = Welcome {
            correlation_id: hello.correlation_id,
            version: VERSION,
            server_id: &self.identity.server_id,
            server_name: &self.identity.server_name,
            server_version: &self.identity.version,
            shard: self.id,
            connection_id: u64::from(self.id) << 56 | u64::from(id.generation) << 24 | u64::from(id.slot),
            frame_bytes_max: decode_limits(limits, limits.payload_bytes_max).body_bytes_max,
            payload_bytes_max: limits.payload_bytes_max as u32,
            subject_bytes_max: ringbolt_protocol::limits::SUBJECT_BYTES_MAX as u16,
            subscriptions_max: limits.subscriptions_max as u32,
            interned_subjects_max: limits.interned_subjects_max as u32,
            ping_interval_millis: (limits.ping_interval_nanos / 1_000_000) as u32,
        };
        let (payload_bytes_max, subscriptions_max) = (welcome.payload_bytes_max, welcome.subscriptions_max);
        self.delivery.send_control(id, &Control::Welcome(welcome), effects);
        if let Some(session) = self.delivery.sessions.get_mut(id) {
            session.stage = Stage::Ready;
            session.promise = Promise { payload_bytes_max, subscriptions_max };
            session.batches = hello.batches;
            session.flow = hello.flow;
        }
    }

    fn subscribe_command(&mut self, id: ConnectionId, subscribe: &Subscribe<'_>, effects: &mut Effects) {
        let policy = match subscribe.slow_consumer {
            SlowConsumer::Default => None,
            SlowConsumer::Disconnect => Some(SlowConsumerPolicy::Disconnect),
            SlowConsumer::DropOldest => Some(SlowConsumerPolicy::DropOldest),
            SlowConsumer::DropNewest => Some(SlowConsumerPolicy::DropNewest),
            SlowConsumer::PausePublisher => Some(SlowConsumerPolicy::PausePublisher),
        };
        let correlation_id = subscribe.correlation_id;
        if self.interest.waiting() >= WAITING_ANSWERS_MAX {
            let about = (correlation_id, subscribe.id);
            return self.refuse(
                id,
                RefusalCode::Overloaded,
                FrameType::Subscribe,
                about,
                OVERLOADED,
                effects,
            );
        }
        match self.subscribe(id, subscribe.id, subscribe.pattern, subscribe.queue_group, policy, effects) {
            Ok(()) => {
                let lenient = is_lenient(
                    policy.unwrap_or_else(|| self.delivery.limits.slow_consumer_for(subscribe.pattern)),
                );
                if let Some(session) = self.delivery.sessions.get_mut(id) {
                    session.lenient |= lenient;
                }
                let answer = Answer::Subscribed { id: subscribe.id, correlation_id };
                self.answer_in_force(id, answer, effects);
            }
            Err((code, message)) => {
                let about = (correlation_id, subscribe.id);
                self.refuse(id, code, FrameType::Subscribe, about, &message, effects);
            }
        }
    }

    fn unsubscribe_command(&mut self, id: ConnectionId, unsubscribe: &Unsubscribe, effects: &mut Effects) {
        let (correlation_id, client_id) = (unsubscribe.correlation_id, unsubscribe.id);
        if self.unsubscribe(id, client_id, unsubscribe.deliveries_max, effects) {
            let answer = Control::Unsubscribed(Unsubscribed { correlation_id, id: client_id });
            self.delivery.send_control(id, &answer, effects);
        } else {
            let message = format!("this connection has no subscription {client_id}");
            let (code, about) = (RefusalCode::UnknownSubscription, (correlation_id, client_id));
            self.refuse(id, code, FrameType::Unsubscribe, about, &message, effects);
        }
    }

    fn intern(&mut self, id: ConnectionId, intern: &Intern<'_>, effects: &mut Effects) {
        let about = (intern.correlation_id, intern.id);
        let subject = match Subject::new(intern.subject.as_bytes()) {
            Ok(subject) => subject,
            Err(error) => {
                let (code, message) = (RefusalCode::InvalidSubject, error.to_string());
                return self.refuse(id, code, FrameType::Intern, about, &message, effects);
            }
        };
        if reserved::refuses_number(subject.as_bytes()) {
            let (code, message) = (RefusalCode::InvalidSubject, "this subject is written out or not at all");
            return self.refuse(id, code, FrameType::Intern, about, message, effects);
        }
        let limit = self.delivery.limits.interned_subjects_max;
        let in_range = intern.id >= 1 && intern.id as usize <= limit;
        let Some(pinned) = in_range.then(|| self.spaces[0].subjects.pin(subject)).flatten() else {
            let message = format!("subject numbers go from 1 to {limit}, and the shard's table is bounded");
            let code = RefusalCode::InternLimit;
            return self.refuse(id, code, FrameType::Intern, about, &message, effects);
        };
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let seed = self.hash_seed;
        let numbers = session.interned.get_or_insert_with(|| Box::new(InternedSubjects::new(seed)));
        match numbers.define(intern.id, pinned) {
            Some(before) => self.spaces[0].subjects.unpin(before),
            None => self.delivery.interned_subjects += 1,
        }
        let answer = Interned { correlation_id: intern.correlation_id, id: intern.id };
        self.delivery.send_control(id, &Control::Interned(answer), effects);
    }
}
