//! At least once: whatever members do to the messages they are given, every message is acknowledged,
//! becomes a dead letter, or is counted among the dropped.
//!
//! `RINGBOLT_SEED=n` repeats one run and tells its steps; `RINGBOLT_SEEDS=n` runs so many.

use crate::seeds;
use ringbolt_protocol::command::{Compression, Flags, Priority, SubjectRef};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits, some_pieces, some_steps};
use ringbolt_shard::TICK_NANOS;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::moment;
use ringbolt_shard::random::Random;
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 500;
const STEPS: u32 = 400;
const GROUP: &str = "g;ack;wait=300ms;max=4;inflight=3;pending=150;backoff=1ms..400ms;poison=3";
const PATTERNS: [&str; 3] = ["job.*", "job.>", "job.a"];
const SUBJECTS: [&str; 3] = ["job.a", "job.b", "job.c.d"];
const PRIORITIES: [Priority; 5] =
    [Priority::Normal, Priority::Critical, Priority::High, Priority::Low, Priority::Background];
/// Ticks in which everything must come to its end: the longest rests and waits, several times.
const TICKS_MAX: u32 = 2000;

/// What a member does with a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Ack,
    Nak,
    NakLater,
    Progress,
    Term,
    Nothing,
    Die,
}

#[derive(Debug)]
struct Member {
    client: usize,
    heard: usize,
    alive: bool,
    /// It is given messages, and not only settles those it has.
    subscribed: bool,
    stalled: bool,
    /// Reply subjects it has asked more time for.
    working_on: Vec<String>,
}

