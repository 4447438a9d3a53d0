//! One client, whatever it speaks, as the run drives it.

use super::run::signs;
use ringbolt_protocol::native::control::{Control, Pong, SlowConsumer};
use ringbolt_server::sim::nats_client::{Heard, NatsClient};
use ringbolt_server::sim::{Received, SimClient};
use std::collections::VecDeque;

/// How a client behaves, chosen when it connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    /// Takes what is sent to it, and stays.
    Healthy,
    /// Takes nothing for long.
    Slow(SlowConsumer),
    /// Leaves at some moment, in order or not.
    Mortal,
    /// Says what no honest client says.
    Hostile,
}

#[derive(Debug)]
pub enum Speaker {
    Native(SimClient),
    Nats(NatsClient),
}

/// What the run wants to know of what a client heard.
#[derive(Clone, PartialEq, Eq)]
pub enum News {
    Ready,
    /// Subscriptions of these numbers are in force.
    InForce(Vec<u32>),
    /// Everything written before that mark was taken.
    Marked(u64),
    Delivery {
        subscription: u32,
        payload: Vec<u8>,
    },
    Ended,
}

/// Payloads are told by their numbers.
impl std::fmt::Debug for News {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            News::Ready => write!(formatter, "that it is let in"),
            News::InForce(ids) => write!(formatter, "that {ids:?} are in force"),
            News::Marked(mark) => write!(formatter, "that mark {mark} is reached"),
            News::Delivery { subscription, payload } => {
                let number = payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                write!(formatter, "message {number:?} of subscription {subscription}")
            }
            News::Ended => write!(formatter, "that it must go"),
        }
    }
}

/// What the next PONG of a NATS server promises.
#[derive(Debug)]
struct Promise {
    subscriptions: Vec<u32>,
    mark: u64,
}

#[derive(Debug)]
pub struct Client {
    pub wire: usize,
    pub nature: Nature,
    /// A place among the accounts of the run.
    pub account: usize,
    pub user: Option<&'static str>,
    speaker: Speaker,
    heard: usize,
    promises: VecDeque<Promise>,
    unpromised: Vec<u32>,
    pub ready: bool,
    /// It left, or it was told to.
    pub gone: bool,
    pub next_subscription: u32,
    pub marks: u64,
    pub marked: u64,
}

impl Client {
    pub fn new(
        wire: usize,
        speaker: Speaker,
        nature: Nature,
        account: usize,
        user: Option<&'static str>,
    ) -> Client {
        Client {
            wire,
            nature,
            account,
            user,
            speaker,
            heard: 0,
            promises: VecDeque::new(),
            unpromised: Vec::new(),
            ready: false,
            gone: false,
            next_subscription: 1,
            marks: 0,
            marked: 0,
        }
    }

    pub fn hello(&mut self) {
        let user = match self.user {
            Some(name) if signs(name) => format!(",\"nkey\":\"{name}\",\"sig\":\"{name}-secret\""),
            Some(name) => format!(",\"user\":\"{name}\",\"pass\":\"{name}-secret\""),
            None => String::new(),
        };
        match &mut self.speaker {
            Speaker::Native(client) => client.hello(),
            Speaker::Nats(client) => {
                client.line(&format!("CONNECT {{\"verbose\":false,\"protocol\":1{user}}}"));
                client.line("PING");
                self.promises.push_back(Promise { subscriptions: Vec::new(), mark: 0 });
            }
        }
    }

    pub fn subscribe(&mut self, id: u32, pattern: &str, group: Option<&str>) {
        let policy = match self.nature {
            Nature::Slow(policy) => policy,
            _ => SlowConsumer::Default,
        };
        match &mut self.speaker {
            Speaker::Native(client) => client.subscribe(id, pattern, group, policy),
            Speaker::Nats(client) => {
                client.line(&format!("SUB {pattern} {} {id}", group.unwrap_or_default()));
                self.unpromised.push(id);
                self.mark();
            }
        }
    }

    pub fn unsubscribe(&mut self, id: u32) {
        match &mut self.speaker {
            Speaker::Native(client) => client.unsubscribe(id, 0),
            Speaker::Nats(client) => client.line(&format!("UNSUB {id}")),
        }
    }

    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        match &mut self.speaker {
            Speaker::Native(client) => client.publish(subject, payload),
            Speaker::Nats(client) => client.publish(subject, payload),
        }
    }

    /// Asks to be told once everything before was taken. Returns the mark.
    pub fn mark(&mut self) -> u64 {
        self.marks += 1;
        match &mut self.speaker {
            Speaker::Native(client) => client.ping(self.marks),
            Speaker::Nats(client) => {
                client.line("PING");
                let subscriptions = std::mem::take(&mut self.unpromised);
                self.promises.push_back(Promise { subscriptions, mark: self.marks });
            }
        }
        self.marks
    }

    pub fn garbage(&mut self, bytes: &[u8]) {
        match &mut self.speaker {
            Speaker::Native(client) => client.garbage(bytes),
            Speaker::Nats(client) => client.garbage(bytes),
        }
    }

    pub fn take_written(&mut self) -> Vec<u8> {
        match &mut self.speaker {
            Speaker::Native(client) => client.take_written(),
            Speaker::Nats(client) => client.take_written(),
        }
    }

    /// Reads, answers what must be answered, and returns what is new.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<News> {
        match &mut self.speaker {
            Speaker::Native(client) => {
                client.read(bytes);
                let heard = client.received[self.heard..].to_vec();
                self.heard = client.received.len();
                if heard.contains(&Received::Ping) {
                    client.say(&Control::Pong(Pong { correlation_id: 0 }));
                }
                heard.into_iter().filter_map(native_news).collect()
            }
            Speaker::Nats(client) => {
                client.read(bytes);
                let heard = client.heard[self.heard..].to_vec();
                self.heard = client.heard.len();
                let mut news = Vec::new();
                for heard in heard {
                    match heard {
                        Heard::Ping => client.line("PONG"),
                        Heard::Pong => {
                            let Some(promise) = self.promises.pop_front() else { continue };
                            if promise.mark == 0 {
                                news.push(News::Ready);
                            }
                            news.push(News::InForce(promise.subscriptions));
                            news.push(News::Marked(promise.mark));
                        }
                        Heard::Message { sid, payload, .. } => {
                            let subscription = sid.parse().unwrap_or(0);
                            news.push(News::Delivery { subscription, payload });
                        }
                        Heard::Error(_) => news.push(News::Ended),
                        Heard::Info | Heard::Ok => {}
                    }
                }
                news
            }
        }
    }
}

fn native_news(received: Received) -> Option<News> {
    match received {
        Received::Welcome => Some(News::Ready),
        Received::Subscribed(id) => Some(News::InForce(vec![id])),
        Received::Pong(mark) => Some(News::Marked(mark)),
        Received::Delivery { subscription, payload, .. } => Some(News::Delivery { subscription, payload }),
        Received::Closed(_) => Some(News::Ended),
        _ => None,
    }
}
