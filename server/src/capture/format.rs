//! The file: a magic and a version, then blocks, each with its length and a checksum. The first block says
//! what the shard was made of, the last why the capture ended, those between hold the records.

use super::batch;
use super::payloads::LEFT_OUT_BYTES_MAX;
use super::payloads::Payloads;
use ringbolt_shard::access::{Access, Verdict};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::{ConnectionId, Departure, Nanos, Opening, ServerIdentity, Shard, ShardId};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hasher;
use std::ops::Range;
use twox_hash::XxHash3_64;

const MAGIC: &[u8; 16] = b"ringbolt-capture";
/// Changed with every change of what stands in a file.
const VERSION: u32 = 3;
pub const START_BYTES: usize = MAGIC.len() + 4;
/// Kind, length, records, checksum.
const BLOCK_HEAD_BYTES: usize = 1 + 4 + 4 + 8;
/// In place of options of a `CONNECT` that never became whole; as many, and no blanks.
const UNKNOWN: u8 = b'x';

/// What the shard was made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Of the server that wrote it.
    pub version: String,
    pub shard: ShardId,
    pub payloads: Payloads,
    pub limits: Limits,
    /// Its secrets are hidden.
    pub access: Access,
    pub identity: ServerIdentity,
    pub hash_seed: u64,
    pub random_seed: u64,
}

impl Header {
    /// The shard that is made of this.
    pub fn shard(&self) -> Shard {
        let Header { shard, limits, access, identity, hash_seed, random_seed, .. } = self;
        Shard::new(*shard, limits, access, identity.clone(), *hash_seed, *random_seed)
    }
}

/// A checksum of what was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Digest(pub [u8; 8]);

/// One record: an event, or what was answered to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Entry<'a> {
    Opened(ConnectionId, Opening),
    /// Received bytes, as [`Piece`]s.
    Bytes(ConnectionId, #[serde(borrow)] &'a Bytes),
    Verified(ConnectionId, Verdict),
    Sent(ConnectionId),
    Closed(ConnectionId, Departure),
    /// A batch of another shard; see `batch`.
    Mesh(ShardId, #[serde(borrow)] &'a Bytes),
    MeshRoom(ShardId),
    Tick,
    Continue,
    /// Access and limits as JSON.
    Settings(#[serde(borrow)] &'a Bytes),
    ReplayLetters(Option<u64>),
    PurgeLetters(Option<u64>),
    LameDuck,
    Drain,
    /// What the event before asked for, if it asked for anything.
    Effects(Digest),
    /// What was taken to be sent: its length and its digest.
    Taken(ConnectionId, u64, Digest),
    /// The batch that was taken for another shard, if there was one.
    Batch(ShardId, Option<Digest>),
}

/// A part of received bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Piece<'a> {
    Kept(#[serde(borrow)] &'a Bytes),
    Omitted(u32),
    Held(u32),
    Options(#[serde(borrow)] &'a Bytes),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum BlockKind {
    Header = 1,
    Records = 2,
    End = 3,
}

/// Why a capture ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum End {
    /// The shard did.
    Stopped,
    /// The shard panicked at the last event.
    Panicked,
    /// It reached its length.
    Full,
    /// The shard was faster than the file.
    Overrun,
    /// The file could not be written.
    Failed,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            End::Stopped => "the shard ended",
            End::Panicked => "the shard panicked",
            End::Full => "capture_bytes_max was reached",
            End::Overrun => "the file could not be written as fast as the shard ran",
            End::Failed => "the file could not be written",
        })
    }
}

/// The first bytes of a file.
pub fn start() -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes()].concat()
}

/// A block as it stands in a file.
pub fn block(kind: BlockKind, records: u32, contents: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_HEAD_BYTES + contents.len());
    block.push(kind as u8);
    block.extend_from_slice(&(contents.len() as u32).to_le_bytes());
    block.extend_from_slice(&records.to_le_bytes());
    let checksum = checksum(&block, contents);
    block.extend_from_slice(&checksum.to_le_bytes());
    block.extend_from_slice(contents);
    block
}

fn checksum(head: &[u8], contents: &[u8]) -> u64 {
    let mut hasher = XxHash3_64::new();
    hasher.write(head);
    hasher.write(contents);
    hasher.finish()
}

/// Adds a record, as long after the one before as `nanos` says.
pub fn write_record(nanos: u64, entry: &Entry<'_>, into: &mut Vec<u8>) {
    *into = postcard::to_extend(&(nanos, entry), std::mem::take(into)).expect("a vector takes everything");
}

pub fn write_piece(piece: &Piece<'_>, into: &mut Vec<u8>) {
    *into = postcard::to_extend(piece, std::mem::take(into)).expect("a vector takes everything");
}

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// Byte of the file.
    pub offset: usize,
    /// Records before it.
    pub record: u64,
}

/// Something that is not as it was written, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    pub place: Place,
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { offset, record } = self.place;
        write!(formatter, "byte {offset}, after {record} records: {}", self.what)
    }
}

