//! Random clients in simulated time, watched by oracles. They are one program so that they run beside each
//! other.

mod edge;
mod hand_over;
mod seeds;
mod shards;
mod work;
