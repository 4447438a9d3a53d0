//! Slow work on threads of its own, so that no client waits for another one's: each kind of it has its
//! threads, and each shard a bounded queue of each kind, which are served in turn.
//!
//! A shard takes no lock: it pushes to a queue that only it writes to. The threads of a kind share the other
//! ends under a lock, which they do not hold while they work (docs/decisions/0017).

use super::mesh::{Beds, Bell};
use super::platform::{Offload, WorkKind};
use super::sleeper::Ready;
use ringbolt_shard::ConnectionId;
use ringbolt_shard::access::{Verdict, Verification};
use rtrb::{Consumer, Producer, RingBuffer};
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Proofs of one kind and one shard that may wait; further ones fail at once.
const WAITING_MAX: usize = 1024;
/// Password hashes are checked by as many threads as there are cores without a shard, within this.
const HASH_THREADS_MAX: usize = 4;

const KINDS: usize = WorkKind::ALL.len();

#[derive(Debug)]
struct Request {
    id: ConnectionId,
    verification: Verification,
    /// When its client has been closed.
    until: Instant,
}

type Outcome = (ConnectionId, Verdict);

/// One shard's end.
#[derive(Debug)]
pub struct OffloadEnd {
    /// By kind.
    queues: [Producer<Request>; KINDS],
    outcomes: Receiver<Outcome>,
    ready: Arc<Ready>,
    /// By kind. Dropped after the queues, whose ends the threads then notice.
    threads: [Threads; KINDS],
}

/// Those who do one kind of work.
#[derive(Clone, Debug)]
struct Threads(Arc<[Thread]>);

impl Threads {
    fn wake(&self) {
        self.0.iter().for_each(Thread::unpark);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Where the outcomes of a shard go.
struct Answers {
    outcomes: Sender<Outcome>,
    ready: Arc<Ready>,
}

/// What the threads of one kind share.
struct Queues {
    /// By shard.
    waiting: Vec<Consumer<Request>>,
    /// The shard whose turn it is.
    turn: usize,
}

enum Next {
    Work(usize, Request),
    Nothing,
    /// There is no shard any more.
    Over,
}

impl Queues {
    fn next(&mut self) -> Next {
        // Looked at first: what was asked before the end is still done.
        let over = self.waiting.iter().all(Consumer::is_abandoned);
        let shards = self.waiting.len();
        for shard in (self.turn..self.turn + shards).map(|place| place % shards) {
            if let Ok(request) = self.waiting[shard].pop() {
                self.turn = shard + 1;
                return Next::Work(shard, request);
            }
        }
        if over { Next::Over } else { Next::Nothing }
    }
}

/// Starts the threads, and returns the end of each shard. The threads end with the last of these.
pub fn start<B: Bell + Send + Sync + 'static>(
    beds: &Beds<B>,
    is_proven: impl Fn(&Verification) -> bool + Clone + Send + 'static,
) -> io::Result<Vec<OffloadEnd>> {
    let shards = beds.len();
    let (answers, outcomes): (Vec<Answers>, Vec<_>) = (0..shards)
        .map(|_| {
            let (sender, outcomes) = mpsc::channel();
            let ready = Arc::new(Ready::new());
            (Answers { outcomes: sender, ready: Arc::clone(&ready) }, (outcomes, ready))
        })
        .unzip();
    let answers = Arc::new(answers);
    let mut queues = Vec::new();
    let mut threads = Vec::new();
    for kind in WorkKind::ALL {
        let (requests, waiting): (Vec<_>, Vec<_>) = (0..shards).map(|_| RingBuffer::new(WAITING_MAX)).unzip();
        let shared = Arc::new(Mutex::new(Queues { waiting, turn: 0 }));
        let spawn = |_| {
            let (shared, answers, beds) = (Arc::clone(&shared), Arc::clone(&answers), Arc::clone(beds));
            let is_proven = is_proven.clone();
            let thread = thread::Builder::new().name(name(kind).to_owned());
            let handle = thread.spawn(move || work(&shared, &answers, &beds, is_proven))?;
            Ok(handle.thread().clone())
        };
        threads.push(Threads((0..count(kind, shards)).map(spawn).collect::<io::Result<_>>()?));
        queues.push(requests.into_iter());
    }
    let end = |(outcomes, ready)| OffloadEnd {
        queues: each_kind(|kind| queues[kind as usize].next().expect("one for each shard")),
        outcomes,
        ready,
        threads: each_kind(|kind| threads[kind as usize].clone()),
    };
    Ok(outcomes.into_iter().map(end).collect())
}

fn each_kind<T>(of: impl FnMut(WorkKind) -> T) -> [T; KINDS] {
    WorkKind::ALL.map(of)
}

fn name(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::PasswordHash => "password-hashes",
        WorkKind::Signature => "signatures",
    }
}

