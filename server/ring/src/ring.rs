//! One ring a thread: set-up, submission, waiting, and orderly destruction.
#![allow(unsafe_code)]

use crate::buffers::{BufferRing, BufferRingConfig, ReceivedBuffer};
use crate::completion::Completion;
use crate::connect::ConnectOperation;
use crate::doorbell::Doorbell;
use crate::memory::RegionBacking;
use crate::send::{Chunk, SendOperation};
use crate::slot::Slot;
use crate::token::Kind;
use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// `IORING_ENTER_GETEVENTS`: run the deferred completions of this thread.
const ENTER_GETEVENTS: u32 = 1;

/// Shape of one ring.
#[derive(Clone, Copy, Debug)]
pub struct RingConfig {
    /// Submission entries; more are submitted in several calls.
    pub entries: u32,
    /// Completion entries.
    pub completion_entries: u32,
    /// Size of the table of direct descriptors; may not exceed RLIMIT_NOFILE.
    pub slots: u32,
    pub buffers: BufferRingConfig,
}

/// How long [`Ring::turn`] may take.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// Submit, collect what is there, come back.
    Poll,
    /// Sleep until something completes, or for this long.
    Block(Option<Duration>),
}

/// Shutdowns of one slot that the kernel has not done yet.
#[derive(Default)]
pub(crate) struct Shutting {
    pub under_way: u32,
    /// The slot is to be closed behind them.
    pub then_close: bool,
}

/// An io_uring with its direct descriptors and receive buffers. Used by the thread that made it.
pub struct Ring {
    io: IoUring,
    pub(crate) buffers: BufferRing,
    /// By slot: the send in flight there, kept for the next one.
    pub(crate) sends: Vec<Option<Box<SendOperation>>>,
    #[allow(clippy::vec_box, reason = "a send keeps its box, which the kernel points into, from use to use")]
    pub(crate) idle_sends: Vec<Box<SendOperation>>,
    pub(crate) connects: Vec<Option<Box<ConnectOperation>>>,
    pub(crate) doorbell: Option<Doorbell>,
    pub(crate) shutting: HashMap<Slot, Shutting>,
    /// Operations the kernel still holds.
    pub(crate) in_flight: usize,
    slots: u32,
    /// SINGLE_ISSUER: the ring stays with the thread that made it.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Ring {
    /// Makes the ring on the calling thread, which alone may use it from then on.
    pub fn new(config: RingConfig) -> io::Result<Ring> {
        let io = IoUring::builder()
            .setup_clamp()
            .setup_cqsize(config.completion_entries)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_defer_taskrun()
            .dontfork()
            .build(config.entries)?;
        io.submitter().register_files_sparse(config.slots)?;
        let buffers = BufferRing::register(&io, config.buffers)?;
        Ok(Ring {
            io,
            buffers,
            sends: Vec::new(),
            idle_sends: Vec::new(),
            connects: Vec::new(),
            doorbell: None,
            shutting: HashMap::new(),
            in_flight: 0,
            slots: config.slots,
            _not_send: std::marker::PhantomData,
        })
    }

    /// Submits what was queued, waits as told, and reports whether completions are there.
    ///
    /// `Poll` makes no system call when nothing is queued and the kernel flagged nothing to collect.
    pub fn turn(&mut self, wait: Wait) -> io::Result<bool> {
        if !self.io.completion().is_empty() {
            // What is there is handled first; submissions still go out.
            return self.poll().map(|()| true);
        }
        match wait {
            Wait::Poll => self.poll()?,
            Wait::Block(None) => self.block(&SubmitArgs::new())?,
            Wait::Block(Some(limit)) => {
                let limit = Timespec::from(limit);
                self.block(&SubmitArgs::new().timespec(&limit))?;
            }
        }
        Ok(!self.io.completion().is_empty())
    }

    /// The next completion, if one is there.
    #[allow(clippy::should_implement_trait, reason = "none now is not the end: the ring is no iterator")]
    pub fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = self.io.completion().next()?;
            if !cqueue::more(entry.flags()) {
                self.in_flight -= 1;
            }
            if let Some(completion) = self.interpret(&entry) {
                return Some(completion);
            }
        }
    }

    /// The bytes of a received buffer.
    #[inline]
    pub fn bytes(&self, buffer: &ReceivedBuffer) -> &[u8] {
        self.buffers.bytes(buffer)
    }

    /// Makes a received buffer part of a send; it comes back with the send's completion.
    pub fn lend(&self, buffer: ReceivedBuffer) -> Chunk {
        Chunk::Received(self.buffers.keep(buffer))
    }

    /// Gives a buffer back to the kernel.
    #[inline]
    pub fn recycle(&mut self, buffer: ReceivedBuffer) {
        self.buffers.recycle(buffer);
    }

    pub fn buffers_total(&self) -> u16 {
        self.buffers.count()
    }

    /// Receive buffers the kernel may fill; one whose completion is not collected yet counts as free.
    pub fn buffers_free(&self) -> u16 {
        self.buffers.free()
    }

    pub fn buffers_backing(&self) -> RegionBacking {
        self.buffers.backing()
    }

    pub fn buffers_locked(&self) -> bool {
        self.buffers.locked()
    }

    pub fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) fn io(&self) -> &IoUring {
        &self.io
    }

    pub(crate) fn queue(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: whatever the entry points at is owned by this ring until its completion arrives
        // (`sends`, `connects`, the buffer region), and `Drop` waits for that.
        while unsafe { self.io.submission().push(entry) }.is_err() {
            self.enter()?;
        }
        self.in_flight += 1;
        Ok(())
    }

    fn poll(&mut self) -> io::Result<()> {
        let submission = self.io.submission();
        let idle = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
        drop(submission);
        if idle { Ok(()) } else { self.enter() }
    }

    fn enter(&mut self) -> io::Result<()> {
        let queued = self.io.submission().len() as u32;
        // SAFETY: no argument pointer; the flag only asks for deferred completions.
        let entered = unsafe { self.io.submitter().enter::<()>(queued, 0, ENTER_GETEVENTS, None) };
        settle(entered)
    }

    fn block(&mut self, arguments: &SubmitArgs<'_, '_>) -> io::Result<()> {
        settle(self.io.submitter().submit_with_args(1, arguments))
    }
}

/// A wait that timed out, was interrupted, or found the completion queue full is not an error: the
/// caller looks at the completions next.
fn settle(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel must let go of our memory before it is freed.
        let _ = self.io.submitter().submit();
        let limit = Timespec::from(Duration::from_secs(1));
        let _ = self.io.submitter().register_sync_cancel(Some(limit), CancelBuilder::any());
        for _ in 0..64 {
            if self.in_flight == 0 {
                return;
            }
            let step = Timespec::from(Duration::from_millis(10));
            let _ = self.block(&SubmitArgs::new().timespec(&step));
            for entry in self.io.completion() {
                if !cqueue::more(entry.flags()) {
                    self.in_flight -= 1;
                }
            }
        }
        // Something would not be cancelled: leaking its memory is the only safe end.
        std::mem::forget(std::mem::take(&mut self.sends));
        std::mem::forget(std::mem::take(&mut self.connects));
        self.buffers.leak();
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Ring")
            .field("descriptor", &self.io.as_raw_fd())
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

pub(crate) fn kind_of(entry: &cqueue::Entry) -> (Kind, u32) {
    Kind::of(entry.user_data())
}
