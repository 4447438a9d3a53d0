//! What the members of a group did with what they were given.

use std::collections::HashMap;

/// Of one driver; merged at the end.
#[derive(Clone, Default, Debug)]
pub struct MemberRecord {
    pub acknowledged: u64,
    /// Refused by `-NAK`.
    pub refused: u64,
    /// Never answered, on purpose.
    pub unanswered: u64,
    /// By key: the connection of the driver that was given its last message.
    holders: HashMap<u32, u32>,
    /// Messages that came to another member than the one of their key before.
    pub moved: u64,
}

impl MemberRecord {
    pub fn hold(&mut self, key: u32, connection: u32) {
        let before = self.holders.insert(key, connection);
        self.moved += u64::from(before.is_some_and(|before| before != connection));
    }

    /// Takes over what another driver's members did. A key that both were given has moved.
    pub fn merge(&mut self, other: &MemberRecord) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.moved += other.moved;
        for (&key, &holder) in &other.holders {
            self.moved += u64::from(self.holders.insert(key, holder).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MemberRecord;

    #[test]
    fn a_key_moves_when_another_member_is_given_its_message() {
        let (mut one, mut two) = (MemberRecord::default(), MemberRecord::default());
        for (key, member) in [(1, 7), (2, 8), (1, 7)] {
            one.hold(key, member);
        }
        assert_eq!(one.moved, 0);
        one.hold(2, 7);
        two.hold(3, 7);
        two.hold(2, 9);
        one.merge(&two);
        assert_eq!(one.moved, 2, "key 2, here and to the other driver");
    }
}
