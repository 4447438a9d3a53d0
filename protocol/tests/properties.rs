//! What holds for all frames, all bytes, all subjects.

mod vectors;

mod checks {
    //! Shared with the fuzz targets.
    pub mod native_decode;
    pub mod subject_pattern;
}

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use ringbolt_protocol::command::{Deliver, Flags, Publish, SubjectRef};
use ringbolt_protocol::error::DecodeError;
use ringbolt_protocol::native::batch::{BatchWriter, DeliverBatch, deliver_batch};
use ringbolt_protocol::native::control::*;
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::deliveries;
use ringbolt_protocol::native::encode;
use ringbolt_protocol::native::header::FrameType;
use ringbolt_protocol::varint;

const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: 1 << 20 };

fn config() -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::Off) as _);
    ProptestConfig { failure_persistence, ..ProptestConfig::with_cases(2048) }
}

#[derive(Clone, Debug)]
enum OwnedSubject {
    Interned(u32),
    Literal(Vec<u8>),
}

impl OwnedSubject {
    fn borrow(&self) -> SubjectRef<'_> {
        match self {
            OwnedSubject::Interned(number) => SubjectRef::Interned(*number),
            OwnedSubject::Literal(bytes) => SubjectRef::Literal(bytes),
        }
    }
}

/// A message without its lifetime: what [`Publish`] and [`Deliver`] have in common, and a number.
#[derive(Clone, Debug)]
struct Message {
    flags: Flags,
    timestamp_nanos: u64,
    correlation_id: u64,
    subscription_id: u32,
    subject: OwnedSubject,
    reply: Option<Vec<u8>>,
    header_bytes: u32,
    payload: Vec<u8>,
}

impl Message {
    fn publish(&self) -> Publish<'_> {
        Publish {
            flags: self.flags,
            timestamp_nanos: self.timestamp_nanos,
            correlation_id: self.correlation_id,
            subject: self.subject.borrow(),
            reply: self.reply.as_deref(),
            header_bytes: self.header_bytes,
            payload: &self.payload,
        }
    }

    fn deliver(&self) -> Deliver<'_> {
        let publish = self.publish();
        Deliver {
            flags: publish.flags,
            timestamp_nanos: publish.timestamp_nanos,
            correlation_id: publish.correlation_id,
            subscription_id: self.subscription_id,
            subject: publish.subject,
            reply: publish.reply,
            header_bytes: publish.header_bytes,
            payload: publish.payload,
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let subject = prop_oneof![
        (1..=u32::MAX).prop_map(OwnedSubject::Interned),
        (1..200u32).prop_map(OwnedSubject::Interned),
        bytes(300).prop_map(OwnedSubject::Literal),
    ];
    let reply = proptest::option::of(bytes(300));
    let header = (0..5u8, 0..3u8, any::<u64>(), any::<u64>());
    let payload = (bytes(2000), prop_oneof![Just(0), any::<u32>()]);
    (header, any::<u32>(), subject, reply, payload).prop_map(
        |(header, subscription_id, subject, reply, (payload, headers))| {
            let (priority, compression, timestamp_nanos, correlation_id) = header;
            let header_bytes = headers % (payload.len() as u32 + 1);
            let interned = if matches!(subject, OwnedSubject::Interned(_)) { Flags::INTERNED } else { 0 };
            let reply_flag = if reply.is_some() { Flags::REPLY } else { 0 };
            let header_flag = if header_bytes > 0 { Flags::HEADERS } else { 0 };
            let flags = Flags(priority | compression << 3 | interned | reply_flag | header_flag);
            Message {
                flags,
                timestamp_nanos,
                correlation_id,
                subscription_id,
                subject,
                reply,
                header_bytes,
                payload,
            }
        },
    )
}

/// Numbers and texts enough for any table, and which table it is.
#[derive(Clone, Debug)]
struct Table {
    frame_type: u8,
    numbers: [u64; 4],
    small: [u8; 2],
    texts: [String; 3],
}

