//! Requests whose replies the server looks after: deadlines, and gathering.

use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::metrics::Counter;
use std::collections::BTreeSet;

const SECOND: u64 = 1_000_000_000;

struct Scene {
    world: World,
    requester: usize,
    responders: Vec<usize>,
}

impl Scene {
    /// A requester on shard 0 with an inbox, and responders on both shards that all get its requests.
    fn new(responders: usize) -> Scene {
        let mut scene = Scene { world: World::new(small_limits(2), 5), requester: 0, responders: Vec::new() };
        scene.requester = scene.client(0, "inbox.>");
        scene.responders = (0..responders).map(|number| scene.client(number as u16 % 2, "service")).collect();
        scene
    }

    fn client(&mut self, shard: u16, pattern: &str) -> usize {
        let client = self.world.connect(shard);
        self.world.clients[client].hello();
        self.world.clients[client].subscribe(1, pattern, None, SlowConsumer::Default);
        self.go(client);
        client
    }

    fn go(&mut self, client: usize) {
        self.world.write(client);
        self.world.settle(&BTreeSet::new());
    }

    fn ask(&mut self, reply: &str, lines: &str) {
        let block = format!("NATS/1.0\r\n{lines}\r\n");
        self.world.clients[self.requester].publish_with_headers("service", Some(reply), &block, b"?");
        self.go(self.requester);
    }

    fn reply(&mut self, responder: usize, reply: &str, words: &str) {
        self.world.clients[self.responders[responder]].publish(reply, words.as_bytes());
        self.go(self.responders[responder]);
    }

    /// What came to the inbox since it was looked at last.
    fn heard(&mut self) -> Vec<String> {
        let received = std::mem::take(&mut self.world.clients[self.requester].received);
        let text = |received| match received {
            Received::Delivery { payload, .. } => Some(String::from_utf8_lossy(&payload).into_owned()),
            _ => None,
        };
        received.into_iter().filter_map(text).collect()
    }
}

#[test]
fn a_reply_behind_the_deadline_is_dropped_wherever_it_comes_from() {
    for responder in [0, 1] {
        let mut scene = Scene::new(2);
        let lines = "Ringbolt-Deadline: 1970-01-01T00:00:05Z\r\n";
        scene.ask("inbox.a", lines);
        scene.ask("inbox.b", lines);
        scene.ask("inbox.none", "Trace: 1\r\n");
        assert_eq!(scene.world.count(Counter::RequestsWatched), 2, "one has no deadline");
        let asked = &scene.world.clients[scene.responders[responder]].payloads(1)[0];
        assert!(String::from_utf8_lossy(asked).contains("00:00:05Z"), "the responder knows the deadline");
        scene.reply(responder, "inbox.a", "in time");
        scene.world.tick(6 * SECOND);
        scene.reply(responder, "inbox.b", "late");
        scene.reply(responder, "inbox.none", "whenever");
        assert_eq!(scene.heard(), ["in time", "whenever"]);
        assert_eq!(scene.world.count(Counter::RepliesLate), 1);
        scene.world.tick(120 * SECOND);
        assert_eq!(scene.world.count(Counter::RequestsWatched), 0, "none is remembered for ever");
    }
}

#[test]
fn a_request_gathers_the_first_replies_and_is_told_when_it_has_them() {
    let mut scene = Scene::new(4);
    scene.ask("inbox.a", "Ringbolt-Gather: 3\r\n");
    for responder in 0..4 {
        scene.reply(responder, "inbox.a", &format!("from {responder}"));
    }
    let heard = scene.heard();
    assert_eq!(heard[..3], ["from 0", "from 1", "from 2"]);
    assert_eq!(heard[3..], ["NATS/1.0\r\nRingbolt-Gathered: 3\r\n\r\n"], "the fourth reply came too late");
    assert_eq!(scene.world.count(Counter::RepliesLate), 1);
}

#[test]
fn nobody_but_the_requester_misses_a_reply_or_is_told_of_gathering() {
    for shard in [0, 1] {
        let mut scene = Scene::new(2);
        // Someone else is subscribed to the subject that a request names for its replies.
        let other = scene.client(shard, "inbox.*");
        scene.ask("inbox.a", "Ringbolt-Gather: 1\r\n");
        for responder in 0..2 {
            scene.reply(responder, "inbox.a", &format!("from {responder}"));
        }
        assert_eq!(scene.heard(), ["from 0", "NATS/1.0\r\nRingbolt-Gathered: 1\r\n\r\n"]);
        let heard = scene.world.clients[other].payloads(1);
        assert_eq!(heard, [b"from 0", b"from 1"], "all of what was published there");
    }
}

#[test]
fn gathering_ends_with_the_deadline() {
    let mut scene = Scene::new(4);
    scene.ask("inbox.a", "Ringbolt-Gather: 100\r\nRingbolt-Deadline: 1970-01-01T00:00:02Z\r\n");
    scene.reply(0, "inbox.a", "one");
    scene.reply(1, "inbox.a", "two");
    scene.world.tick(3 * SECOND);
    scene.world.settle(&BTreeSet::new());
    scene.reply(2, "inbox.a", "three");
    assert_eq!(scene.heard(), ["one", "two", "NATS/1.0\r\nRingbolt-Gathered: 2\r\n\r\n"]);
}

#[test]
fn a_request_that_nobody_takes_is_not_looked_after() {
    let mut scene = Scene::new(0);
    scene.ask("inbox.a", "Ringbolt-Gather: 3\r\n");
    assert_eq!(scene.world.count(Counter::RequestsWatched), 0);
    assert_eq!(scene.world.count(Counter::NoResponders), 1);
}

#[test]
fn replies_in_a_run_are_looked_after_like_any() {
    let mut scene = Scene::new(2);
    scene.ask("inbox.a", "Ringbolt-Gather: 2\r\n");
    let client = scene.responders[0];
    scene.world.clients[client].intern(1, "inbox.a");
    for number in 0..20 {
        let subject = ringbolt_protocol::command::SubjectRef::Interned(1);
        scene.world.clients[client].publish_as(subject, None, 0, format!("{number}").as_bytes());
    }
    scene.go(client);
    assert_eq!(scene.heard(), ["0", "1", "NATS/1.0\r\nRingbolt-Gathered: 2\r\n\r\n"]);
    assert_eq!(scene.world.count(Counter::RepliesLate), 18);
}

#[test]
fn a_reply_that_a_queue_group_hears_too_is_one() {
    let mut scene = Scene::new(2);
    let (requester, world) = (scene.requester, &mut scene.world);
    world.clients[requester].subscribe(2, "inbox.>", Some("log"), SlowConsumer::Default);
    scene.go(requester);
    scene.ask("inbox.a", "Ringbolt-Gather: 2\r\n");
    scene.reply(1, "inbox.a", "one");
    assert_eq!(scene.heard(), ["one", "one"], "to each subscription; another is still to come");
    scene.reply(0, "inbox.a", "two");
    assert!(scene.heard().contains(&"NATS/1.0\r\nRingbolt-Gathered: 2\r\n\r\n".to_owned()));
}
