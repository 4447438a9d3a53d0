//! Questions to a shard: the admin thread waits for the answer, but not for long.

use super::state::{AdminState, Answer, TEXT};
use crate::io::shard_loop::Inquiry;
use glommio::timer::sleep;
use ringbolt_shard::ShardId;
use std::sync::mpsc::{self, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// A client may take this long for a whole request, counted from the answer before, and as long again
/// to read the answer.
pub(super) const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_POLL: Duration = Duration::from_millis(1);

/// What is said when a shard says nothing.
pub(super) fn silent(shard: ShardId) -> Answer {
    (503, TEXT, format!("shard {shard} does not answer\n"))
}

/// Asks one shard and waits for the answer.
pub(super) async fn ask<T>(
    state: &AdminState,
    shard: ShardId,
    inquiry: impl FnOnce(Sender<T>) -> Inquiry,
) -> Option<T> {
    let (answer, answers) = mpsc::channel();
    state.inquirer.as_ref()?.ask(shard, inquiry(answer));
    let deadline = Instant::now() + REQUEST_TIME_MAX;
    loop {
        match answers.try_recv() {
            Ok(answer) => return Some(answer),
            Err(TryRecvError::Empty) if Instant::now() < deadline => sleep(ANSWER_POLL).await,
            Err(_) => return None,
        }
    }
}
