//! Runs a captured shard again, and compares what it answers.

use super::answers::Answers;
use super::batch;
use super::format::{Capture, Digest, End, Entry, Place};
use ringbolt_shard::delivery::Segment;
use ringbolt_shard::{Effects, Event, Nanos, Shard};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a replay found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// So many events led to the same bytes.
    Same {
        events: u64,
    },
    /// So many events led to the same bytes, and the last one to a panic, as it did in the server.
    Panicked {
        events: u64,
    },
    Differs(Difference),
}

/// The first record that the replay answers otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    pub place: Place,
    pub at: Nanos,
    /// The record, and what the replay did.
    pub what: String,
}

struct Replay<'c> {
    capture: &'c Capture<'c>,
    shard: Shard,
    answers: Answers,
    effects: Effects,
    /// What the last event asked for, and where it stands, until the file says the same.
    asked: Option<(Place, Nanos, Digest)>,
    segments: Vec<Segment>,
    received: Vec<u8>,
    held: usize,
    events: u64,
}

/// Runs a capture to its end or to the first difference. `watch` sees each record before it is run.
pub fn replay(capture: &Capture<'_>, mut watch: impl FnMut(Place, Nanos, &Entry<'_>)) -> Outcome {
    let mut replay = Replay {
        capture,
        shard: capture.header.shard(),
        answers: Answers::new(capture.header.payloads),
        effects: Effects::default(),
        asked: None,
        segments: Vec::new(),
        received: Vec::new(),
        held: 0,
        events: 0,
    };
    for (place, at, entry) in capture.records() {
        watch(place, at, &entry);
        // A shard that panicked does so again.
        let run = catch_unwind(AssertUnwindSafe(|| replay.run(place, at, &entry)));
        let differs = |what| Outcome::Differs(Difference { place, at, what });
        match run {
            Ok(Ok(())) => {}
            Ok(Err(difference)) => return Outcome::Differs(difference),
            Err(_) if capture.end == Some(End::Panicked) && place.record + 1 == capture.records => {
                return Outcome::Panicked { events: replay.events + 1 };
            }
            Err(_) => return differs(format!("{}: the replay panics", describe(&entry))),
        }
    }
    match replay.asked {
        // The file may end between an event and what it asked for, unless the shard did.
        Some((place, at, _)) if capture.end == Some(End::Stopped) => {
            Outcome::Differs(Difference { place, at, what: "the replay asks for more".to_owned() })
        }
        _ => Outcome::Same { events: replay.events },
    }
}

impl Replay<'_> {
    fn run(&mut self, place: Place, at: Nanos, entry: &Entry<'_>) -> Result<(), Difference> {
        let differs =
            |what: String| Err(Difference { place, at, what: format!("{}: {what}", describe(entry)) });
        if let Entry::Effects(recorded) = entry {
            return match self.asked.take() {
                Some((_, _, digest)) if digest == *recorded => Ok(()),
                Some(_) => differs("the replay asks for something else".to_owned()),
                None => differs("the replay asks for nothing".to_owned()),
            };
        }
        if let Some((place, at, _)) = self.asked.take() {
            let what = "the server asked for nothing after this event, the replay does".to_owned();
            return Err(Difference { place, at, what });
        }
        match entry {
            Entry::Taken(id, bytes, recorded) => {
                let taken = self.shard.take_segments(at, *id, &mut self.segments) as u64;
                let digest = self.answers.taken(*id, &self.segments);
                self.segments.drain(..).for_each(|segment| self.shard.recycle(segment));
                match (taken, digest) == (*bytes, *recorded) {
                    true => Ok(()),
                    false if taken == *bytes => differs("the replay sends other bytes".to_owned()),
                    false => differs(format!("the replay sends {taken} bytes")),
                }
            }
            Entry::Batch(to, recorded) => {
                let batch = self.shard.take_batch(*to);
                let digest = batch.as_ref().map(|batch| self.answers.batch(batch));
                match digest == *recorded {
                    true => Ok(()),
                    false if digest.is_none() => differs("the replay has none".to_owned()),
                    false => differs("the replay's holds something else".to_owned()),
                }
            }
            event => match self.event(at, event) {
                true => {
                    self.asked = Answers::effects(&self.effects).map(|digest| (place, at, digest));
                    self.effects.clear();
                    self.events += 1;
                    Ok(())
                }
                false => differs("the settings cannot be read".to_owned()),
            },
        }
    }

    /// Runs an event. Returns whether it could be read.
    fn event(&mut self, at: Nanos, entry: &Entry<'_>) -> bool {
        match *entry {
            Entry::Bytes(id, pieces) => {
                self.received.clear();
                self.capture.bytes(pieces, &mut self.held, &mut self.received);
                self.shard.handle(at, Event::Bytes(id, &self.received), &mut self.effects);
            }
            Entry::Mesh(from, records) => {
                let Some(batch) = batch::read(records) else { return false };
                self.shard.handle(at, Event::Mesh(from, &batch), &mut self.effects);
            }
            Entry::Settings(json) => {
                let Ok((access, limits)) = serde_json::from_slice(json) else { return false };
                self.shard.handle(at, Event::Settings(&access, &limits), &mut self.effects);
            }
            Entry::Opened(id, opening) => {
                self.answers.opened(id, opening.dialect);
                self.shard.handle(at, Event::Opened(id, opening), &mut self.effects);
            }
            Entry::Closed(id, departure) => {
                self.answers.closed(id);
                self.shard.handle(at, Event::Closed(id, departure), &mut self.effects);
            }
            ref plain => {
                let Some(event) = plain_event(plain) else { return false };
                self.shard.handle(at, event, &mut self.effects);
            }
        }
        true
    }
}

/// Events that stand in a record as they are.
fn plain_event(entry: &Entry<'_>) -> Option<Event<'static>> {
    Some(match *entry {
        Entry::Verified(id, verdict) => Event::Verified(id, verdict),
        Entry::Sent(id) => Event::Sent(id),
        Entry::MeshRoom(shard) => Event::MeshRoom(shard),
        Entry::Tick => Event::Tick,
        Entry::Continue => Event::Continue,
        Entry::ReplayLetters(one) => Event::ReplayLetters(one),
        Entry::PurgeLetters(one) => Event::PurgeLetters(one),
        Entry::LameDuck => Event::LameDuck,
        Entry::Drain => Event::Drain,
        _ => return None,
    })
}

/// A record as a person reads it.
pub fn describe(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Bytes(id, pieces) => format!("{} bytes received by {id:?}, as recorded", pieces.len()),
        Entry::Mesh(from, records) => format!("batch of shard {from}, {} bytes as recorded", records.len()),
        Entry::Settings(_) => "settings were read again".to_owned(),
        Entry::Taken(id, bytes, _) => format!("{bytes} bytes sent to {id:?}"),
        Entry::Batch(to, Some(_)) => format!("batch taken for shard {to}"),
        Entry::Batch(to, None) => format!("no batch taken for shard {to}"),
        Entry::Effects(_) => "what the event before asked for".to_owned(),
        other => format!("{other:?}"),
    }
}
