//! The mesh between shard threads: one lock-free single-producer ring an ordered pair, and a doorbell
//! for a shard that sleeps.
//!
//! The sleep protocol: the consumer stores `sleeping`, fences, looks at its rings once more, and only
//! then waits. The producer pushes, fences, and loads `sleeping`. Whichever fence comes first, either
//! the consumer sees the batch or the producer sees the sleeper.

use crate::limits::Limits;
use crate::shard::ShardId;
use crate::shard::mesh::MeshBatch;
use ringbolt_ring::Doorbell;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether a shard sleeps, and how to wake it. On cache lines of its own: its owner writes it often.
#[derive(Debug)]
#[repr(align(128))]
pub struct Sleeper {
    sleeping: AtomicBool,
    pub doorbell: Doorbell,
}

impl Sleeper {
    fn new() -> io::Result<Sleeper> {
        Ok(Sleeper { sleeping: AtomicBool::new(false), doorbell: Doorbell::new()? })
    }

    /// Announces sleep. The caller looks at everything that could wake it once more before it waits.
    pub fn lie_down(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub fn get_up(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Wakes the shard if it sleeps, after something was put where it will look. Returns whether the
    /// doorbell had to be rung.
    pub fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        let asleep = self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed);
        if asleep {
            self.doorbell.ring();
        }
        asleep
    }
}

/// One shard's ends of the mesh.
#[derive(Debug)]
pub struct MeshEnds {
    /// By shard; `None` at its own place.
    outbound: Vec<Option<Outbound>>,
    inbound: Vec<Option<Consumer<MeshBatch>>>,
    pub sleepers: Arc<Vec<Sleeper>>,
}

#[derive(Debug)]
struct Outbound {
    ring: Producer<MeshBatch>,
    /// A batch the ring had no room for.
    stuck: Option<MeshBatch>,
}

/// Makes the mesh of all shards.
pub fn connect(limits: &Limits) -> io::Result<Vec<MeshEnds>> {
    let shards = limits.shards;
    let sleepers = (0..shards).map(|_| Sleeper::new()).collect::<io::Result<Vec<_>>>()?;
    let sleepers = Arc::new(sleepers);
    let mut ends: Vec<MeshEnds> = (0..shards)
        .map(|_| MeshEnds {
            outbound: (0..shards).map(|_| None).collect(),
            inbound: (0..shards).map(|_| None).collect(),
            sleepers: Arc::clone(&sleepers),
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (producer, consumer) = RingBuffer::new(limits.mesh_ring_batches);
            ends[from].outbound[to] = Some(Outbound { ring: producer, stuck: None });
            ends[to].inbound[from] = Some(consumer);
        }
    }
    Ok(ends)
}

impl MeshEnds {
    /// Whether the link to `shard` takes a batch now; retries one that was stuck.
    pub fn has_room(&mut self, shard: ShardId) -> bool {
        let outbound = self.outbound[usize::from(shard)].as_mut().expect("never to itself");
        match outbound.stuck.take() {
            None => true,
            Some(batch) => {
                outbound.send(batch);
                outbound.stuck.is_none()
            }
        }
    }

    /// Sends a batch; without room it is kept and `has_room` is false until it has left.
    pub fn send(&mut self, shard: ShardId, batch: MeshBatch) {
        let outbound = self.outbound[usize::from(shard)].as_mut().expect("never to itself");
        assert!(outbound.stuck.is_none(), "asked for room first");
        outbound.send(batch);
    }

    /// The next batch from `shard`.
    pub fn receive(&mut self, shard: ShardId) -> Option<MeshBatch> {
        self.inbound[usize::from(shard)].as_mut()?.pop().ok()
    }

    pub fn has_inbound(&self) -> bool {
        self.inbound.iter().flatten().any(|ring| !ring.is_empty())
    }

    pub fn shards(&self) -> ShardId {
        self.inbound.len() as ShardId
    }
}

impl Outbound {
    fn send(&mut self, batch: MeshBatch) {
        if let Err(PushError::Full(batch)) = self.ring.push(batch) {
            self.stuck = Some(batch);
        }
    }
}
