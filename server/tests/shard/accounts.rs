//! Accounts that come and go while shards hear of it at different times: two shards, whose settings and
//! batches arrive in the order a test chooses.

use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::{Access, Credential, Secret, User, Verdict};
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{ConnectionId, Dialect, Effects, Event, Nanos, Opening, ServerIdentity, Shard, ShardId};

const SHARDS: [ShardId; 2] = [0, 1];

/// Two shards, and what each connection was sent.
struct Pair {
    shards: Vec<Shard>,
    /// Who may connect, as the control thread has it.
    access: Access,
    /// Batches on their way to a shard.
    under_way: [Vec<MeshBatch>; 2],
    clients: Vec<(ShardId, Vec<u8>)>,
    closed: Vec<usize>,
}

/// One user in each account, whose name and password are the account's.
fn accounts(names: &str) -> Access {
    let mut access = Access::default();
    for name in names.chars().map(String::from) {
        let account = access.add_account(&name).expect("few");
        access.add_user(User::new(&name, Credential::Password(Secret::new(&name)), account));
    }
    access
}

impl Pair {
    fn new(names: &str) -> Pair {
        let identity = ServerIdentity {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            reply_key: (0, 0),
            unix_epoch_nanos: 0,
            nats: None,
        };
        let access = accounts(names);
        let shard = |id| Shard::new(id, &small_limits(2), &access, identity.clone(), 1, 2 + u64::from(id));
        let shards = SHARDS.into_iter().map(shard).collect();
        Pair { shards, access, under_way: [Vec::new(), Vec::new()], clients: Vec::new(), closed: Vec::new() }
    }

    /// The control thread reads these accounts; no shard knows yet.
    fn publish_accounts(&mut self, names: &str) {
        let mut access = accounts(names);
        access.succeed(&self.access).expect("few");
        self.access = access;
    }

    /// A shard takes the newest settings.
    fn obey(&mut self, shard: ShardId) {
        let (access, limits) = (self.access.clone(), small_limits(2));
        self.handle(shard, Event::Settings(&access, &limits));
    }

    fn connect(&mut self, shard: ShardId, name: &str, words: &str) -> usize {
        let client = self.clients.len();
        self.clients.push((shard, Vec::new()));
        let opening = Opening { dialect: Dialect::Nats, ..Opening::NATIVE };
        self.handle(shard, Event::Opened(id_of(client), opening));
        let hello = format!("CONNECT {{\"user\":\"{name}\",\"pass\":\"{name}\",\"verbose\":false}}\r\n");
        self.say(client, &format!("{hello}{words}"));
        client
    }

    fn say(&mut self, client: usize, words: &str) {
        self.handle(self.clients[client].0, Event::Bytes(id_of(client), words.as_bytes()));
    }

    /// What a client was sent since it was asked last, without INFO.
    fn heard(&mut self, client: usize) -> String {
        let bytes = std::mem::take(&mut self.clients[client].1);
        let text = String::from_utf8(bytes).expect("UTF-8");
        text.split_inclusive("\r\n").filter(|line| !line.starts_with("INFO ")).collect()
    }

    /// All batches arrive, and those that are sent because of them.
    fn exchange(&mut self) {
        while self.under_way.iter().any(|batches| !batches.is_empty()) {
            for to in SHARDS {
                for batch in std::mem::take(&mut self.under_way[usize::from(to)]) {
                    self.handle(to, Event::Mesh(1 - to, &batch));
                }
            }
        }
    }

    fn handle(&mut self, shard: ShardId, event: Event<'_>) {
        let core = &mut self.shards[usize::from(shard)];
        let (mut effects, mut segments) = (Effects::default(), Vec::new());
        core.handle(Nanos(1), event, &mut effects);
        loop {
            self.closed.extend(effects.close.drain(..).map(|(id, ..)| id.slot as usize));
            let mut more = Effects::default();
            if let Some(to) = effects.mesh.pop() {
                let batches = std::iter::from_fn(|| core.take_batch(to));
                self.under_way[usize::from(to)].extend(batches);
                core.handle(Nanos(1), Event::MeshRoom(to), &mut more);
            } else if let Some(id) = effects.send.pop() {
                core.take_segments(Nanos(1), id, &mut segments);
                for segment in segments.drain(..) {
                    self.clients[id.slot as usize].1.extend_from_slice(segment.bytes());
                    core.recycle(segment);
                }
                core.handle(Nanos(1), Event::Sent(id), &mut more);
            } else {
                return;
            }
            effects.mesh.append(&mut more.mesh);
            effects.send.append(&mut more.send);
            effects.close.append(&mut more.close);
        }
    }

