//! Five lanes, and which of them is next.
//!
//! The more important lane goes first, but every lane that waits gets its share of what is served: a lane
//! earns credit from every byte served while it waits, and goes first as soon as its credit pays for
//! what stands at its head. So over any stretch in which a lane always waits and `n` bytes are served, it
//! gets at least its share of `n` less [`SLACK_HEADS`] times the largest head of any lane, whether it was
//! served or only waited (`tests/lanes.rs`).

pub use crate::limits::LANES;
use crate::limits::Shares;
use ringbolt_protocol::command::{Flags, Priority};

/// How far a lane may be behind its share, in heads: one of its own, and one of every lane that was due too.
pub const SLACK_HEADS: u64 = LANES as u64;

/// A lane, by importance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Lane {
    Critical,
    High,
    Normal,
    Low,
    Background,
}

impl Lane {
    pub const ALL: [Lane; LANES] = [Lane::Critical, Lane::High, Lane::Normal, Lane::Low, Lane::Background];

    /// By the priority's number in the flags of a message.
    const BY_NUMBER: [Lane; 8] = {
        let mut lanes = [Lane::Normal; 8];
        lanes[Priority::Critical as usize] = Lane::Critical;
        lanes[Priority::High as usize] = Lane::High;
        lanes[Priority::Low as usize] = Lane::Low;
        lanes[Priority::Background as usize] = Lane::Background;
        lanes
    };

    #[inline]
    pub fn of(flags: Flags) -> Lane {
        Lane::BY_NUMBER[usize::from(flags.0 & 7)]
    }
}

const _: () = assert!(Lane::Critical as usize == 0 && Lane::Background as usize == LANES - 1);
const _: () = assert!(Lane::BY_NUMBER[Priority::Normal as usize] as u8 == Lane::Normal as u8);
// A number that is no priority is the normal one.
const _: () = assert!(Lane::BY_NUMBER[7] as u8 == Lane::Normal as u8);
const _: () = assert!(Shares::SUM_MAX <= 1000, "a share is a part of what is served");

/// How far each lane is behind its share, over the stretch in which it waits: what is promised, looked at.
#[derive(Clone, Copy, Default, Debug)]
pub struct Watch {
    /// The bytes promised less those served, in thousandths, and the least that was.
    behind: [(i64, i64); LANES],
    largest: i64,
}

impl Watch {
    /// Takes that `bytes` of a lane were served. Returns whether no lane is further behind its share than
    /// is promised. `heads`: what stood at the head of each lane before; `waits`: which have something after.
    pub fn served(
        &mut self,
        lane: Lane,
        bytes: usize,
        (heads, waits): ([usize; LANES], [bool; LANES]),
        shares: Shares,
    ) -> bool {
        // A lane waits for as long as the others take to pay for what it has next.
        self.largest =
            heads.into_iter().chain([bytes]).map(|bytes| bytes as i64).fold(self.largest, i64::max);
        for place in 0..LANES {
            let (behind, least) = &mut self.behind[place];
            if heads[place] == 0 || !waits[place] {
                (*behind, *least) = (0, 0);
                continue;
            }
            *behind += i64::from(shares.0[place]) * bytes as i64;
            *behind -= if place == lane as usize { 1000 * bytes as i64 } else { 0 };
            *least = (*least).min(*behind);
        }
        let most = self.behind.iter().map(|(behind, least)| behind - least).max().unwrap_or(0);
        most <= 1000 * SLACK_HEADS as i64 * self.largest
    }
}

/// Credit of the lanes, in thousandths of bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Scheduler {
    credit: [u64; LANES],
}

impl Scheduler {
    /// The lane to serve, by the bytes at the head of each; 0: nothing waits there.
    pub fn next(&self, heads: &[usize; LANES]) -> Option<Lane> {
        let waits = |lane: &Lane| heads[*lane as usize] > 0;
        let due = |lane: &Lane| self.credit[*lane as usize] >= 1000 * heads[*lane as usize] as u64;
        let overdue = Lane::ALL.into_iter().filter(waits).filter(due);
        let next = overdue.max_by_key(|&lane| self.credit[lane as usize]);
        let next = next.or_else(|| Lane::ALL.into_iter().find(waits));
        debug_assert!(next.is_some() || heads.iter().all(|&head| head == 0), "whatever waits is served");
        next
    }

    /// Accounts for `bytes` served from a lane; `waits`: which lanes have something left.
    pub fn served(&mut self, lane: Lane, bytes: usize, waits: [bool; LANES], shares: Shares) {
        debug_assert!(bytes > 0, "what is served has a length");
        for (place, credit) in self.credit.iter_mut().enumerate() {
            if place == lane as usize {
                // What it got beyond its share is not held against it.
                *credit = credit.saturating_sub(1000 * bytes as u64);
            }
            *credit = if waits[place] { *credit + u64::from(shares.0[place]) * bytes as u64 } else { 0 };
        }
    }
}
