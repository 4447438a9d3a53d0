//! The operations on sockets, and the reading of their completions.
#![allow(unsafe_code)]

use crate::address::Address;
use crate::buffers::BUFFER_GROUP;
use crate::completion::{AcceptOutcome, Completion, ReceiveOutcome};
use crate::connect::ConnectOperation;
use crate::doorbell::Doorbell;
use crate::ring::{Ring, kind_of};
use crate::send::{Chunk, SendOperation};
use crate::slot::Slot;
use crate::token::Kind;
use io_uring::{cqueue, opcode, squeue, types};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Idle send operations kept for re-use.
const IDLE_SENDS_MAX: usize = 1024;

impl Ring {
    /// Puts a descriptor into the table at `slot`, and closes the original: it no longer counts
    /// against RLIMIT_NOFILE.
    pub fn install(&mut self, slot: Slot, descriptor: OwnedFd) -> io::Result<()> {
        assert!(slot.0 < self.slots(), "slot {} lies outside the table", slot.0);
        self.io().submitter().register_files_update(slot.0, &[descriptor.as_raw_fd()])?;
        Ok(())
    }

    /// Accepts connections of a listener into free slots until cancelled.
    pub fn accept(&mut self, listener: u32, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(types::Fd(descriptor.as_raw_fd()))
            .allocate_file_index(true)
            .build()
            .user_data(Kind::Accept.token(listener));
        self.queue(&accept)
    }

    /// Ends [`Ring::accept`]; the listener reports [`AcceptOutcome::Ended`].
    pub fn cancel_accept(&mut self, listener: u32) -> io::Result<()> {
        self.cancel(Kind::Accept.token(listener))
    }

    /// Asks where an accepted connection comes from: a direct descriptor cannot be asked itself. Kernels
    /// before 6.8 answer with nothing, and so does a Unix socket, whose peer has no address.
    pub fn look_up_peer(&mut self, slot: Slot) -> io::Result<()> {
        let install = opcode::FixedFdInstall::new(types::Fixed(slot.0), 0)
            .build()
            .user_data(Kind::Install.token(slot.0));
        self.queue(&install)
    }

    /// Ends [`Ring::look_up_peer`] if it is still under way: it then answers with nothing.
    pub fn cancel_look_up(&mut self, slot: Slot) -> io::Result<()> {
        self.cancel(Kind::Install.token(slot.0))
    }

