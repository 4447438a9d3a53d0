//! Dead letters that are kept, so that they can be looked at, published anew, or thrown away.

use super::death::Death;
use super::task::Task;
use crate::identity::Nanos;
use crate::moment;
use std::collections::BTreeMap;

/// A message that was not delivered, and why.
#[derive(Debug)]
pub struct Letter {
    pub death: Death,
    /// When it died.
    pub buried: Nanos,
    pub task: Box<Task>,
}

/// The letters of one shard by number, the oldest first. The oldest is forgotten where there is no room.
#[derive(Debug, Default)]
pub struct Letters {
    kept: BTreeMap<u64, Letter>,
    numbers: u64,
    bytes: usize,
}

/// One letter, told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterReport {
    pub number: u64,
    pub reason: &'static str,
    pub class: &'static str,
    pub subject: String,
    pub account: u16,
    pub deliveries: u16,
    /// RFC 3339.
    pub accepted: String,
    pub delivered: Option<String>,
    pub buried: String,
    pub error: Option<String>,
    pub reply: Option<String>,
    /// Length of headers and payload.
    pub bytes: usize,
    /// Asked for only: the block of headers, and the payload behind it.
    pub contents: Option<(Vec<u8>, Vec<u8>)>,
}

impl Letters {
    /// Keeps a letter within `bytes_max`. Returns how many were forgotten for it, itself included.
    pub fn keep(&mut self, letter: Letter, bytes_max: usize) -> u64 {
        let needed = letter.task.weight();
        if needed > bytes_max {
            return 1;
        }
        let mut forgotten = 0;
        while self.bytes + needed > bytes_max
            && let Some((&oldest, _)) = self.kept.first_key_value()
        {
            self.take(oldest);
            forgotten += 1;
        }
        self.numbers += 1;
        self.bytes += needed;
        self.kept.insert(self.numbers, letter);
        assert!(self.bytes <= bytes_max, "what is kept is bounded");
        forgotten
    }

    pub fn take(&mut self, number: u64) -> Option<Letter> {
        let letter = self.kept.remove(&number)?;
        assert!(letter.task.weight() <= self.bytes, "it was counted when it was kept");
        self.bytes -= letter.task.weight();
        Some(letter)
    }

    /// Puts back what was taken.
    pub fn put_back(&mut self, number: u64, letter: Letter) {
        debug_assert!(number <= self.numbers, "it was kept before");
        self.bytes += letter.task.weight();
        let other = self.kept.insert(number, letter);
        debug_assert!(other.is_none(), "a number is given once");
    }

    /// Recounts the bytes.
    pub fn check(&self) {
        let bytes = self.kept.values().map(|letter| letter.task.weight()).sum::<usize>();
        assert_eq!(self.bytes, bytes, "bytes of dead letters");
        assert!(self.kept.keys().all(|&number| number <= self.numbers), "numbers are counted up");
    }

    /// Numbers of all, or of the one that is there.
    pub fn numbers(&self, one: Option<u64>) -> Vec<u64> {
        match one {
            Some(number) => self.kept.contains_key(&number).then_some(number).into_iter().collect(),
            None => self.kept.keys().copied().collect(),
        }
    }

    pub fn count(&self) -> usize {
        self.kept.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Up to `most` letters from number `from` on.
    pub fn report(&self, from: u64, most: usize, contents: bool, unix_epoch_nanos: u64) -> Vec<LetterReport> {
        let time = |at: Nanos| moment::text(unix_epoch_nanos.saturating_add(at.0));
        let told = |(&number, letter): (&u64, &Letter)| {
            let task = &letter.task;
            let (block, payload) = task.parts();
            LetterReport {
                number,
                reason: letter.death.name(),
                class: letter.death.class(task.overload),
                subject: task.subject.to_string(),
                account: task.account.0,
                deliveries: task.attempts,
                accepted: time(task.accepted),
                delivered: (task.attempts > 0).then(|| time(task.delivered)),
                buried: time(letter.buried),
                error: task.error.as_deref().map(str::to_owned),
                reply: task.reply.as_deref().map(|reply| String::from_utf8_lossy(reply).into_owned()),
                bytes: task.payload.len(),
                contents: contents.then(|| (block.to_vec(), payload.to_vec())),
            }
        };
        self.kept.range(from..).take(most).map(told).collect()
    }
}
