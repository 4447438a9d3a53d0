//! Records what a shard is told and what it answers, in blocks that a sink takes.

use super::answers::{Answers, put};
use super::batch;
use super::filter::Filter;
use super::format::{self, BlockKind, End, Entry, Header, Piece};
use super::payloads::Payloads;
use super::secrets::Secrets;
use super::span::Span;
use ringbolt_shard::access::Access;
use ringbolt_shard::delivery::Segment;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::{ConnectionId, Effects, Event, Nanos, Shard, ShardId};
use serde_bytes::Bytes;

/// A block is written once it has so many bytes, or with the next tick. A damaged byte is found to this
/// precision.
const BLOCK_BYTES: usize = 64 << 10;

/// Where a capture goes. Neither function waits.
pub trait Sink {
    /// Takes the next bytes of the file.
    fn put(&mut self, bytes: Vec<u8>) -> Result<(), Refused>;
    /// Takes the last bytes of the file, even after it refused others.
    fn finish(&mut self, bytes: Vec<u8>);
}

/// Why a sink takes no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    Overrun,
    Failed,
}

/// See the module. It ends once, and then costs nothing.
pub struct Recorder {
    shard: ShardId,
    sink: Box<dyn Sink>,
    payloads: Payloads,
    secrets: Secrets,
    answers: Answers,
    /// By slot, what was received from the connection so far.
    filters: Vec<Option<Filter>>,
    block: Vec<u8>,
    records: u32,
    recorded_at: Nanos,
    bytes: u64,
    bytes_max: u64,
    ended: Option<End>,
    spans: Vec<Span>,
    written: Vec<u8>,
}

impl Recorder {
    /// `header` is of the shard before its first event; its secrets are hidden here.
    pub fn new(header: Header, bytes_max: u64, sink: Box<dyn Sink>) -> Recorder {
        let secrets = Secrets::default();
        let access = hidden(&header.access, &secrets);
        let header = Header { access, ..header };
        let mut recorder = Recorder {
            shard: header.shard,
            sink,
            payloads: header.payloads,
            secrets,
            answers: Answers::new(header.payloads),
            filters: Vec::new(),
            block: Vec::new(),
            records: 0,
            recorded_at: Nanos(0),
            bytes: 0,
            bytes_max,
            ended: None,
            spans: Vec::new(),
            written: Vec::new(),
        };
        let header = serde_json::to_vec(&header).expect("plain data");
        let start = [format::start(), format::block(BlockKind::Header, 0, &header)].concat();
        recorder.put(start);
        recorder
    }

    /// [`Shard::handle`], recorded. An event is recorded first: one that the shard does not survive is the
    /// last of the file.
    #[inline(never)]
    pub fn handle(&mut self, shard: &mut Shard, now: Nanos, event: Event<'_>, effects: &mut Effects) {
        if self.ended.is_none() {
            self.event(now, &event);
        }
        shard.handle(now, event, effects);
        if self.ended.is_none()
            && let Some(digest) = Answers::effects(effects)
        {
            self.record(now, &Entry::Effects(digest));
        }
    }

    /// What [`Shard::take_segments`] gave.
    pub fn taken(&mut self, now: Nanos, id: ConnectionId, segments: &[Segment]) {
        if self.ended.is_none() {
            let bytes = segments.iter().map(|segment| segment.bytes().len() as u64).sum();
            let digest = self.answers.taken(id, segments);
            self.record(now, &Entry::Taken(id, bytes, digest));
        }
    }

    /// What [`Shard::take_batch`] gave.
    pub fn batch(&mut self, now: Nanos, to: ShardId, batch: Option<&MeshBatch>) {
        if self.ended.is_none() {
            let digest = batch.map(|batch| self.answers.batch(batch));
            self.record(now, &Entry::Batch(to, digest));
        }
    }

