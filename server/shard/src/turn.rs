//! What every room of a shard may use while an event is handled.

use crate::event::Effects;
use crate::identity::Nanos;
use crate::metrics::Counters;
use crate::outcome::Outcomes;
use crate::random::Random;

/// The event's time, what it asks of the edge, and what it leaves to be done.
#[derive(Debug)]
pub struct Turn<'a> {
    pub now: Nanos,
    pub effects: &'a mut Effects,
    pub counters: &'a mut Counters,
    pub random: &'a mut Random,
    pub outcomes: &'a mut Outcomes,
}
