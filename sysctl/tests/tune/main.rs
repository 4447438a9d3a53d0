//! Tests of `sysctl/ringbolt-tune`: on this host's own `/proc` and `/sys` where the tests run as root, and on
//! fake roots for the hosts we do not have.

mod choices;
mod fake;
mod host;
mod interrupts;
mod journal;
mod profiles;
mod values;
