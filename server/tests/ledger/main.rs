//! What the ledger says that is kept for clients, beside what was allocated for them: state by state, of one
//! shard without a socket.

mod states;

use peak_alloc::PeakAlloc;
use states::Counted;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Of a hundred bytes that are allocated, so many are counted.
const EXACT: std::ops::RangeInclusive<usize> = 90..=110;
const ROUGH: std::ops::RangeInclusive<usize> = 85..=125;

/// One test: what is allocated is counted for the whole process.
#[test]
fn the_ledger_counts_what_is_allocated() {
    let (mut wrong, mut exact) = (Vec::new(), 0);
    for &(name, counts, build) in states::ALL {
        let mut bed = states::Bed::new();
        let (counted_before, before) = (bed.counted(), ALLOCATOR.current_usage());
        build(&mut bed);
        bed.tick();
        let (counted, allocated) = (bed.counted() - counted_before, ALLOCATOR.current_usage() - before);
        let percent = counted * 100 / allocated;
        println!("{name:40} {allocated:>10} allocated, {percent:>4} % counted: {}", bed.kinds());
        exact += usize::from(EXACT.contains(&percent));
        let right = match counts {
            Counted::Once => ROUGH.contains(&percent),
            Counted::ForEach => percent >= *ROUGH.start(),
        };
        if !right {
            wrong.push((name, percent));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(exact * 4 >= states::ALL.len() * 3, "{exact} of {} states", states::ALL.len());
}
