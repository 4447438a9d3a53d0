//! At least once: whatever members do to the messages they are given, every message is acknowledged,
//! becomes a dead letter, or is counted among the dropped.
//!
//! `RINGBOLT_SEED=n` repeats one run and tells its steps; `RINGBOLT_SEEDS=n` runs so many.

use ringbolt_protocol::command::{Compression, Flags, Priority, SubjectRef};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::limits::Limits;
use ringbolt_server::shard::metrics::Counter;
use ringbolt_server::shard::random::Random;
use ringbolt_server::shard::{Nanos, TICK_NANOS};
use ringbolt_server::sim::{Received, World, small_limits};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 1000;
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
        let limits =
            Limits { outbox_bytes_max: 64 << 10, work_bytes_max: 128 << 10, ..small_limits(shards as usize) };
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
        let (heard, alive, stalled, working_on) = (0, true, false, Vec::new());
        self.members.push(Member { client, heard, alive, stalled, working_on });
    }

    fn publish(&mut self) {
        let producer = self.producers[self.random.below(2) as usize];
        let subject = SUBJECTS[self.random.below(3) as usize];
        let priority = PRIORITIES[self.random.below(5) as usize];
        let payload = vec![7; self.random.below(900) as usize];
        self.published += 1;
        let number = self.published;
        let client = &mut self.world.clients[producer];
        client.flags = Flags::new(priority, Compression::None);
        client.publish_as(SubjectRef::Literal(subject.as_bytes()), None, number, &payload);
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
                if std::mem::take(&mut self.members[place].alive) {
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
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("RINGBOLT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("RINGBOLT_SEEDS").unwrap_or(SEEDS) + 1,
    };
    let (mut published, mut dead) = (0, 0);
    for seed in seeds {
        match run(seed) {
            Ok((messages, letters)) => (published, dead) = (published + messages, dead + letters),
            Err(error) => panic!("RINGBOLT_SEED={seed} repeats this: {error}"),
        }
    }
    assert!(published > 0 && dead > 0, "{published} messages, {dead} of them dead: nothing was tried");
}

/// One shard, a producer, and what it published to `job`.
fn world() -> (World, usize) {
    let mut world = World::new(small_limits(1), 1);
    let producer = world.connect(0);
    world.clients[producer].hello();
    world.write(producer);
    (world, producer)
}

fn member(world: &mut World, group: &str) -> usize {
    let client = world.connect(0);
    world.clients[client].hello();
    world.clients[client].subscribe(1, "job", Some(group), SlowConsumer::Default);
    world.write(client);
    world.settle(&BTreeSet::new());
    client
}

fn publish(world: &mut World, producer: usize, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.clients[producer].publish_as(SubjectRef::Literal(b"job"), None, number, b"do");
    }
    world.write(producer);
    world.settle(&BTreeSet::new());
}

/// Numbers and reply subjects of what a member was given since it was asked last.
fn given(world: &mut World, client: usize) -> Vec<(u64, String)> {
    let received = std::mem::take(&mut world.clients[client].received);
    let delivery = |received| match received {
        Received::Delivery { correlation_id, reply: Some(reply), .. } => Some((correlation_id, reply)),
        _ => None,
    };
    received.into_iter().filter_map(delivery).collect()
}

fn say(world: &mut World, client: usize, reply: &str, words: &str) {
    world.clients[client].publish(reply, words.as_bytes());
    world.write(client);
    world.settle(&BTreeSet::new());
}

#[test]
fn a_member_has_no_more_in_flight_than_it_may() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=2");
    publish(&mut world, producer, 1..6);
    let first = given(&mut world, client);
    assert_eq!(first.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    say(&mut world, client, &first[1].1, "+ACK");
    assert_eq!(given(&mut world, client)[0].0, 3, "a place for the next");
    say(&mut world, client, &first[1].1, "+ACK");
    assert!(given(&mut world, client).is_empty(), "what was acknowledged once counts once");
    assert_eq!(world.count(Counter::AcknowledgementsStray), 1);
}

#[test]
fn the_important_goes_first_and_the_earliest_deadline_before_it() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=1");
    publish(&mut world, producer, 1..3);
    for (number, priority) in [(3, Priority::Background), (4, Priority::Critical), (5, Priority::High)] {
        world.clients[producer].flags = Flags::new(priority, Compression::None);
        publish(&mut world, producer, number..number + 1);
    }
    let mut order = Vec::new();
    while let Some((number, reply)) = given(&mut world, client).pop() {
        order.push(number);
        say(&mut world, client, &reply, "");
    }
    assert_eq!(order, [1, 4, 5, 2, 3]);
}

