//! A client of the simulated server: speaks the native dialect, remembers what it heard.

use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::limits::FRAME_BODY_BYTES_CEILING;
use ringbolt_protocol::native::control::{
    CloseCode, Control, Hello, Intern, Ping, RefusalCode, SlowConsumer, Subscribe, Unsubscribe,
    encode_control,
};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::encode;

/// What a client heard, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    Delivery {
        subscription: u32,
        /// Empty where the subscription or a number says it.
        subject: String,
        correlation_id: u64,
        reply: Option<String>,
        payload: Vec<u8>,
    },
    Welcome,
    Subscribed(u32),
    Unsubscribed(u32),
    Interned(u32),
    Refused {
        code: RefusalCode,
        correlation_id: u64,
    },
    Pong(u64),
    Ping,
    Closed(CloseCode),
    /// Whether it is paused.
    Flow(bool),
}

#[derive(Debug, Default)]
pub struct SimClient {
    written: Vec<u8>,
    partial: Vec<u8>,
    pub received: Vec<Received>,
    /// Of its next publishes.
    pub flags: Flags,
    /// Its HELLO asks to be told when it is paused.
    pub flow: bool,
}

impl SimClient {
    pub fn say(&mut self, control: &Control<'_>) {
        encode_control(control, &mut self.written);
    }

    pub fn hello(&mut self) {
        let hello = Hello {
            correlation_id: 0,
            version_min: 1,
            version_max: 1,
            name: "",
            library: "",
            batches: false,
            flow: self.flow,
        };
        self.say(&Control::Hello(hello));
    }

    pub fn subscribe(&mut self, id: u32, pattern: &str, queue_group: Option<&str>, slow: SlowConsumer) {
        let subscribe = Subscribe { correlation_id: 0, id, pattern, queue_group, slow_consumer: slow };
        self.say(&Control::Subscribe(subscribe));
    }

    pub fn unsubscribe(&mut self, id: u32, deliveries_max: u64) {
        self.say(&Control::Unsubscribe(Unsubscribe { correlation_id: 0, id, deliveries_max }));
    }

    pub fn intern(&mut self, id: u32, subject: &str) {
        self.say(&Control::Intern(Intern { correlation_id: 0, id, subject }));
    }

    pub fn ping(&mut self, correlation_id: u64) {
        self.say(&Control::Ping(Ping { correlation_id }));
    }

    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.publish_as(SubjectRef::Literal(subject.as_bytes()), None, 0, payload);
    }

    pub fn publish_with_headers(&mut self, subject: &str, reply: Option<&str>, block: &str, rest: &[u8]) {
        self.publish_block(SubjectRef::Literal(subject.as_bytes()), reply, 0, (block, rest));
    }

    pub fn publish_as(
        &mut self,
        subject: SubjectRef<'_>,
        reply: Option<&str>,
        correlation_id: u64,
        payload: &[u8],
    ) {
        self.publish_block(subject, reply, correlation_id, ("", payload));
    }

    /// A message whose payload is `block`, its headers, and `rest`.
    pub fn publish_block(
        &mut self,
        subject: SubjectRef<'_>,
        reply: Option<&str>,
        correlation_id: u64,
        (block, rest): (&str, &[u8]),
    ) {
        let publish = Publish {
            flags: self.flags,
            timestamp_nanos: 0,
            correlation_id,
            subject,
            reply: reply.map(str::as_bytes),
            header_bytes: block.len() as u32,
            payload: &[block.as_bytes(), rest].concat(),
        };
        encode::publish(&mut self.written, &publish);
    }

    pub fn garbage(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
    }

    /// Payloads that one subscription received.
    pub fn payloads(&self, of: u32) -> Vec<&[u8]> {
        let payload = |received| match received {
            &Received::Delivery { subscription, ref payload, .. } if subscription == of => Some(&payload[..]),
            _ => None,
        };
        self.received.iter().filter_map(payload).collect()
    }

    /// What was said and not yet written.
    pub fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.written)
    }

    pub fn read(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let limits = DecodeLimits { body_bytes_max: FRAME_BODY_BYTES_CEILING };
        let mut taken = 0;
        while let Decoded::Frame { frame, consumed } =
            decode_frame(&self.partial[taken..], &limits).expect("a shard sends whole and valid frames")
        {
            taken += consumed;
            self.received.push(owned(&frame));
        }
        self.partial.drain(..taken);
    }
}

fn owned(frame: &Frame<'_>) -> Received {
    match frame {
        Frame::Deliver(deliver) => Received::Delivery {
            subscription: deliver.subscription_id,
            subject: match deliver.subject {
                SubjectRef::Literal(text) => String::from_utf8_lossy(text).into_owned(),
                SubjectRef::Interned(_) => String::new(),
            },
            correlation_id: deliver.correlation_id,
            reply: deliver.reply.map(|text| String::from_utf8_lossy(text).into_owned()),
            payload: deliver.payload.to_vec(),
        },
        Frame::Control(Control::Welcome(_)) => Received::Welcome,
        Frame::Control(Control::Subscribed(subscribed)) => Received::Subscribed(subscribed.id),
        Frame::Control(Control::Unsubscribed(unsubscribed)) => Received::Unsubscribed(unsubscribed.id),
        Frame::Control(Control::Interned(interned)) => Received::Interned(interned.id),
        Frame::Control(Control::Refusal(refusal)) => {
            Received::Refused { code: refusal.code, correlation_id: refusal.correlation_id }
        }
        Frame::Control(Control::Pong(pong)) => Received::Pong(pong.correlation_id),
        Frame::Control(Control::Ping(_)) => Received::Ping,
        Frame::Control(Control::Flow(flow)) => Received::Flow(flow.paused),
        Frame::Control(Control::Close(close)) => Received::Closed(close.code),
        other => panic!("a shard does not say {other:?}"),
    }
}
