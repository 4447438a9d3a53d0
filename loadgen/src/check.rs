//! What of a workload cannot be run at all; each refusal names the flag to change.

use crate::dialect::Dialect;
use crate::workload::{GROUP, Kind, Pacing, Workload};
use ringbolt_protocol::limits::{BATCH_MESSAGES_MAX, PAYLOAD_BYTES_MAX_DEFAULT};
use std::time::Duration;

pub fn check(workload: &Workload) -> Result<(), String> {
    let fail = |wrong: bool, text: &str| if wrong { Err(text.to_owned()) } else { Ok(()) };
    fail(workload.publishers == 0, "--publishers: at least one")?;
    let senders_only = matches!(workload.kind, Kind::Churn | Kind::Sink);
    fail(workload.subscribers == 0 && !senders_only, "--subscribers: at least one")?;
    let may_stall = matches!(workload.kind, Kind::PubSub | Kind::FanOut);
    fail(workload.stalled > 0 && !may_stall, "--stalled wants --workload pubsub or fanout")?;
    fail(workload.stalled >= workload.subscribers.max(1), "--stalled: fewer than --subscribers")?;
    fail(workload.subjects == 0, "--subjects: at least one")?;
    fail(workload.publishers > 65_535, "--publishers: at most 65535, their number travels in 16 bits")?;
    fail(workload.duration.is_zero(), "--duration: longer than nothing")?;
    fail(workload.duration > Duration::from_secs(86_400), "--duration: at most a day")?;
    check_dialect(workload)?;
    let batches = workload.dialect == Dialect::Native
        && matches!(workload.kind, Kind::PubSub | Kind::FanOut | Kind::Sink);
    fail(
        workload.batch > 1 && !batches,
        "--batch wants --dialect native and --workload pubsub, fanout or sink",
    )?;
    fail(!(1..=BATCH_MESSAGES_MAX).contains(&workload.batch), "--batch: 1 to 1024")?;
    let frame_bytes = u64::from(workload.batch) * (workload.payload.largest() as u64 + 5);
    let too_long = workload.batch > 1 && frame_bytes > PAYLOAD_BYTES_MAX_DEFAULT as u64;
    fail(too_long, "--batch: a frame would have more than the 1 MiB a server takes by default")?;
    let sink = workload.kind == Kind::Sink && !matches!(workload.pacing, Pacing::Closed { .. });
    fail(sink, "--workload sink wants --closed: its barriers are what paces it")?;
    check_delivery(workload)?;
    let introduced = workload.subjects.div_ceil(workload.publishers) > 4096;
    fail(introduced, "--subjects: at most 4096 a publisher")
}

/// Not every protocol has what every workload needs.
fn check_dialect(workload: &Workload) -> Result<(), String> {
    let plain = matches!(workload.kind, Kind::PubSub | Kind::FanOut | Kind::Sink);
    match workload.dialect {
        Dialect::Native | Dialect::Nats => Ok(()),
        Dialect::Redis | Dialect::Mqtt if !plain => {
            Err("Redis and MQTT have no requests or greetings: choose --workload pubsub, fanout or sink"
                .into())
        }
        Dialect::Redis | Dialect::Mqtt => Ok(()),
        Dialect::Raw if matches!(workload.kind, Kind::Queue | Kind::Sink) => {
            Err("the relay has no groups and answers nothing: choose another --workload or --dialect".into())
        }
        Dialect::Raw => {
            let own = workload.subjects == workload.publishers && workload.subjects <= workload.subscribers;
            let own = own || workload.kind == Kind::Churn;
            if own { Ok(()) } else { Err("--dialect raw: one subject a publisher and subscriber".into()) }
        }
    }
}

fn check_delivery(workload: &Workload) -> Result<(), String> {
    let fail = |wrong: bool, text: &str| if wrong { Err(text.to_owned()) } else { Ok(()) };
    let members = &workload.members;
    let headers = matches!(workload.dialect, Dialect::Native | Dialect::Nats) && workload.batch == 1;
    fail(!workload.lanes.is_empty() && !headers, "--lanes wants --dialect native or nats, and no batches")?;
    fail(members.keys > 0 && !headers, "--keys wants --dialect native or nats")?;
    let answers = members.takes_time() || members.fails();
    let grouped = members.group != GROUP || answers || members.keys > 0;
    let words = "--group, --work, --nak, --silent and --keys want --workload queue";
    fail(grouped && workload.kind != Kind::Queue, words)?;
    let words = "--work, --nak and --silent want a group that acknowledges: --group 'workers;ack'";
    fail(answers && !members.group.contains(";ack"), words)?;
    fail(members.nak_share + members.silent_share > 1.0, "--nak and --silent: together 1 at most")
}
