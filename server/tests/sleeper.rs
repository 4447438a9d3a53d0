//! A shard that sleeps is woken, in every order in which two threads' stores may be seen: the code of
//! `server/src/io/sleeper.rs` over a model of the memory instead of the memory.

mod atomic {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../src/io/sleeper.rs"]
mod sleeper;

use atomic::{AtomicBool, Ordering};
use loom::sync::Arc;
use loom::thread;
use sleeper::{Ready, Request, Sleeper};

/// A flag that one thread stores and the other looks at, as the ends of a ring are.
#[derive(Default)]
struct Flag(AtomicBool);

impl Flag {
    fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[test]
fn what_is_put_into_a_ring_is_seen_or_wakes_its_owner() {
    loom::model(|| {
        let shared = Arc::new((Sleeper::new(), Flag::default(), Flag::default()));
        let producer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (sleeper, ring, bell) = &*shared;
                ring.raise();
                if sleeper.must_be_woken() {
                    bell.raise();
                }
            }
        });
        let (sleeper, ring, bell) = &*shared;
        sleeper.lie_down();
        let seen = ring.is_raised();
        producer.join().expect("the producer ends");
        assert!(seen || bell.is_raised(), "the owner sleeps, and nobody wakes it");
    });
}

#[test]
fn one_of_two_who_put_something_into_rings_wakes_their_owner() {
    loom::model(|| {
        let shared = Arc::new((Sleeper::new(), [Flag::default(), Flag::default()], Flag::default()));
        let put = |place: usize| {
            let shared = Arc::clone(&shared);
            move || {
                let (sleeper, rings, bell) = &*shared;
                rings[place].raise();
                if sleeper.must_be_woken() {
                    assert!(!bell.is_raised(), "the bell is rung once");
                    bell.raise();
                }
            }
        };
        let producers = [thread::spawn(put(0)), thread::spawn(put(1))];
        let (sleeper, rings, bell) = &*shared;
        sleeper.lie_down();
        let seen = rings.iter().all(Flag::is_raised);
        producers.into_iter().for_each(|producer| producer.join().expect("the producer ends"));
        assert!(seen || bell.is_raised(), "the owner sleeps, and nobody wakes it");
        sleeper.get_up();
    });
}

#[test]
fn who_sleeps_on_a_full_ring_is_told_of_room() {
    loom::model(|| {
        let shared = Arc::new((Sleeper::new(), Request::new(), Flag::default(), Flag::default()));
        let consumer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (sleeper, room_wanted, room, bell) = &*shared;
                room.raise();
                if room_wanted.take() && sleeper.must_be_woken() {
                    bell.raise();
                }
            }
        });
        let (sleeper, room_wanted, room, bell) = &*shared;
        room_wanted.ask();
        sleeper.lie_down();
        let seen = room.is_raised();
        consumer.join().expect("the consumer ends");
        assert!(seen || bell.is_raised(), "the owner sleeps, and nobody wakes it");
    });
}

/// What lies there is stored without an order of its own, so that only [`Ready`] gives one.
#[test]
fn what_was_put_down_is_seen_or_stays_announced() {
    loom::model(|| {
        let shared = Arc::new((Ready::new(), [AtomicBool::new(false), AtomicBool::new(false)]));
        let producers = [0, 1].map(|place: usize| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (ready, places) = &*shared;
                places[place].store(true, Ordering::Relaxed);
                ready.set();
            })
        });
        let (ready, places) = &*shared;
        ready.take();
        let seen = [0, 1].map(|place: usize| places[place].load(Ordering::Relaxed));
        producers.into_iter().for_each(|producer| producer.join().expect("the producer ends"));
        assert!(seen == [true; 2] || ready.is_set(), "something lies there, and nothing says so");
    });
}

#[test]
fn who_finds_something_announced_sees_it() {
    loom::model(|| {
        let shared = Arc::new((Ready::new(), AtomicBool::new(false)));
        let producer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (ready, place) = &*shared;
                place.store(true, Ordering::Relaxed);
                ready.set();
            }
        });
        let (ready, place) = &*shared;
        if ready.take() {
            assert!(place.load(Ordering::Relaxed), "announced, and nothing there");
        }
        producer.join().expect("the producer ends");
    });
}

#[test]
fn what_is_announced_wakes_its_owner() {
    loom::model(|| {
        let shared = Arc::new((Sleeper::new(), Ready::new(), Flag::default()));
        let producer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (sleeper, ready, bell) = &*shared;
                ready.set();
                if sleeper.must_be_woken() {
                    bell.raise();
                }
            }
        });
        let (sleeper, ready, bell) = &*shared;
        sleeper.lie_down();
        let seen = ready.is_set();
        producer.join().expect("the producer ends");
        assert!(seen || bell.is_raised(), "the owner sleeps, and nobody wakes it");
    });
}
