//! Many agents at once: they publish with mixed priorities, work off each other's messages, fall behind, and
//! come back.

use crate::client::{Client, Got};
use crate::server::Server;
use ringbolt_protocol::command::{Compression, Flags, Priority, Publish, SubjectRef};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_protocol::native::encode;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const AGENTS: u64 = 100;
const MESSAGES: u64 = 10_000;
/// Messages an agent writes at once.
const BURST: u64 = 200;
/// Time in which another worker may do the last of the work.
const A_WHILE: Duration = Duration::from_millis(100);
const PRIORITIES: [Priority; 5] =
    [Priority::Critical, Priority::High, Priority::Normal, Priority::Low, Priority::Background];

fn frame(subject: &str, priority: Priority, number: u64, payload: &[u8]) -> Vec<u8> {
    let publish = Publish {
        flags: Flags::new(priority, Compression::None),
        timestamp_nanos: 0,
        correlation_id: number,
        subject: SubjectRef::Literal(subject.as_bytes()),
        reply: None,
        header_bytes: 0,
        payload,
    };
    let mut frame = Vec::new();
    encode::publish(&mut frame, &publish);
    frame
}

#[test]
fn a_hundred_agents_exchange_a_million_messages_of_all_priorities() {
    let server = Server::start(&["--slow-consumer", "pause-publisher"]);
    let connect = |_| Client::connect(&server.native);
    // An agent listens to the one before it, and each lane keeps its order.
    let agents: Vec<Client> = (0..AGENTS)
        .map(connect)
        .enumerate()
        .map(|(number, mut agent)| {
            agent.subscribe(&format!("agent.{}", (number as u64 + AGENTS - 1) % AGENTS), None);
            agent
        })
        .collect();
    let publishers: Vec<Client> = (0..4).map(connect).collect();
    let delivered = AtomicU64::new(0);
    thread::scope(|scope| {
        for (number, mut publisher) in publishers.into_iter().enumerate() {
            scope.spawn(move || {
                for burst in 0..MESSAGES / BURST {
                    for agent in (number as u64..AGENTS).step_by(4) {
                        let subject = format!("agent.{agent}");
                        let frames = (burst * BURST..(burst + 1) * BURST).flat_map(|number| {
                            frame(&subject, PRIORITIES[number as usize % 5], number, &number.to_le_bytes())
                        });
                        publisher.write(&frames.collect::<Vec<u8>>());
                    }
                }
                publisher.barrier();
            });
        }
        // A few threads read for many agents in turn: those read last are behind all the time.
        let mut groups: Vec<Vec<Client>> = (0..4).map(|_| Vec::new()).collect();
        agents.into_iter().enumerate().for_each(|(place, agent)| groups[place % 4].push(agent));
        for mut group in groups {
            let delivered = &delivered;
            scope.spawn(move || {
                let mut next: HashMap<(usize, u8), u64> = HashMap::new();
                for _ in 0..MESSAGES {
                    for (place, agent) in group.iter_mut().enumerate() {
                        let delivery = agent.delivery();
                        let lane = delivery.flags.priority();
                        let expected = next.entry((place, lane as u8)).or_insert_with(|| {
                            PRIORITIES.iter().position(|&other| other == lane).expect("a priority") as u64
                        });
                        assert_eq!(delivery.correlation_id, *expected, "{lane:?} is in order");
                        *expected += 5;
                        delivered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(delivered.into_inner(), AGENTS * MESSAGES);
    assert_eq!(server.metric("ringbolt_messages_dropped_total"), 0.0);
}

#[test]
fn agents_that_share_work_lose_nothing_when_some_of_them_die() {
    let server = Server::start(&[]);
    const JOBS: u64 = 10_000;
    const WORKERS: u64 = 20;
    let group = "workers;ack;wait=30s;inflight=32";
    let mut workers: Vec<Client> = (0..WORKERS)
        .map(|_| {
            let mut worker = Client::connect(&server.native);
            worker.subscribe("jobs.>", Some(group));
            worker
        })
        .collect();
    let mut publisher = Client::connect(&server.native);
    for number in 0..JOBS {
        let subject = format!("jobs.{}", number % 7);
        publisher.write(&frame(&subject, PRIORITIES[number as usize % 5], number, b"do it"));
    }
    publisher.barrier();
    let done: Vec<AtomicU64> = (0..JOBS).map(|_| AtomicU64::new(0)).collect();
    let left = AtomicU64::new(JOBS);
    thread::scope(|scope| {
        for (place, mut worker) in workers.drain(..).enumerate() {
            let (done, left) = (&done, &left);
            scope.spawn(move || {
                // Every fourth worker dies over its hundredth job, and leaves what it had.
                let mortal = place % 4 == 0;
                let mut jobs = 0;
                while left.load(Ordering::Relaxed) > 0 {
                    let Some(Got::Delivery(job)) = worker.next_within(A_WHILE) else { continue };
                    jobs += 1;
                    if mortal && jobs == 100 {
                        return;
                    }
                    let reply = job.reply.expect("where to acknowledge");
                    worker.write(&frame(&reply, Priority::Normal, 0, b"+ACK"));
                    if done[job.correlation_id as usize].fetch_add(1, Ordering::Relaxed) == 0 {
                        left.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                worker.barrier();
            });
        }
    });
    assert!(done.iter().all(|times| times.load(Ordering::Relaxed) > 0), "every job was done");
    let acknowledged = server.metric("ringbolt_acknowledgements_total");
    assert!(acknowledged >= JOBS as f64, "{acknowledged}");
    assert!(server.metric("ringbolt_redeliveries_total") > 0.0, "what the dead had was given to others");
    assert_eq!(server.metric("ringbolt_work_messages"), 0.0);
}

#[test]
fn an_outbox_that_overflows_sheds_the_background_and_recovers() {
    let server = Server::start(&["--outbox-bytes-max", "2MiB"]);
    let mut slow = Client::connect(&server.native);
    slow.subscribe_with("news", None, SlowConsumer::DropNewest);
    let mut publisher = Client::connect(&server.native);
    let payload = vec![b'n'; 4000];
    // Sockets take some of it, the outbox two mebibytes; the rest is too much.
    for number in 0..10_000 {
        publisher.write(&frame("news", Priority::Background, number, &payload));
    }
    publisher.write(&frame("news", Priority::Critical, 77_777, b"now"));
    publisher.barrier();
    let dropped = server.metric("ringbolt_messages_dropped_total");
    assert!(dropped > 0.0);
    let (mut background, mut critical_after) = (0, None);
    while critical_after.is_none() {
        match slow.delivery() {
            delivery if delivery.correlation_id == 77_777 => critical_after = Some(background),
            _ => background += 1,
        }
    }
    slow.barrier();
    let kept = 10_000.0 - dropped;
    assert!(f64::from(background) < kept, "it came before {background} of {kept} that waited");
    publisher.write(&frame("news", Priority::Background, 88_888, b"again"));
    let mut last = 0;
    while last != 88_888 {
        last = slow.delivery().correlation_id;
    }
}
