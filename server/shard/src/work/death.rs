//! Why a message is not delivered any more.

use crate::metrics::Counter;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// Delivered as often as it may be.
    Exhausted,
    /// Its deadline passed.
    Expired,
    /// A member said that it never will be done.
    Rejected,
    /// Several members failed it.
    Poison,
    /// Nobody wanted it, and its publisher asked to have it kept from being lost.
    Unroutable,
}

impl Death {
    pub fn name(self) -> &'static str {
        match self {
            Death::Exhausted => "exhausted",
            Death::Expired => "expired",
            Death::Rejected => "rejected",
            Death::Poison => "poison",
            Death::Unroutable => "unroutable",
        }
    }

    /// What kind of failure it is; `overload`: the last member had no time.
    pub fn class(self, overload: bool) -> &'static str {
        match self {
            Death::Exhausted if !overload => "transient",
            Death::Exhausted | Death::Expired => "overload",
            Death::Rejected => "permanent",
            Death::Poison => "poison",
            Death::Unroutable => "transient",
        }
    }

    pub fn counter(self) -> Counter {
        match self {
            Death::Exhausted => Counter::DeadLettersExhausted,
            Death::Expired => Counter::DeadLettersExpired,
            Death::Rejected => Counter::DeadLettersRejected,
            Death::Poison => Counter::DeadLettersPoison,
            Death::Unroutable => Counter::DeadLettersUnroutable,
        }
    }
}
