//! Messages with deadlines that wait for a client.

use bytes::Bytes;
use ringbolt_protocol::command::{Compression, Flags, Priority};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::delivery::{BufferPool, Outbox};
use ringbolt_shard::lanes::Lane;
use ringbolt_shard::limits::Shares;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{ConnectionId, Dialect, Nanos, PublisherId};
use std::collections::BTreeSet;

const SECOND: u64 = 1_000_000_000;

/// A client that takes nothing for now, and others that publish to it.
struct Scene {
    world: World,
    slow: usize,
    publishers: [usize; 2],
    stalled: BTreeSet<usize>,
}

impl Scene {
    fn new(shards: u16) -> Scene {
        let mut world = World::new(small_limits(shards.into()), 9);
        let mut client = |shard: u16| {
            let client = world.connect(shard);
            world.clients[client].hello();
            world.write(client);
            client
        };
        let (slow, publishers) = (client(0), [client(shards - 1), client(0)]);
        world.clients[slow].subscribe(1, ">", None, SlowConsumer::Default);
        world.write(slow);
        world.settle(&BTreeSet::new());
        let mut scene = Scene { world, slow, publishers, stalled: BTreeSet::from([slow]) };
        // The first is on its way at once: what comes now waits behind it.
        scene.publish(0, "a", Priority::Normal, None, "first");
        assert!(scene.world.begin_send(slow));
        scene
    }

    /// `second`: of the deadline.
    fn publish(&mut self, by: usize, subject: &str, priority: Priority, second: Option<u8>, words: &str) {
        let client = self.publishers[by];
        let deadline = second.map(|at| format!("Ringbolt-Deadline: 1970-01-01T00:00:{at:02}Z\r\n"));
        let block = format!("NATS/1.0\r\n{}\r\n", deadline.unwrap_or_default());
        self.world.clients[client].flags = Flags::new(priority, Compression::None);
        self.world.clients[client].publish_with_headers(subject, None, &block, words.as_bytes());
        self.world.write(client);
        self.world.settle(&self.stalled);
    }

    /// All that comes once the client reads again.
    fn read(&mut self) -> Vec<String> {
        self.world.settle(&BTreeSet::new());
        let word = |received: &Received| match received {
            Received::Delivery { payload, .. } => {
                let text = String::from_utf8_lossy(payload).into_owned();
                Some(text.rsplit("\r\n").next().unwrap_or_default().to_owned())
            }
            Received::Pong(number) => Some(format!("pong {number}")),
            _ => None,
        };
        self.world.clients[self.slow].received.iter().filter_map(word).collect()
    }
}

#[test]
fn the_earliest_deadline_of_a_lane_goes_first_and_lanes_before_each_other() {
    for shards in [1, 2] {
        let mut scene = Scene::new(shards);
        scene.publish(0, "a", Priority::Normal, None, "whenever");
        scene.publish(0, "b", Priority::Normal, Some(30), "thirty");
        scene.publish(1, "b", Priority::Normal, Some(10), "ten");
        scene.publish(0, "c", Priority::Low, Some(5), "five, but low");
        scene.publish(1, "c", Priority::High, Some(50), "fifty, but high");
        scene.publish(1, "d", Priority::Normal, Some(20), "twenty");
        let order = ["first", "fifty, but high", "ten", "twenty", "thirty", "whenever", "five, but low"];
        assert_eq!(scene.read(), order);
        assert_eq!(scene.world.count(Counter::OutboxBytes), 0);
    }
}

#[test]
fn what_nobody_wants_any_more_is_dropped_from_the_outbox() {
    let mut scene = Scene::new(1);
    scene.publish(0, "a", Priority::Normal, Some(2), "two");
    scene.publish(0, "b", Priority::Low, Some(3), "three");
    scene.publish(0, "a", Priority::Normal, Some(40), "forty");
    scene.world.tick(10 * SECOND);
    assert_eq!(scene.read(), ["first", "forty"]);
    assert_eq!(scene.world.count(Counter::DropsExpired), 2);
    assert_eq!(scene.world.count(Counter::OutboxBytes), 0);
    // With nothing left to send, a publisher is not forgotten either.
    let mut scene = Scene::new(1);
    scene.publish(0, "a", Priority::Normal, Some(2), "two");
    scene.world.tick(10 * SECOND);
    assert_eq!(scene.read(), ["first"]);
    scene.publish(0, "a", Priority::Normal, None, "next");
    assert_eq!(scene.read(), ["first", "next"]);
}

#[test]
fn a_publisher_keeps_its_order_on_a_subject() {
    let mut scene = Scene::new(1);
    scene.publish(0, "a", Priority::Normal, Some(30), "one");
    scene.publish(0, "a", Priority::Normal, Some(10), "two");
    scene.publish(1, "a", Priority::Normal, Some(20), "of another");
    assert_eq!(scene.read(), ["first", "of another", "one", "two"]);
}

