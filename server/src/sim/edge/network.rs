//! Sockets, listeners and operations as a kernel has them, in simulated time. Every step that a kernel takes
//! by itself is a [`Move`], and the caller chooses which comes next.

use ringbolt_ring::{AcceptOutcome, Chunk, Completion, ReceiveOutcome, Slot};
use ringbolt_shard::{Nanos, ShardId};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

/// What the kernel keeps for a client that does not read.
const WINDOW_BYTES: usize = 4096;

/// Received bytes, in a buffer of the shard's.
#[derive(Debug)]
pub struct Buffer(pub(super) Vec<u8>);

/// One client's connection, seen from the client.
#[derive(Debug, Default)]
pub struct Wire {
    to_server: VecDeque<u8>,
    pub(super) to_client: VecDeque<u8>,
    /// The client sends no more.
    fin: bool,
    /// The client is gone, whatever was under way.
    reset: bool,
    /// The server sends no more, or is gone.
    pub server_ended: bool,
}

/// A socket of the server's.
#[derive(Debug)]
struct Socket {
    wire: usize,
    /// Receiving, since so many receives ago.
    receiving: Option<u64>,
    /// It takes one buffer.
    once: bool,
    sending: Option<Sending>,
    shut_reads: bool,
    shut_writes: bool,
}

#[derive(Debug)]
struct Sending {
    chunks: Vec<Chunk>,
    sent_bytes: usize,
}

#[derive(Debug, Default)]
struct Listener {
    open: bool,
    accepting: bool,
    backlog: VecDeque<usize>,
}

/// What a shard submitted and the kernel has not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    CancelReceive(Slot),
    CancelAccept(u32),
    ShutDown(Slot, Sides),
    Close(Slot),
    /// The slot is free already, and nobody was told.
    ReportClosed(Slot),
    LookUpPeer(Slot),
    CancelLookUp(Slot),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sides {
    Writes,
    Both,
}

/// A step that the kernel of a shard may take now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    Operation(usize),
    Receive(Slot),
    Send(Slot),
    Accept(u32),
}

/// How kindly a kernel takes a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whim {
    /// As much as there is, and multishot operations go on.
    Plain,
    /// So many bytes at most; a multishot accept ends.
    Short(usize),
    /// Accepts fail, multishot receives end, closes are reported late, peers have no address.
    Contrary,
}

/// The kernel's half of one shard's ring.
#[derive(Debug)]
pub struct Kernel {
    sockets: Vec<Option<Socket>>,
    slots: usize,
    listeners: Vec<Listener>,
    operations: Vec<Operation>,
    receives: u64,
    pub(super) completions: VecDeque<Completion<Buffer>>,
    pub(super) buffers: u16,
    pub(super) buffers_free: u16,
    buffer_bytes: usize,
    /// The shard waits on its ring, and this is when it stops by itself.
    pub(super) asleep_until: Option<Nanos>,
}

impl Kernel {
    pub(super) fn new(slots: usize, listeners: usize, buffers: u16, buffer_bytes: usize) -> Kernel {
        let listener = || Listener { open: true, ..Listener::default() };
        Kernel {
            sockets: Vec::new(),
            slots,
            listeners: (0..listeners).map(|_| listener()).collect(),
            operations: Vec::new(),
            receives: 0,
            completions: VecDeque::new(),
            buffers,
            buffers_free: buffers,
            buffer_bytes,
            asleep_until: None,
        }
    }

    fn socket(&mut self, slot: Slot) -> &mut Socket {
        self.sockets[slot.0 as usize].as_mut().expect("an operation on a slot that is free")
    }

    pub(super) fn accept(&mut self, listener: u32) {
        let listener = &mut self.listeners[listener as usize];
        assert!(!std::mem::replace(&mut listener.accepting, true), "it accepts already");
    }

    /// Returns the wires that waited to be accepted.
    pub(super) fn close_listener(&mut self, listener: u32) -> VecDeque<usize> {
        self.operations.push(Operation::CancelAccept(listener));
        let listener = &mut self.listeners[listener as usize];
        listener.open = false;
        std::mem::take(&mut listener.backlog)
    }

    /// `once`: into one buffer.
    pub(super) fn receive(&mut self, slot: Slot, once: bool) {
        self.receives += 1;
        let number = self.receives;
        let socket = self.socket(slot);
        assert!(socket.receiving.is_none(), "two receives on one slot");
        (socket.receiving, socket.once) = (Some(number), once);
    }

