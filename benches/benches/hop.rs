//! There and back between two threads: the ring under the mesh beside the standard library's channel.

use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::mpsc;
use std::thread;

fn hops(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("there and back");
    group.bench_function("rtrb, spinning", |bencher| {
        let (mut to, mut inbox) = rtrb::RingBuffer::<u64>::new(256);
        let (mut back, mut from) = rtrb::RingBuffer::<u64>::new(256);
        let echo = thread::spawn(move || {
            loop {
                match inbox.pop() {
                    Ok(0) => return,
                    Ok(number) => back.push(number).expect("one is under way"),
                    Err(_) => std::hint::spin_loop(),
                }
            }
        });
        bencher.iter(|| {
            to.push(1).expect("one is under way");
            while from.pop().is_err() {
                std::hint::spin_loop();
            }
        });
        to.push(0).expect("room");
        echo.join().expect("it ends");
    });
    group.bench_function("std::sync::mpsc, blocking", |bencher| {
        let (to, inbox) = mpsc::sync_channel::<u64>(256);
        let (back, from) = mpsc::sync_channel::<u64>(256);
        let echo = thread::spawn(move || inbox.iter().try_for_each(|number| back.send(number)));
        bencher.iter(|| {
            to.send(1).expect("the echo lives");
            from.recv().expect("the echo lives")
        });
        drop(to);
        echo.join().expect("it ends").expect("both ends lived");
    });
}

criterion_group!(benches, hops);
criterion_main!(benches);
