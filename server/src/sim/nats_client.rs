//! A NATS client of the simulated server: remembers what it heard.

/// What a client heard, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    Info,
    Message { sid: String, subject: String, reply: Option<String>, payload: Vec<u8> },
    Ping,
    Pong,
    Ok,
    Error(String),
}

#[derive(Debug, Default)]
pub struct NatsClient {
    written: Vec<u8>,
    partial: Vec<u8>,
    pub heard: Vec<Heard>,
}

impl NatsClient {
    pub fn line(&mut self, line: &str) {
        self.written.extend_from_slice(line.as_bytes());
        self.written.extend_from_slice(b"\r\n");
    }

    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.line(&format!("PUB {subject} {}", payload.len()));
        self.written.extend_from_slice(payload);
        self.written.extend_from_slice(b"\r\n");
    }

    pub fn garbage(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
    }

    /// What was said and not yet written.
    pub fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.written)
    }

    pub fn read(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some((heard, consumed)) = operation(&self.partial[taken..]) {
            taken += consumed;
            self.heard.push(heard);
        }
        self.partial.drain(..taken);
    }
}

/// The first whole operation of the server and its length.
fn operation(bytes: &[u8]) -> Option<(Heard, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    // A hostile client's id of a subscription need not be text.
    let line = String::from_utf8_lossy(&bytes[..end]);
    let words: Vec<&str> = line.split(' ').collect();
    let line_bytes = end + 2;
    let heard = match words[0] {
        "INFO" => Heard::Info,
        "PING" => Heard::Ping,
        "PONG" => Heard::Pong,
        "+OK" => Heard::Ok,
        "-ERR" => Heard::Error(words[1..].join(" ").trim_matches('\'').to_owned()),
        "MSG" | "HMSG" => {
            let sizes = if words[0] == "MSG" { 1 } else { 2 };
            let payload_bytes: usize = words[words.len() - 1].parse().expect("a size");
            let payload = bytes.get(line_bytes..line_bytes + payload_bytes)?;
            bytes.get(line_bytes + payload_bytes..line_bytes + payload_bytes + 2)?;
            let reply = (words.len() > 3 + sizes).then(|| words[3].to_owned());
            let (subject, sid) = (words[1].to_owned(), words[2].to_owned());
            let message = Heard::Message { sid, subject, reply, payload: payload.to_vec() };
            return Some((message, line_bytes + payload_bytes + 2));
        }
        other => panic!("a server does not say {other}"),
    };
    Some((heard, line_bytes))
}
