//! Members whose outboxes had no room for what they were to be given, until something has left.

use crate::identity::ConnectionId;
use crate::table::Key;
use std::collections::{BTreeMap, BTreeSet};

/// Names one wait of a group for room in the outbox of a connection. Counted up.
pub type WaitId = u64;

/// See the module. When there is room, the groups that wait for it are asked in the order they began to wait,
/// as long as there is some.
#[derive(Debug, Default)]
pub struct Rooms {
    waits: BTreeMap<(ConnectionId, WaitId), Key>,
    /// Waits so far.
    number: WaitId,
    /// Connections of which something has left.
    freed: Vec<ConnectionId>,
    /// What refused a message for another reason than room is asked again when time passed.
    later: BTreeSet<ConnectionId>,
}

impl Rooms {
    /// A group waits for room in the outbox of a connection.
    pub fn wait(&mut self, connection: ConnectionId, group: Key) -> WaitId {
        self.number += 1;
        let other = self.waits.insert((connection, self.number), group);
        debug_assert!(other.is_none(), "a number is never used again");
        self.number
    }

    /// It is not room that a connection lacks: it is asked again when time passed.
    pub fn ask_later(&mut self, connection: ConnectionId) {
        self.later.insert(connection);
    }

    /// A group waits no more.
    pub fn end(&mut self, connection: ConnectionId, wait: WaitId) {
        let ended = self.waits.remove(&(connection, wait));
        debug_assert!(ended.is_some(), "a wait ends once");
    }

    /// Something of a connection has left.
    pub fn left(&mut self, connection: ConnectionId) {
        if self.first(connection, self.number).is_some() {
            self.freed.push(connection);
        }
    }

    pub fn pass_time(&mut self) {
        self.freed.extend(std::mem::take(&mut self.later));
    }

    /// Connections that may have room.
    pub fn take_freed(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.freed)
    }

    /// The group that has waited longest for a connection, if its wait has a number up to `last`.
    pub fn first(&self, connection: ConnectionId, last: WaitId) -> Option<(WaitId, Key)> {
        let first = self.waits.range((connection, 0)..=(connection, last)).next();
        first.map(|(&(_, wait), &group)| (wait, group))
    }

    /// The number of the latest wait.
    pub fn last(&self) -> WaitId {
        self.number
    }

    /// Whether nobody waits for room.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// Whether nobody is to be asked for what there is new room for.
    pub fn is_settled(&self) -> bool {
        self.freed.is_empty()
    }

    /// Whether a connection will be asked again without any of its bytes leaving.
    pub fn is_asked_later(&self, connection: ConnectionId) -> bool {
        self.later.contains(&connection)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, WaitId, Key)> {
        self.waits.iter().map(|(&(connection, wait), &group)| (connection, wait, group))
    }
}
