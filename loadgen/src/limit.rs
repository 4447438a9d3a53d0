//! A relay that looks at nothing: what one core and the kernel can do with the same bytes.
//!
//! Receive and send on one ring, from the very buffer the kernel received into. No server can be faster on
//! the same sockets, so it bounds every row it stands beside.

use crate::dialect::raw::{HELLO_BYTES, Hello, IN_FORCE};
use crate::interrupts;
use ringbolt_ring::{
    AcceptOutcome, BufferRingConfig, Chunk, Completion, ReceiveOutcome, ReceivedBuffer, Ring, RingConfig,
    Slot, Wait,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const BACKLOG: i32 = 4096;
/// Of one send; more wait for the next.
const CHUNKS_A_SEND: usize = 256;
const LOOK_FOR_SIGNALS: Duration = Duration::from_millis(100);

pub struct Plan {
    pub listen: SocketAddr,
    /// Core to run on; wherever the kernel puts it if there is none.
    pub core: Option<usize>,
    /// Never sleep.
    pub spin: bool,
    /// Connections it may have.
    pub connections: u32,
}

pub fn run(plan: &Plan) -> Result<ExitCode, String> {
    if let Some(id) = plan.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(format!("cannot run on core {id}"));
    }
    Relay::new(plan).and_then(|relay| relay.run(plan.spin)).map_err(|error| format!("limit: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

struct Relay {
    ring: Ring,
    _listener: Socket,
    peers: Vec<Peer>,
    /// Who takes a channel.
    takers: HashMap<u32, Vec<u32>>,
    dirty: Vec<u32>,
    starved: Vec<Slot>,
}

#[derive(Default)]
struct Peer {
    hello: Option<Hello>,
    waiting: Vec<Chunk>,
    receiving: bool,
    sending: bool,
    ending: bool,
}

impl Relay {
    fn new(plan: &Plan) -> io::Result<Relay> {
        let buffers = BufferRingConfig { buffer_bytes: 64 << 10, buffers: 256, huge_pages: true };
        let shape =
            RingConfig { entries: 1024, completion_entries: 16_384, slots: plan.connections, buffers };
        let mut ring = Ring::new(shape)?;
        let listener = Socket::new(Domain::for_address(plan.listen), Type::STREAM, Some(Protocol::TCP))?;
        listener.set_reuse_address(true)?;
        listener.set_tcp_nodelay(true)?;
        listener.bind(&plan.listen.into())?;
        listener.listen(BACKLOG)?;
        ring.accept(0, listener.as_fd())?;
        Ok(Relay {
            ring,
            _listener: listener,
            peers: Vec::new(),
            takers: HashMap::new(),
            dirty: Vec::new(),
            starved: Vec::new(),
        })
    }

    fn run(mut self, spin: bool) -> io::Result<()> {
        let mut worked = false;
        let mut looked_at = Instant::now();
        loop {
            let wait = if spin || worked { Wait::Poll } else { Wait::Block(Some(LOOK_FOR_SIGNALS)) };
            self.ring.turn(wait)?;
            worked = false;
            while let Some(completion) = self.ring.next() {
                worked = true;
                self.complete(completion)?;
            }
            self.flush()?;
            if !worked && looked_at.elapsed() > LOOK_FOR_SIGNALS {
                looked_at = Instant::now();
                if interrupts::check().is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn complete(&mut self, completion: Completion) -> io::Result<()> {
        match completion {
            Completion::Accepted { outcome: AcceptOutcome::Connection(slot), .. } => {
                let place = slot.0 as usize;
                self.peers.resize_with(self.peers.len().max(place + 1), Peer::default);
                self.peers[place] = Peer { receiving: true, ..Peer::default() };
                self.ring.receive(slot)
            }
            Completion::Accepted { outcome: AcceptOutcome::Ended(error), .. } => Err(error),
            Completion::Received { slot, outcome: ReceiveOutcome::Data { buffer, armed } } => {
                self.relay(slot, buffer);
                if armed { Ok(()) } else { self.ring.receive(slot) }
            }
            Completion::Received { slot, outcome: ReceiveOutcome::BuffersExhausted } => {
                self.starved.push(slot);
                Ok(())
            }
            Completion::Received { slot, .. } => {
                self.peers[slot.0 as usize].receiving = false;
                self.end(slot)
            }
            Completion::Sent { slot, error, chunks, .. } => {
                self.recycle(chunks);
                let peer = &mut self.peers[slot.0 as usize];
                peer.sending = false;
                if error.is_some() || peer.ending {
                    return self.end(slot);
                }
                self.dirty.push(slot.0);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn relay(&mut self, slot: Slot, buffer: ReceivedBuffer) {
        let Some(hello) = self.peers[slot.0 as usize].hello else {
            let behind = self.greet(slot, &buffer);
            self.ring.recycle(buffer);
            if let Some((gives, behind)) = behind {
                self.give(gives, || Chunk::Owned(behind.clone()));
            }
            return;
        };
        match self.takers.get(&hello.gives).map_or(0, Vec::len) {
            0 => self.ring.recycle(buffer),
            1 => {
                let mut chunk = Some(self.ring.lend(buffer));
                self.give(hello.gives, || chunk.take().expect("there is one taker"));
            }
            _ => {
                let bytes = bytes::Bytes::copy_from_slice(self.ring.bytes(&buffer));
                self.ring.recycle(buffer);
                self.give(hello.gives, || Chunk::Shared(bytes.clone()));
            }
        }
    }

    /// Takes a hello, and returns what stands behind it in the same buffer.
    fn greet(&mut self, slot: Slot, buffer: &ReceivedBuffer) -> Option<(u32, Vec<u8>)> {
        let bytes = self.ring.bytes(buffer);
        let hello = Hello::read(bytes)?;
        let behind = bytes[HELLO_BYTES..].to_vec();
        self.peers[slot.0 as usize].hello = Some(hello);
        if hello.takes != 0 {
            self.takers.entry(hello.takes).or_default().push(slot.0);
        }
        self.peers[slot.0 as usize].waiting.push(Chunk::Owned(IN_FORCE.to_vec()));
        self.dirty.push(slot.0);
        (!behind.is_empty()).then_some((hello.gives, behind))
    }

    fn give(&mut self, channel: u32, mut chunk: impl FnMut() -> Chunk) {
        for &taker in self.takers.get(&channel).into_iter().flatten() {
            self.peers[taker as usize].waiting.push(chunk());
            self.dirty.push(taker);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        for slot in std::mem::take(&mut self.dirty) {
            let peer = &mut self.peers[slot as usize];
            if peer.sending || peer.ending || peer.waiting.is_empty() {
                continue;
            }
            let count = peer.waiting.len().min(CHUNKS_A_SEND);
            let chunks = peer.waiting.drain(..count).collect();
            peer.sending = true;
            self.ring.send(Slot(slot), chunks)?;
        }
        while let Some(slot) = self.starved.pop() {
            self.ring.receive(slot)?;
        }
        Ok(())
    }

    fn recycle(&mut self, chunks: Vec<Chunk>) {
        for chunk in chunks {
            if let Chunk::Received(buffer) = chunk {
                self.ring.recycle(buffer.into_received());
            }
        }
    }

    /// Shuts a connection down, and closes it once nothing is under way.
    fn end(&mut self, slot: Slot) -> io::Result<()> {
        let peer = &mut self.peers[slot.0 as usize];
        if !peer.ending {
            peer.ending = true;
            let waiting = std::mem::take(&mut peer.waiting);
            if let Some(hello) = peer.hello
                && let Some(takers) = self.takers.get_mut(&hello.takes)
            {
                takers.retain(|&taker| taker != slot.0);
            }
            self.recycle(waiting);
            self.ring.shut_down(slot)?;
        }
        let peer = &self.peers[slot.0 as usize];
        if peer.receiving || peer.sending { Ok(()) } else { self.ring.close(slot) }
    }
}
