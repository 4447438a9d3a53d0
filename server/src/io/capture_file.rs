//! The file of a shard's capture, written by a thread of its own, so that no shard waits for a disk.

use crate::capture::{Refused, Sink};
use crate::config::Capture;
use ringbolt_shard::ShardId;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes that may wait for the disk; a shard that is further ahead ends its capture.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// How long the end of a shard waits for its file.
const END_TIME_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What a shard and its writer share.
#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    /// Written when no block is left and none can come.
    last: Mutex<Vec<u8>>,
}

/// A file that is being written.
#[derive(Debug)]
pub struct CaptureFile {
    pub settings: Capture,
    /// None once it is finished.
    blocks: Option<Sender<Vec<u8>>>,
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

impl CaptureFile {
    /// Creates the file of a shard, readable by its owner alone. The one of the run before is kept beside it.
    pub fn create(settings: &Capture, shard: ShardId) -> io::Result<CaptureFile> {
        let directory = &settings.directory;
        let path = directory.join(format!("shard-{shard}.ringbolt-capture"));
        match fs::rename(&path, directory.join(format!("shard-{shard}.previous.ringbolt-capture"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let (blocks, waiting) = channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let name = format!("capture-{shard}");
        let writer =
            thread::Builder::new().name(name).spawn(move || write(file, &path, &waiting, &theirs))?;
        Ok(CaptureFile { settings: settings.clone(), blocks: Some(blocks), shared, writer })
    }
}

fn write(mut file: File, path: &Path, blocks: &Receiver<Vec<u8>>, shared: &Shared) {
    let mut written = Ok(());
    for block in blocks {
        written = file.write_all(&block);
        if written.is_err() {
            break;
        }
        shared.waiting_bytes.fetch_sub(block.len(), Ordering::Relaxed);
    }
    let last = shared.last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = written.and_then(|()| file.write_all(&last)) {
        tracing::warn!("writing the capture {}: {error}", path.display());
    }
}

impl Sink for CaptureFile {
    fn put(&mut self, bytes: Vec<u8>) -> Result<(), Refused> {
        let Some(blocks) = &self.blocks else { return Err(Refused::Failed) };
        let before = self.shared.waiting_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if before + bytes.len() > WAITING_BYTES_MAX {
            return Err(Refused::Overrun);
        }
        blocks.send(bytes).map_err(|_| Refused::Failed)
    }

    fn finish(&mut self, bytes: Vec<u8>) {
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        self.blocks = None;
    }
}

impl Drop for CaptureFile {
    fn drop(&mut self) {
        self.blocks = None;
        let until = Instant::now() + END_TIME_MAX;
        while !self.writer.is_finished() && Instant::now() < until {
            thread::sleep(LOOK_AGAIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Payloads;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn in_directory(directory: PathBuf) -> Capture {
        Capture { directory, bytes_max: 1 << 20, payloads: Payloads::Lengths }
    }

    #[test]
    fn a_file_is_its_owners_alone_and_the_one_before_is_kept() {
        let directory = tempfile::tempdir().expect("a folder");
        for run in 0..3u8 {
            let settings = in_directory(directory.path().to_owned());
            let mut file = CaptureFile::create(&settings, 7).expect("a file");
            file.put(vec![run]).expect("room");
            file.finish(b"end".to_vec());
            assert_eq!(file.put(Vec::new()), Err(Refused::Failed), "it is finished");
        }
        for (name, contents) in
            [("shard-7.ringbolt-capture", b"\x02end"), ("shard-7.previous.ringbolt-capture", b"\x01end")]
        {
            let path = directory.path().join(name);
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            assert_eq!(fs::read(&path).expect("a file"), contents, "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_at_once() {
        let directory = tempfile::tempdir().expect("a folder");
        assert!(CaptureFile::create(&in_directory(directory.path().join("none")), 0).is_err());
    }
}
