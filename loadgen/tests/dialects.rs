//! What servers say, cut anywhere and damaged anywhere.

use ringbolt_loadgen::dialect::Dialect;

const NATS: &[u8] = b"INFO {\"server_id\":\"x\",\"headers\":true}\r\nPONG\r\n+OK\r\n\
    MSG a.b 1 5\r\nhello\r\nMSG a.b 2 answers.7 0\r\n\r\nPING\r\nHMSG a 3 12 15\r\nNATS/1.0\r\n\r\nabc\r\n\
    HMSG a 3 16 16\r\nNATS/1.0 503\r\n\r\n\r\n-ERR 'Slow Consumer'\r\n";

const REDIS: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$6\r\nrb.0.m\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n\
    *3\r\n$7\r\nmessage\r\n$6\r\nrb.0.m\r\n$5\r\nhello\r\n\
    *4\r\n$8\r\npmessage\r\n$6\r\nrb.*.m\r\n$6\r\nrb.1.m\r\n$2\r\nhi\r\n";

/// CONNACK, SUBACK, PINGRESP, two messages of `rb/0/m`, one of them with a length of two bytes.
fn mqtt() -> Vec<u8> {
    let mut stream = b"\x20\x02\0\0\x90\x03\0\x01\0\xd0\0\x30\x0d\0\x06rb/0/mhello".to_vec();
    stream.extend_from_slice(b"\x30\x88\x02\0\x06rb/0/m");
    stream.extend_from_slice(&[7; 256]);
    stream
}

fn raw() -> Vec<u8> {
    let mut stream = vec![0; 8];
    for subject in [0u32, 1, 2] {
        stream.extend_from_slice(&5u32.to_le_bytes());
        stream.extend_from_slice(&subject.to_le_bytes());
        stream.extend_from_slice(b"hello");
    }
    stream
}

fn streams() -> [(Dialect, Vec<u8>); 4] {
    let (nats, redis) = (NATS.to_vec(), REDIS.to_vec());
    [(Dialect::Nats, nats), (Dialect::Redis, redis), (Dialect::Mqtt, mqtt()), (Dialect::Raw, raw())]
}

/// What was said, in words, and how far it was read.
fn read(dialect: Dialect, input: &[u8]) -> Result<(Vec<String>, usize), String> {
    let (mut said, mut taken) = (Vec::new(), 0);
    while let Some((incoming, consumed)) = dialect.parse(&input[taken..])? {
        assert!(consumed > 0 && taken + consumed <= input.len(), "no more is taken than there is");
        said.push(format!("{incoming:?}"));
        taken += consumed;
    }
    Ok((said, taken))
}

#[test]
fn a_stream_cut_anywhere_says_the_same() {
    for (dialect, stream) in &streams() {
        let (whole, taken) = read(*dialect, stream).expect("a good stream");
        assert!(whole.len() >= 4 && taken == stream.len(), "{dialect:?} is read to the end: {whole:?}");
        for cut in 0..stream.len() {
            let (mut said, taken) = read(*dialect, &stream[..cut]).expect("right so far");
            let (rest, _) = read(*dialect, &stream[taken..]).expect("a good stream");
            said.extend(rest);
            assert_eq!(said, whole, "{dialect:?} cut at {cut}");
        }
    }
}

#[test]
fn a_damaged_stream_is_an_error_or_other_words_never_a_panic() {
    for (dialect, stream) in &streams() {
        let mut errors = 0;
        for place in 0..stream.len() {
            for byte in [0, b'\r', b'\n', b' ', b'9', b'-', b'$', 0xff] {
                let mut damaged = stream.clone();
                damaged[place] = byte;
                errors += usize::from(read(*dialect, &damaged).is_err());
            }
        }
        assert!(errors > 0, "{dialect:?}: some damage is noticed");
    }
}

#[test]
fn what_is_no_such_protocol_is_said() {
    for dialect in [Dialect::Nats, Dialect::Redis, Dialect::Native, Dialect::Mqtt, Dialect::Raw] {
        assert!(dialect.parse(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err(), "{dialect:?}");
    }
    assert!(Dialect::Nats.parse(b"MSG a 1 99999999999\r\n").is_err(), "a wild length");
}
