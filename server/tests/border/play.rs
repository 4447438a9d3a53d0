//! Shards without an operating system and clients of both dialects, for what may and may not come in.

use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::native::control::Control;
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_server::sim::{SimClient, small_limits};
use ringbolt_shard::access::{Access, Credential, Permissions, Rule, Rules, Secret, User, Verdict};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{
    Close, CloseReason, ConnectionId, Departure, Dialect, Effects, Event, Nanos, Opening, Receive,
    ServerIdentity, Shard, ShardId,
};

pub const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";

/// A connection, its shard, and what it was sent since it was looked at last.
struct Client {
    shard: ShardId,
    dialect: Dialect,
    sent: Vec<u8>,
    closed: bool,
    /// It reads nothing.
    deaf: bool,
    /// Its shard wants nothing of it for now.
    held_back: bool,
    /// Why its shard ended it.
    reason: Option<CloseReason>,
}

/// See the module. Everything asked for is done at once.
pub struct Play {
    shards: Vec<Shard>,
    clients: Vec<Client>,
    pub now: Nanos,
}

impl Play {
    pub fn new(shards: usize) -> Play {
        Play::with(&Access::default(), small_limits(shards))
    }

    pub fn with(access: &Access, limits: Limits) -> Play {
        let limits = Limits { control_line_bytes_max: 4096, ..limits };
        let identity = ServerIdentity {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            reply_key: (1, 2),
            unix_epoch_nanos: 0,
            nats: Some(("127.0.0.1".to_owned(), 4222)),
        };
        let shard = |id| Shard::new(id, &limits, access, identity.clone(), 1, 2 + u64::from(id));
        let shards = (0..limits.shards as ShardId).map(shard).collect();
        Play { shards, clients: Vec::new(), now: Nanos(1) }
    }

    /// A NATS client that said CONNECT, and these lines.
    pub fn nats(&mut self, shard: ShardId, says: &str) -> usize {
        self.nats_as(shard, CONNECT, says)
    }

    pub fn nats_as(&mut self, shard: ShardId, connect: &str, says: &str) -> usize {
        let client = self.open(shard, Dialect::Nats);
        self.say(client, connect.as_bytes());
        self.hear(client);
        self.say(client, says.as_bytes());
        client
    }

    /// A native client that said HELLO, and what `speak` says.
    pub fn native(&mut self, shard: ShardId, speak: impl FnOnce(&mut SimClient)) -> usize {
        let client = self.open(shard, Dialect::Native);
        self.speak(client, SimClient::hello);
        self.hear(client);
        self.speak(client, speak);
        client
    }

    /// A client that has said nothing.
    pub fn open(&mut self, shard: ShardId, dialect: Dialect) -> usize {
        let client = self.clients.len();
        let (sent, closed, deaf, held_back) = (Vec::new(), false, false, false);
        self.clients.push(Client { shard, dialect, sent, closed, deaf, held_back, reason: None });
        let opening = Opening { dialect, ..Opening::NATIVE };
        self.handle(shard, Event::Opened(id_of(client), opening));
        client
    }

    pub fn say(&mut self, client: usize, bytes: &[u8]) {
        if !self.clients[client].closed {
            self.handle(self.clients[client].shard, Event::Bytes(id_of(client), bytes));
        }
    }

    /// The proof that a client gave was checked.
    pub fn verify(&mut self, client: usize, verdict: Verdict) {
        self.handle(self.clients[client].shard, Event::Verified(id_of(client), verdict));
    }

    /// Why a client's shard ended its connection, if it did.
    pub fn reason(&self, client: usize) -> Option<CloseReason> {
        self.clients[client].reason
    }

    /// It reads no more.
    pub fn deafen(&mut self, client: usize) {
        self.clients[client].deaf = true;
    }

    /// It reads no more, and what is sent to it does not end.
    pub fn stall(&mut self, client: usize) {
        self.deafen(client);
        let shard = usize::from(self.clients[client].shard);
        let taken = self.shards[shard].take_segments(self.now, id_of(client), &mut Vec::new());
        assert!(taken > 0, "there is something to send");
    }

    /// It reads again.
    pub fn listen(&mut self, client: usize) {
        self.clients[client].deaf = false;
        self.send(self.clients[client].shard, id_of(client));
    }

    pub fn is_held_back(&self, client: usize) -> bool {
        self.clients[client].held_back
    }

    pub fn speak(&mut self, client: usize, speak: impl FnOnce(&mut SimClient)) {
        let mut words = SimClient::default();
        speak(&mut words);
        self.say(client, &words.take_written());
    }

    /// What a client was sent since it was asked last: a NATS client's bytes as they are, a native
    /// client's frames a line each.
    pub fn hear(&mut self, client: usize) -> String {
        let client = &mut self.clients[client];
        let sent = std::mem::take(&mut client.sent);
        match client.dialect {
            Dialect::Nats => sent
                .escape_ascii()
                .to_string()
                .replace("\\r\\n", "\n")
                .replace("\\\"", "\"")
                .replace("\\'", "'"),
            Dialect::Native => frames(&sent),
        }
    }

    pub fn pass(&mut self, nanos: u64) {
        self.now = Nanos(self.now.0 + nanos);
        (0..self.shards.len() as ShardId).for_each(|shard| self.handle(shard, Event::Tick));
    }

    pub fn change_access(&mut self, access: &Access) {
        let limits = Limits { control_line_bytes_max: 4096, ..small_limits(self.shards.len()) };
        self.change(access, &limits);
    }

    pub fn change(&mut self, access: &Access, limits: &Limits) {
        (0..self.shards.len() as ShardId)
            .for_each(|shard| self.handle(shard, Event::Settings(access, limits)));
    }

