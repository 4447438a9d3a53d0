//! Sums that are kept are recounted here, after every event of a simulation: a sum that is off would let a
//! limit be passed, or refuse what there is room for, long before anybody notices.

use super::delivery::Delivery;

impl Delivery {
    pub(super) fn check(&self) {
        let sessions = || self.sessions.iter();
        assert_eq!(self.sessions.len(), sessions().count(), "sessions");
        sessions().for_each(|session| session.outbox.check());
        let queued: usize = sessions().map(|session| session.outbox.queued_bytes()).sum();
        assert_eq!(self.outbox_bytes, queued, "bytes of all outboxes");
        let paused = sessions().filter(|session| session.pauses > 0).count();
        assert_eq!(self.paused_publishers, paused as u64, "publishers that are held back");
        let interned: usize = sessions()
            .filter_map(|session| session.interned.as_ref())
            .map(|own| own.subjects().count())
            .sum();
        assert_eq!(self.interned_subjects, interned as u64, "subjects with numbers");
        let subscriptions: usize = sessions().map(|session| session.subscription_count()).sum();
        assert_eq!(self.subscriptions.len(), subscriptions, "subscriptions of all sessions");
        self.links.iter().for_each(|link| link.check());
        self.book.check();
    }
}
