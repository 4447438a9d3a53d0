//! Which member of a group is given a message.

/// How far above the mean a member's load may be, in percent, before a key goes to the next on the ring.
const LOAD_PERCENT_MAX: u64 = 125;
/// A member with fewer than this keeps its keys: with next to nothing in flight, anyone is above the mean.
const LOAD_MIN: u64 = 8;
/// Weight of the newest latency, as a power of two: an eighth.
const EWMA_SHIFT: u32 = 3;

const _: () = assert!(LOAD_PERCENT_MAX > 100, "among equals a key stays where it belongs");
const _: () = assert!(LOAD_MIN > 0 && EWMA_SHIFT < u64::BITS);

/// How a group chooses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// Who has the least to do; among equals, in turn.
    #[default]
    Least,
    /// In turn.
    RoundRobin,
    /// Of two at random, who acknowledges faster.
    Latency,
    /// Who promises the shortest wait: latency, times what it has, times the load it reports.
    Adaptive,
    /// The same member for the same value of this header, as long as it is there and has room.
    Key(Box<str>),
}

/// What is known of a member's work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Deliveries it has not settled.
    pub outstanding: u32,
    /// Time to acknowledge, exponentially weighted; 0: none seen.
    pub latency_nanos: u64,
    /// What it said of itself, in percent.
    pub reported_percent: u8,
}

impl Load {
    pub fn acknowledged_after(&mut self, nanos: u64) {
        let nanos = nanos.max(1);
        self.latency_nanos = match self.latency_nanos {
            0 => nanos,
            mean => mean - (mean >> EWMA_SHIFT) + (nanos >> EWMA_SHIFT).max(1),
        };
        debug_assert!(self.latency_nanos > 0, "0 is for who acknowledged nothing");
    }

    fn cost(&self) -> u128 {
        let load = u128::from(self.outstanding + 1) * (100 + u128::from(self.reported_percent));
        u128::from(self.latency_nanos + 1) * load
    }
}

/// What a choice is made from.
pub struct Choice<H> {
    /// Members, each at a place.
    pub count: usize,
    /// Where the search begins, to give everyone a turn.
    pub turn: usize,
    pub random: u64,
    /// With a key, places in the order in which it prefers them.
    pub home: Option<H>,
}

impl Balance {
    /// The place of the member to take, of those that `load` gives; it gives none of those that cannot.
    pub fn choose<H: Iterator<Item = usize>>(
        &self,
        choice: Choice<H>,
        load: impl Fn(usize) -> Option<Load>,
    ) -> Option<usize> {
        let Choice { count, turn, random, home } = choice;
        let turn = turn % count.max(1);
        let in_turn = || (turn..count).chain(0..turn);
        match (self, home) {
            (Balance::RoundRobin, _) => in_turn().find(|&place| load(place).is_some()),
            (Balance::Latency, _) => {
                let (one, other) = ((random as u32) as usize, (random >> 32) as usize);
                let from = |start: usize| {
                    (0..count).map(move |step| (start + step) % count).find(|&place| load(place).is_some())
                };
                let (one, other) = (from(one)?, from(other)?);
                let latency = |place| load(place).map_or(0, |load| load.latency_nanos);
                Some(if latency(other) < latency(one) { other } else { one })
            }
            (Balance::Adaptive, _) => in_turn()
                .filter_map(|place| Some((load(place)?.cost(), place)))
                .min_by_key(|&(cost, _)| cost)
                .map(|(_, place)| place),
            (Balance::Key(_), Some(mut home)) => {
                let loads = || (0..count).filter_map(&load).map(|load| u64::from(load.outstanding));
                let (able, total) = (loads().count() as u64, loads().sum::<u64>() + 1);
                if able == 0 {
                    return None;
                }
                let most = (total * LOAD_PERCENT_MAX).div_ceil(100 * able).max(LOAD_MIN);
                let room =
                    |&place: &usize| load(place).is_some_and(|load| u64::from(load.outstanding) < most);
                home.find(room)
            }
            (Balance::Least | Balance::Key(_), _) => {
                let mut best: Option<(u32, usize)> = None;
                for place in in_turn() {
                    let Some(Load { outstanding, .. }) = load(place) else { continue };
                    if best.is_none_or(|(least, _)| outstanding < least) {
                        best = Some((outstanding, place));
                    }
                    // Nobody has less than nothing.
                    if outstanding == 0 {
                        break;
                    }
                }
                best.map(|(_, place)| place)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn shares(balance: &Balance, loads: &[Load], messages: usize) -> Vec<usize> {
        let (mut counts, mut random) = (vec![0; loads.len()], Random::new(1));
        for turn in 0..messages {
            let home = None::<std::iter::Empty<usize>>;
            let choice = Choice { count: loads.len(), turn, random: random.number(), home };
            let place = balance.choose(choice, |place| Some(loads[place])).expect("a member");
            counts[place] += 1;
        }
        counts
    }

    #[test]
    fn equals_share_equally() {
        let equal = [Load::default(); 4];
        for balance in [Balance::Least, Balance::RoundRobin, Balance::Adaptive] {
            assert_eq!(shares(&balance, &equal, 400), [100; 4], "{balance:?}");
        }
        let by_chance = shares(&Balance::Latency, &equal, 4000);
        assert!(by_chance.iter().all(|&count| (800..1200).contains(&count)), "{by_chance:?}");
    }

    #[test]
    fn the_slow_the_busy_and_the_loaded_get_less() {
        let load = |outstanding, latency_nanos, reported_percent| Load {
            outstanding,
            latency_nanos,
            reported_percent,
        };
        assert_eq!(shares(&Balance::Least, &[load(3, 1, 0), load(2, 9, 9)], 10), [0, 10]);
        assert_eq!(shares(&Balance::Adaptive, &[load(3, 100, 0), load(1, 300, 0)], 10), [10, 0]);
        assert_eq!(shares(&Balance::Adaptive, &[load(0, 100, 90), load(0, 100, 0)], 10), [0, 10]);
        let slow = shares(&Balance::Latency, &[load(0, 900, 0), load(0, 100, 0)], 4000);
        assert!((800..1200).contains(&slow[0]), "both chosen are the slow one, once in four times: {slow:?}");
    }

    #[test]
    fn latency_follows_slowly() {
        let mut load = Load::default();
        load.acknowledged_after(1000);
        assert_eq!(load.latency_nanos, 1000);
        (0..40).for_each(|_| load.acknowledged_after(9000));
        assert!((8500..9010).contains(&load.latency_nanos), "{load:?}");
    }

    #[test]
    fn a_member_that_is_full_passes_its_keys_on() {
        let balance = Balance::Key("Key".into());
        let owner = |loads: [u32; 3]| {
            let choice = Choice { count: 3, turn: 0, random: 0, home: Some([1, 2, 0].into_iter()) };
            let load = |place: usize| Some(Load { outstanding: loads[place], ..Load::default() });
            balance.choose(choice, load).expect("a member")
        };
        let first = owner([0; 3]);
        assert_eq!(first, 1, "where the key belongs");
        let mut loads = [0; 3];
        loads[first] = 7;
        assert_eq!(owner(loads), first, "too little to be behind with");
        loads[first] = 8;
        assert_ne!(owner(loads), first, "far above the mean");
        assert_eq!(owner([20; 3]), first, "everyone is as busy");
    }
}