impl Table {
    fn control(&self) -> Control<'_> {
        let [correlation_id, wide, id, other] = self.numbers;
        let (id, other) = (id as u32, other as u32);
        let [name, library, extra] = self.texts.each_ref().map(String::as_str);
        match self.frame_type {
            1 => {
                let [version_min, version_max] = self.small;
                let (batches, flow) = (self.numbers[0] % 2 == 1, self.numbers[1] % 2 == 1);
                let hello = Hello { correlation_id, version_min, version_max, name, library, batches, flow };
                Control::Hello(hello)
            }
            2 => self.welcome(),
            3 => {
                let queue_group = Some(library).filter(|name| !name.is_empty());
                let slow_consumer = SlowConsumer::from_number(self.small[0] % 5);
                Control::Subscribe(Subscribe {
                    correlation_id,
                    id,
                    pattern: name,
                    queue_group,
                    slow_consumer,
                })
            }
            4 => Control::Subscribed(Subscribed { correlation_id, id }),
            5 => Control::Unsubscribe(Unsubscribe { correlation_id, id, deliveries_max: wide }),
            6 => Control::Unsubscribed(Unsubscribed { correlation_id, id }),
            7 => Control::Intern(Intern { correlation_id, id, subject: extra }),
            8 => Control::Interned(Interned { correlation_id, id: other }),
            11 => {
                let code = RefusalCode::from_number(u16::from(self.small[0] % 16));
                let frame_type = FrameType::from_number(1 + self.small[1] % 14).expect("1 to 14");
                Control::Refusal(Refusal { correlation_id, code, frame_type, id, message: name })
            }
            12 => Control::Ping(Ping { correlation_id }),
            13 => Control::Pong(Pong { correlation_id }),
            17 => Control::Flow(Flow { correlation_id, paused: wide % 2 == 1 }),
            _ => {
                let code = CloseCode::from_number(u16::from(self.small[0] % 8));
                Control::Close(Close { correlation_id, code, message: library })
            }
        }
    }

    fn welcome(&self) -> Control<'_> {
        let [correlation_id, connection_id, third, fourth] = self.numbers;
        let [server_id, server_name, server_version] = self.texts.each_ref().map(String::as_str);
        Control::Welcome(Welcome {
            correlation_id,
            version: self.small[0],
            server_id,
            server_name,
            server_version,
            shard: third as u16,
            connection_id,
            frame_bytes_max: fourth as u32,
            payload_bytes_max: (fourth >> 32) as u32,
            subject_bytes_max: u16::from(self.small[1]),
            subscriptions_max: third as u32,
            interned_subjects_max: (third >> 16) as u32,
            ping_interval_millis: (third >> 32) as u32,
        })
    }
}

fn table() -> impl Strategy<Value = Table> {
    let text = || proptest::string::string_regex(".{0,60}").expect("a valid expression");
    let frame_type =
        (1..=17u8).prop_filter("messages are no tables", |&number| !matches!(number, 9 | 10 | 15 | 16));
    (frame_type, any::<[u64; 4]>(), any::<[u8; 2]>(), [text(), text(), text()])
        .prop_map(|(frame_type, numbers, small, texts)| Table { frame_type, numbers, small, texts })
}

/// Tokens that often match and often nearly do.
fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "a", "b", "ab", "*", "*", ">", "**", "a>", "é", "", " ", "x\u{7f}"])
}

fn dotted(tokens_max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(token(), 1..tokens_max).prop_map(|tokens| tokens.join("."))
}

