//! Whatever members of a group that acknowledges do, and wherever they are: a message that was confirmed has
//! one shard that keeps it until it is acknowledged, and nobody is given it again because it went to another
//! shard.
//!
//! `RINGBOLT_SEED=n` repeats one run; `RINGBOLT_SEEDS=n` runs so many.

use crate::seeds;
use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits, some_pieces, some_steps};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::random::Random;
use ringbolt_shard::{ShardId, TICK_NANOS};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 300;
const STEPS: u32 = 600;
const GROUP: &str = "g;ack;wait=1h;max=60000;inflight=4;breaker=off;poison=255";
const PATTERNS: [&str; 4] = ["job.a", "job.b", "job.*", "job.>"];
const SUBJECTS: [&str; 3] = ["job.a", "job.b", "job.c.d"];
/// Its publisher is told of whoever keeps a message.
const CONFIRM: &str = "NATS/1.0\r\nNats-Expected-Stream: ringbolt\r\n\r\n";

struct Member {
    client: usize,
    heard: usize,
    alive: bool,
    /// What it was given and has not acknowledged.
    has: BTreeMap<u64, String>,
    /// All it was given.
    had: BTreeSet<u64>,
}

struct Run {
    world: World,
    random: Random,
    producer: usize,
    members: Vec<Member>,
    published: u64,
    acknowledged: BTreeSet<u64>,
    given: BTreeMap<u64, u32>,
    /// Failures of members that had a message: it may be given again.
    failures: BTreeMap<u64, u32>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random::new(seed);
        let shards = 2 + random.below(3) as usize;
        // Some shards have room for a few messages only.
        let work_bytes_max = [8 << 10, 1 << 20][random.below(2) as usize];
        let (turn_steps, client_steps) = some_steps(seed);
        let limits = Limits {
            outbox_bytes_max: 1 << 20,
            work_bytes_max,
            turn_steps,
            client_steps,
            piece_steps: some_pieces(seed),
            ..small_limits(shards)
        };
        let mut world = World::new(limits, seed);
        let producer = world.connect(random.below(shards as u32) as ShardId);
        world.clients[producer].hello();
        world.clients[producer].subscribe(9, "inbox.*", None, SlowConsumer::PausePublisher);
        world.write(producer);
        let (members, given, failures) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (published, acknowledged) = (0, BTreeSet::new());
        let mut run = Run { world, random, producer, members, published, acknowledged, given, failures };
        (0..2).for_each(|_| run.join(None));
        run.world.settle(&BTreeSet::new());
        run
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u32) as usize
    }

    fn join(&mut self, pattern: Option<&str>) {
        let shards = self.world.shards();
        let shard = self.below(shards) as ShardId;
        let client = self.world.connect(shard);
        let pattern = pattern.unwrap_or(PATTERNS[self.below(PATTERNS.len())]);
        self.world.clients[client].hello();
        self.world.clients[client].subscribe(1, pattern, Some(GROUP), SlowConsumer::DropNewest);
        self.world.write(client);
        let (has, had) = (BTreeMap::new(), BTreeSet::new());
        self.members.push(Member { client, heard: 0, alive: true, has, had });
    }

    fn publish(&mut self) {
        self.published += 1;
        let subject = SUBJECTS[self.below(SUBJECTS.len())];
        let payload = vec![7; self.below(400)];
        let reply = format!("inbox.{}", self.published);
        let client = &mut self.world.clients[self.producer];
        let subject = SubjectRef::Literal(subject.as_bytes());
        client.publish_block(subject, Some(&reply), self.published, (CONFIRM, &payload));
        self.world.write(self.producer);
    }

    /// A member hears what came.
    fn hear(&mut self, place: usize) {
        let member = &mut self.members[place];
        let received = &self.world.clients[member.client].received[member.heard..];
        member.heard += received.len();
        for delivery in received {
            if let Received::Delivery { correlation_id, reply: Some(reply), .. } = delivery {
                *self.given.entry(*correlation_id).or_default() += 1;
                member.has.insert(*correlation_id, reply.clone());
                member.had.insert(*correlation_id);
            }
        }
    }

    /// It acknowledges some of what it has.
    fn acknowledge(&mut self, place: usize, most: usize) {
        self.hear(place);
        let member = &mut self.members[place];
        for _ in 0..most {
            let Some((number, reply)) = member.has.pop_first() else { break };
            self.world.clients[member.client].publish(&reply, b"+ACK");
            self.acknowledged.insert(number);
        }
        self.world.write(member.client);
    }

    fn leave(&mut self, place: usize, crash: bool) {
        self.hear(place);
        let member = &mut self.members[place];
        if crash && std::mem::take(&mut member.alive) {
            // Its last acknowledgements may have gone with it.
            for &number in &member.had {
                *self.failures.entry(number).or_default() += 1;
            }
            self.world.crash(member.client);
        } else if member.alive {
            self.world.clients[member.client].unsubscribe(1, 0);
            self.world.write(member.client);
        }
    }

    fn one_alive(&mut self) -> Option<usize> {
        let alive: Vec<usize> = (0..self.members.len()).filter(|&place| self.members[place].alive).collect();
        (!alive.is_empty()).then(|| alive[self.below(alive.len())])
    }

    /// Something of what is under way moves on.
    fn move_on(&mut self) {
        let (clients, shards) = (self.world.clients.len(), self.world.shards());
        let client = self.below(clients);
        let (from, to) = (self.below(shards) as ShardId, self.below(shards) as ShardId);
        match self.below(6) {
            0 => self.world.receive(client, 2000),
            1 => self.world.begin_send(client),
            2 => self.world.end_send(client),
            3 if from != to => self.world.send_batch(from, to),
            4 if from != to => self.world.receive_batch(from, to),
            _ => self.world.finish_ending(client),
        };
    }

    fn step(&mut self) {
        match self.below(40) {
            0 => self.join(None),
            1..3 => {
                let crash = self.below(2) == 0;
                self.one_alive().into_iter().for_each(|place| self.leave(place, crash));
            }
            // All of them at once, wherever they are.
            3 if self.below(4) == 0 => (0..self.members.len()).for_each(|place| {
                let crash = self.below(2) == 0;
                self.leave(place, crash);
            }),
            4..9 => self.publish(),
            9 => (0..20).for_each(|_| self.publish()),
            10..15 => {
                let most = self.below(6);
                self.one_alive().into_iter().for_each(|place| self.acknowledge(place, most));
            }
            15 => self.world.tick(TICK_NANOS),
            16 => self.world.settle(&BTreeSet::new()),
            _ => (0..20).for_each(|_| self.move_on()),
        }
    }

    /// Everyone leaves, one that takes everything comes, and works it off.
    fn finish(&mut self) -> Result<u64, String> {
        (0..self.members.len()).for_each(|place| self.leave(place, true));
        self.join(Some("job.>"));
        let last = self.members.len() - 1;
        // What a full shard declined is offered when time passed; nothing else waits for that.
        for _ in 0..self.published {
            self.world.settle(&BTreeSet::new());
            self.acknowledge(last, usize::MAX);
            self.world.settle(&BTreeSet::new());
            if self.world.count(Counter::WorkMessages) == 0 {
                break;
            }
            self.world.tick(TICK_NANOS);
        }
        let left = self.world.count(Counter::WorkMessages);
        if left > 0 {
            return Err(format!("{left} messages wait although there is a member for them"));
        }
        let confirmed = self.world.clients[self.producer].received.iter().filter_map(|received| {
            let Received::Delivery { subject, payload, .. } = received else { return None };
            let kept = payload.windows(5).any(|word| word == b"\"seq\"");
            subject.strip_prefix("inbox.")?.parse::<u64>().ok().filter(|_| kept)
        });
        let confirmed: Vec<u64> = confirmed.collect();
        let lost = confirmed.iter().filter(|number| !self.acknowledged.contains(number));
        let lost: Vec<&u64> = lost.collect();
        if !lost.is_empty() {
            return Err(format!("{lost:?} were confirmed and not worked off"));
        }
        for (number, &times) in &self.given {
            let failures = self.failures.get(number).copied().unwrap_or_default();
            if times > 1 + failures {
                return Err(format!("{number} was given {times} times after {failures} failures"));
            }
        }
        Ok(confirmed.len() as u64)
    }
}

fn run(seed: u64) -> Result<(u64, u64), String> {
    let mut run = Run::new(seed);
    (0..STEPS).for_each(|_| run.step());
    let confirmed = run.finish()?;
    Ok((run.published, confirmed))
}

#[test]
fn what_was_confirmed_is_worked_off_whoever_leaves_and_given_to_one() {
    let (mut published, mut confirmed) = (0, 0);
    for seed in seeds::range(SEEDS) {
        match run(seed) {
            Ok((messages, kept)) => (published, confirmed) = (published + messages, confirmed + kept),
            Err(error) => panic!("RINGBOLT_SEED={seed} repeats this: {error}"),
        }
    }
    assert!(confirmed > published / 10, "{confirmed} of {published} were confirmed: too little was tried");
}
