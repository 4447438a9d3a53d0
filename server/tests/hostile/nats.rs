//! A NATS client that says what an attack says, and reads or does not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Only a broken server takes this long to take or to answer something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is not read from gives up.
const PATIENCE_OF_DEAF: Duration = Duration::from_secs(2);

pub struct Nats {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Nats {
    pub fn connect(address: &str) -> Nats {
        Nats::connect_as(address, None)
    }

    /// As a user whose password is its name.
    pub fn connect_as(address: &str, user: Option<&str>) -> Nats {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time");
        let mut nats = Nats { stream, heard: Vec::new() };
        let user = user.map(|name| format!(",\"user\":\"{name}\",\"pass\":\"{name}\"")).unwrap_or_default();
        let options = "\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true";
        nats.say(&format!("CONNECT {{{options}{user}}}\r\n"));
        nats.sync();
        nats
    }

    /// One whose socket takes little that it does not read.
    pub fn connect_deaf(address: &str) -> Nats {
        let nats = Nats::connect(address);
        socket2::SockRef::from(&nats.stream).set_recv_buffer_size(4096).expect("a TCP socket");
        nats.stream.set_write_timeout(Some(PATIENCE_OF_DEAF)).expect("a time");
        nats
    }

    pub fn say(&mut self, words: &str) {
        self.stream.write_all(words.as_bytes()).expect("the server takes it");
    }

    /// Says line by line, in parts, and waits until the server has handled them.
    pub fn say_all(&mut self, lines: impl Iterator<Item = String>) {
        let lines: Vec<String> = lines.collect();
        lines.chunks(1000).for_each(|some| self.say(&some.concat()));
        self.sync();
    }

    /// Says something, and reads nothing, until the server has had enough of it. Returns whether it took all.
    pub fn say_deaf(&mut self, words: &str) -> bool {
        self.stream.write_all(words.as_bytes()).is_ok()
    }

    /// Says as much as the server takes within a moment.
    pub fn say_in_vain(&mut self, words: &str) {
        self.stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a time");
        let _all = self.stream.write_all(words.as_bytes());
    }

    /// Waits until all it said was handled, or the server ends the connection.
    pub fn try_sync(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        if !self.say_deaf("PING\r\n") {
            return;
        }
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(read) if buffer[..read].ends_with(b"PONG\r\n") => return,
                Ok(_) => {}
            }
        }
    }

    /// Waits until all it said was handled.
    pub fn sync(&mut self) {
        self.say("PING\r\n");
        self.await_word("PONG\r\n");
    }

    fn last_words(&self) -> String {
        let from = self.heard.len().saturating_sub(100);
        String::from_utf8_lossy(&self.heard[from..]).into_owned()
    }

    /// Reads until that was said, and forgets what came before it. Asked whether it is there, it answers.
    pub fn await_word(&mut self, word: &str) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 16];
        let (mut searched, mut answered) = (0, 0);
        loop {
            let new = &self.heard[searched..];
            let found = new.windows(word.len()).position(|window| window == word.as_bytes());
            if let Some(place) = found {
                return self.heard.drain(..searched + place + word.len()).collect();
            }
            searched = self.heard.len().saturating_sub(word.len());
            let read = self.stream.read(&mut buffer).expect("the server answers");
            assert!(read > 0, "the server ended the connection: {}", self.last_words());
            self.heard.extend_from_slice(&buffer[..read]);
            let asked = self.heard.windows(6).filter(|window| window == b"PING\r\n").count();
            self.say(&"PONG\r\n".repeat(asked - answered));
            answered = asked;
        }
    }
}