fn decode_whole(bytes: &[u8]) -> Frame<'_> {
    match decode_frame(bytes, &LIMITS) {
        Ok(Decoded::Frame { frame, consumed }) if consumed == bytes.len() => frame,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn publishes_return(message in message()) {
        let mut bytes = Vec::new();
        encode::publish(&mut bytes, &message.publish());
        prop_assert_eq!(decode_whole(&bytes), Frame::Publish(message.publish()));
        let mut parts = Vec::new();
        encode::publish_head(&mut parts, &message.publish(), message.payload.len());
        parts.extend_from_slice(&message.payload);
        prop_assert_eq!(parts, bytes);
    }

    #[test]
    fn batches_return(
        message in message(),
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
    ) {
        let publish = message.publish();
        let mut bytes = Vec::new();
        let (timestamp_nanos, correlation_id) = (publish.timestamp_nanos, publish.correlation_id);
        let writer =
            BatchWriter::publish(&mut bytes, publish.flags, timestamp_nanos, correlation_id, publish.subject);
        for payload in &payloads {
            writer.message_head(payload.len(), &mut bytes);
            bytes.extend_from_slice(payload);
        }
        writer.finish(&mut bytes);
        let Frame::PublishBatch(batch) = decode_whole(&bytes) else { panic!("another frame") };
        prop_assert_eq!(batch.subject, publish.subject);
        prop_assert_eq!(batch.messages.count() as usize, payloads.len());
        prop_assert!(batch.messages.payloads().eq(payloads.iter().map(Vec::as_slice)));
        let spans = batch.messages.spans().map(|span| span.payload(batch.messages.bytes()));
        prop_assert!(spans.eq(batch.messages.payloads()));
        let delivery = DeliverBatch {
            flags: batch.flags,
            timestamp_nanos,
            correlation_id,
            subscription_id: 7,
            subject: batch.subject,
            messages: batch.messages,
        };
        let mut bytes = Vec::new();
        deliver_batch(&mut bytes, &delivery);
        prop_assert_eq!(decode_whole(&bytes), Frame::DeliverBatch(delivery));
        prop_assert_eq!(deliveries(&bytes), payloads.len() as u64);
    }

    #[test]
    fn deliveries_return(message in message()) {
        let mut bytes = Vec::new();
        encode::deliver(&mut bytes, &message.deliver());
        prop_assert_eq!(decode_whole(&bytes), Frame::Deliver(message.deliver()));
        let mut parts = Vec::new();
        encode::deliver_head(&mut parts, &message.deliver(), message.payload.len());
        parts.extend_from_slice(&message.payload);
        prop_assert_eq!(parts, bytes);
    }

    #[test]
    fn control_frames_return(table in table()) {
        let mut bytes = Vec::new();
        encode_control(&table.control(), &mut bytes);
        prop_assert_eq!(decode_whole(&bytes), Frame::Control(table.control()));
    }

    #[test]
    fn texts_too_long_for_a_control_frame_are_cut_at_a_character(repeats in 300..3000usize) {
        let text = "aé漢".repeat(repeats);
        let welcome = Table {
            frame_type: 2,
            numbers: [u64::MAX; 4],
            small: [255; 2],
            texts: [text.clone(), text.clone(), text.clone()],
        };
        let mut bytes = Vec::new();
        encode_control(&welcome.control(), &mut bytes);
        match decode_whole(&bytes) {
            Frame::Control(Control::Welcome(welcome)) => {
                prop_assert!(text.starts_with(welcome.server_name) && welcome.server_name.len() > 1000);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        checks::native_decode::check(&bytes);
    }

    #[test]
    fn garbage_behind_a_valid_header_never_panics(
        frame_type in 1..=14u8,
        flags in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = vec![0xcf, 1, frame_type, flags];
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(body);
        checks::native_decode::check(&bytes);
    }

    #[test]
    fn mutated_frames_never_panic(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        first in any::<prop::sample::Index>(),
    ) {
        let vectors = vectors::all();
        let first = first.index(vectors.len());
        let frames = vectors.iter().cycle().skip(first).take(3);
        let mut bytes: Vec<u8> = frames.flat_map(|(_, bytes)| bytes.clone()).collect();
        for (place, value) in places {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        checks::native_decode::check(&bytes);
    }

    #[test]
    fn mutated_tables_never_panic(
        table in table(),
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = Vec::new();
        encode_control(&table.control(), &mut bytes);
        for (place, value) in places {
            let body = place.index(bytes.len() - 24);
            bytes[24 + body] = value;
        }
        checks::native_decode::check(&bytes);
    }

    #[test]
    fn streams_of_valid_frames_pass_every_check(
        messages in proptest::collection::vec(message(), 0..4),
        tables in proptest::collection::vec(table(), 0..4),
    ) {
        let mut bytes = Vec::new();
        for message in &messages {
            encode::publish(&mut bytes, &message.publish());
            encode::deliver(&mut bytes, &message.deliver());
        }
        for table in &tables {
            encode_control(&table.control(), &mut bytes);
        }
        prop_assert_eq!(checks::native_decode::check(&bytes), 2 * messages.len() + tables.len());
    }

    #[test]
    fn varints_return_in_their_shortest_form(value in any::<u32>(), shift in 0..32u32) {
        let value = value >> shift;
        let mut bytes = Vec::new();
        varint::encode(value, &mut bytes);
        let significant_bits = 32 - value.leading_zeros();
        prop_assert_eq!(bytes.len() as u32, significant_bits.div_ceil(7).max(1));
        prop_assert_eq!(varint::decode(&bytes), Ok(Some((value, bytes.len()))));
        for cut in 0..bytes.len() {
            prop_assert_eq!(varint::decode(&bytes[..cut]), Ok(None));
        }
        if bytes.len() < 5 {
            let last = bytes.len() - 1;
            bytes[last] |= 0x80;
            bytes.push(0);
            prop_assert_eq!(varint::decode(&bytes), Err(DecodeError::Varint));
        }
    }

    #[test]
    fn any_bytes_read_as_a_varint_are_its_only_form(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
        if let Ok(Some((value, length))) = varint::decode(&bytes) {
            let mut again = Vec::new();
            varint::encode(value, &mut again);
            prop_assert_eq!(&again[..], &bytes[..length]);
        }
    }

    #[test]
    fn patterns_match_like_the_naive_matcher(pattern in dotted(6), subject in dotted(6)) {
        checks::subject_pattern::check(format!("{pattern}\n{subject}").as_bytes());
    }

    #[test]
    fn patterns_made_from_their_subject_match_it(
        tokens in proptest::collection::vec(("[a-c]{1,3}", any::<bool>()), 1..8),
        rest in any::<bool>(),
    ) {
        let subject: Vec<&str> = tokens.iter().map(|(token, _)| token.as_str()).collect();
        let mut pattern: Vec<&str> =
            tokens.iter().map(|(token, star)| if *star { "*" } else { token }).collect();
        if rest {
            pattern.pop();
            pattern.push(">");
        }
        let input = format!("{}\n{}", pattern.join("."), subject.join("."));
        prop_assert_eq!(checks::subject_pattern::check(input.as_bytes()), Some(true));
    }

    #[test]
    fn any_bytes_are_judged_as_subjects_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        checks::subject_pattern::check(&bytes);
    }

    #[test]
    fn long_subjects_are_judged_at_their_limits(tokens in 28..36usize, bytes in 1..12usize) {
        let text = vec!["x".repeat(bytes); tokens].join(".");
        checks::subject_pattern::check(format!("{text}\n{text}").as_bytes());
    }
}