struct Run {
    world: World,
    random: Random,
    shards: u32,
    producers: Vec<usize>,
    /// Hears the dead letters.
    mourner: usize,
    members: Vec<Member>,
    published: u64,
    acknowledged: BTreeSet<u64>,
    dead: BTreeMap<u64, u32>,
    tells: bool,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random::new(seed);
        let shards = 1 + random.below(3);
        // Of the small ones, some have no room for what their members may have in flight.
        let outbox_bytes_max = [5 << 10, 64 << 10][random.below(2) as usize];
        let (turn_steps, client_steps) = some_steps(seed);
        let limits = Limits {
            outbox_bytes_max,
            work_bytes_max: 128 << 10,
            turn_steps,
            client_steps,
            piece_steps: some_pieces(seed),
            ..small_limits(shards as usize)
        };
        let mut world = World::new(limits, seed);
        let mut connect = |random: &mut Random| {
            let client = world.connect(random.below(shards) as u16);
            world.clients[client].hello();
            client
        };
        let producers = (0..2).map(|_| connect(&mut random)).collect();
        let mourner = connect(&mut random);
        world.clients[mourner].subscribe(1, "$DLQ.>", None, SlowConsumer::PausePublisher);
        world.write(mourner);
        let mut run = Run {
            world,
            random,
            shards,
            producers,
            mourner,
            members: Vec::new(),
            published: 0,
            acknowledged: BTreeSet::new(),
            dead: BTreeMap::new(),
            tells: std::env::var_os("RINGBOLT_SEED").is_some(),
        };
        // One member is always there and takes everything: what nobody wants is nobody's.
        run.join("job.>");
        run.producers.clone().into_iter().for_each(|producer| run.world.write(producer));
        run.settle();
        run
    }

    fn tell(&self, words: impl FnOnce() -> String) {
        if self.tells {
            println!("{}", words());
        }
    }

    fn join(&mut self, pattern: &str) {
        let client = self.world.connect(self.random.below(self.shards) as u16);
        self.tell(|| format!("member {client} joins for {pattern}"));
        self.world.clients[client].hello();
        self.world.clients[client].subscribe(1, pattern, Some(GROUP), SlowConsumer::DropNewest);
        self.world.write(client);
        let (heard, alive, subscribed, stalled, working_on) = (0, true, true, false, Vec::new());
        self.members.push(Member { client, heard, alive, subscribed, stalled, working_on });
    }

    fn unsubscribe(&mut self, place: usize) {
        let member = &mut self.members[place];
        if member.alive && std::mem::take(&mut member.subscribed) {
            let client = member.client;
            self.tell(|| format!("member {client} unsubscribes"));
            self.world.clients[client].unsubscribe(1, 0);
            self.world.write(client);
        }
    }

    fn publish(&mut self) {
        let producer = self.producers[self.random.below(2) as usize];
        let subject = SUBJECTS[self.random.below(3) as usize];
        let priority = PRIORITIES[self.random.below(5) as usize];
        let bytes_max = [900, 3600][self.random.below(2) as usize];
        let payload = vec![7; self.random.below(bytes_max) as usize];
        let deadline = self.random.below(2_000_000_000);
        let deadline = moment::text(self.world.now.0 + u64::from(deadline));
        let block = match self.random.below(8) {
            0 => format!("NATS/1.0\r\nRingbolt-Deadline: {deadline}\r\n\r\n"),
            _ => String::new(),
        };
        self.published += 1;
        let number = self.published;
        let client = &mut self.world.clients[producer];
        client.flags = Flags::new(priority, Compression::None);
        client.publish_block(SubjectRef::Literal(subject.as_bytes()), None, number, (&block, &payload));
        self.world.write(producer);
        self.tell(|| format!("message {number} to {subject}, {priority:?}"));
    }

    /// Members hear what came, and do something about it.
    fn work(&mut self, faithful: bool) {
        for place in 0..self.members.len() {
            if !self.members[place].alive {
                continue;
            }
            let client = self.members[place].client;
            if self.world.is_gone(client) {
                self.members[place].alive = false;
                continue;
            }
            let received = self.world.clients[client].received[self.members[place].heard..].to_vec();
            self.members[place].heard += received.len();
            for delivery in received {
                let Received::Delivery { correlation_id, reply: Some(reply), .. } = delivery else {
                    continue;
                };
                let deed = if faithful { Deed::Ack } else { self.deed() };
                self.tell(|| format!("member {client} has {correlation_id} by {reply}: {deed:?}"));
                self.act(place, correlation_id, reply, deed);
                if !self.members[place].alive {
                    break;
                }
            }
            if self.members[place].alive {
                self.world.write(client);
            }
        }
    }

    fn deed(&mut self) -> Deed {
        match self.random.below(100) {
            0..62 => Deed::Ack,
            62..72 => Deed::Nak,
            72..78 => Deed::NakLater,
            78..84 => Deed::Progress,
            84..87 => Deed::Term,
            87..97 => Deed::Nothing,
            _ => Deed::Die,
        }
    }

    fn act(&mut self, place: usize, number: u64, reply: String, deed: Deed) {
        let client = self.members[place].client;
        let mut say = |words: &[u8]| self.world.clients[client].publish(&reply, words);
        match deed {
            Deed::Ack => {
                say(b"+ACK");
                self.acknowledged.insert(number);
            }
            Deed::Nak => say(b"-NAK"),
            Deed::NakLater => say(b"-NAK {\"delay\": 250000000}"),
            Deed::Term => say(b"+TERM of no use"),
            Deed::Progress => {
                say(b"+WPI");
                self.members[place].working_on.push(reply);
            }
            Deed::Nothing => {}
            // The first member stays, so that there is always one.
            Deed::Die if place > 0 => {
                self.members[place].alive = false;
                self.world.crash(client);
            }
            Deed::Die => {}
        }
    }

    fn settle(&mut self) {
        let stalled = self.members.iter().filter(|member| member.stalled).map(|member| member.client);
        self.world.settle(&stalled.collect());
        let heard = std::mem::take(&mut self.world.clients[self.mourner].received);
        for received in heard {
            if let Received::Delivery { correlation_id, .. } = received {
                self.tell(|| format!("message {correlation_id} is dead"));
                *self.dead.entry(correlation_id).or_default() += 1;
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0 => {
                let pattern = PATTERNS[self.random.below(3) as usize];
                self.join(pattern);
            }
            1 => {
                let place = self.random.below(self.members.len() as u32) as usize;
                self.members[place].stalled = !self.members[place].stalled;
            }
            2 if self.members.len() > 1 => {
                let place = 1 + self.random.below(self.members.len() as u32 - 1) as usize;
                if self.random.below(2) == 0 {
                    self.unsubscribe(place);
                } else if std::mem::take(&mut self.members[place].alive) {
                    self.world.crash(self.members[place].client);
                }
            }
            3..5 => self.world.tick(TICK_NANOS * u64::from(1 + self.random.below(4))),
            5..12 => self.publish(),
            12..14 => (0..30).for_each(|_| self.publish()),
            14..17 => self.work(false),
            _ => self.settle(),
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        for member in &mut self.members {
            member.stalled = false;
        }
        for _ in 0..TICKS_MAX {
            self.settle();
            self.work(true);
            self.settle();
            if self.world.count(Counter::WorkMessages) == 0 {
                break;
            }
            self.world.tick(TICK_NANOS);
        }
        let left = self.world.count(Counter::WorkMessages);
        if left > 0 {
            return Err(format!("{left} messages are neither acknowledged nor dead"));
        }
        let bytes = self.world.count(Counter::WorkBytes);
        if bytes > 0 {
            return Err(format!("{bytes} bytes are held for nothing"));
        }
        self.judge()
    }

    fn judge(&mut self) -> Result<(), String> {
        let drops = [
            Counter::DropsWorkFull,
            Counter::DropsNoQueueMember,
            Counter::DropsMeshFull,
            Counter::DropsSlowConsumerNewest,
        ];
        let dropped: u64 = drops.into_iter().map(|counter| self.world.count(counter)).sum();
        let done = |number: &u64| self.acknowledged.contains(number) || self.dead.contains_key(number);
        let missing: Vec<u64> = (1..=self.published).filter(|number| !done(number)).collect();
        if missing.len() as u64 > dropped {
            return Err(format!("{missing:?} are missing, and {dropped} were dropped"));
        }
        let buried = [
            Counter::DeadLettersExhausted,
            Counter::DeadLettersExpired,
            Counter::DeadLettersRejected,
            Counter::DeadLettersPoison,
        ];
        let buried: u64 = buried.into_iter().map(|counter| self.world.count(counter)).sum();
        let read: u64 = self.dead.values().map(|&times| u64::from(times)).sum();
        // A letter for another shard may find the link full, like any message.
        let lost = self.world.count(Counter::DropsMeshFull);
        if !(read..=read + lost).contains(&buried) {
            return Err(format!("{buried} dead letters were written, {read} were read, {lost} lost"));
        }
        Ok(())
    }
}

fn run(seed: u64) -> Result<(u64, u64), String> {
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step();
        let bytes = run.world.count(Counter::WorkBytes);
        if bytes > u64::from(run.shards) * (128 << 10) {
            return Err(format!("{bytes} bytes are kept, more than may be"));
        }
    }
    run.finish()?;
    Ok((run.published, run.dead.len() as u64))
}

#[test]
fn every_message_is_acknowledged_dead_or_counted() {
    let (mut published, mut dead) = (0, 0);
    for seed in seeds::range(SEEDS) {
        match run(seed) {
            Ok((messages, letters)) => (published, dead) = (published + messages, dead + letters),
            Err(error) => panic!("RINGBOLT_SEED={seed} repeats this: {error}"),
        }
    }
    assert!(published > 0 && dead > 0, "{published} messages, {dead} of them dead: nothing was tried");
}
