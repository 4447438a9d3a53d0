//! The rows: one workload each, with the figure that is asked of it.

/// What a row asks of a system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speaks {
    /// Requests with replies, or a greeting.
    pub requests: bool,
    /// Something a relay that understands nothing can do.
    pub relayed: bool,
}

/// How ringbolt's shards and the relay wait in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    Balanced,
    /// Also with `latency`, which never sleeps.
    Both,
}

/// What is compared with nats-server in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// CPU time of the server a delivered message.
    Cpu,
    P50,
    Rate,
    /// Server memory a connection.
    Memory,
}

#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    /// Flags of `ringbolt-loadgen`.
    pub flags: &'static str,
    pub waits: Waits,
    /// What a system must speak to be in it.
    pub needs: Speaks,
    pub figure: Figure,
    /// Also with batches of the native dialect.
    pub bulk: bool,
}

const fn row(
    name: &'static str,
    about: &'static str,
    flags: &'static str,
    waits: Waits,
    needs: Speaks,
    figure: Figure,
) -> Row {
    Row { name, about, flags, waits, needs, figure, bulk: false }
}

impl Row {
    const fn bulk(mut self) -> Row {
        self.bulk = true;
        self
    }
}

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("request", "request and reply, 64 B, one pair",
        "--workload request -p 1 -s 1 --payload 64 --closed",
        Waits::Both, Speaks { requests: true, relayed: true }, Figure::P50),
    row("publish-16", "publish 16 B, no subscriber",
        "--workload sink -p 1 --payload 16 --closed --window 65536",
        Waits::Balanced, Speaks { requests: false, relayed: false }, Figure::Cpu).bulk(),
    row("pubsub-16", "1 to 1, 16 B",
        "-p 1 -s 1 --payload 16 --closed --window 16384",
        Waits::Balanced, Speaks { requests: false, relayed: true }, Figure::Cpu).bulk(),
    row("pubsub-4x4", "4 to 4 on 4 subjects, 128 B",
        "-p 4 -s 4 --payload 128 --closed --window 2048",
        Waits::Balanced, Speaks { requests: false, relayed: true }, Figure::Cpu).bulk(),
    row("pubsub-1k", "1 to 1, 1 KiB",
        "-p 1 -s 1 --payload 1024 --closed --window 1024",
        Waits::Balanced, Speaks { requests: false, relayed: true }, Figure::Cpu),
    row("pubsub-64k", "1 to 1, 64 KiB",
        "-p 1 -s 1 --payload 65536 --closed --window 32",
        Waits::Balanced, Speaks { requests: false, relayed: true }, Figure::Cpu),
    row("fanout-16", "1 to 16, 128 B",
        "--workload fanout -s 16 --payload 128 --closed --window 1024",
        Waits::Balanced, Speaks { requests: false, relayed: true }, Figure::Cpu).bulk(),
    row("fanout-1000", "1 to 1 000, 128 B",
        "--workload fanout -s 1000 --payload 128 --closed --window 128",
        Waits::Balanced, Speaks { requests: false, relayed: true }, Figure::Cpu).bulk(),
    row("open-20k", "20 000 msg/s, 8 to 8, 128 B, open loop",
        "-p 8 -s 8 --payload 128 --rate 20k",
        Waits::Both, Speaks { requests: false, relayed: true }, Figure::P50),
    row("open-100k", "100 000 msg/s, 8 to 8, 128 B, open loop",
        "-p 8 -s 8 --payload 128 --rate 100k",
        Waits::Both, Speaks { requests: false, relayed: true }, Figure::P50),
    row("wildcards", "10 000 wildcard subscriptions, their subjects in turn, 128 B",
        "-p 4 -s 10 -k 10000 --wildcard-share 1 --payload 128 --closed --window 1024",
        Waits::Balanced, Speaks { requests: false, relayed: false }, Figure::Cpu),
    row("load", "8 to 8, 128 B, within what buffers hold",
        "-p 8 -s 8 --payload 128 --closed --window 1024",
        Waits::Balanced, Speaks { requests: false, relayed: true }, Figure::Cpu),
    row("overload", "8 to 8, 128 B, 64 times as much outstanding",
        "-p 8 -s 8 --payload 128 --closed --window 65536",
        Waits::Balanced, Speaks { requests: false, relayed: true }, Figure::Cpu),
    row("stalled", "1 to 16, 128 B, one of them never reads",
        "--workload fanout -s 16 --stalled 1 --payload 128 --closed --window 1024",
        Waits::Balanced, Speaks { requests: false, relayed: false }, Figure::Cpu),
    row("connect", "connect, subscribe, first message, 16 at a time",
        "--workload churn -p 16 --closed",
        Waits::Balanced, Speaks { requests: true, relayed: true }, Figure::Rate),
    row("idle", "8 002 connections with a subscription each, 10 msg/s among them",
        "-p 2 -s 8000 -k 8000 --payload 64 --rate 10",
        Waits::Balanced, Speaks { requests: false, relayed: false }, Figure::Memory),
];

/// What counts in a row; `None` if there is none of that name.
pub fn figure_of(name: &str) -> Option<Figure> {
    ROWS.iter().find(|row| row.name == name).map(|row| row.figure)
}