/// A file that was read and checked as far as it is whole.
#[derive(Debug)]
pub struct Capture<'f> {
    pub header: Header,
    /// Records that can be read.
    pub records: u64,
    /// From the first record to the last.
    pub nanos: u64,
    /// None: the file ends before its end.
    pub end: Option<End>,
    /// What follows the records that can be read.
    pub damage: Option<Damage>,
    file: &'f [u8],
    blocks: Vec<(Place, Range<usize>)>,
    /// The options of `CONNECT`s, by number of the held part.
    options: HashMap<usize, Vec<u8>>,
}

/// A block that was read.
struct Block {
    kind: u8,
    records: u32,
    contents: Range<usize>,
}

impl<'f> Capture<'f> {
    /// Checks a whole file. `Err`: not even its beginning is one of a capture.
    pub fn read(file: &'f [u8]) -> Result<Capture<'f>, Damage> {
        let damaged =
            |offset, what: &str| Damage { place: Place { offset, record: 0 }, what: what.to_owned() };
        let begins = start();
        if file.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(damaged(0, "this is no capture"));
        }
        if file.get(..START_BYTES) != Some(&begins) {
            return Err(damaged(MAGIC.len(), "the capture is of another version of the format"));
        }
        let Block { kind, contents, .. } =
            read_block(file, START_BYTES).map_err(|what| damaged(START_BYTES, what))?;
        let header: Option<Header> = serde_json::from_slice(&file[contents.clone()]).ok();
        let header = header.filter(|_| kind == BlockKind::Header as u8);
        let header = header.ok_or_else(|| damaged(START_BYTES, "the capture does not say what it is of"))?;
        if header.limits.fault().is_some()
            || usize::from(header.shard) >= header.limits.shards
            || header.access.account_numbers() > ACCOUNTS_MAX
        {
            return Err(damaged(START_BYTES, "the capture is of a server that cannot be"));
        }
        let (blocks, options) = (Vec::new(), HashMap::new());
        let mut capture =
            Capture { header, records: 0, nanos: 0, end: None, damage: None, file, blocks, options };
        capture.damage = capture.read_blocks(contents.end).err();
        Ok(capture)
    }

    fn read_blocks(&mut self, mut offset: usize) -> Result<(), Damage> {
        let mut held = Held::default();
        let mut limits = self.header.limits.clone();
        loop {
            let place = Place { offset, record: self.records };
            let damaged = |what: &str| Damage { place, what: what.to_owned() };
            if self.end.is_some() && offset == self.file.len() {
                return Ok(());
            }
            if self.end.is_some() {
                return Err(damaged("something follows the end of the capture"));
            }
            if offset == self.file.len() {
                return Err(damaged("the file ends before the end of the capture"));
            }
            let block = read_block(self.file, offset).map_err(damaged)?;
            offset = block.contents.end;
            let contents = &self.file[block.contents.clone()];
            if block.kind == BlockKind::End as u8 {
                let end = postcard::from_bytes(contents).map_err(|_| damaged("the end cannot be read"))?;
                self.end = Some(end);
                continue;
            }
            let records = Records::new(self.file, place, block.contents.clone());
            let mut count = 0;
            let mut nanos = 0;
            for record in records {
                let (place, after, entry) = record?;
                if let Entry::Mesh(_, records) = entry
                    && batch::read(records).is_none()
                {
                    return Err(Damage { place, what: "a batch cannot be read".to_owned() });
                }
                if let Entry::Settings(json) = entry
                    && !takes_over(&mut limits, json)
                {
                    return Err(Damage { place, what: "these are no settings of a server".to_owned() });
                }
                held.note(&entry, &mut self.options);
                if let Entry::Bytes(_, pieces) = entry
                    && !is_one_receive(pieces)
                {
                    return Err(Damage { place, what: "a receive holds more than any buffer".to_owned() });
                }
                let Some(sum) = after.checked_add(nanos) else {
                    return Err(Damage { place, what: "time runs over".to_owned() });
                };
                nanos = sum;
                count += 1;
            }
            if count != block.records || block.kind != BlockKind::Records as u8 {
                return Err(damaged("a block does not hold what it says"));
            }
            self.blocks.push((place, block.contents));
            self.records += u64::from(count);
            let Some(sum) = self.nanos.checked_add(nanos) else { return Err(damaged("time runs over")) };
            self.nanos = sum;
        }
    }

    /// All records that can be read, each with its place and its time.
    pub fn records(&self) -> impl Iterator<Item = (Place, Nanos, Entry<'f>)> {
        let file = self.file;
        let mut now = 0;
        let blocks = self.blocks.iter();
        let all = blocks.flat_map(move |(place, contents)| Records::new(file, *place, contents.clone()));
        all.map_while(Result::ok).map(move |(place, after, entry)| {
            now += after;
            (place, Nanos(now), entry)
        })
    }