#[test]
fn what_is_past_while_it_waits_for_an_earlier_message_is_not_sent() {
    let mut scene = Scene::new(1);
    scene.publish(0, "a", Priority::Normal, Some(40), "forty");
    scene.publish(0, "a", Priority::Normal, Some(2), "two");
    scene.publish(0, "a", Priority::Normal, Some(50), "fifty");
    scene.world.tick(10 * SECOND);
    assert_eq!(scene.read(), ["first", "forty", "fifty"]);
    assert_eq!(scene.world.count(Counter::DropsExpired), 1);
}

#[test]
fn a_message_waits_for_none_of_another_lane() {
    let mut scene = Scene::new(1);
    scene.publish(0, "a", Priority::Normal, Some(40), "forty");
    scene.publish(0, "a", Priority::High, Some(30), "thirty");
    scene.publish(1, "b", Priority::High, Some(35), "thirty-five");
    assert_eq!(scene.read(), ["first", "thirty", "thirty-five", "forty"]);
}

#[test]
fn an_answer_comes_behind_what_was_queued_before_it() {
    let mut scene = Scene::new(1);
    scene.publish(0, "a", Priority::Low, Some(30), "before");
    scene.world.clients[scene.slow].ping(7);
    scene.world.write(scene.slow);
    scene.world.settle(&scene.stalled);
    scene.publish(1, "b", Priority::Low, Some(10), "behind, but sooner");
    scene.publish(1, "b", Priority::Low, Some(40), "behind");
    let heard = scene.read();
    let place = |word: &str| heard.iter().position(|other| other == word).expect("it came");
    assert!(place("before") < place("pong 7"), "{heard:?}");
    assert!(place("behind, but sooner") < place("before"), "{heard:?}");
}

#[test]
fn a_full_outbox_gives_up_who_has_most_time() {
    let mut scene = Scene::new(1);
    let slow = scene.slow;
    scene.world.clients[slow].subscribe(2, "x", None, SlowConsumer::DropOldest);
    scene.world.write(slow);
    scene.world.settle(&BTreeSet::new());
    scene.publish(0, "x", Priority::Normal, None, "in flight");
    for second in [50, 20, 40, 30, 10].iter().cycle().take(60) {
        scene.publish(0, "x", Priority::Normal, Some(*second), &"x".repeat(900));
    }
    assert!(scene.world.count(Counter::DropsSlowConsumerOldest) > 0);
    scene.read();
    assert_eq!(scene.world.count(Counter::OutboxBytes), 0);
}

#[test]
fn what_nobody_wants_any_more_takes_no_room_from_what_comes() {
    let mut scene = Scene::new(1);
    for _ in 0..14 {
        scene.publish(0, "x", Priority::Normal, Some(2), &"x".repeat(1000));
    }
    scene.world.tick(10 * SECOND);
    for _ in 0..14 {
        scene.publish(0, "x", Priority::Normal, Some(40), &"y".repeat(1000));
    }
    let heard = scene.read();
    assert_eq!(heard.len(), 15, "the client was not cut for what it need not read");
    assert!(heard[1..].iter().all(|words| words.starts_with('y')));
    assert_eq!(scene.world.count(Counter::DropsExpired), 14);
}

#[test]
fn a_message_in_pieces_is_moved_whole() {
    let mut pool = BufferPool::new(8, 256);
    let mut outbox = Outbox::new(Dialect::Nats);
    let stream = (PublisherId { shard: 0, connection: ConnectionId { slot: 1, generation: 1 } }, 1);
    let (mut segments, mut told) = (Vec::new(), 0);
    let normal: &[u8] = b"MSG a 1 1\r\nx\r\n";
    outbox.tail(normal.len(), 256, &mut pool).extend_from_slice(normal);
    told += u32::from(outbox.wrote(normal.len()));
    for (deadline, letter) in [(9u64, b'b'), (5, b'c')] {
        assert!(outbox.begin_timed());
        let head = [b"MSG ", &[letter][..], b" 1 4\r\n"].concat();
        outbox.tail_in(Lane::Normal, head.len(), 256, &mut pool).extend_from_slice(&head);
        outbox.share(Lane::Normal, Bytes::from(vec![letter; 4]));
        outbox.share(Lane::Normal, Bytes::from_static(b"\r\n"));
        let written = head.len() + 6;
        told += u32::from(outbox.wrote_timed(Lane::Normal, written, Nanos(deadline), stream, &mut pool));
    }
    assert_eq!(told, 1, "the edge was told at the first");
    let queued = outbox.queued_bytes();
    let mut taken = 0;
    while taken < queued {
        taken += outbox.take(Nanos(0), &Shares::default(), &mut segments);
        let _more = outbox.sent(&mut pool);
    }
    let bytes: Vec<u8> = segments.iter().flat_map(|segment| segment.bytes().to_vec()).collect();
    // One publisher and subject: the later one waits for the earlier.
    let whole = "MSG b 1 4\r\nbbbb\r\nMSG c 1 4\r\ncccc\r\nMSG a 1 1\r\nx\r\n";
    assert_eq!(String::from_utf8_lossy(&bytes), whole);
}