    /// Receives into provided buffers until end, error, cancellation or lack of buffers.
    pub fn receive(&mut self, slot: Slot) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(types::Fixed(slot.0), BUFFER_GROUP)
            .build()
            .user_data(Kind::Receive.token(slot.0));
        self.queue(&receive)
    }

    /// Likewise, into one buffer.
    pub fn receive_once(&mut self, slot: Slot) -> io::Result<()> {
        let receive = opcode::Recv::new(types::Fixed(slot.0), std::ptr::null_mut(), 0)
            .buf_group(BUFFER_GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
            .user_data(Kind::Receive.token(slot.0));
        self.queue(&receive)
    }

    /// Ends [`Ring::receive`] and [`Ring::receive_once`]; bytes already received are still reported.
    pub fn cancel_receive(&mut self, slot: Slot) -> io::Result<()> {
        self.cancel(Kind::Receive.token(slot.0))
    }

    /// Sends all chunks, in order. One send at a time a slot; the chunks come back with
    /// [`Completion::Sent`].
    pub fn send(&mut self, slot: Slot, chunks: Vec<Chunk>) -> io::Result<()> {
        let index = slot.0 as usize;
        if self.sends.len() <= index {
            self.sends.resize_with(index + 1, || None);
        }
        assert!(self.sends[index].is_none(), "one send at a time a slot");
        let mut operation = self.idle_sends.pop().unwrap_or_else(|| Box::new(SendOperation::new()));
        operation.load(chunks);
        let entry = operation.entry(slot);
        self.sends[index] = Some(operation);
        self.queue(&entry)
    }

    /// Connects an installed socket.
    pub fn connect(&mut self, slot: Slot, address: &Address) -> io::Result<()> {
        let index = slot.0 as usize;
        if self.connects.len() <= index {
            self.connects.resize_with(index + 1, || None);
        }
        assert!(self.connects[index].is_none(), "one connect at a time a slot");
        let (storage, bytes) = address.raw();
        let operation = Box::new(ConnectOperation { address: storage });
        let pointer = std::ptr::from_ref(&operation.address).cast();
        self.connects[index] = Some(operation);
        let connect = opcode::Connect::new(types::Fixed(slot.0), pointer, bytes)
            .build()
            .user_data(Kind::Connect.token(slot.0));
        self.queue(&connect)
    }

    /// Ends both directions: receives report the end, sends fail.
    pub fn shut_down(&mut self, slot: Slot) -> io::Result<()> {
        self.shut(slot, libc::SHUT_RDWR)
    }

    /// Ends the sending direction: the peer reads the end of the stream.
    pub fn shut_down_writes(&mut self, slot: Slot) -> io::Result<()> {
        self.shut(slot, libc::SHUT_WR)
    }

    fn shut(&mut self, slot: Slot, how: i32) -> io::Result<()> {
        let shutdown =
            opcode::Shutdown::new(types::Fixed(slot.0), how).build().user_data(Kind::ShutDown.token(slot.0));
        self.shutting.entry(slot).or_default().under_way += 1;
        self.queue(&shutdown)
    }

    /// Closes the socket and frees its slot. A shutdown under way is awaited first: the kernel does it on
    /// another thread, which looks up what is in the slot by then, and would shut down a stranger.
    pub fn close(&mut self, slot: Slot) -> io::Result<()> {
        match self.shutting.get_mut(&slot) {
            Some(shutting) => {
                shutting.then_close = true;
                Ok(())
            }
            None => self.close_now(slot),
        }
    }

    fn close_now(&mut self, slot: Slot) -> io::Result<()> {
        let close = opcode::Close::new(types::Fixed(slot.0)).build().user_data(Kind::Close.token(slot.0));
        self.queue(&close)
    }

    /// Reports [`Completion::Doorbell`] whenever another thread rings.
    pub fn listen_to(&mut self, doorbell: &Doorbell) -> io::Result<()> {
        assert!(self.doorbell.is_none(), "one doorbell a ring");
        self.doorbell = Some(doorbell.clone());
        self.arm_doorbell()
    }

    fn arm_doorbell(&mut self) -> io::Result<()> {
        let Some(doorbell) = &self.doorbell else { return Ok(()) };
        let descriptor = types::Fd(doorbell.descriptor().as_raw_fd());
        let poll = opcode::PollAdd::new(descriptor, libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Kind::Doorbell.token(0));
        self.queue(&poll)
    }

    fn cancel(&mut self, token: u64) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(token).build().user_data(Kind::Cancel.token(0));
        self.queue(&cancel)
    }

    pub(crate) fn interpret(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let (kind, index) = kind_of(entry);
        let (slot, result) = (Slot(index), entry.result());
        let error = (result < 0).then(|| io::Error::from_raw_os_error(-result));
        match kind {
            Kind::Receive => Some(Completion::Received { slot, outcome: self.received(entry) }),
            Kind::Send => self.sent(slot, result, error),
            Kind::Accept => {
                let outcome = match error {
                    Some(error) => AcceptOutcome::Ended(error),
                    None => AcceptOutcome::Connection(Slot(result as u32)),
                };
                Some(Completion::Accepted { listener: index, outcome, armed: cqueue::more(entry.flags()) })
            }
            Kind::Connect => {
                self.connects[index as usize] = None;
                Some(Completion::Connected { slot, error })
            }
            Kind::ShutDown => {
                self.shut_finished(slot);
                Some(Completion::ShutDown { slot })
            }
            Kind::Close => Some(Completion::Closed { slot }),
            Kind::Doorbell => {
                if let Some(doorbell) = &self.doorbell {
                    doorbell.silence();
                }
                if !cqueue::more(entry.flags()) {
                    self.arm_doorbell().expect("the submission queue takes an entry after an enter");
                }
                Some(Completion::Doorbell)
            }
            Kind::Cancel => None,
            Kind::Install => Some(Completion::Peer { slot, address: peer_of(result) }),
        }
    }

    fn shut_finished(&mut self, slot: Slot) {
        let Some(shutting) = self.shutting.get_mut(&slot) else { return };
        shutting.under_way -= 1;
        if shutting.under_way == 0 {
            let then_close = shutting.then_close;
            self.shutting.remove(&slot);
            if then_close {
                self.close_now(slot).expect("the submission queue takes an entry after an enter");
            }
        }
    }

    fn received(&mut self, entry: &cqueue::Entry) -> ReceiveOutcome {
        let armed = cqueue::more(entry.flags());
        match (entry.result(), cqueue::buffer_select(entry.flags())) {
            (result @ 1.., Some(id)) => {
                ReceiveOutcome::Data { buffer: self.buffers.lend(id, result as u32), armed }
            }
            (0, buffer) => {
                // The end of the stream may still name a buffer the kernel had taken for it.
                if let Some(id) = buffer {
                    let unused = self.buffers.lend(id, 0);
                    self.buffers.recycle(unused);
                }
                ReceiveOutcome::EndOfStream
            }
            (result, _) => match -result {
                libc::ENOBUFS => ReceiveOutcome::BuffersExhausted,
                libc::ECANCELED => ReceiveOutcome::Cancelled,
                error => ReceiveOutcome::Failed(io::Error::from_raw_os_error(error)),
            },
        }
    }

    fn sent(&mut self, slot: Slot, result: i32, error: Option<io::Error>) -> Option<Completion> {
        let place = &mut self.sends[slot.0 as usize];
        let mut operation = place.take().expect("a send completes once");
        if error.is_none() && result > 0 {
            operation.advance(result as usize);
            if !operation.done() {
                let rest = operation.entry(slot);
                *place = Some(operation);
                self.queue(&rest).expect("the submission queue takes an entry after an enter");
                return None;
            }
        }
        let bytes = operation.sent_bytes();
        let chunks = operation.unload();
        if self.idle_sends.len() < IDLE_SENDS_MAX {
            self.idle_sends.push(operation);
        }
        Some(Completion::Sent { slot, bytes, error, chunks })
    }
}

/// The peer of a descriptor that was installed to learn it, and is closed again.
fn peer_of(installed: i32) -> Option<SocketAddr> {
    if installed < 0 {
        return None;
    }
    // SAFETY: the kernel made this descriptor for us just now, and nobody else knows it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(installed) };
    TcpStream::from(descriptor).peer_addr().ok()
}
