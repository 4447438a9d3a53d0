//! What a shard answers, as digests: the recorder's and the replay's are made here alike.

use super::batch;
use super::filter::Filter;
use super::format::Digest;
use super::payloads::Payloads;
use super::secrets::Secrets;
use super::span::Span;
use ringbolt_shard::delivery::Segment;
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::{Close, ConnectionId, Dialect, Effects};
use std::hash::Hasher;
use twox_hash::XxHash3_64;

/// See the module. Payloads are not part of a digest unless they are kept.
#[derive(Debug)]
pub struct Answers {
    payloads: Payloads,
    /// By slot, what was sent to the connection so far.
    filters: Vec<Option<Filter>>,
    /// Answers hold no options.
    secrets: Secrets,
    spans: Vec<Span>,
    written: Vec<u8>,
}

impl Answers {
    pub fn new(payloads: Payloads) -> Answers {
        let secrets = Secrets::default();
        Answers { payloads, filters: Vec::new(), secrets, spans: Vec::new(), written: Vec::new() }
    }

    pub fn opened(&mut self, id: ConnectionId, dialect: Dialect) {
        put(&mut self.filters, id, Filter::of_server(dialect));
    }

    pub fn closed(&mut self, id: ConnectionId) {
        if let Some(filter) = self.filters.get_mut(id.slot as usize) {
            *filter = None;
        }
    }

    /// What an event asked for; `None` if nothing.
    pub fn effects(effects: &Effects) -> Option<Digest> {
        if effects.is_empty() {
            return None;
        }
        let mut hasher = XxHash3_64::new();
        let ids = |hasher: &mut XxHash3_64, ids: &mut dyn Iterator<Item = ConnectionId>| {
            for id in ids {
                hasher.write_u32(id.slot);
                hasher.write_u32(id.generation);
            }
            hasher.write_u64(u64::MAX);
        };
        ids(&mut hasher, &mut effects.send.iter().copied());
        ids(&mut hasher, &mut effects.receive.iter().map(|(id, _)| *id));
        effects.receive.iter().for_each(|(_, receive)| hasher.write_u8(*receive as u8));
        for close in [Close::Flush, Close::Now] {
            let alike = effects.close.iter().filter(|(_, how, _)| *how == close);
            ids(&mut hasher, &mut alike.map(|(id, ..)| *id));
        }
        // What is to be verified is secret.
        ids(&mut hasher, &mut effects.verify.iter().map(|(id, _)| *id));
        effects.mesh.iter().for_each(|shard| hasher.write_u16(*shard));
        ids(&mut hasher, &mut effects.forgotten.iter().copied());
        hasher.write_u8(u8::from(effects.drained));
        hasher.write_u64(effects.letters.map_or(0, |letters| letters + 1));
        Some(digest(&hasher))
    }

    /// What was taken to be sent.
    pub fn taken(&mut self, id: ConnectionId, segments: &[Segment]) -> Digest {
        let mut hasher = XxHash3_64::new();
        let filter = self.filters.get_mut(id.slot as usize).and_then(Option::as_mut);
        let filter = filter.filter(|_| self.payloads == Payloads::Lengths);
        let Some(filter) = filter else {
            segments.iter().for_each(|segment| hasher.write(segment.bytes()));
            return digest(&hasher);
        };
        for segment in segments {
            self.spans.clear();
            let mut rest = segment.bytes();
            filter.cut(rest, &self.secrets, &mut self.spans);
            for span in &self.spans {
                let (bytes, is_kept) = match span {
                    Span::Kept(bytes) => (*bytes, true),
                    Span::Omitted(bytes) => (*bytes, false),
                    Span::Held(_) | Span::Options(_) => continue,
                };
                if is_kept {
                    hasher.write(&rest[..bytes]);
                }
                rest = &rest[bytes..];
            }
        }
        digest(&hasher)
    }

    pub fn batch(&mut self, batch: &MeshBatch) -> Digest {
        self.written.clear();
        batch::write(batch, self.payloads, &mut self.written);
        let mut hasher = XxHash3_64::new();
        hasher.write(&self.written);
        digest(&hasher)
    }
}

fn digest(hasher: &XxHash3_64) -> Digest {
    Digest(hasher.finish().to_le_bytes())
}

/// Puts a connection's filter to its slot.
pub fn put(filters: &mut Vec<Option<Filter>>, id: ConnectionId, filter: Filter) {
    let slot = id.slot as usize;
    if filters.len() <= slot {
        filters.resize_with(slot + 1, || None);
    }
    filters[slot] = Some(filter);
}