    pub fn close(&mut self, client: usize) {
        self.clients[client].closed = true;
        self.handle(self.clients[client].shard, Event::Closed(id_of(client), Departure::Ordinary));
    }

    /// Replays all dead letters. Returns how many were taken.
    pub fn replay(&mut self) -> u64 {
        let mut count = 0;
        for shard in 0..self.shards.len() as ShardId {
            let mut effects = Effects::default();
            self.shards[usize::from(shard)].handle(self.now, Event::ReplayLetters(None), &mut effects);
            count += effects.letters.take().expect("an answer");
            self.apply(shard, effects);
        }
        count
    }

    pub fn count(&mut self, counter: Counter) -> u64 {
        self.shards.iter_mut().for_each(Shard::refresh_gauges);
        self.shards.iter().map(|shard| shard.counters().get(counter)).sum()
    }

    /// The patterns of a shard's connections, as monitoring shows them.
    pub fn patterns(&self, shard: ShardId) -> Vec<(String, String)> {
        let (reports, _) = self.shards[usize::from(shard)].report(self.now, 0, usize::MAX, true);
        let all = reports.into_iter().flat_map(|report| report.patterns);
        all.map(|pattern| (pattern.pattern, pattern.id)).collect()
    }

    fn handle(&mut self, shard: ShardId, event: Event<'_>) {
        let mut effects = Effects::default();
        self.shards[usize::from(shard)].handle(self.now, event, &mut effects);
        self.shards[usize::from(shard)].check();
        self.apply(shard, effects);
        while self.shards[usize::from(shard)].is_behind() {
            let mut effects = Effects::default();
            self.shards[usize::from(shard)].handle(self.now, Event::Continue, &mut effects);
            self.shards[usize::from(shard)].check();
            self.apply(shard, effects);
        }
    }

    fn apply(&mut self, shard: ShardId, effects: Effects) {
        for (id, receive) in effects.receive {
            self.clients[id.slot as usize].held_back = receive == Receive::Pause;
        }
        for id in effects.send {
            if !self.clients[id.slot as usize].deaf {
                self.send(shard, id);
            }
        }
        for to in effects.mesh {
            while let Some(batch) = self.shards[usize::from(shard)].take_batch(to) {
                self.handle(to, Event::Mesh(shard, &batch));
            }
            self.handle(shard, Event::MeshRoom(to));
        }
        for (id, close, reason) in effects.close {
            assert!(close == Close::Now || self.shards[usize::from(shard)].is_flushed(id));
            self.clients[id.slot as usize].reason = Some(reason);
            self.close(id.slot as usize);
        }
    }

    fn send(&mut self, shard: ShardId, id: ConnectionId) {
        let mut segments = Vec::new();
        let own = &mut self.shards[usize::from(shard)];
        if own.take_segments(self.now, id, &mut segments) == 0 {
            return;
        }
        for segment in segments {
            self.clients[id.slot as usize].sent.extend_from_slice(segment.bytes());
            own.recycle(segment);
        }
        self.handle(shard, Event::Sent(id));
    }
}

fn id_of(client: usize) -> ConnectionId {
    ConnectionId { slot: client as u32, generation: 1 }
}

fn frames(mut sent: &[u8]) -> String {
    let limits = DecodeLimits { body_bytes_max: u32::MAX };
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\r\\n", "|");
    let mut lines = String::new();
    while let Ok(Decoded::Frame { frame, consumed }) = decode_frame(sent, &limits) {
        sent = &sent[consumed..];
        lines += &match frame {
            Frame::Deliver(deliver) => {
                let subject = match deliver.subject {
                    SubjectRef::Literal(subject) => text(subject),
                    SubjectRef::Interned(number) => number.to_string(),
                };
                let reply = deliver.reply.map_or("-".to_owned(), text);
                format!("{} {subject} {reply} {}", deliver.subscription_id, text(deliver.payload))
            }
            Frame::Control(Control::Refusal(refusal)) => format!("{:?} {}", refusal.code, refusal.message),
            Frame::Control(Control::Close(close)) => format!("close {:?} {}", close.code, close.message),
            Frame::Control(Control::Subscribed(_) | Control::Unsubscribed(_) | Control::Interned(_)) => {
                continue;
            }
            other => format!("{other:?}"),
        };
        lines.push('\n');
    }
    lines
}

/// A user with the password `x`.
pub fn user(name: &str, account: u16, publish: &[&str], subscribe: &[&str]) -> User {
    let allow = |patterns: &[&str]| Rules {
        allow: Some(patterns.iter().filter_map(|pattern| Rule::parse(pattern)).collect()),
        deny: Vec::new(),
    };
    User {
        permissions: Some(Permissions {
            publish: allow(publish),
            subscribe: allow(subscribe),
            responses: None,
        }),
        ..User::new(name, Credential::Password(Secret::new("x")), account)
    }
}

/// How that user connects.
pub fn connect_as(name: &str) -> String {
    CONNECT.replace('}', &format!(",\"user\":\"{name}\",\"pass\":\"x\"}}"))
}

/// A publish with headers.
pub fn hpub(subject: &str, reply: &str, lines: &str, payload: &str) -> String {
    let block = format!("NATS/1.0\r\n{lines}\r\n");
    let (header_bytes, bytes) = (block.len(), block.len() + payload.len());
    format!("HPUB {subject} {reply} {header_bytes} {bytes}\r\n{block}{payload}\r\n")
}

/// The reply subject of the first delivery in what a NATS client heard: `MSG subject sid reply size`.
pub fn reply_in(heard: &str) -> String {
    let line = heard.lines().find(|line| line.contains("$JS.ACK.")).unwrap_or_else(|| panic!("{heard}"));
    line.split(' ').find(|word| word.starts_with("$JS.ACK.")).unwrap_or_default().to_owned()
}
