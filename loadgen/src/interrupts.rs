//! SIGINT and SIGTERM are noted, so that servers are stopped and the host is put back before the program
//! ends.

use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static CAUGHT: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on the program ends in order.
pub fn catch() -> Result<(), String> {
    let flag = CAUGHT.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|error| format!("cannot catch signals: {error}"))?;
    }
    Ok(())
}

/// An error once a signal came.
pub fn check() -> Result<(), String> {
    let caught = CAUGHT.get().is_some_and(|flag| flag.load(Ordering::Relaxed));
    if caught { Err("interrupted".to_owned()) } else { Ok(()) }
}
