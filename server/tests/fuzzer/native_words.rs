//! A native client: what it says next, and the reply subjects it has heard.

use crate::words::{Manner, damaged, group, headers, once_in, pattern, payload, pick, subject, verdict};
use ringbolt_protocol::command::{Compression, Flags, Priority, Publish, SubjectRef};
use ringbolt_protocol::limits::FRAME_BODY_BYTES_CEILING;
use ringbolt_protocol::native::batch::{BatchWriter, Messages};
use ringbolt_protocol::native::control::{
    Close, CloseCode, Control, Hello, Intern, Ping, Pong, SlowConsumer, Subscribe, Unsubscribe,
    encode_control,
};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::encode;
use ringbolt_shard::random::Random;

const PRIORITIES: &[Priority] =
    &[Priority::Normal, Priority::Critical, Priority::High, Priority::Low, Priority::Background];
const POLICIES: &[SlowConsumer] = &[
    SlowConsumer::Default,
    SlowConsumer::Disconnect,
    SlowConsumer::DropOldest,
    SlowConsumer::DropNewest,
    SlowConsumer::PausePublisher,
];
const HEARD_MAX: usize = 32;

pub struct NativeWords {
    manner: Manner,
    replies: Vec<String>,
    rest: Vec<u8>,
}

impl NativeWords {
    pub fn new(manner: Manner) -> NativeWords {
        NativeWords { manner, replies: Vec::new(), rest: Vec::new() }
    }

    pub fn hello(&self, random: &mut Random) -> Vec<u8> {
        let unknown = self.manner.rude && once_in(random, 30);
        control(&Control::Hello(Hello {
            correlation_id: random.number(),
            version_min: if unknown { 8 } else { 1 },
            version_max: 9,
            name: pick(random, &["", "fuzzer"]),
            library: "test",
            batches: once_in(random, 2),
            flow: once_in(random, 2),
        }))
    }

    pub fn next(&mut self, random: &mut Random) -> Vec<u8> {
        let (correlation_id, id) = (u64::from(random.below(5)), random.below(40));
        let pattern = pattern(random, self.manner);
        let said = match random.below(40) {
            0..8 => control(&Control::Subscribe(Subscribe {
                correlation_id,
                id,
                pattern: &pattern,
                queue_group: group(random, &pattern),
                slow_consumer: pick(random, POLICIES),
            })),
            8..12 => {
                let deliveries_max = u64::from(random.below(4));
                control(&Control::Unsubscribe(Unsubscribe { correlation_id, id, deliveries_max }))
            }
            12..16 => control(&Control::Intern(Intern {
                correlation_id,
                id,
                subject: &subject(random, self.manner),
            })),
            16..26 => self.publish(random),
            26..29 => self.publish_batch(random),
            29..36 => self.acknowledge(random),
            36..38 => control(&Control::Ping(Ping { correlation_id })),
            38 if self.manner.rude => self.hello(random),
            _ => match random.below(6) {
                0 if self.manner.rude => {
                    control(&Control::Close(Close { correlation_id, code: CloseCode::Normal, message: "" }))
                }
                _ => control(&Control::Pong(Pong { correlation_id })),
            },
        };
        let said = damaged(random, self.manner, said);
        let often = if once_in(random, 15) { 1 + random.below(300) as usize } else { 1 };
        said.repeat(often.min(1 + (1 << 18) / (said.len() + 1)))
    }

    fn publish(&self, random: &mut Random) -> Vec<u8> {
        let (to, reply, block) =
            (subject(random, self.manner), subject(random, self.manner), headers(random, self.manner));
        let with_headers = once_in(random, 3);
        let mut bytes = if with_headers { block.clone().into_bytes() } else { Vec::new() };
        bytes.extend_from_slice(&payload(random, self.manner));
        let text = SubjectRef::Literal(to.as_bytes());
        let mut said = Vec::new();
        let publish = Publish {
            flags: self.flags(random),
            timestamp_nanos: random.number(),
            correlation_id: u64::from(random.below(3)),
            subject: if once_in(random, 3) { SubjectRef::Interned(random.below(40)) } else { text },
            reply: once_in(random, 3).then_some(reply.as_bytes()),
            header_bytes: if with_headers { block.len() as u32 } else { 0 },
            payload: &bytes,
        };
        encode::publish(&mut said, &publish);
        said
    }

    fn acknowledge(&mut self, random: &mut Random) -> Vec<u8> {
        let Some(most) = self.replies.len().checked_sub(1) else { return self.publish(random) };
        let place = random.below(most as u32 + 1) as usize;
        let mut said = Vec::new();
        let publish = Publish {
            flags: Flags::default(),
            timestamp_nanos: 0,
            correlation_id: 0,
            subject: SubjectRef::Literal(self.replies[place].as_bytes()),
            reply: None,
            header_bytes: 0,
            payload: verdict(random).as_bytes(),
        };
        encode::publish(&mut said, &publish);
        if once_in(random, 2) {
            self.replies.swap_remove(place);
        }
        said
    }

    fn publish_batch(&self, random: &mut Random) -> Vec<u8> {
        let to = subject(random, self.manner);
        let mut said = Vec::new();
        let writer =
            BatchWriter::publish(&mut said, self.flags(random), 0, 0, SubjectRef::Literal(to.as_bytes()));
        for _ in 0..1 + random.below(40) {
            let bytes = random.below(200) as usize;
            writer.message_head(bytes, &mut said);
            said.resize(said.len() + bytes, b'b');
        }
        writer.finish(&mut said);
        said
    }

    fn flags(&self, random: &mut Random) -> Flags {
        if self.manner.rude && once_in(random, 30) {
            return Flags(random.number() as u8);
        }
        Flags::new(pick(random, PRIORITIES), pick(random, &[Compression::None, Compression::Lz4]))
    }

    pub fn hear(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let limits = DecodeLimits { body_bytes_max: FRAME_BODY_BYTES_CEILING };
        let mut taken = 0;
        loop {
            let decoded = decode_frame(&self.rest[taken..], &limits).expect("the server speaks the protocol");
            let Decoded::Frame { frame, consumed } = decoded else { break };
            taken += consumed;
            match frame {
                Frame::Deliver(deliver) => {
                    let reply = deliver.reply.map(|text| String::from_utf8_lossy(text).into_owned());
                    self.replies.extend(reply);
                }
                Frame::DeliverBatch(batch) => {
                    let again = Messages::new(batch.messages.bytes()).expect("a batch of the server");
                    assert!(again.count() > 0, "a batch has messages");
                }
                _ => {}
            }
        }
        self.rest.drain(..taken);
        let excess = self.replies.len().saturating_sub(HEARD_MAX);
        self.replies.drain(..excess);
    }
}

fn control(control: &Control<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_control(control, &mut bytes);
    bytes
}