    /// Whether it still records.
    pub fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn event(&mut self, now: Nanos, event: &Event<'_>) {
        match *event {
            Event::Bytes(id, bytes) => self.received(now, id, bytes),
            Event::Mesh(from, batch) => {
                let mut written = std::mem::take(&mut self.written);
                batch::write(batch, self.payloads, &mut written);
                self.record(now, &Entry::Mesh(from, Bytes::new(&written)));
                written.clear();
                self.written = written;
            }
            Event::Opened(id, opening) => {
                put(&mut self.filters, id, Filter::of_client(opening.dialect));
                self.answers.opened(id, opening.dialect);
                self.record(now, &Entry::Opened(id, opening));
            }
            Event::Closed(id, departure) => {
                if let Some(filter) = self.filters.get_mut(id.slot as usize) {
                    *filter = None;
                }
                self.answers.closed(id);
                self.record(now, &Entry::Closed(id, departure));
            }
            Event::Tick => {
                self.record(now, &Entry::Tick);
                self.write();
            }
            Event::Continue => self.record(now, &Entry::Continue),
            Event::Settings(access, limits) => self.settings(now, access, limits),
            Event::Verified(id, verdict) => self.record(now, &Entry::Verified(id, verdict)),
            Event::Sent(id) => self.record(now, &Entry::Sent(id)),
            Event::MeshRoom(shard) => self.record(now, &Entry::MeshRoom(shard)),
            Event::ReplayLetters(one) => self.record(now, &Entry::ReplayLetters(one)),
            Event::PurgeLetters(one) => self.record(now, &Entry::PurgeLetters(one)),
            Event::LameDuck => self.record(now, &Entry::LameDuck),
            Event::Drain => self.record(now, &Entry::Drain),
        }
    }

    fn received(&mut self, now: Nanos, id: ConnectionId, bytes: &[u8]) {
        self.spans.clear();
        match self.filters.get_mut(id.slot as usize) {
            Some(Some(filter)) => filter.cut(bytes, &self.secrets, &mut self.spans),
            // The shard does not know it either.
            _ => self.spans.push(Span::Omitted(bytes.len())),
        }
        let mut written = std::mem::take(&mut self.written);
        let mut rest = bytes;
        for span in &self.spans {
            let (length, piece) = match span {
                Span::Omitted(length) if self.payloads == Payloads::Lengths => {
                    (*length, Piece::Omitted(*length as u32))
                }
                Span::Kept(length) | Span::Omitted(length) => {
                    (*length, Piece::Kept(Bytes::new(&rest[..*length])))
                }
                Span::Held(length) => (*length, Piece::Held(*length as u32)),
                Span::Options(options) => (0, Piece::Options(Bytes::new(options))),
            };
            format::write_piece(&piece, &mut written);
            rest = &rest[length..];
        }
        debug_assert!(rest.is_empty(), "the spans are the bytes");
        self.record(now, &Entry::Bytes(id, Bytes::new(&written)));
        written.clear();
        self.written = written;
    }

    fn settings(&mut self, now: Nanos, access: &Access, limits: &Limits) {
        let settings = (hidden(access, &self.secrets), limits);
        let json = serde_json::to_vec(&settings).expect("plain data");
        self.record(now, &Entry::Settings(Bytes::new(&json)));
    }

    fn record(&mut self, now: Nanos, entry: &Entry<'_>) {
        format::write_record(now.since(self.recorded_at), entry, &mut self.block);
        self.recorded_at = now;
        self.records += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.write();
        }
    }

    /// Hands the records so far to the sink.
    fn write(&mut self) {
        if self.records == 0 {
            return;
        }
        let block = format::block(BlockKind::Records, self.records, &self.block);
        self.block.clear();
        self.records = 0;
        if self.bytes + block.len() as u64 > self.bytes_max {
            self.end(End::Full);
        } else {
            self.put(block);
        }
    }

    fn put(&mut self, bytes: Vec<u8>) {
        let length = bytes.len() as u64;
        match self.sink.put(bytes) {
            Ok(()) => self.bytes += length,
            Err(Refused::Overrun) => self.end(End::Overrun),
            Err(Refused::Failed) => self.end(End::Failed),
        }
    }

    fn end(&mut self, end: End) {
        if self.ended.replace(end).is_some() {
            return;
        }
        let contents = postcard::to_extend(&end, Vec::new()).expect("a vector takes everything");
        let last = format::block(BlockKind::End, 0, &contents);
        self.bytes += last.len() as u64;
        self.sink.finish(last);
        self.filters = Vec::new();
        self.answers = Answers::new(self.payloads);
        if !matches!(end, End::Stopped | End::Panicked) {
            tracing::warn!(shard = self.shard, bytes = self.bytes, "the capture ended: {end}");
        }
    }
}

/// The file of a shard that ends, whatever ends it, holds all that the shard was told.
impl Drop for Recorder {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.write();
        }
        self.end(if std::thread::panicking() { End::Panicked } else { End::Stopped });
    }
}

fn hidden(access: &Access, secrets: &Secrets) -> Access {
    access.with_secrets_hidden(|secret| secrets.hide(secret))
}
