//! Dead letters over the admin address: listed, shown, published anew, thrown away.

use super::ask::{ask, silent};
use super::query::Query;
use super::state::{AdminState, Answer, JSON, TEXT};
use crate::io::shard_loop::Inquiry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringbolt_shard::ShardId;
use ringbolt_shard::work::letters::LetterReport;
use serde_json::{Value, json};
use std::sync::mpsc::Sender;

pub(super) const PATH: &str = "/dead-letters";
pub(super) const REPLAY: &str = "/dead-letters/replay";
pub(super) const PURGE: &str = "/dead-letters/purge";
/// Letters of a shard that a list has unless it asks for fewer.
const LIST_MAX: usize = 1000;

/// A letter's name: its shard and its number there.
fn parse_id(text: &str, shards: usize) -> Option<(ShardId, u64)> {
    let (shard, number) = text.split_once('-')?;
    let (shard, number): (ShardId, u64) = (shard.parse().ok()?, number.parse().ok()?);
    (usize::from(shard) < shards).then_some((shard, number))
}

fn no_such(id: &str) -> Answer {
    (404, TEXT, format!("there is no dead letter {id}\n"))
}

/// `?id=SHARD-NUMBER`: that letter and what is in it; else the oldest of every shard.
pub(super) async fn list(state: &AdminState, query: &Query<'_>) -> Answer {
    let shards = state.counters.len();
    if let Some(id) = query.get("id") {
        let Some((shard, number)) = parse_id(id, shards) else { return no_such(id) };
        let inquiry = |answer| Inquiry::Letters { from: number, most: 1, contents: true, answer };
        let Some(letters) = ask(state, shard, inquiry).await else { return silent(shard) };
        return match letters.iter().find(|letter| letter.number == number) {
            Some(letter) => (200, JSON, told(state, shard, letter).to_string()),
            None => no_such(id),
        };
    }
    let most = query.get("limit").map_or(Some(LIST_MAX), |text| text.parse().ok());
    let Some(most) = most else { return (400, TEXT, "limit: a number\n".to_owned()) };
    let mut letters = Vec::new();
    for shard in 0..shards as ShardId {
        let inquiry =
            |answer| Inquiry::Letters { from: 0, most: most.min(LIST_MAX), contents: false, answer };
        let Some(more) = ask(state, shard, inquiry).await else { return silent(shard) };
        letters.extend(more.iter().map(|letter| told(state, shard, letter)));
    }
    (200, JSON, Value::Array(letters).to_string())
}

pub(super) async fn replay(state: &AdminState, query: &Query<'_>) -> Answer {
    each(state, query, |one, answer| Inquiry::Replay { one, answer }).await
}

pub(super) async fn purge(state: &AdminState, query: &Query<'_>) -> Answer {
    each(state, query, |one, answer| Inquiry::Purge { one, answer }).await
}

/// `?id=SHARD-NUMBER` or `?all=1`.
async fn each(
    state: &AdminState,
    query: &Query<'_>,
    inquiry: impl Fn(Option<u64>, Sender<u64>) -> Inquiry,
) -> Answer {
    let shards = state.counters.len();
    let wanted: Vec<(ShardId, Option<u64>)> = match (query.get("id"), query.get("all")) {
        (Some(id), None) => match parse_id(id, shards) {
            Some((shard, number)) => vec![(shard, Some(number))],
            None => return no_such(id),
        },
        (None, Some("1")) => (0..shards as ShardId).map(|shard| (shard, None)).collect(),
        _ => return (400, TEXT, "either ?id=SHARD-NUMBER or ?all=1\n".to_owned()),
    };
    let mut count = 0;
    for (shard, one) in wanted {
        let Some(more) = ask(state, shard, |answer| inquiry(one, answer)).await else {
            return silent(shard);
        };
        count += more;
    }
    (200, JSON, json!({ "count": count }).to_string())
}

fn told(state: &AdminState, shard: ShardId, letter: &LetterReport) -> Value {
    let mut value = json!({
        "id": format!("{shard}-{}", letter.number),
        "reason": letter.reason,
        "class": letter.class,
        "subject": letter.subject,
        "account": state.settings().account(letter.account),
        "deliveries": letter.deliveries,
        "accepted": letter.accepted,
        "delivered": letter.delivered,
        "buried": letter.buried,
        "error": letter.error,
        "reply": letter.reply,
        "bytes": letter.bytes,
    });
    if let Some((headers, payload)) = &letter.contents {
        value["headers"] = json!(String::from_utf8_lossy(headers));
        value["payload_base64"] = json!(STANDARD.encode(payload));
    }
    value
}