    pub(super) fn cancel_receive(&mut self, slot: Slot) {
        self.operations.push(Operation::CancelReceive(slot));
    }

    pub(super) fn send(&mut self, slot: Slot, chunks: Vec<Chunk>) {
        let before = self.socket(slot).sending.replace(Sending { chunks, sent_bytes: 0 });
        assert!(before.is_none(), "two sends on one slot");
    }

    pub(super) fn shut_down(&mut self, slot: Slot, sides: Sides) {
        self.socket(slot);
        self.operations.push(Operation::ShutDown(slot, sides));
    }

    pub(super) fn close(&mut self, slot: Slot) {
        let socket = self.socket(slot);
        let quiet = socket.receiving.is_none() && socket.sending.is_none();
        assert!(
            quiet && !self.operations.contains(&Operation::LookUpPeer(slot)),
            "closed under an operation"
        );
        self.operations.push(Operation::Close(slot));
    }

    pub(super) fn look_up_peer(&mut self, slot: Slot) {
        self.operations.push(Operation::LookUpPeer(slot));
    }

    pub(super) fn cancel_look_up(&mut self, slot: Slot) {
        self.operations.push(Operation::CancelLookUp(slot));
    }

    /// Sockets that are not closed.
    pub fn open_sockets(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    pub fn buffers_are_back(&self) -> bool {
        self.buffers_free == self.buffers
    }

    /// Whether the shard would go on by itself.
    pub(super) fn is_awake(&self, now: Nanos) -> bool {
        self.asleep_until.is_none_or(|until| now >= until) || !self.completions.is_empty()
    }
}

/// All kernels and the wires between them and the clients.
#[derive(Debug)]
pub struct Network {
    pub now: Nanos,
    pub wires: Vec<Wire>,
    pub kernels: Vec<Kernel>,
    /// Peers are not looked up for now.
    pub holds_look_ups: bool,
}

impl Network {
    /// A client connects; it waits in the backlog of a listener, if that is still open.
    pub fn connect(&mut self, shard: ShardId, listener: u32) -> usize {
        let wire = self.wires.len();
        let listener = &mut self.kernels[usize::from(shard)].listeners[listener as usize];
        self.wires.push(Wire { server_ended: !listener.open, ..Wire::default() });
        if listener.open {
            listener.backlog.push_back(wire);
        }
        wire
    }

    pub fn write(&mut self, wire: usize, bytes: &[u8]) {
        let wire = &mut self.wires[wire];
        assert!(!wire.fin && !wire.reset, "a client that ended writes no more");
        wire.to_server.extend(bytes);
    }

    /// What has arrived at a client, up to so many bytes.
    pub fn read(&mut self, wire: usize, bytes_max: usize) -> Vec<u8> {
        let wire = &mut self.wires[wire];
        let rest = wire.to_client.split_off(bytes_max.min(wire.to_client.len()));
        std::mem::replace(&mut wire.to_client, rest).into()
    }

    /// The client sends no more; it reads on.
    pub fn finish(&mut self, wire: usize) {
        self.wires[wire].fin = true;
    }

    /// The client is gone.
    pub fn reset(&mut self, wire: usize) {
        let wire = &mut self.wires[wire];
        wire.reset = true;
        wire.to_server.clear();
        wire.to_client.clear();
    }

    pub fn unreceived(&self, wire: usize) -> usize {
        self.wires[wire].to_server.len()
    }

    /// What the kernel of a shard could do next.
    pub fn moves(&self, shard: usize) -> Vec<Move> {
        let kernel = &self.kernels[shard];
        let mut moves: Vec<Move> = (0..kernel.operations.len())
            .filter(|&place| kernel.may_do(kernel.operations[place]))
            .filter(|&place| !self.holds_look_ups || !kernel.looks_up(place))
            .map(Move::Operation)
            .collect();
        for (slot, socket) in kernel.sockets.iter().enumerate() {
            let (slot, Some(socket)) = (Slot(slot as u32), socket) else { continue };
            let wire = &self.wires[socket.wire];
            let ended = wire.fin || wire.reset || socket.shut_reads;
            // A cancel is carried out when it is submitted: nothing is received after it.
            let cancelled = kernel.operations.contains(&Operation::CancelReceive(slot));
            if socket.receiving.is_some() && !cancelled && (ended || !wire.to_server.is_empty()) {
                moves.push(Move::Receive(slot));
            }
            let takes = wire.reset || socket.shut_writes || wire.to_client.len() < WINDOW_BYTES;
            if socket.sending.is_some() && takes {
                moves.push(Move::Send(slot));
            }
        }
        for (number, listener) in kernel.listeners.iter().enumerate() {
            if listener.open && listener.accepting && !listener.backlog.is_empty() {
                moves.push(Move::Accept(number as u32));
            }
        }
        moves
    }