fn count(kind: WorkKind, shards: usize) -> usize {
    match kind {
        WorkKind::PasswordHash => {
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            cores.saturating_sub(shards).clamp(1, HASH_THREADS_MAX)
        }
        WorkKind::Signature => 1,
    }
}

fn work<B: Bell>(
    queues: &Mutex<Queues>,
    answers: &[Answers],
    beds: &Beds<B>,
    is_proven: impl Fn(&Verification) -> bool,
) {
    loop {
        let next = queues.lock().unwrap_or_else(PoisonError::into_inner).next();
        match next {
            Next::Work(shard, Request { id, verification, until }) => {
                // Who has waited longer was closed: its proof would only keep others waiting, who try again.
                let waits = Instant::now() < until;
                // What a client makes the check panic with is no proof, and ends no thread that others need.
                let check = AssertUnwindSafe(|| is_proven(&verification));
                let proven = waits && catch_unwind(check).unwrap_or(false);
                let verdict = if proven { Verdict::Proven } else { Verdict::Unproven };
                // A shard that has stopped wants no answer.
                let _ = answers[shard].outcomes.send((id, verdict));
                answers[shard].ready.set();
                beds[shard].wake();
            }
            // Who asked after the look has unparked this thread, or will.
            Next::Nothing => thread::park(),
            Next::Over => return,
        }
    }
}

impl Offload for OffloadEnd {
    fn ask(&mut self, id: ConnectionId, verification: Verification, patience: Duration) -> bool {
        let kind = WorkKind::of(&verification) as usize;
        let taken =
            self.queues[kind].push(Request { id, verification, until: Instant::now() + patience }).is_ok();
        if taken {
            self.threads[kind].wake();
        }
        taken
    }

    fn waiting(&self, kind: WorkKind) -> usize {
        WAITING_MAX - self.queues[kind as usize].slots()
    }

    fn is_ready(&self) -> bool {
        self.ready.is_set()
    }

    fn outcome(&mut self) -> Option<Outcome> {
        let outcome = self.outcomes.try_recv().ok();
        if outcome.is_some() || !self.ready.take() {
            return outcome;
        }
        self.outcomes.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};
    use crate::io::mesh;
    use std::path::Path;
    use std::sync::Condvar;

    const LONG: Duration = Duration::from_secs(600);
    const PATIENCE: Duration = Duration::from_secs(20);
    const DEADLY: &str = "deadly";

    struct Silent;

    impl Bell for Silent {
        fn ring(&self) {}
    }

    /// Hashes wait here until it is opened; what is checked is noted.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<Passage>, Condvar)>);

    #[derive(Default)]
    struct Passage {
        open: bool,
        checked: Vec<String>,
    }

    impl Gate {
        fn pass(&self, verification: &Verification) -> bool {
            if let Verification::Bcrypt { secret, .. } = verification {
                assert_ne!(secret, DEADLY);
                let mut passage = self.0.0.lock().expect("nobody panics");
                passage.checked.push(secret.clone());
                drop(self.0.1.wait_while(passage, |passage| !passage.open));
            }
            true
        }

        fn open(&self) {
            self.0.0.lock().expect("nobody panics").open = true;
            self.0.1.notify_all();
        }

        fn checked(&self) -> Vec<String> {
            self.0.0.lock().expect("nobody panics").checked.clone()
        }
    }

