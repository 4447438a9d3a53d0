//! One run: a server of a random shape, clients that come, act and go, and the steps of their kernels.

use super::client::{Client, Nature, News, Speaker};
use super::ending::Outcome;
use super::hostile;
use super::oracle::{self, Published, Subscription};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::config::WaitMode;
use ringbolt_server::io::Listening;
use ringbolt_server::io::platform::WorkKind;
use ringbolt_server::sim::edge::{NATIVE, NATIVE_UNIX, NATS, Sabotage, Server, Shape, Whim};
use ringbolt_server::sim::nats_client::NatsClient;
use ringbolt_server::sim::{SimClient, small_limits, some_pieces, some_policy, some_room, some_steps};
use ringbolt_shard::Dialect;
use ringbolt_shard::access::{Access, Credential, Secret, User, Verdict, Verification};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::random::Random;

const STEPS: u32 = 2500;
const CLIENTS_MAX: usize = 40;
const SUBSCRIPTIONS_MAX: usize = 8;
const MESSAGES_AT_ONCE_MAX: usize = 3;
const PAYLOAD_BYTES_MAX: usize = 704;
/// A line or a frame around it, and what else a client is told in a step.
const HEAD_BYTES_MAX: usize = 128;
/// All that a run can publish to one client: the kernel may send none of it before the end, and whoever reads
/// what he is sent is not cut for that.
const OUTBOX_BYTES_MAX: usize =
    STEPS as usize * MESSAGES_AT_ONCE_MAX * SUBSCRIPTIONS_MAX * (PAYLOAD_BYTES_MAX + HEAD_BYTES_MAX);
const SUBJECTS: [&str; 6] = ["a", "a.b", "a.c", "b.b", "b.c.d", "z"];
const PATTERNS: [&str; 9] = ["a", "a.b", "b.b", "z", "*", "a.*", "*.b", "b.>", ">"];
const GROUPS: [&str; 2] = ["g", "h"];
/// Accounts of runs that have some; one that went does not come back.
const ACCOUNTS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
pub(super) const MILLISECOND: u64 = 1_000_000;

pub struct Run {
    pub(super) server: Server,
    limits: Limits,
    access: Access,
    /// Names of the accounts there are now, and their numbers in this run; 0 is everybody's.
    accounts: Vec<(&'static str, usize)>,
    accounts_made: usize,
    random: Random,
    step: u32,
    pub(super) clients: Vec<Client>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) published: Vec<Published>,
    /// Outboxes are narrow: nobody counts as one who keeps up.
    tight: bool,
    /// Clients need not read now.
    pub(super) slow_ones_stand: bool,
    pub(super) ending: bool,
    sabotage: Option<Sabotage>,
    pub(super) outcome: Outcome,
    tells: bool,
}

impl Run {
    pub fn new(seed: u64, several_shards: bool) -> Run {
        Run::on(seed, several_shards, Server::new)
    }

    /// A run on the server that is made of a shape.
    pub fn on(seed: u64, several_shards: bool, server: impl FnOnce(&Shape) -> Server) -> Run {
        let mut random = Random::new(seed);
        let shards = usize::from(several_shards) + 1 + random.below(3) as usize;
        // In narrow outboxes nobody can keep up with whatever order the kernel chooses.
        let tight = random.below(6) == 0;
        let buffers = [1, 2, 4, 8][random.below(4) as usize];
        let (turn_steps, client_steps) = some_steps(seed);
        let limits = Limits {
            turn_steps,
            client_steps,
            piece_steps: some_pieces(seed),
            outbox_bytes_max: if tight { 8 << 10 } else { OUTBOX_BYTES_MAX },
            subscriptions_max: SUBSCRIPTIONS_MAX,
            receive_buffers: buffers,
            receive_buffer_bytes: [64, 512, 4096][random.below(3) as usize],
            // What was received before a publisher was held back must fit.
            mesh_pending_bytes_max: 64 << 10,
            mesh_ring_batches: 1 + random.below(3) as usize,
            mesh_batch_bytes: [64, 1024][random.below(2) as usize],
            slow_consumer: some_policy(seed),
            gathered_bytes_max: some_room(seed),
            gathered_bytes_min: 200,
            ..small_limits(shards)
        };
        let (mut accounts, mut access) = (Vec::new(), Access::default());
        if random.below(2) == 0 {
            accounts.extend([(ACCOUNTS[0], 1), (ACCOUNTS[1], 2), (ACCOUNTS[2], 3)]);
            access = access_of(&accounts);
        }
        let wait = if random.below(3) == 0 { WaitMode::Balanced } else { WaitMode::Efficient };
        let slots = 3 + random.below(10) as usize;
        let shape = Shape {
            limits: limits.clone(),
            access: access.clone(),
            wait,
            slots,
            proofs_waiting_max: CLIENTS_MAX,
            seed,
        };
        let tells = std::env::var_os("RINGBOLT_SEED").is_some();
        let run = Run {
            server: server(&shape),
            limits,
            access,
            accounts_made: accounts.len(),
            accounts,
            random,
            step: 0,
            clients: Vec::new(),
            subscriptions: Vec::new(),
            published: Vec::new(),
            tight,
            slow_ones_stand: true,
            ending: false,
            sabotage: None,
            outcome: Outcome::default(),
            tells,
        };
        run.tell(|| format!("{shards} shards, {buffers} buffers, {slots} slots, {wait:?}"));
        run
    }