    fn count(&self, counter: Counter) -> u64 {
        self.shards.iter().map(|shard| shard.counters().get(counter)).sum()
    }
}

fn id_of(client: usize) -> ConnectionId {
    ConnectionId { slot: client as u32, generation: 1 }
}

#[test]
fn interest_in_an_account_that_a_shard_does_not_know_yet_is_kept() {
    for group in ["", "g "] {
        let mut pair = Pair::new("A");
        pair.publish_accounts("AB");
        pair.obey(0);
        let subscriber = pair.connect(0, "B", &format!("SUB x {group}1\r\nPING\r\n"));
        pair.exchange();
        assert_eq!(pair.heard(subscriber), "PONG\r\n", "its subscription is in force everywhere");
        pair.obey(1);
        let publisher = pair.connect(1, "B", "PUB x 1\r\nm\r\nPING\r\n");
        pair.exchange();
        assert_eq!(pair.heard(publisher), "PONG\r\n");
        assert_eq!(pair.heard(subscriber), "MSG x 1 1\r\nm\r\n");
    }
}

#[test]
fn interest_that_ends_before_a_shard_knows_its_account_is_forgotten() {
    let mut pair = Pair::new("A");
    pair.publish_accounts("AB");
    pair.obey(0);
    let subscriber = pair.connect(0, "B", "SUB x 1\r\nUNSUB 1\r\nPING\r\n");
    pair.exchange();
    assert_eq!(pair.heard(subscriber), "PONG\r\n");
    pair.obey(1);
    let before = pair.count(Counter::MeshMessagesIn);
    pair.connect(1, "B", "PUB x 1\r\nm\r\n");
    pair.exchange();
    assert_eq!(pair.count(Counter::MeshMessagesIn), before, "nobody wants it");
}

#[test]
fn interest_in_an_account_that_went_is_not_kept_but_confirmed() {
    let mut pair = Pair::new("AB");
    pair.publish_accounts("A");
    pair.obey(1);
    // Shard 0 has not heard of it.
    let subscriber = pair.connect(0, "B", "SUB x 1\r\nSUB x.* g 2\r\nPING\r\n");
    let other = pair.connect(0, "A", "SUB y 1\r\nPING\r\n");
    pair.exchange();
    assert_eq!(pair.heard(subscriber), "PONG\r\n");
    assert_eq!(pair.heard(other), "PONG\r\n", "nobody waits for what is not kept");
    pair.obey(0);
    pair.exchange();
    assert_eq!(pair.closed, [subscriber]);
    pair.connect(1, "A", "PUB y 1\r\nm\r\n");
    pair.exchange();
    assert_eq!(pair.heard(other), "MSG y 1 1\r\nm\r\n");
}

#[test]
fn an_account_that_went_and_came_back_is_another_one_also_where_nobody_noticed() {
    let mut pair = Pair::new("AB");
    let former = pair.connect(0, "B", "SUB x 1\r\nPING\r\n");
    let bystander = pair.connect(1, "B", "SUB x 1\r\nPING\r\n");
    pair.exchange();
    pair.publish_accounts("A");
    pair.obey(1);
    pair.publish_accounts("ACB");
    pair.obey(1);
    // Shard 0 takes neither; the new B of shard 1 shares nothing with the old one, and neither does C, whose
    // number nobody had.
    let subscriber = pair.connect(1, "B", "SUB x 1\r\nPING\r\n");
    let stranger = pair.connect(1, "C", "SUB x 1\r\nPING\r\n");
    pair.exchange();
    assert_eq!(pair.closed, [bystander]);
    pair.say(former, "PUB x 1\r\no\r\n");
    pair.exchange();
    assert_eq!(pair.heard(former), "PONG\r\nMSG x 1 1\r\no\r\n");
    assert_eq!(pair.heard(subscriber), "PONG\r\n");
    assert_eq!(pair.heard(stranger), "PONG\r\n");
    pair.say(stranger, "PUB x 1\r\ns\r\n");
    pair.exchange();
    assert_eq!(pair.heard(stranger), "MSG x 1 1\r\ns\r\n");
    assert_eq!(pair.heard(former), "");
    pair.obey(0);
    pair.exchange();
    assert_eq!(pair.closed, [bystander, former]);
    pair.connect(0, "B", "PUB x 1\r\nn\r\n");
    pair.exchange();
    assert_eq!(pair.heard(subscriber), "MSG x 1 1\r\nn\r\n");
    assert_eq!(pair.heard(stranger), "");
}

