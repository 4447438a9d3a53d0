//! The platform a simulated shard's loop stands on.

use super::network::{Buffer, Kernel, Network, Sides};
use crate::io::mesh::{Bell, MeshEnds};
use crate::io::platform::{Mesh, Offload, Platform, Ring, WorkKind};
use ringbolt_ring::{Chunk, Completion, Slot, Wait};
use ringbolt_shard::access::{Verdict, Verification};
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::{ConnectionId, Nanos, ShardId};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub struct Simulated {
    pub(super) network: Rc<RefCell<Network>>,
    pub(super) nonces: u128,
}

impl Platform for Simulated {
    type Ring = SimRing;
    type Mesh = SimMesh;
    type Offload = SimOffload;

    fn now(&self) -> Nanos {
        self.network.borrow().now
    }

    fn nonce(&mut self) -> u128 {
        self.nonces += 1;
        self.nonces
    }
}

/// A shard's ring.
#[derive(Debug)]
pub struct SimRing {
    pub(super) network: Rc<RefCell<Network>>,
    pub(super) shard: usize,
}

impl SimRing {
    fn kernel(&self) -> RefMut<'_, Kernel> {
        RefMut::map(self.network.borrow_mut(), |network| &mut network.kernels[self.shard])
    }
}

impl Ring for SimRing {
    type Buffer = Buffer;

    fn turn(&mut self, wait: Wait) -> io::Result<bool> {
        let now = self.network.borrow().now;
        let mut kernel = self.kernel();
        if let Wait::Block(limit) = wait {
            let until = limit.map_or(u64::MAX, |limit| now.0 + limit.as_nanos() as u64);
            kernel.asleep_until = Some(Nanos(until));
        }
        Ok(!kernel.completions.is_empty())
    }

    fn next(&mut self) -> Option<Completion<Buffer>> {
        self.kernel().completions.pop_front()
    }

    fn bytes<'b>(&'b self, buffer: &'b Buffer) -> &'b [u8] {
        &buffer.0
    }

    fn recycle(&mut self, _buffer: Buffer) {
        self.kernel().buffers_free += 1;
    }

    fn buffers_total(&self) -> u16 {
        self.kernel().buffers
    }

    fn buffers_free(&self) -> u16 {
        self.kernel().buffers_free
    }

    fn accept(&mut self, listener: u32) -> io::Result<()> {
        self.kernel().accept(listener);
        Ok(())
    }

    fn close_listener(&mut self, listener: u32) -> io::Result<()> {
        let refused = self.kernel().close_listener(listener);
        let mut network = self.network.borrow_mut();
        refused.into_iter().for_each(|wire| network.wires[wire].server_ended = true);
        Ok(())
    }

    fn look_up_peer(&mut self, slot: Slot) -> io::Result<()> {
        self.kernel().look_up_peer(slot);
        Ok(())
    }

    fn cancel_look_up(&mut self, slot: Slot) -> io::Result<()> {
        self.kernel().cancel_look_up(slot);
        Ok(())
    }

    fn receive(&mut self, slot: Slot) -> io::Result<()> {
        self.kernel().receive(slot, false);
        Ok(())
    }

    fn receive_once(&mut self, slot: Slot) -> io::Result<()> {
        self.kernel().receive(slot, true);
        Ok(())
    }

    fn cancel_receive(&mut self, slot: Slot) -> io::Result<()> {
        self.kernel().cancel_receive(slot);
        Ok(())
    }

    fn send(&mut self, slot: Slot, chunks: Vec<Chunk>) -> io::Result<()> {
        self.kernel().send(slot, chunks);
        Ok(())
    }

    fn shut_down(&mut self, slot: Slot) -> io::Result<()> {
        self.kernel().shut_down(slot, Sides::Both);
        Ok(())
    }

    fn shut_down_writes(&mut self, slot: Slot) -> io::Result<()> {
        self.kernel().shut_down(slot, Sides::Writes);
        Ok(())
    }

    fn close(&mut self, slot: Slot) -> io::Result<()> {
        self.kernel().close(slot);
        Ok(())
    }
}

/// A doorbell that is heard when the caller wants it to be.
#[derive(Debug, Default)]
pub struct SimBell {
    rung: AtomicBool,
}

