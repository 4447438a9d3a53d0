//! Why a connection ends is one thing, whoever is told: the client, the metrics, monitoring, the log.

use crate::play::{Play, user};
use ringbolt_protocol::native::control::{Close, CloseCode, Control, SlowConsumer};
use ringbolt_shard::access::Access;
use ringbolt_shard::{CloseReason, Dialect};

const SECOND: u64 = 1_000_000_000;

/// How a connection comes to its end, and its client's last words for it.
struct Ending {
    reason: CloseReason,
    bring: fn(&mut Play) -> usize,
    heard: &'static str,
}

fn silence(play: &mut Play) {
    (0..10).for_each(|_| play.pass(31 * SECOND));
}

/// Another client publishes more to `a` in one turn than anybody's outbox holds.
fn flood(play: &mut Play) {
    play.nats(0, &format!("PUB a 1000\r\n{}\r\n", "x".repeat(1000)).repeat(40));
}

const ENDINGS: &[Ending] = &[
    Ending {
        reason: CloseReason::ProtocolError,
        bring: |play| play.native(0, |client| client.garbage(&[0x55; 40])),
        heard: "close ProtocolError ",
    },
    Ending {
        reason: CloseReason::ProtocolError,
        bring: |play| play.nats(0, "NONSENSE\r\n"),
        heard: "-ERR 'Unknown Protocol Operation'\n",
    },
    Ending {
        reason: CloseReason::PayloadTooLarge,
        bring: |play| play.nats(0, "PUB a 5000\r\n"),
        heard: "-ERR 'Maximum Payload Violation'\n",
    },
    Ending {
        reason: CloseReason::AdmissionTimeout,
        bring: |play| {
            let client = play.open(0, Dialect::Native);
            play.pass(6 * SECOND);
            client
        },
        heard: "close HelloTimeout no HELLO came in time\n",
    },
    Ending {
        reason: CloseReason::Stale,
        bring: |play| {
            let client = play.native(0, |_| {});
            silence(play);
            client
        },
        heard: "close Stale pings were not answered\n",
    },
    Ending {
        reason: CloseReason::Stale,
        bring: |play| {
            let client = play.nats(0, "");
            silence(play);
            client
        },
        heard: "-ERR 'Stale Connection'\n",
    },
    Ending {
        reason: CloseReason::Client,
        bring: |play| {
            let close = Close { correlation_id: 0, code: CloseCode::Normal, message: "" };
            play.native(0, |client| client.say(&Control::Close(close)))
        },
        heard: "close Normal closed by the client\n",
    },
    Ending {
        reason: CloseReason::SlowConsumer,
        bring: |play| {
            let client = play.native(0, |client| client.subscribe(1, "a", None, SlowConsumer::Default));
            flood(play);
            client
        },
        heard: "",
    },
    Ending {
        reason: CloseReason::SlowConsumer,
        bring: |play| {
            let client = play.nats(0, "SUB a 1\r\n");
            flood(play);
            client
        },
        heard: "",
    },
    Ending {
        reason: CloseReason::Authorization,
        bring: |play| {
            let client = play.nats(0, "");
            let mut access = Access::default();
            access.add_user(user("known", 0, &[">"], &[">"]));
            play.change_access(&access);
            client
        },
        heard: "-ERR 'Authorization Violation'\n",
    },
];

#[test]
fn the_client_the_metrics_and_the_edge_are_told_the_same_reason() {
    for (place, Ending { reason, bring, heard }) in ENDINGS.iter().enumerate() {
        let mut play = Play::new(1);
        let client = bring(&mut play);
        assert_eq!(play.reason(client), Some(*reason), "ending {place}");
        assert_eq!(play.count(reason.counter()), 1, "ending {place}");
        let words = play.hear(client);
        assert!(words.contains(heard) && (!heard.is_empty() || words.is_empty()), "ending {place}: {words}");
    }
}