    /// The bytes that pieces stand for. `held` counts the held parts of all records so far.
    pub fn bytes(&self, pieces: &[u8], held: &mut usize, into: &mut Vec<u8>) {
        for piece in Pieces(pieces) {
            match piece {
                Piece::Kept(bytes) => into.extend_from_slice(bytes),
                Piece::Omitted(bytes) => into.resize(into.len() + bytes as usize, 0),
                Piece::Held(bytes) => {
                    match self.options.get(held) {
                        Some(options) => into.extend_from_slice(options),
                        None => into.resize(into.len() + bytes as usize, UNKNOWN),
                    }
                    *held += 1;
                }
                Piece::Options(_) => {}
            }
        }
    }
}

fn read_block(file: &[u8], offset: usize) -> Result<Block, &'static str> {
    const CUT: &str = "the file ends inside a block";
    let head = file.get(offset..offset + BLOCK_HEAD_BYTES).ok_or(CUT)?;
    let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let first = offset + BLOCK_HEAD_BYTES;
    let contents = first..first + u32_at(1) as usize;
    let (described, told) = head.split_at(9);
    let bytes = file.get(contents.clone()).ok_or("a block is damaged, or the file ends inside it")?;
    if checksum(described, bytes).to_le_bytes() != told {
        return Err("a block is damaged: its checksum is another");
    }
    Ok(Block { kind: head[0], records: u32_at(5), contents })
}

/// The records of a block.
struct Records<'f> {
    file: &'f [u8],
    place: Place,
    contents: Range<usize>,
}

impl<'f> Records<'f> {
    fn new(file: &'f [u8], block: Place, contents: Range<usize>) -> Records<'f> {
        Records { file, place: Place { offset: contents.start, ..block }, contents }
    }
}

impl<'f> Iterator for Records<'f> {
    type Item = Result<(Place, u64, Entry<'f>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.file[self.contents.clone()];
        if rest.is_empty() {
            return None;
        }
        let place = Place { offset: self.contents.start, ..self.place };
        let Ok(((after, entry), behind)) = postcard::take_from_bytes::<(u64, Entry<'f>)>(rest) else {
            self.contents.start = self.contents.end;
            return Some(Err(Damage { place, what: "a record cannot be read".to_owned() }));
        };
        self.contents.start += rest.len() - behind.len();
        self.place.record += 1;
        Some(Ok((place, after, entry)))
    }
}

struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let (piece, rest) = postcard::take_from_bytes(self.0).ok()?;
        self.0 = rest;
        Some(piece)
    }
}

/// Accounts have numbers of 16 bits.
const ACCOUNTS_MAX: usize = 1 << 16;

/// Takes changed limits over. Returns whether a server could have.
fn takes_over(limits: &mut Limits, settings: &[u8]) -> bool {
    let Ok((access, changed)) = serde_json::from_slice::<(Access, Limits)>(settings) else { return false };
    limits.take_over(&changed);
    limits.fault().is_none() && access.account_numbers() <= ACCOUNTS_MAX
}

/// Whether pieces stand for no more than a receive may bring: what is left out has only a length.
fn is_one_receive(pieces: &[u8]) -> bool {
    let bytes = |piece: Piece<'_>| match piece {
        Piece::Kept(bytes) => bytes.len(),
        Piece::Omitted(bytes) | Piece::Held(bytes) => bytes as usize,
        Piece::Options(_) => 0,
    };
    Pieces(pieces).map(bytes).try_fold(0, usize::checked_add).is_some_and(|sum| sum <= LEFT_OUT_BYTES_MAX)
}

/// Which held parts wait for their options, by connection.
#[derive(Default)]
struct Held {
    parts: usize,
    waiting: HashMap<ConnectionId, Vec<(usize, usize)>>,
}

impl Held {
    fn note(&mut self, entry: &Entry<'_>, found: &mut HashMap<usize, Vec<u8>>) {
        let (id, pieces) = match entry {
            Entry::Bytes(id, pieces) => (*id, pieces),
            Entry::Closed(id, _) => return drop(self.waiting.remove(id)),
            _ => return,
        };
        for piece in Pieces(pieces) {
            match piece {
                Piece::Kept(_) | Piece::Omitted(_) => {}
                Piece::Held(bytes) => {
                    self.waiting.entry(id).or_default().push((self.parts, bytes as usize));
                    self.parts += 1;
                }
                Piece::Options(options) => {
                    let parts = self.waiting.remove(&id).unwrap_or_default();
                    let mut rest: &[u8] = options;
                    for (place, &(part, bytes)) in parts.iter().enumerate() {
                        let is_last = place + 1 == parts.len();
                        let bytes = if is_last { rest.len() } else { bytes.min(rest.len()) };
                        let (own, behind) = rest.split_at(bytes);
                        found.insert(part, own.to_vec());
                        rest = behind;
                    }
                }
            }
        }
    }
}