    fn started(gate: &Gate) -> (Beds<Silent>, Vec<OffloadEnd>) {
        let mut sources = Sources::defaults();
        sources.add_toml("shards = 2\ncores = \"0,1\"", Path::new("a test")).expect("known settings");
        let config = Config::from_sources(&sources).expect("valid settings");
        let limits = config.limits().expect("settings that agree");
        let beds = Arc::clone(&mesh::connect(&limits, || Ok(Silent)).expect("no system is asked")[0].beds);
        let gate = gate.clone();
        let ends = start(&beds, move |verification| gate.pass(verification)).expect("threads");
        (beds, ends)
    }

    fn id(slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: 1 }
    }

    fn hash(secret: &str) -> Verification {
        Verification::Bcrypt { hash: String::new(), secret: secret.to_owned() }
    }

    fn signature() -> Verification {
        let [public_key, nonce, signature] = [""; 3].map(str::to_owned);
        Verification::Signature { public_key, nonce, signature }
    }

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < limit, "{what}");
            thread::yield_now();
        }
    }

    fn answer(end: &mut OffloadEnd) -> Outcome {
        let mut outcome = None;
        until("an outcome", || {
            outcome = end.is_ready().then(|| end.outcome()).flatten();
            outcome.is_some()
        });
        outcome.expect("awaited")
    }

    /// Fills the shard's queue of hashes while none is checked. Returns how many there are.
    fn flood(end: &mut OffloadEnd) -> usize {
        let taken = std::iter::repeat_with(|| end.ask(id(0), hash("flood"), LONG)).take_while(|&taken| taken);
        taken.count()
    }

    #[test]
    fn a_flood_of_passwords_delays_no_signature_and_takes_no_place_of_another_shard() {
        let gate = Gate::default();
        let (_beds, mut ends) = started(&gate);
        let waiting = flood(&mut ends[0]);
        assert!((WAITING_MAX..WAITING_MAX + HASH_THREADS_MAX + 1).contains(&waiting), "{waiting}");
        assert!(!ends[0].ask(id(1), hash("one too many"), LONG));
        assert!(ends[0].ask(id(2), signature(), LONG));
        assert_eq!(answer(&mut ends[0]), (id(2), Verdict::Proven), "it waits for no hash");
        assert!(ends[1].ask(id(3), hash("other"), LONG), "its own places are free");
        assert_eq!(ends[1].waiting(WorkKind::PasswordHash), 1);
        gate.open();
        assert_eq!(answer(&mut ends[1]), (id(3), Verdict::Proven));
        let place = gate.checked().iter().position(|secret| secret == "other").expect("it was answered");
        assert!(place <= 2 * HASH_THREADS_MAX, "shards are served in turn: {place}");
        (0..waiting).for_each(|_| assert_eq!(answer(&mut ends[0]), (id(0), Verdict::Proven)));
        assert_eq!(ends[0].outcome(), None);
        assert!(!ends[0].is_ready(), "nothing is left, and it is known");
        assert_eq!(ends[0].waiting(WorkKind::PasswordHash), 0);
    }

    #[test]
    fn a_proof_whose_client_is_gone_by_then_is_not_checked() {
        let gate = Gate::default();
        gate.open();
        let (_beds, mut ends) = started(&gate);
        assert!(ends[0].ask(id(1), hash("late"), Duration::ZERO));
        assert_eq!(answer(&mut ends[0]), (id(1), Verdict::Unproven));
        assert_eq!(gate.checked(), [""; 0]);
    }

    #[test]
    fn a_proof_that_ends_its_check_is_none_and_ends_nothing_else() {
        let gate = Gate::default();
        gate.open();
        let (_beds, mut ends) = started(&gate);
        for _ in 0..2 * HASH_THREADS_MAX {
            assert!(ends[0].ask(id(1), hash(DEADLY), LONG));
            assert_eq!(answer(&mut ends[0]), (id(1), Verdict::Unproven));
        }
        assert!(ends[0].ask(id(2), hash("good"), LONG));
        assert_eq!(answer(&mut ends[0]), (id(2), Verdict::Proven));
    }

    #[test]
    fn the_threads_end_with_the_last_shard() {
        let gate = Gate::default();
        gate.open();
        let (beds, mut ends) = started(&gate);
        assert!(ends[0].ask(id(1), hash("last"), LONG));
        drop(ends);
        until("the end of the threads", || Arc::strong_count(&beds) == 1);
        assert_eq!(gate.checked(), ["last"], "what was asked is done");
    }
}
