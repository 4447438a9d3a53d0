//! Subjects, patterns and inboxes of a run, written out once.

use crate::workload::Workload;

/// Texts that every driver of a run shares.
#[derive(Debug)]
pub struct Names {
    pub subjects: Vec<String>,
    pub wildcards: Vec<String>,
    pub inboxes: Vec<String>,
    /// The queue group, with its options.
    pub group: String,
}

impl Names {
    pub fn of(workload: &Workload) -> Names {
        // A churner has a subject of its own.
        let count = workload.subjects.max(workload.publishers);
        Names {
            subjects: (0..count).map(|number| workload.subject(number)).collect(),
            wildcards: (0..count).map(|number| workload.wildcard(number)).collect(),
            inboxes: (0..workload.publishers).map(|number| workload.inbox(number)).collect(),
            group: workload.members.group.clone(),
        }
    }
}