#[test]
fn what_a_member_leaves_another_gets_at_once() {
    let (mut world, producer) = world();
    let (first, second) = (member(&mut world, "g;ack;inflight=8"), member(&mut world, "g;ack"));
    publish(&mut world, producer, 1..9);
    let left: Vec<u64> = given(&mut world, first).iter().map(|(number, _)| *number).collect();
    assert_eq!(left.len(), 4, "shared evenly");
    given(&mut world, second);
    world.crash(first);
    world.settle(&BTreeSet::new());
    let got: Vec<u64> = given(&mut world, second).iter().map(|(number, _)| *number).collect();
    assert_eq!(got, left);
    assert_eq!(world.count(Counter::Redeliveries), 4);
}

#[test]
fn who_unsubscribes_may_still_settle_what_he_has() {
    let (mut world, producer) = world();
    let (first, second) = (member(&mut world, "g;ack"), member(&mut world, "g;ack"));
    publish(&mut world, producer, 1..5);
    let had = given(&mut world, first);
    assert_eq!((had.len(), given(&mut world, second).len()), (2, 2));
    world.clients[first].unsubscribe(1, 0);
    world.write(first);
    world.settle(&BTreeSet::new());
    say(&mut world, first, &had[0].1, "+ACK");
    assert!(given(&mut world, second).is_empty(), "it may still be at it");
    assert_eq!(world.count(Counter::WorkMessages), 3);
    publish(&mut world, producer, 5..6);
    assert_eq!(given(&mut world, second).len(), 1, "and is given no more");
    world.crash(first);
    world.settle(&BTreeSet::new());
    let got: Vec<u64> = given(&mut world, second).iter().map(|(number, _)| *number).collect();
    assert_eq!(got, [had[1].0], "but now it is not");
}

#[test]
fn a_member_whose_outbox_is_full_is_given_no_more_and_is_not_cut() {
    let (mut world, producer) = world();
    let slow = member(&mut world, "g;ack;inflight=100");
    let stalled = BTreeSet::from([slow]);
    let payload = vec![1; 2000];
    for number in 1..=20 {
        world.clients[producer].publish_as(SubjectRef::Literal(b"job"), None, number, &payload);
        world.write(producer);
        world.settle(&stalled);
    }
    assert!(!world.is_gone(slow));
    let held = world.count(Counter::WorkInFlight);
    assert!((5..9).contains(&held), "16 KiB are all it may let wait: {held}");
    let other = member(&mut world, "g;ack;inflight=100");
    let wait = |world: &mut World| {
        (0..6).for_each(|_| {
            world.tick(TICK_NANOS);
            world.settle(&stalled);
        });
    };
    wait(&mut world);
    let others = given(&mut world, other).len();
    assert!(others > 0, "others get what it cannot take");
    world.crash(slow);
    wait(&mut world);
    assert_eq!(others + given(&mut world, other).len(), 20);
}

#[test]
fn a_message_that_several_members_fail_is_poison_and_its_letter_says_so() {
    let (mut world, producer) = world();
    let mourner = world.connect(0);
    world.clients[mourner].hello();
    world.clients[mourner].subscribe(1, "$DLQ.>", None, SlowConsumer::Default);
    world.write(mourner);
    let group = "g;ack;max=10;poison=2;backoff=1ms..1ms";
    let members = [member(&mut world, group), member(&mut world, group)];
    publish(&mut world, producer, 1..2);
    let mut failures = 0;
    while failures < 10 && world.count(Counter::DeadLettersPoison) == 0 {
        for client in members {
            for (_, reply) in given(&mut world, client) {
                failures += 1;
                say(&mut world, client, &reply, "-NAK it burns");
            }
        }
        world.tick(TICK_NANOS);
        world.settle(&BTreeSet::new());
    }
    assert_eq!(failures, 2, "another member is tried first");
    let letters = world.clients[mourner].payloads(1);
    let letter = String::from_utf8_lossy(letters[0]);
    for line in ["Ringbolt-Subject: job", "Ringbolt-Reason: poison", "Ringbolt-Deliveries: 2", "it burns"] {
        assert!(letter.contains(line), "{line} in {letter}");
    }
    assert!(letter.ends_with("do"), "{letter}");
}

