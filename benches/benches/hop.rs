//! One hop between two cores: the mesh beside other channels. Half of there and back, as a distribution,
//! because the tail of a hop is the tail of every message that crosses shards.
//!
//! ```text
//! cargo bench --package ringbolt-benches --bench hop
//! ```

use core_affinity::CoreId;
use glommio::channels::shared_channel;
use glommio::{LocalExecutorBuilder, Placement};
use hdrhistogram::Histogram;
use ringbolt_benches::amount;
use ringbolt_ring::Doorbell;
use ringbolt_server::io::mesh::{self, MeshEnds};
use ringbolt_server::io::platform::Mesh;
use ringbolt_server::sim::small_limits;
use ringbolt_shard::mesh::MeshBatch;
use std::hint::spin_loop;
use std::ops::Range;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Hops before those that are measured, and with them. Two busy cores take a time slice for each hop.
fn hops() -> Range<u32> {
    amount(20_000..320_000, 1..10)
}

/// The first two that this program may run on.
fn cores() -> [CoreId; 2] {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    [cores[0], cores[1]]
}

fn main() {
    if core_affinity::get_core_ids().is_none_or(|cores| cores.len() < 2) {
        println!("not run: a hop takes two cores");
        return;
    }
    println!("{:<44} {:>9} {:>9} {:>9}  one way, ns", "", "p50", "p99", "p99.9");
    report("rtrb, spinning", &rtrb_spinning());
    report("the mesh: rtrb of batches, doorbell, spinning", &mesh_spinning());
    report("crossbeam-channel, spinning", &crossbeam_spinning());
    report("crossbeam-channel, blocking", &crossbeam_blocking());
    report("std::sync::mpsc, blocking", &std_blocking());
    report("glommio shared_channel, spinning executors", &glommio_channel());
}

fn report(name: &str, hops: &Histogram<u64>) {
    let at = |share: f64| hops.value_at_quantile(share);
    println!("{name:<44} {:>9} {:>9} {:>9}", at(0.5), at(0.99), at(0.999));
}

fn pin(core: CoreId) {
    assert!(core_affinity::set_for_current(core), "{core:?} is not to be had");
}

/// Times `there_and_back` on the first core.
fn measure(mut there_and_back: impl FnMut()) -> Histogram<u64> {
    let mut times = Histogram::new(3).expect("three digits");
    let measured = hops();
    for round in 0..measured.end {
        let start = Instant::now();
        there_and_back();
        let nanos = start.elapsed().as_nanos() as u64 / 2;
        if round >= measured.start {
            times.record(nanos).expect("the histogram grows");
        }
    }
    times
}

/// Runs `echo` on the second core while `drive` runs on the first.
fn beside(echo: impl FnOnce() + Send, drive: impl FnOnce() -> Histogram<u64> + Send) -> Histogram<u64> {
    let [first, second] = cores();
    thread::scope(|scope| {
        scope.spawn(move || {
            pin(second);
            echo();
        });
        let drive = scope.spawn(move || {
            pin(first);
            drive()
        });
        drive.join().expect("it ends")
    })
}

fn rtrb_spinning() -> Histogram<u64> {
    let (mut to, mut inbox) = rtrb::RingBuffer::<u64>::new(256);
    let (mut back, mut from) = rtrb::RingBuffer::<u64>::new(256);
    let echo = move || {
        loop {
            match inbox.pop() {
                Ok(0) => return,
                Ok(number) => back.push(number).expect("one is under way"),
                Err(_) => spin_loop(),
            }
        }
    };
    beside(echo, || {
        let hops = measure(|| {
            to.push(1).expect("one is under way");
            while from.pop().is_err() {
                spin_loop();
            }
        });
        to.push(0).expect("room");
        hops
    })
}

fn mesh_spinning() -> Histogram<u64> {
    let mut ends = mesh::connect(&small_limits(2), Doorbell::new).expect("eventfds");
    let (mut far, mut near) = (ends.pop().expect("two"), ends.pop().expect("two"));
    let send = |ends: &mut MeshEnds<Doorbell>, shard: u16, batch: MeshBatch| {
        assert!(ends.has_room(shard), "one is under way");
        ends.send(shard, batch);
        ends.wake(shard);
    };
    let echo = move || {
        for _ in 0..hops().end {
            let batch = loop {
                match far.receive(0) {
                    Some(batch) => break batch,
                    None => spin_loop(),
                }
            };
            send(&mut far, 0, batch);
        }
    };
    beside(echo, || {
        let mut batch = Some(MeshBatch::default());
        measure(|| {
            send(&mut near, 1, batch.take().expect("it came back"));
            while batch.is_none() {
                batch = near.receive(1);
            }
        })
    })
}

fn crossbeam_spinning() -> Histogram<u64> {
    let (to, inbox) = crossbeam_channel::bounded::<u64>(256);
    let (back, from) = crossbeam_channel::bounded::<u64>(256);
    let echo = move || {
        loop {
            match inbox.try_recv() {
                Ok(0) => return,
                Ok(number) => back.send(number).expect("both ends live"),
                Err(_) => spin_loop(),
            }
        }
    };
    beside(echo, || {
        let hops = measure(|| {
            to.send(1).expect("both ends live");
            while from.try_recv().is_err() {
                spin_loop();
            }
        });
        to.send(0).expect("both ends live");
        hops
    })
}

fn crossbeam_blocking() -> Histogram<u64> {
    let (to, inbox) = crossbeam_channel::bounded::<u64>(256);
    let (back, from) = crossbeam_channel::bounded::<u64>(256);
    let echo = move || inbox.iter().for_each(|number| back.send(number).expect("both ends live"));
    beside(echo, move || {
        measure(|| {
            to.send(1).expect("both ends live");
            from.recv().expect("both ends live");
        })
    })
}

fn std_blocking() -> Histogram<u64> {
    let (to, inbox) = mpsc::sync_channel::<u64>(256);
    let (back, from) = mpsc::sync_channel::<u64>(256);
    let echo = move || inbox.iter().for_each(|number| back.send(number).expect("both ends live"));
    beside(echo, move || {
        measure(|| {
            to.send(1).expect("both ends live");
            from.recv().expect("both ends live");
        })
    })
}

fn glommio_channel() -> Histogram<u64> {
    let (to, inbox) = shared_channel::new_bounded::<u64>(256);
    let (back, from) = shared_channel::new_bounded::<u64>(256);
    let builder = |core: CoreId| {
        LocalExecutorBuilder::new(Placement::Fixed(core.id)).spin_before_park(Duration::from_secs(1))
    };
    let [first, second] = cores();
    let echo = builder(second).spawn(move || async move {
        let (inbox, back) = (inbox.connect().await, back.connect().await);
        while let Some(number) = inbox.recv().await {
            back.send(number).await.expect("both ends live");
        }
    });
    let drive = builder(first).spawn(move || async move {
        let (to, from) = (to.connect().await, from.connect().await);
        let mut times = Histogram::<u64>::new(3).expect("three digits");
        let measured = hops();
        for round in 0..amount(measured.end / 4, measured.end) {
            let start = Instant::now();
            to.send(1).await.expect("both ends live");
            from.recv().await.expect("both ends live");
            if round >= measured.start {
                times.record(start.elapsed().as_nanos() as u64 / 2).expect("the histogram grows");
            }
        }
        times
    });
    let times = drive.expect("an executor").join().expect("it ends");
    echo.expect("an executor").join().expect("it ends");
    times
}
