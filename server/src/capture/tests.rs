//! What is payload and what is not, however a stream is cut.

use super::filter::Filter;
use super::secrets::Secrets;
use super::span::Span;
use ringbolt_protocol::command::{Deliver, Flags, Publish, SubjectRef};
use ringbolt_protocol::native::batch::{DeliverBatch, Messages, PublishBatch, deliver_batch, publish_batch};
use ringbolt_protocol::native::control::{Control, Pong, encode_control};
use ringbolt_protocol::native::encode;
use ringbolt_protocol::varint;
use ringbolt_shard::Dialect;
use ringbolt_shard::random::Random;

/// Stands in payloads, and nowhere else.
const PAYLOAD: u8 = b'#';
/// Stands in options of a CONNECT, and nowhere else.
const OPTION: u8 = b'"';

/// What becomes of each byte, and the options there were.
fn fates(filter: &mut Filter, chunks: &[&[u8]]) -> (Vec<char>, Vec<Vec<u8>>) {
    let (secrets, mut fates, mut options) = (Secrets::default(), Vec::new(), Vec::new());
    for chunk in chunks {
        let before = fates.len();
        let mut spans = Vec::new();
        filter.cut(chunk, &secrets, &mut spans);
        for span in spans {
            match span {
                Span::Kept(bytes) => fates.extend(std::iter::repeat_n('k', bytes)),
                Span::Omitted(bytes) => fates.extend(std::iter::repeat_n('o', bytes)),
                Span::Held(bytes) => fates.extend(std::iter::repeat_n('h', bytes)),
                Span::Options(found) => options.push(found),
            }
        }
        assert_eq!(fates.len() - before, chunk.len(), "every byte has a fate");
    }
    (fates, options)
}

/// Cuts a stream at random places.
fn cut<'s>(stream: &'s [u8], random: &mut Random) -> Vec<&'s [u8]> {
    let mut rest = stream;
    let mut chunks = Vec::new();
    let most = [2, 7, 40][random.below(3) as usize];
    while !rest.is_empty() {
        let bytes = (1 + random.below(most) as usize).min(rest.len());
        let (chunk, behind) = rest.split_at(bytes);
        chunks.push(chunk);
        rest = behind;
    }
    chunks
}

#[track_caller]
fn assert_payloads_are_omitted(make: impl Fn() -> Filter, stream: &[u8], random: &mut Random) {
    let (whole, _) = fates(&mut make(), &[stream]);
    for (place, (&byte, fate)) in stream.iter().zip(&whole).enumerate() {
        assert_eq!(byte == PAYLOAD, *fate == 'o', "byte {place} of {}", stream.escape_ascii());
        assert!(byte != OPTION || *fate == 'h', "byte {place} of {}", stream.escape_ascii());
    }
    for _ in 0..20 {
        let (pieces, _) = fates(&mut make(), &cut(stream, random));
        assert!(whole == pieces, "{}", stream.escape_ascii());
    }
}

fn payload(random: &mut Random) -> Vec<u8> {
    vec![PAYLOAD; random.below(300) as usize]
}

#[test]
fn payloads_of_nats_clients_are_left_out_and_acknowledgements_kept() {
    let mut random = Random::new(1);
    for _ in 0..200 {
        let mut stream = Vec::new();
        for _ in 0..random.below(12) {
            let body = payload(&mut random);
            let (bytes, body) = (body.len(), String::from_utf8(body).expect("text"));
            let block = "NATS/1.0\r\na: b\r\n\r\n";
            stream.extend_from_slice(
                match random.below(9) {
                    0 => format!("PUB a.b {bytes}\r\n{body}\r\n"),
                    1 => format!("pub\ta.b   r.s 0{bytes} \n{body}\r\n"),
                    2 => format!("HPUB a r {} {}\r\n{block}{body}\r\n", block.len(), bytes + block.len()),
                    3 => "PUB $JS.ACK.ringbolt.x 4\r\n-NAK\r\n".to_owned(),
                    4 => "PING\r\nSUB a.> workers;ack 1\r\n".to_owned(),
                    5 => "CONNECT {\"user\":\"ann\",\"pass\":\"secret\"}\r\n".to_owned(),
                    6 => "connect{\"auth_token\":\"secret\"}\n".to_owned(),
                    7 => "UNSUB 1 4\r\nPONG\r\n".to_owned(),
                    _ => format!("PUB a.b r.s {bytes}\r\n{body}\r\nPUB c 0\r\n\r\n"),
                }
                .as_bytes(),
            );
        }
        assert_payloads_are_omitted(|| Filter::of_client(Dialect::Nats), &stream, &mut random);
    }
}

