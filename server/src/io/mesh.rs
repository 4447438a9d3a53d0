//! The mesh between shard threads: one lock-free single-producer ring an ordered pair, and a doorbell
//! for a shard that sleeps.

use super::platform::Mesh;
use super::sleeper::{Request, Sleeper};
use ringbolt_ring::Doorbell;
use ringbolt_shard::ShardId;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::mesh::MeshBatch;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::io;
use std::sync::Arc;

/// What wakes a shard from a wait on its ring.
pub trait Bell {
    fn ring(&self);
}

impl Bell for Doorbell {
    fn ring(&self) {
        Doorbell::ring(self);
    }
}

/// A shard as the threads that may have to wake it see it.
#[derive(Debug)]
pub struct Bed<B> {
    sleeper: Sleeper,
    pub doorbell: B,
}

impl<B: Bell> Bed<B> {
    /// Wakes the shard if it sleeps, after something was put where it will look. Returns whether the
    /// doorbell had to be rung.
    pub fn wake(&self) -> bool {
        let asleep = self.sleeper.must_be_woken();
        if asleep {
            self.doorbell.ring();
        }
        asleep
    }
}

/// The beds of all shards.
pub type Beds<B> = Arc<Vec<Bed<B>>>;

/// One shard's ends of the mesh. Who sends to a shard whose ends are dropped is not held up.
#[derive(Debug)]
pub struct MeshEnds<B: Bell> {
    own: ShardId,
    /// By shard; `None` at its own place.
    outbound: Vec<Option<Outbound>>,
    inbound: Vec<Option<Inbound>>,
    pub beds: Beds<B>,
}

#[derive(Debug)]
struct Outbound {
    ring: Producer<MeshBatch>,
    /// A batch the ring had no room for.
    stuck: Option<MeshBatch>,
    room_wanted: Arc<Request>,
}

#[derive(Debug)]
struct Inbound {
    ring: Consumer<MeshBatch>,
    room_wanted: Arc<Request>,
}

/// Makes the mesh of all shards.
pub fn connect<B: Bell>(limits: &Limits, bell: impl Fn() -> io::Result<B>) -> io::Result<Vec<MeshEnds<B>>> {
    let shards = limits.shards;
    let bed = |_| Ok(Bed { sleeper: Sleeper::new(), doorbell: bell()? });
    let beds = Arc::new((0..shards).map(bed).collect::<io::Result<Vec<_>>>()?);
    let mut ends: Vec<MeshEnds<B>> = (0..shards)
        .map(|own| MeshEnds {
            own: own as ShardId,
            outbound: (0..shards).map(|_| None).collect(),
            inbound: (0..shards).map(|_| None).collect(),
            beds: Arc::clone(&beds),
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (producer, consumer) = RingBuffer::new(limits.mesh_ring_batches);
            let room_wanted = Arc::new(Request::new());
            let inbound = Inbound { ring: consumer, room_wanted: Arc::clone(&room_wanted) };
            ends[from].outbound[to] = Some(Outbound { ring: producer, stuck: None, room_wanted });
            ends[to].inbound[from] = Some(inbound);
        }
    }
    Ok(ends)
}

impl<B: Bell> Drop for MeshEnds<B> {
    fn drop(&mut self) {
        self.inbound.clear();
        for bed in self.beds.iter() {
            bed.wake();
        }
    }
}

impl<B: Bell> MeshEnds<B> {
    fn outbound(&self, shard: ShardId) -> &Outbound {
        self.outbound[usize::from(shard)].as_ref().expect("never to itself")
    }

    fn outbound_mut(&mut self, shard: ShardId) -> &mut Outbound {
        self.outbound[usize::from(shard)].as_mut().expect("never to itself")
    }
}

impl<B: Bell> Mesh for MeshEnds<B> {
    fn send_stuck(&mut self, shard: ShardId) -> bool {
        let outbound = self.outbound_mut(shard);
        match outbound.stuck.take() {
            None => false,
            Some(batch) => {
                outbound.send(batch);
                outbound.stuck.is_none()
            }
        }
    }

    fn has_room(&self, shard: ShardId) -> bool {
        self.outbound(shard).stuck.is_none()
    }

    fn send(&mut self, shard: ShardId, batch: MeshBatch) {
        let outbound = self.outbound_mut(shard);
        assert!(outbound.stuck.is_none(), "asked for room first");
        outbound.send(batch);
    }

    fn would_move(&self, shard: ShardId) -> bool {
        let ring = &self.outbound(shard).ring;
        ring.is_abandoned() || !ring.is_full()
    }

    fn receive(&mut self, from: ShardId) -> Option<MeshBatch> {
        self.inbound[usize::from(from)].as_mut()?.ring.pop().ok()
    }

    fn has_inbound(&self) -> bool {
        self.inbound.iter().flatten().any(|inbound| !inbound.ring.is_empty())
    }

    fn shards(&self) -> ShardId {
        self.inbound.len() as ShardId
    }

    fn wake(&self, shard: ShardId) -> bool {
        self.beds[usize::from(shard)].wake()
    }

    fn ask_for_room(&self, shard: ShardId) {
        self.outbound(shard).room_wanted.ask();
    }

    fn tell_of_room(&self, from: ShardId) {
        let Some(inbound) = &self.inbound[usize::from(from)] else { return };
        if inbound.room_wanted.take() {
            self.beds[usize::from(from)].wake();
        }
    }

    fn lie_down(&self) {
        self.beds[usize::from(self.own)].sleeper.lie_down();
    }

    fn get_up(&self) {
        self.beds[usize::from(self.own)].sleeper.get_up();
    }
}

impl Outbound {
    fn send(&mut self, batch: MeshBatch) {
        if let Err(PushError::Full(batch)) = self.ring.push(batch)
            && !self.ring.is_abandoned()
        {
            self.stuck = Some(batch);
        }
    }
}