#[test]
fn progress_buys_time_and_silence_costs_it() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;wait=1s;max=2;backoff=1ms..1ms");
    publish(&mut world, producer, 1..2);
    let reply = given(&mut world, client).remove(0).1;
    for _ in 0..5 {
        world.tick(800_000_000);
        say(&mut world, client, &reply, "+WPI");
    }
    assert_eq!(world.count(Counter::Redeliveries), 0);
    for _ in 0..20 {
        world.tick(TICK_NANOS);
        world.settle(&BTreeSet::new());
    }
    assert_eq!(world.count(Counter::Redeliveries), 1);
    for _ in 0..20 {
        world.tick(TICK_NANOS);
        world.settle(&BTreeSet::new());
    }
    assert_eq!(world.count(Counter::DeadLettersExhausted), 1);
    assert!(world.now > Nanos(6_000_000_000));
}

#[test]
fn a_full_group_sheds_the_least_important() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=1;pending=3");
    world.clients[producer].flags = Flags::new(Priority::Background, Compression::None);
    publish(&mut world, producer, 1..10);
    assert_eq!(world.count(Counter::DropsWorkFull), 5, "one in flight, three wait");
    world.clients[producer].flags = Flags::new(Priority::High, Compression::None);
    publish(&mut world, producer, 10..12);
    assert_eq!(world.count(Counter::DropsWorkFull), 7, "two of the background made room");
    let mut order = Vec::new();
    while let Some((number, reply)) = given(&mut world, client).pop() {
        order.push(number);
        say(&mut world, client, &reply, "+ACK");
    }
    assert_eq!(order, [1, 10, 11, 2]);
}

#[test]
fn a_member_that_fails_everything_is_given_nothing_for_a_while_and_it_is_told() {
    let (mut world, producer) = world();
    let observer = world.connect(0);
    world.clients[observer].hello();
    world.clients[observer].subscribe(1, "$EVENTS.breaker.*", None, SlowConsumer::Default);
    world.write(observer);
    let group = "g;ack;inflight=1;max=100;poison=100;backoff=1ms..1ms";
    let broken = member(&mut world, group);
    publish(&mut world, producer, 1..4);
    for _ in 0..3 {
        let reply = given(&mut world, broken).remove(0).1;
        say(&mut world, broken, &reply, "-NAK");
        world.tick(TICK_NANOS);
        world.settle(&BTreeSet::new());
    }
    assert!(given(&mut world, broken).is_empty(), "three failures in a row are enough");
    let event = String::from_utf8_lossy(world.clients[observer].payloads(1)[0]).into_owned();
    assert!(event.contains("\"state\":\"open\"") && event.contains("\"group\":\"g\""), "{event}");
    let works = member(&mut world, group);
    assert_eq!(given(&mut world, works).len(), 1, "others get what it would have had");
    (0..12).for_each(|_| world.tick(TICK_NANOS));
    world.settle(&BTreeSet::new());
    assert_eq!(given(&mut world, broken).len(), 1, "then a probe");
    assert_eq!(world.count(Counter::BreakerChanges), 2);
}

#[test]
fn what_is_published_twice_is_delivered_once_and_both_are_confirmed() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=2;pending=1");
    world.clients[producer].subscribe(9, "inbox", None, SlowConsumer::Default);
    for id in ["a", "a", "b", "b", "c", "d", "a"] {
        let block = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\nNats-Expected-Stream: ringbolt\r\n\r\n");
        world.clients[producer].publish_with_headers("job", Some("inbox"), &block, b"do");
        world.write(producer);
        world.settle(&BTreeSet::new());
    }
    let confirmed: Vec<String> = world.clients[producer]
        .payloads(9)
        .into_iter()
        .map(|payload| String::from_utf8_lossy(payload).into_owned())
        .collect();
    let duplicates = confirmed.iter().filter(|words| words.contains("\"duplicate\":true")).count();
    assert_eq!((confirmed.len(), duplicates), (7, 3), "{confirmed:?}");
    assert!(confirmed[5].contains("503"), "the group is full: {confirmed:?}");
    assert_eq!(given(&mut world, client).len(), 2);
    assert_eq!(world.count(Counter::Duplicates), 3);
    assert_eq!(world.count(Counter::DropsWorkFull), 1);
}

#[test]
fn nobody_settles_what_he_was_not_given() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack");
    publish(&mut world, producer, 1..2);
    let reply = given(&mut world, client).remove(0).1;
    say(&mut world, producer, &reply, "+ACK");
    say(&mut world, producer, "$JS.ACK.ringbolt.g.1.99.99.0.0", "+TERM");
    assert_eq!(world.count(Counter::AcknowledgementsStray), 2);
    assert_eq!(world.count(Counter::WorkMessages), 1);
    say(&mut world, client, &reply, "nonsense");
    assert_eq!(world.count(Counter::AcknowledgementsStray), 3);
    say(&mut world, client, &reply, "+ACK");
    assert_eq!(world.count(Counter::WorkMessages), 0);
}