    /// Things go wrong now and then once the run is under way.
    pub fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = Some(sabotage);
    }

    fn tell(&self, words: impl FnOnce() -> String) {
        if self.tells {
            println!("{:5}  {}", self.step, words());
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u32) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn play(mut self) -> Result<Outcome, String> {
        let ends_early = self.random.below(4) == 0;
        let end = if ends_early { 500 + self.random.below(STEPS - 500) } else { STEPS };
        for _ in 0..STEPS {
            self.step += 1;
            if self.step == end && ends_early {
                self.end_the_server();
            }
            if self.step > STEPS / 2
                && self.step.is_multiple_of(100)
                && let Some(sabotage) = self.sabotage
            {
                self.server.sabotage(sabotage);
            }
            self.take_a_step()?;
            if let Some(shard) = self.server.sleeps_on_work() {
                return Err(format!("step {}: shard {shard} sleeps although it has work", self.step));
            }
        }
        self.finish()?;
        Ok(self.outcome)
    }

    fn take_a_step(&mut self) -> Result<(), String> {
        let shard = self.below(self.server.shards());
        match self.below(100) {
            0..18 => self.someone_acts(),
            18..44 => self.kernel_moves(shard),
            44..72 => drop(self.server.run(shard)),
            72..82 => {
                if !self.clients.is_empty() {
                    let client = self.below(self.clients.len());
                    let bytes = 1 + self.below(3000);
                    self.read(client, bytes)?;
                }
            }
            82..86 => drop(self.server.hear_bell(shard)),
            86..89 => {
                let kind = self.one_of(&WorkKind::ALL);
                self.server.verify(shard, kind, judge);
            }
            89..97 => {
                let nanos = u64::from(self.random.below(200_000));
                self.server.pass(nanos);
            }
            97..99 => {
                let nanos = u64::from(self.random.below(40)) * MILLISECOND;
                self.server.pass(nanos);
            }
            _ => self.reload(),
        }
        Ok(())
    }

    fn kernel_moves(&mut self, shard: usize) {
        let moves = self.server.moves(shard);
        if moves.is_empty() {
            return;
        }
        let taken = moves[self.below(moves.len())];
        let whim = match self.below(10) {
            0 => Whim::Contrary,
            1..4 => Whim::Short(1 + self.below(60)),
            _ => Whim::Plain,
        };
        self.server.take(shard, taken, whim);
    }

    fn someone_acts(&mut self) {
        let few = self.clients.iter().filter(|client| !client.gone).count() < 10;
        if self.clients.len() < CLIENTS_MAX && few && self.below(4) == 0 || self.clients.is_empty() {
            return self.connect();
        }
        let number = self.below(self.clients.len());
        let client = &self.clients[number];
        if client.gone || !client.ready && client.nature != Nature::Hostile {
            return;
        }
        match (client.nature, self.below(12)) {
            (Nature::Hostile, 0) | (Nature::Mortal, 0) => self.leave(number),
            (Nature::Hostile, _) => {
                let words = hostile::words(&mut self.random);
                self.tell(|| format!("client {number} says {:?}", String::from_utf8_lossy(&words)));
                self.clients[number].garbage(&words);
                self.write(number);
            }
            (_, 0..4) => self.subscribe(number),
            (_, 4) => self.unsubscribe(number),
            _ => self.publish(number),
        }
    }

    fn connect(&mut self) {
        let shard = self.below(self.server.shards()) as u16;
        let native = self.random.below(2) == 0;
        let foreign = !native && !self.accounts.is_empty() && self.below(4) > 0;
        let (user, account) = if foreign {
            // Often the newest, which not every shard may know yet.
            let last = self.accounts.len() - 1;
            let place = if self.below(2) == 0 { last } else { self.below(last + 1) };
            let (name, account) = self.accounts[place];
            (Some(name), account)
        } else {
            (None, 0)
        };
        let policies = [SlowConsumer::Default, SlowConsumer::DropOldest, SlowConsumer::PausePublisher];
        let nature = match self.below(10) {
            0..6 if !self.tight => Nature::Healthy,
            0..7 => Nature::Slow(self.one_of(&policies)),
            7..9 => Nature::Mortal,
            _ => Nature::Hostile,
        };
        let listener = if native { self.one_of(&[NATIVE, NATIVE_UNIX]) } else { NATS };
        let wire = self.server.connect(shard, listener);
        let speaker = match native {
            true => Speaker::Native(SimClient::default()),
            false => Speaker::Nats(NatsClient::default()),
        };
        let number = self.clients.len();
        self.tell(|| {
            format!("client {number}, {nature:?}, connects to shard {shard} as {user:?}, {listener:?}")
        });
        self.clients.push(Client::new(wire, speaker, nature, account, user));
        if nature != Nature::Hostile || self.below(2) == 0 {
            self.clients[number].hello();
        }
        self.write(number);
    }

    /// A client of everybody's account that keeps up comes and greets.
    pub(super) fn greet(&mut self, shard: u16, listener: Listening) {
        let wire = self.server.connect(shard, listener);
        let speaker = match listener.dialect {
            Dialect::Native => Speaker::Native(SimClient::default()),
            Dialect::Nats => Speaker::Nats(NatsClient::default()),
        };
        let mut client = Client::new(wire, speaker, Nature::Healthy, 0, None);
        client.hello();
        self.clients.push(client);
        self.write(self.clients.len() - 1);
    }

    pub(super) fn write(&mut self, client: usize) {
        let bytes = self.clients[client].take_written();
        let mut network = self.server.network.borrow_mut();
        let wire = self.clients[client].wire;
        if !self.clients[client].gone && !network.wires[wire].server_ended {
            network.write(wire, &bytes);
        }
    }

    fn subscribe(&mut self, client: usize) {
        let id = self.clients[client].next_subscription;
        if id > self.limits.subscriptions_max as u32 {
            return;
        }
        self.clients[client].next_subscription += 1;
        let pattern = self.one_of(&PATTERNS);
        let group = (self.below(3) == 0).then(|| self.one_of(&GROUPS));
        self.tell(|| format!("client {client} subscribes to {pattern} {group:?} as {id}"));
        self.clients[client].subscribe(id, pattern, group);
        self.write(client);
        let account = self.clients[client].account;
        let (confirmed, ended, given) = (None, false, Vec::new());
        self.subscriptions.push(Subscription {
            client,
            id,
            account,
            pattern,
            group,
            confirmed,
            ended,
            given,
        });
    }

    fn unsubscribe(&mut self, client: usize) {
        let own = |subscription: &&mut Subscription| subscription.client == client && !subscription.ended;
        let Some(subscription) = self.subscriptions.iter_mut().find(own) else { return };
        subscription.ended = true;
        let id = subscription.id;
        self.tell(|| format!("client {client} ends subscription {id}"));
        self.clients[client].unsubscribe(id);
        self.write(client);
    }

    fn publish(&mut self, client: usize) {
        let wire = self.clients[client].wire;
        // What is written but never received would only be memory.
        if self.server.network.borrow().unreceived(wire) > 8 << 10 {
            return;
        }
        let subject = self.one_of(&SUBJECTS);
        // Several at once make a run.
        for _ in 0..1 + self.below(MESSAGES_AT_ONCE_MAX) {
            let number = self.published.len() as u32;
            let mut payload = number.to_le_bytes().to_vec();
            payload.resize(5 + self.below(PAYLOAD_BYTES_MAX - 4), 0);
            self.tell(|| format!("client {client} publishes {number} to {subject}, {} bytes", payload.len()));
            self.clients[client].publish(subject, &payload);
            let (account, step) = (self.clients[client].account, self.step);
            let mark = self.clients[client].marks + 1;
            let accepted = false;
            self.published.push(Published { publisher: client, account, subject, step, mark, accepted });
        }
        if self.below(3) == 0 {
            self.clients[client].mark();
        }
        self.write(client);
    }

    pub(super) fn leave(&mut self, client: usize) {
        let wire = self.clients[client].wire;
        match self.below(3) {
            0 => self.server.network.borrow_mut().finish(wire),
            1 => self.server.network.borrow_mut().reset(wire),
            _ => {
                self.clients[client].garbage(&[0x55; 40]);
                self.write(client);
                self.server.network.borrow_mut().finish(wire);
            }
        }
        self.tell(|| format!("client {client} leaves"));
        self.forget(client);
    }

    /// Nothing is owed to a client any more.
    fn forget(&mut self, client: usize) {
        self.clients[client].gone = true;
        let own = self.subscriptions.iter_mut().filter(|subscription| subscription.client == client);
        own.for_each(|subscription| subscription.ended = true);
    }

    fn reload(&mut self) {
        if self.below(3) > 0 {
            return;
        }
        self.outcome.reloads += 1;
        if !self.accounts.is_empty() {
            if self.below(2) == 0 && self.accounts_made < ACCOUNTS.len() {
                let name = ACCOUNTS[self.accounts_made];
                self.accounts_made += 1;
                self.tell(|| format!("the account {name} is added"));
                self.accounts.push((name, self.accounts_made));
            } else if self.accounts.len() > 1 {
                let place = self.below(self.accounts.len() - 1);
                let (name, account) = self.accounts.remove(place);
                self.tell(|| format!("the account {name} is removed"));
                self.cut_those_of(account);
            }
            let mut access = access_of(&self.accounts);
            access.succeed(&self.access).expect("few");
            self.access = access;
        }
        self.server.change(self.access.clone(), self.limits.clone());
    }

    /// The clients of an account that goes are cut; they leave first, to be done with.
    fn cut_those_of(&mut self, account: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].account == account && !self.clients[client].gone {
                self.server.network.borrow_mut().reset(self.clients[client].wire);
                self.forget(client);
            }
        }
    }

    fn end_the_server(&mut self) {
        self.ending = true;
        if self.below(2) == 0 {
            self.tell(|| "the server drains".to_owned());
            self.server.drain();
        } else {
            self.tell(|| "the server is a lame duck".to_owned());
            self.server.lame_duck();
        }
    }

    pub(super) fn read(&mut self, client: usize, bytes_max: usize) -> Result<(), String> {
        let stands = self.slow_ones_stand && matches!(self.clients[client].nature, Nature::Slow(_));
        let wire = self.clients[client].wire;
        if stands && self.clients[client].ready {
            return Ok(());
        }
        let bytes = self.server.network.borrow_mut().read(wire, bytes_max);
        for news in self.clients[client].read(&bytes) {
            self.take_in(client, news)?;
        }
        self.write(client);
        Ok(())
    }

    fn take_in(&mut self, client: usize, news: News) -> Result<(), String> {
        if self.clients[client].nature == Nature::Hostile {
            return Ok(());
        }
        self.tell(|| format!("client {client} hears {news:?}"));
        match news {
            News::Ready => self.clients[client].ready = true,
            News::InForce(ids) => {
                for subscription in &mut self.subscriptions {
                    if subscription.client == client && ids.contains(&subscription.id) {
                        subscription.confirmed = Some(self.step);
                    }
                }
            }
            News::Marked(mark) => {
                self.clients[client].marked = self.clients[client].marked.max(mark);
                for message in &mut self.published {
                    let promised = message.publisher == client && message.mark <= mark;
                    // What is accepted as the server ends may still be refused.
                    message.accepted |= promised && !self.ending;
                }
            }
            News::Delivery { subscription, payload } => {
                self.outcome.deliveries += 1;
                oracle::note(&mut self.subscriptions, client, subscription, &payload, &self.published)?;
            }
            News::Ended => {
                self.tell(|| format!("client {client} is told to go"));
            }
        }
        Ok(())
    }
}

