//! The lives of a client: it connects, says things, reads or not, and ends in some way.

use crate::native_words::NativeWords;
use crate::nats_words::NatsWords;
use crate::words::{once_in, pick};
use ringbolt_shard::random::Random;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Who takes nothing for so many times this long is given up.
const PATIENCE: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 30;

pub enum Words {
    Nats(NatsWords),
    Native(NativeWords),
}

impl Words {
    fn first(&self, random: &mut Random) -> Vec<u8> {
        match self {
            Words::Nats(words) => words.connect(random),
            Words::Native(words) => words.hello(random),
        }
    }

    fn next(&mut self, random: &mut Random) -> Vec<u8> {
        match self {
            Words::Nats(words) => words.next(random),
            Words::Native(words) => words.next(random),
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        match self {
            Words::Nats(words) => words.hear(bytes),
            Words::Native(words) => words.hear(bytes),
        }
    }
}

/// Lives as clients that speak like that until it is over.
pub fn live(random: &mut Random, address: &str, begin: impl Fn(&mut Random) -> Words, over: &AtomicBool) {
    let mut silent = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let Ok(stream) = TcpStream::connect(address) else { continue };
        let mut life = Life { stream, words: begin(random), reads: true };
        life.go_on(random, over);
        silent.extend(life.end(random));
        silent.truncate(3);
    }
}

struct Life {
    stream: TcpStream,
    words: Words,
    reads: bool,
}

impl Life {
    /// Until it has said all, or the server had enough of it.
    fn go_on(&mut self, random: &mut Random, over: &AtomicBool) {
        self.stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a time");
        self.stream.set_write_timeout(Some(PATIENCE)).expect("a time");
        if once_in(random, 3) {
            SockRef::from(&self.stream).set_recv_buffer_size(4096).expect("a TCP socket");
        }
        if !once_in(random, 40) {
            let first = self.words.first(random);
            if !self.say(random, &first) {
                return;
            }
        }
        for _ in 0..random.below(3000) {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let some = 1 + random.below(8);
            let said: Vec<u8> = (0..some).flat_map(|_| self.words.next(random)).collect();
            if !self.say(random, &said) {
                return;
            }
            // Also where there is nothing to read: that waits a little.
            if self.reads && once_in(random, 6) && !self.hear() {
                return;
            }
            if once_in(random, 40) {
                self.reads = !self.reads;
            }
            if once_in(random, 30) {
                thread::sleep(Duration::from_millis(u64::from(random.below(300))));
            }
        }
    }

    /// In pieces, cut anywhere. Returns whether the connection goes on.
    fn say(&mut self, random: &mut Random, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut attempts = 0;
        while !rest.is_empty() {
            let most =
                if once_in(random, 4) { 1 + random.below(rest.len() as u32) as usize } else { rest.len() };
            match self.stream.write(&rest[..most]) {
                Ok(written) => rest = &rest[written..],
                Err(error) if is_timeout(error.kind()) && attempts < ATTEMPTS => {
                    attempts += 1;
                    if self.reads && !self.hear() {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Reads what has come. Returns whether the connection goes on.
    fn hear(&mut self) -> bool {
        let mut buffer = [0; 1 << 14];
        for _ in 0..20 {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(read) => self.words.hear(&buffer[..read]),
                Err(error) => return is_timeout(error.kind()),
            }
        }
        true
    }

    /// Ends, or stays and says nothing more.
    fn end(mut self, random: &mut Random) -> Option<TcpStream> {
        match pick(random, &[0, 0, 1, 1, 2, 3]) {
            0 => {}
            // A reset.
            1 => SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket"),
            2 => return Some(self.stream),
            _ => {
                // The server may have ended it before.
                let _ = self.stream.shutdown(Shutdown::Write);
                for _ in 0..20 {
                    if !self.hear() {
                        break;
                    }
                }
            }
        }
        None
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