#[test]
fn an_account_that_came_and_went_unnoticed_leaves_nothing() {
    let mut pair = Pair::new("A");
    pair.publish_accounts("AB");
    pair.obey(0);
    let member = pair.connect(0, "B", "SUB x 1\r\nSUB x g 2\r\nPING\r\n");
    pair.exchange();
    assert_eq!(pair.heard(member), "PONG\r\n");
    pair.publish_accounts("A");
    pair.obey(1);
    pair.obey(0);
    pair.exchange();
    assert_eq!(pair.closed, [member]);
    // Nobody has its number: the next account begins with nothing.
    pair.publish_accounts("AC");
    pair.obey(0);
    pair.obey(1);
    let subscriber = pair.connect(0, "C", "SUB > 1\r\nPING\r\n");
    pair.exchange();
    let before = pair.count(Counter::MeshMessagesIn);
    pair.connect(1, "C", "PUB x 1\r\nm\r\n");
    pair.exchange();
    assert_eq!(pair.heard(subscriber), "PONG\r\nMSG x 1 1\r\nm\r\n");
    assert_eq!(pair.count(Counter::MeshMessagesIn), before + 1);
}

#[test]
fn what_a_shard_knew_of_an_account_goes_with_it() {
    let mut pair = Pair::new("AB");
    let subscriber = pair.connect(0, "B", "SUB x.* 1\r\nPING\r\n");
    pair.exchange();
    let subjects = |pair: &mut Pair| {
        pair.shards.iter_mut().for_each(Shard::refresh_gauges);
        pair.count(Counter::SubjectsCached)
    };
    let before = subjects(&mut pair);
    pair.connect(1, "B", "PUB x.1 1\r\nm\r\nPUB x.2 1\r\nm\r\n");
    pair.exchange();
    assert_eq!(pair.heard(subscriber), "PONG\r\nMSG x.1 1 1\r\nm\r\nMSG x.2 1 1\r\nm\r\n");
    assert_eq!(subjects(&mut pair), before + 4, "two on each shard");
    pair.publish_accounts("A");
    SHARDS.into_iter().for_each(|shard| pair.obey(shard));
    pair.exchange();
    assert_eq!(subjects(&mut pair), before);
}

#[test]
fn messages_of_an_account_that_a_shard_does_not_know_reach_nobody_and_harm_nobody() {
    let mut pair = Pair::new("AB");
    // Shard 1 announced interest in B, and B goes there before a message arrives.
    let subscriber = pair.connect(1, "B", "SUB x 1\r\nSUB x g 2\r\nPING\r\n");
    pair.exchange();
    pair.connect(0, "B", "PUB x 1\r\nm\r\n");
    pair.publish_accounts("A");
    pair.obey(1);
    pair.exchange();
    assert_eq!(pair.closed, [subscriber]);
    assert!(pair.heard(subscriber).starts_with("PONG\r\n-ERR"), "the message came too late");
    assert_eq!(pair.count(Counter::DropsNoQueueMember), 1);
}

#[test]
fn who_changes_while_a_proof_is_checked_is_not_let_in_as_another() {
    let mut pair = Pair::new("A");
    let hash = "$2a$04$abcdefghijklmnopqrstuu";
    let with_bcrypt = |before: &Access, users: &[(&str, &str)]| {
        let mut access = Access::default();
        for &(name, account) in users {
            let number = access.add_account(account).expect("few");
            access.add_user(User::new(name, Credential::Password(Secret::new(hash)), number));
        }
        access.succeed(before).expect("few");
        access
    };
    pair.access = with_bcrypt(&pair.access, &[("ann", "A")]);
    pair.obey(0);
    let [ann, eve] = ["ann", "ann"].map(|name| pair.connect(0, name, "SUB > 1\r\nPING\r\n"));
    pair.handle(0, Event::Verified(id_of(ann), Verdict::Proven));
    pair.exchange();
    assert_eq!(pair.heard(ann), "PONG\r\n");
    // The place of ann among the users is another's now.
    pair.access = with_bcrypt(&pair.access, &[("bob", "B")]);
    pair.obey(0);
    pair.handle(0, Event::Verified(id_of(eve), Verdict::Proven));
    assert!(pair.heard(eve).contains("Authorization Violation"));
    assert_eq!(pair.closed, [ann, eve]);
}
