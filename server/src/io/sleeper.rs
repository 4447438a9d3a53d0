//! How a thread that sleeps is told of what was put where it will look.
//!
//! The owner stores `sleeping`, fences, looks once more at everything that could wake it, and only then
//! waits. Who puts something there fences after it and loads `sleeping`. Whichever fence comes first,
//! either the owner sees what was put there or the other sees that it sleeps. A place that is costly to look
//! at has a [`Ready`] beside it. `server/tests/sleeper.rs` walks through every order.

use super::atomic::{AtomicBool, Ordering, fence};

/// On cache lines of its own: its owner writes it often.
#[derive(Debug)]
#[repr(align(128))]
pub struct Sleeper {
    sleeping: AtomicBool,
}

impl Sleeper {
    pub fn new() -> Sleeper {
        Sleeper { sleeping: AtomicBool::new(false) }
    }

    /// Announces sleep. What the owner stored before is seen by whoever sees it asleep.
    pub fn lie_down(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub fn get_up(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Whether the owner sleeps and must be woken, asked after something was put where it will look. One of
    /// several who ask at once is told so.
    pub fn must_be_woken(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }
}

/// A producer that found a ring full and asked its consumer to say when it has taken something.
#[derive(Debug)]
#[repr(align(128))]
pub struct Request {
    open: AtomicBool,
}

impl Request {
    pub fn new() -> Request {
        Request { open: AtomicBool::new(false) }
    }

    /// Before [`Sleeper::lie_down`], whose fence publishes it, and before the last look at the ring.
    pub fn ask(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for, by the consumer after it took something off the ring.
    pub fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        self.open.load(Ordering::Relaxed) && self.open.swap(false, Ordering::Relaxed)
    }
}

/// That something was put where the owner will look, so that it need not look each time.
#[derive(Debug)]
#[repr(align(128))]
pub struct Ready {
    set: AtomicBool,
}

impl Ready {
    pub fn new() -> Ready {
        Ready { set: AtomicBool::new(false) }
    }

    /// After something was put there. A plain store would hide what another thread announced just before.
    pub fn set(&self) {
        self.set.swap(true, Ordering::Release);
    }

    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// Before the owner looks. A plain store could overwrite a `set` whose thing the look after it does not
    /// see; a swap that finds it set sees everything that was put there before.
    pub fn take(&self) -> bool {
        self.set.swap(false, Ordering::Acquire)
    }
}