/// These accounts, with a user each that bears the account's name. Who names none is a guest.
fn access_of(accounts: &[(&'static str, usize)]) -> Access {
    let mut access = Access::default();
    let guest = Secret::Plain("guest".to_owned());
    access.no_auth_user = Some(access.add_user(User::new("guest", Credential::Password(guest), 0)));
    for &(name, _) in accounts {
        let account = access.add_account(name).expect("few");
        let secret = format!("{name}-secret");
        let credential = match name {
            "a" | "b" => Credential::Password(Secret::Plain(secret)),
            _ if signs(name) => Credential::Nkey,
            _ => Credential::Password(Secret::Bcrypt(secret)),
        };
        access.add_user(User::new(name, credential, account));
    }
    access
}

/// Whether a user proves who it is by a signature.
pub(super) fn signs(user: &str) -> bool {
    matches!(user, "d" | "f" | "h" | "j")
}

/// The simulated hash of a password is the password, and the signature of a key bears its name.
pub(super) fn judge(verification: &Verification) -> Verdict {
    let proven = match verification {
        Verification::Bcrypt { hash, secret } => hash == secret,
        Verification::Signature { public_key, signature, .. } => *signature == format!("{public_key}-secret"),
    };
    if proven { Verdict::Proven } else { Verdict::Unproven }
}