    /// Every receive takes what it can get, those that were asked for first before the others.
    pub fn receive_in_turn(&mut self, shard: usize) {
        let mut waiting: Vec<(u64, Slot)> = Vec::new();
        for taken in self.moves(shard) {
            let Move::Receive(slot) = taken else { continue };
            waiting.extend(self.kernels[shard].socket(slot).receiving.map(|since| (since, slot)));
        }
        waiting.sort_unstable();
        for (_, slot) in waiting {
            // A multishot receive goes on until there is nothing more, or no buffer.
            while self.moves(shard).contains(&Move::Receive(slot)) {
                self.receive(shard, slot, Whim::Plain);
            }
        }
    }

    /// Takes one of [`Network::moves`].
    pub fn take(&mut self, shard: usize, taken: Move, whim: Whim) {
        match taken {
            Move::Operation(place) => self.operate(shard, place, whim),
            Move::Receive(slot) => self.receive(shard, slot, whim),
            Move::Send(slot) => self.send(shard, slot, whim),
            Move::Accept(listener) => self.accept(shard, listener, whim),
        }
    }

    fn operate(&mut self, shard: usize, place: usize, whim: Whim) {
        let kernel = &mut self.kernels[shard];
        match kernel.operations.remove(place) {
            Operation::CancelReceive(slot) => {
                if let Some(socket) = kernel.sockets[slot.0 as usize].as_mut()
                    && socket.receiving.take().is_some()
                {
                    let outcome = ReceiveOutcome::Cancelled;
                    kernel.completions.push_back(Completion::Received { slot, outcome });
                }
            }
            Operation::CancelAccept(listener) => {
                if std::mem::take(&mut kernel.listeners[listener as usize].accepting) {
                    kernel.accept_ended(listener, libc::ECANCELED);
                }
            }
            Operation::ShutDown(slot, sides) => {
                let socket = kernel.socket(slot);
                socket.shut_writes = true;
                socket.shut_reads |= sides == Sides::Both;
                self.wires[socket.wire].server_ended = true;
                kernel.completions.push_back(Completion::ShutDown { slot });
            }
            Operation::Close(slot) => {
                let socket = kernel.sockets[slot.0 as usize].take().expect("closed once");
                self.wires[socket.wire].server_ended = true;
                match whim {
                    Whim::Contrary => kernel.operations.push(Operation::ReportClosed(slot)),
                    _ => kernel.completions.push_back(Completion::Closed { slot }),
                }
            }
            Operation::ReportClosed(slot) => kernel.completions.push_back(Completion::Closed { slot }),
            Operation::LookUpPeer(slot) => {
                let address = (whim != Whim::Contrary).then(|| SocketAddr::from(([127, 0, 0, 1], 40_000)));
                kernel.completions.push_back(Completion::Peer { slot, address });
            }
            Operation::CancelLookUp(slot) => {
                let own = |other: &Operation| *other == Operation::LookUpPeer(slot);
                if let Some(place) = kernel.operations.iter().position(own) {
                    kernel.operations.remove(place);
                    kernel.completions.push_back(Completion::Peer { slot, address: None });
                }
            }
        }
    }