#[test]
fn options_come_once_they_are_whole_and_without_secrets() {
    let stream = b"CONNECT {\"user\":\"ann\",\"pass\":\"secret\"}\r\nPING\r\n";
    for place in 0..stream.len() {
        let (first, rest) = stream.split_at(place);
        let (fates, options) = fates(&mut Filter::of_client(Dialect::Nats), &[first, rest]);
        let held = fates.iter().filter(|fate| **fate == 'h').count();
        let [shown] = &options[..] else { panic!("{options:?}") };
        assert!(shown.len() >= held && shown.ends_with(b"\r\n"), "cut at {place}");
        let text = String::from_utf8_lossy(shown);
        assert!(text.contains("\"user\":\"ann\"") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn what_is_no_operation_is_kept_as_far_as_it_shows_that_and_no_further() {
    for (stream, kept) in [
        ("GET /?token=secret HTTP/1.1\r\n", 1),
        ("PUB a 3\r\n###secret\r\n", 9),
        ("PUB a b c d\r\nsecret", 13),
        ("PING\r\nHELLO secret\r\n", 8),
    ] {
        let (fates, _) = fates(&mut Filter::of_client(Dialect::Nats), &[stream.as_bytes()]);
        let first = fates.iter().position(|fate| *fate == 'o').expect("something is left out");
        assert_eq!(first, kept, "{stream:?}");
        let secret = stream.find("secret").expect("it is there");
        // One byte shows that a payload does not end where it should.
        assert!(fates[secret + 1..].iter().all(|fate| *fate == 'o'), "{stream:?}");
    }
}

#[test]
fn payloads_to_nats_clients_are_left_out() {
    let mut random = Random::new(2);
    for _ in 0..100 {
        let mut stream = Vec::new();
        for _ in 0..random.below(12) {
            let body = payload(&mut random);
            let (bytes, body) = (body.len(), String::from_utf8(body).expect("text"));
            let block = "NATS/1.0 503\r\n\r\n";
            // The end of a payload is left out with it.
            let end = char::from(PAYLOAD).to_string().repeat(2);
            stream.extend_from_slice(
                match random.below(4) {
                    0 => format!("MSG a.b 1 {bytes}\r\n{body}{end}"),
                    1 => format!("MSG a.b 1 r.s {bytes}\r\n{body}{end}"),
                    2 => format!("HMSG a 1 {} {}\r\n{block}{body}{end}", block.len(), bytes + block.len()),
                    _ => "PING\r\n+OK\r\n-ERR 'Invalid Subject'\r\n".to_owned(),
                }
                .as_bytes(),
            );
        }
        assert_payloads_are_omitted(|| Filter::of_server(Dialect::Nats), &stream, &mut random);
    }
}

fn native_frame(random: &mut Random, stream: &mut Vec<u8>) {
    let text = [b's'; 40];
    let subject = match random.below(3) {
        0 => SubjectRef::Interned(1 + random.below(1000)),
        _ => SubjectRef::Literal(&text[..1 + random.below(39) as usize]),
    };
    let reply = (random.below(2) == 0).then_some(&text[..5]);
    let header_bytes = if random.below(2) == 0 { 1 + random.below(200) } else { 0 };
    let body = [vec![b'h'; header_bytes as usize], payload(random)].concat();
    let (flags, timestamp_nanos, correlation_id, subscription_id) = (Flags::default(), 0, 0, 1 << 20);
    match random.below(6) {
        0 => encode_control(&Control::Pong(Pong { correlation_id }), stream),
        1 | 2 => {
            let payload = &body;
            let publish =
                Publish { flags, timestamp_nanos, correlation_id, subject, reply, header_bytes, payload };
            encode::publish(stream, &publish);
        }
        3 => {
            let payload = &body;
            encode::deliver(
                stream,
                &Deliver {
                    flags,
                    timestamp_nanos,
                    correlation_id,
                    subscription_id,
                    subject,
                    reply,
                    header_bytes,
                    payload,
                },
            );
        }
        kind => {
            let mut messages = Vec::new();
            for _ in 0..1 + random.below(5) {
                let body = payload(random);
                varint::encode(body.len() as u32, &mut messages);
                messages.extend_from_slice(&body);
            }
            let messages = Messages::new(&messages).expect("messages");
            if kind == 4 {
                let batch = PublishBatch { flags, timestamp_nanos, correlation_id, subject, messages };
                publish_batch(stream, &batch);
            } else {
                let batch = DeliverBatch {
                    flags,
                    timestamp_nanos,
                    correlation_id,
                    subscription_id,
                    subject,
                    messages,
                };
                deliver_batch(stream, &batch);
            }
        }
    }
}

#[test]
fn payloads_of_native_frames_are_left_out() {
    let mut random = Random::new(3);
    for _ in 0..300 {
        let mut stream = Vec::new();
        (0..random.below(6)).for_each(|_| native_frame(&mut random, &mut stream));
        let (whole, _) = fates(&mut Filter::of_client(Dialect::Native), &[&stream]);
        let omitted = whole.iter().filter(|fate| **fate == 'o').count();
        // A length may be the byte that stands in payloads.
        let marked = stream.iter().filter(|byte| **byte == PAYLOAD).count();
        assert!(stream.iter().zip(&whole).all(|(byte, fate)| *fate != 'o' || *byte == PAYLOAD));
        assert!((omitted..omitted + 40).contains(&marked), "{omitted} of {marked}");
        for _ in 0..20 {
            let (pieces, _) = fates(&mut Filter::of_client(Dialect::Native), &cut(&stream, &mut random));
            assert!(whole == pieces, "{}", stream.escape_ascii());
        }
    }
}

#[test]
fn damaged_streams_have_the_same_fates_however_they_are_cut() {
    let mut random = Random::new(4);
    for _ in 0..2000 {
        let mut stream = Vec::new();
        (0..1 + random.below(4)).for_each(|_| native_frame(&mut random, &mut stream));
        for _ in 0..1 + random.below(3) {
            let place = random.below(stream.len() as u32) as usize;
            stream[place] = random.number() as u8;
        }
        for dialect in [Dialect::Native, Dialect::Nats] {
            let (whole, _) = fates(&mut Filter::of_client(dialect), &[&stream]);
            let (pieces, _) = fates(&mut Filter::of_client(dialect), &cut(&stream, &mut random));
            assert!(whole == pieces, "{}", stream.escape_ascii());
        }
    }
}
