//! Plays a transcript to a server and notes what each client reads.

use crate::transcript::{Step, Transcript};
use ringbolt_protocol::nats::peek_frame;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// What a client read after each step, up to the answer to the `PING` that ends it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    pub frames: Vec<Vec<u8>>,
    pub ended: bool,
}

struct Player {
    stream: TcpStream,
    /// Read, and not yet taken.
    buffer: Vec<u8>,
    ended: bool,
}

impl Player {
    fn connect(address: SocketAddr) -> Player {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("a socket");
        let mut player = Player { stream, buffer: Vec::new(), ended: false };
        while !player.buffer.contains(&b'\n') && !player.ended {
            player.read();
        }
        player
    }

    fn read(&mut self) {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(bytes) if bytes > 0 => self.buffer.extend_from_slice(&chunk[..bytes]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                let heard = String::from_utf8_lossy(&self.buffer).into_owned();
                panic!("no answer in {ANSWER_TIME_MAX:?} behind {heard:?}");
            }
            _ => self.ended = true,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        // The server may have closed; reading will tell.
        let _ = self.stream.write_all(bytes);
    }

    /// Asks for an answer and reads up to it, past the answers to `pings` of the transcript itself.
    fn settle(&mut self, pings: usize) -> Heard {
        if !self.ended {
            self.write(b"PING\r\n");
        }
        loop {
            let frames = frames(&self.buffer);
            let is_pong = |frame: &&&[u8]| **frame == PONG;
            if frames.iter().filter(is_pong).count() > pings || self.ended {
                let heard = frames.into_iter().map(<[u8]>::to_vec).collect();
                self.buffer.clear();
                return Heard { frames: heard, ended: self.ended };
            }
            self.read();
        }
    }
}

const PONG: &[u8] = b"PONG\r\n";

/// Whole lines, messages with their payload.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((_, length)) = peek_frame(bytes).filter(|&(_, length)| length <= bytes.len()) {
        let (frame, rest) = bytes.split_at(length);
        found.push(frame);
        bytes = rest;
    }
    found
}

/// Pings among the operations of a step.
fn pings(step: &Step) -> usize {
    let bytes = step.writes.concat();
    let lines = bytes.split(|&byte| byte == b'\n');
    lines.filter(|line| line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"PING"))).count()
}

/// Plays every step; returns what each client heard after each.
pub fn play(transcript: &Transcript, address: SocketAddr) -> Vec<Vec<Heard>> {
    let mut players: Vec<Player> = (0..transcript.clients).map(|_| Player::connect(address)).collect();
    let mut heard = Vec::new();
    for step in &transcript.steps {
        let player = &mut players[step.client];
        for (place, piece) in step.writes.iter().enumerate() {
            if place > 0 {
                std::thread::sleep(PAUSE);
            }
            player.write(piece);
        }
        // The one that acted first: what it caused is on its way to the others then.
        let mut all = vec![Heard::default(); players.len()];
        all[step.client] = players[step.client].settle(pings(step));
        for (number, player) in players.iter_mut().enumerate() {
            if number != step.client {
                all[number] = player.settle(0);
            }
        }
        heard.push(all);
    }
    heard
}