    fn receive(&mut self, shard: usize, slot: Slot, whim: Whim) {
        let kernel = &mut self.kernels[shard];
        let (free, buffer_bytes) = (kernel.buffers_free, kernel.buffer_bytes);
        let socket = kernel.socket(slot);
        let once = socket.once;
        let wire = &mut self.wires[socket.wire];
        let outcome = if wire.reset {
            ReceiveOutcome::Failed(io::Error::from_raw_os_error(libc::ECONNRESET))
        } else if free == 0 {
            // A buffer is chosen before the socket is looked at, also at the end of a stream.
            ReceiveOutcome::BuffersExhausted
        } else if wire.to_server.is_empty() {
            ReceiveOutcome::EndOfStream
        } else {
            let most = if let Whim::Short(bytes) = whim { bytes.max(1) } else { usize::MAX };
            let bytes = wire.to_server.len().min(buffer_bytes).min(most);
            let rest = wire.to_server.split_off(bytes);
            let buffer = Buffer(std::mem::replace(&mut wire.to_server, rest).into());
            kernel.buffers_free -= 1;
            ReceiveOutcome::Data { buffer, armed: whim != Whim::Contrary && !once }
        };
        if !matches!(outcome, ReceiveOutcome::Data { armed: true, .. }) {
            kernel.socket(slot).receiving = None;
        }
        kernel.completions.push_back(Completion::Received { slot, outcome });
    }

    fn send(&mut self, shard: usize, slot: Slot, whim: Whim) {
        let kernel = &mut self.kernels[shard];
        let socket = kernel.socket(slot);
        let wire = &mut self.wires[socket.wire];
        let sending = socket.sending.as_mut().expect("one of the moves");
        let total: usize = sending.chunks.iter().map(|chunk| chunk.bytes().len()).sum();
        let mut error = None;
        if wire.reset || socket.shut_writes {
            error = Some(io::Error::from_raw_os_error(libc::EPIPE));
        } else {
            let window = WINDOW_BYTES - wire.to_client.len();
            let most = if let Whim::Short(bytes) = whim { bytes.max(1) } else { usize::MAX };
            let bytes = (total - sending.sent_bytes).min(window).min(most);
            let (mut skip, mut left) = (sending.sent_bytes, bytes);
            for chunk in &sending.chunks {
                let rest = chunk.bytes().get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(chunk.bytes().len());
                let taken = rest.len().min(left);
                wire.to_client.extend(&rest[..taken]);
                left -= taken;
            }
            sending.sent_bytes += bytes;
            if sending.sent_bytes < total {
                return;
            }
        }
        let Sending { chunks, sent_bytes } = socket.sending.take().expect("looked at above");
        kernel.completions.push_back(Completion::Sent { slot, bytes: sent_bytes, error, chunks });
    }

    fn accept(&mut self, shard: usize, listener: u32, whim: Whim) {
        let kernel = &mut self.kernels[shard];
        let taken = |slot: &usize| kernel.sockets.get(*slot).is_some_and(Option::is_some);
        let free = (0..kernel.slots).find(|slot| !taken(slot));
        let (Some(slot), false) = (free, whim == Whim::Contrary) else {
            kernel.listeners[listener as usize].accepting = false;
            return kernel.accept_ended(listener, libc::ENFILE);
        };
        let listener_of = &mut kernel.listeners[listener as usize];
        let wire = listener_of.backlog.pop_front().expect("one of the moves");
        let armed = whim == Whim::Plain;
        listener_of.accepting = armed;
        if kernel.sockets.len() <= slot {
            kernel.sockets.resize_with(slot + 1, || None);
        }
        kernel.sockets[slot] = Some(Socket {
            wire,
            receiving: None,
            once: false,
            sending: None,
            shut_reads: false,
            shut_writes: false,
        });
        let outcome = AcceptOutcome::Connection(Slot(slot as u32));
        kernel.completions.push_back(Completion::Accepted { listener, outcome, armed });
    }
}

impl Kernel {
    fn looks_up(&self, place: usize) -> bool {
        matches!(self.operations[place], Operation::LookUpPeer(_))
    }

    fn may_do(&self, operation: Operation) -> bool {
        let pending = |other: fn(&Operation, Slot) -> bool, slot| {
            self.operations.iter().any(|operation| other(operation, slot))
        };
        match operation {
            // A shutdown is done on another thread, which looks up what is in the slot by then: the ring
            // closes after it. A close is reported before that of the slot's next use.
            Operation::Close(slot) => {
                !pending(|other, slot| matches!(other, Operation::ShutDown(of, _) if *of == slot), slot)
                    && !pending(|other, slot| *other == Operation::ReportClosed(slot), slot)
            }
            _ => true,
        }
    }

    fn accept_ended(&mut self, listener: u32, error: i32) {
        let outcome = AcceptOutcome::Ended(io::Error::from_raw_os_error(error));
        self.completions.push_back(Completion::Accepted { listener, outcome, armed: false });
    }
}