impl SimBell {
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    pub(super) fn silence(&self) {
        self.rung.store(false, Ordering::Relaxed);
    }
}

impl Bell for SimBell {
    fn ring(&self) {
        self.rung.store(true, Ordering::Relaxed);
    }
}

/// What a server does wrong on purpose, once, to see that an oracle notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    LoseABatch,
    /// It comes in after the next one.
    DelayABatch,
    /// A shard that sleeps is not woken.
    ForgetAWake,
}

/// The real mesh, which a test may have do wrong.
#[derive(Debug)]
pub struct SimMesh {
    pub(super) ends: MeshEnds<SimBell>,
    pub(super) sabotage: Rc<Cell<Option<Sabotage>>>,
    /// A batch that comes in later, or once more.
    pub(super) kept: VecDeque<(ShardId, MeshBatch)>,
}

impl Mesh for SimMesh {
    fn send_stuck(&mut self, shard: ShardId) -> bool {
        self.ends.send_stuck(shard)
    }

    fn has_room(&self, shard: ShardId) -> bool {
        self.ends.has_room(shard)
    }

    fn send(&mut self, shard: ShardId, batch: MeshBatch) {
        self.ends.send(shard, batch);
    }

    fn would_move(&self, shard: ShardId) -> bool {
        self.ends.would_move(shard)
    }

    fn receive(&mut self, from: ShardId) -> Option<MeshBatch> {
        let batch = self.ends.receive(from).or_else(|| {
            let place = self.kept.iter().position(|(sender, _)| *sender == from)?;
            self.kept.remove(place).map(|(_, batch)| batch)
        })?;
        match self.sabotage.get() {
            Some(Sabotage::LoseABatch) if batch.messages() > 0 => {
                self.sabotage.set(None);
                self.ends.receive(from)
            }
            Some(Sabotage::DelayABatch) if batch.messages() > 0 => {
                let next = self.ends.receive(from);
                if next.as_ref().is_some_and(|next| next.messages() > 0) {
                    self.sabotage.set(None);
                }
                self.kept.push_back((from, batch));
                next.or_else(|| self.kept.pop_back().map(|(_, batch)| batch))
            }
            _ => Some(batch),
        }
    }

    fn has_inbound(&self) -> bool {
        !self.kept.is_empty() || self.ends.has_inbound()
    }

    fn shards(&self) -> ShardId {
        self.ends.shards()
    }

    fn wake(&self, shard: ShardId) -> bool {
        if self.sabotage.get() == Some(Sabotage::ForgetAWake) {
            self.sabotage.set(None);
            return false;
        }
        self.ends.wake(shard)
    }

    fn ask_for_room(&self, shard: ShardId) {
        self.ends.ask_for_room(shard);
    }

    fn tell_of_room(&self, from: ShardId) {
        self.ends.tell_of_room(from);
    }

    fn lie_down(&self) {
        self.ends.lie_down();
    }

    fn get_up(&self) {
        self.ends.get_up();
    }
}

type Proofs = VecDeque<(ConnectionId, Verification)>;

/// Proofs that wait for the caller to decide them, by kind.
#[derive(Clone, Debug)]
pub struct SimOffload {
    pub(super) waiting: Rc<RefCell<[Proofs; WorkKind::ALL.len()]>>,
    pub(super) outcomes: Rc<RefCell<VecDeque<(ConnectionId, Verdict)>>>,
    /// So many of a kind may wait.
    pub(super) room: usize,
}

impl Offload for SimOffload {
    fn ask(&mut self, id: ConnectionId, verification: Verification, _patience: Duration) -> bool {
        let waiting = &mut self.waiting.borrow_mut()[WorkKind::of(&verification) as usize];
        let taken = waiting.len() < self.room;
        if taken {
            waiting.push_back((id, verification));
        }
        taken
    }

    fn waiting(&self, kind: WorkKind) -> usize {
        self.waiting.borrow()[kind as usize].len()
    }

    fn is_ready(&self) -> bool {
        !self.outcomes.borrow().is_empty()
    }

    fn outcome(&mut self) -> Option<(ConnectionId, Verdict)> {
        self.outcomes.borrow_mut().pop_front()
    }
}
