//! A NATS client: what it says next, and the reply subjects it has heard.

use crate::words::{Manner, damaged, group, headers, once_in, pattern, payload, pick, subject, verdict};
use ringbolt_shard::random::Random;

const OTHERS: &[&str] = &[
    "PONG\r\n",
    "\r\n",
    "INFO {}\r\n",
    "+OK\r\n",
    "-ERR 'x'\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "CONNECT {\r\n",
    "PUB a 99999999999\r\n",
    "PUB\r\n",
    "SUB\r\n",
    "UNSUB\r\n",
    "HPUB a 9 3\r\n",
    "PUB a -1\r\n",
    "MSG a 1 1\r\nx\r\n",
];
/// Reply subjects that are remembered.
const HEARD_MAX: usize = 32;

pub struct NatsWords {
    /// Whom it says it is, where there are users.
    pub users: bool,
    manner: Manner,
    replies: Vec<String>,
    rest: Vec<u8>,
}

impl NatsWords {
    pub fn new(users: bool, manner: Manner) -> NatsWords {
        NatsWords { users, manner, replies: Vec::new(), rest: Vec::new() }
    }

    pub fn connect(&self, random: &mut Random) -> Vec<u8> {
        let mut options = Vec::new();
        for option in ["verbose", "pedantic", "headers", "no_responders", "echo"] {
            if !once_in(random, 3) {
                let often = if matches!(option, "verbose" | "pedantic") { 8 } else { 2 };
                options.push(format!("\"{option}\":{}", once_in(random, often)));
            }
        }
        let rude = self.manner.rude;
        if self.users && !(rude && once_in(random, 20)) {
            let user = pick(random, &["a", "a", "b", "b", "c"]);
            let password = if rude && once_in(random, 20) { "wrong" } else { user };
            options.push(format!("\"user\":\"{user}\",\"pass\":\"{password}\""));
        }
        format!("CONNECT {{{}}}\r\n", options.join(",")).into_bytes()
    }

    pub fn next(&mut self, random: &mut Random) -> Vec<u8> {
        let said = match random.below(40) {
            0..8 => self.subscribe(random),
            8..13 => unsubscribe(random),
            13..22 => self.publish(random, false),
            22..27 => self.publish(random, true),
            27..30 => b"PING\r\n".to_vec(),
            30..37 => self.acknowledge(random),
            37 => self.connect(random),
            _ if self.manner.rude => pick(random, OTHERS).as_bytes().to_vec(),
            _ => b"PONG\r\n".to_vec(),
        };
        let said = damaged(random, self.manner, said);
        let often = if once_in(random, 15) { 1 + random.below(300) as usize } else { 1 };
        said.repeat(often.min(1 + (1 << 18) / (said.len() + 1)))
    }

    fn subscribe(&self, random: &mut Random) -> Vec<u8> {
        let pattern = pattern(random, self.manner);
        let group = group(random, &pattern).unwrap_or("");
        format!("SUB {pattern} {group} {}\r\n", random.below(40)).into_bytes()
    }

    fn publish(&self, random: &mut Random, with_headers: bool) -> Vec<u8> {
        let reply = if once_in(random, 3) { subject(random, self.manner) } else { String::new() };
        let (to, payload) = (subject(random, self.manner), payload(random, self.manner));
        let mut said = if with_headers {
            let block = headers(random, self.manner);
            let all = block.len() + payload.len();
            format!("HPUB {to} {reply} {} {all}\r\n{block}", block.len())
        } else {
            format!("PUB {to} {reply} {}\r\n", payload.len())
        }
        .into_bytes();
        said.extend_from_slice(&payload);
        said.extend_from_slice(b"\r\n");
        said
    }

    fn acknowledge(&mut self, random: &mut Random) -> Vec<u8> {
        let Some(place) = self.replies.len().checked_sub(1).map(|most| random.below(most as u32 + 1)) else {
            return self.publish(random, false);
        };
        let reply = &self.replies[place as usize];
        let word = verdict(random);
        let said = format!("PUB {reply} {}\r\n{word}\r\n", word.len()).into_bytes();
        if once_in(random, 2) {
            self.replies.swap_remove(place as usize);
        }
        said
    }

    /// Looks for reply subjects, roughly: a payload may look like a message.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in lines.split(|&byte| byte == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let fields: Vec<&str> = line.split_whitespace().collect();
            let reply = match fields.as_slice() {
                ["MSG", _, _, reply, _] | ["HMSG", _, _, reply, _, _] => *reply,
                _ => continue,
            };
            self.replies.push(reply.to_owned());
            if self.replies.len() > HEARD_MAX {
                self.replies.remove(0);
            }
        }
        if self.rest.len() > 1 << 16 {
            self.rest.clear();
        }
    }
}

fn unsubscribe(random: &mut Random) -> Vec<u8> {
    let id = random.below(40);
    if once_in(random, 2) {
        format!("UNSUB {id}\r\n").into_bytes()
    } else {
        format!("UNSUB {id} {}\r\n", random.below(5)).into_bytes()
    }
}
