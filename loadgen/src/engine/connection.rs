//! One connection of a driver: its bytes on the way out, its unfinished bytes on the way in.

use super::roles::Role;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Connecting,
    /// Greeted and subscribed; the answer to the barrier is awaited.
    Preparing,
    Ready,
    Gone,
}

#[derive(Debug)]
pub struct Connection {
    pub role: Role,
    pub stage: Stage,
    pub outbound: Vec<u8>,
    pub sending: bool,
    pub receiving: bool,
    /// Listed for the flush at the end of the turn.
    pub dirty: bool,
    /// The beginning of something whose end has not arrived.
    pub partial: Vec<u8>,
}

impl Connection {
    pub fn new(role: Role) -> Connection {
        Connection {
            role,
            stage: Stage::Connecting,
            outbound: Vec::new(),
            sending: false,
            receiving: false,
            dirty: false,
            partial: Vec::new(),
        }
    }
}
