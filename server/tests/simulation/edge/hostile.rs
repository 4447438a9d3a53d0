//! Bytes that no honest client sends: operations out of order, with wrong arguments, cut, repeated, or none.

use ringbolt_shard::random::Random;

/// Ends the payloads of hostile clients, so that whoever gets one knows.
pub const MARK: [u8; 4] = [0xff; 4];

const NATS: &[&str] = &[
    "PING\r\n",
    "PONG\r\n",
    "PONG\r\n",
    "SUB a hostile 1\r\n",
    "SUB a 1\r\n",
    "SUB > 2\r\n",
    "SUB *.* 3\r\n",
    "SUB a..b 4\r\n",
    "SUB a 5\x0c\r\n",
    "SUB jobs workers;ack;max=2 6\r\n",
    "UNSUB 1\r\n",
    "UNSUB 1 3\r\n",
    "UNSUB 5\x0c\r\n",
    "UNSUB 5\r\n",
    "PUB a 4\r\n\u{7f}\u{7f}\u{7f}\u{7f}\r\n",
    "PUB a b..c 4\r\n\u{7f}\u{7f}\u{7f}\u{7f}\r\n",
    "PUB jobs 4\r\n\u{7f}\u{7f}\u{7f}\u{7f}\r\n",
    "PUB $DLQ.x 4\r\n\u{7f}\u{7f}\u{7f}\u{7f}\r\n",
    "PUB $JS.ACK.x 4\r\n\u{7f}\u{7f}\u{7f}\u{7f}\r\n",
    "HPUB a 12 16\r\nNATS/1.0\r\n\r\n\u{7f}\u{7f}\u{7f}\u{7f}\r\n",
    "PUB a 99999999999\r\n",
    "PUB\r\n",
    "CONNECT {}\r\n",
    "CONNECT {\"headers\":true,\"no_responders\":true,\"verbose\":true}\r\n",
    "CONNECT {\"user\":\"a\",\"pass\":\"wrong\"}\r\n",
    "CONNECT {\"user\":\"b\",\"pass\":\"wrong\"}\r\n",
    "CONNECT {",
    "INFO {}\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "\r\n",
];

/// What a hostile client says next.
pub fn words(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => (0..random.below(60)).map(|_| random.number() as u8).collect(),
        1 => vec![b' '; random.below(2000) as usize],
        _ => {
            let text = NATS[random.below(NATS.len() as u32) as usize];
            // A payload of four bytes 0x7f stands for the mark.
            let mut bytes: Vec<u8> =
                text.bytes().map(|byte| if byte == 0x7f { 0xff } else { byte }).collect();
            if random.below(12) == 0 {
                bytes.truncate(random.below(bytes.len() as u32 + 1) as usize);
            }
            bytes
        }
    }
}
