//! Lines of the log on their way out. A thread of their own writes them: the disk may be full, the reader
//! of a pipe slow or gone, and neither may stop or delay whoever has something to report.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

/// What may wait to be written; further lines are dropped and counted.
const LINES_MAX: usize = 8192;
const BYTES_MAX: usize = 1 << 20;
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Between looks at something that changes without a word.
const POLL: Duration = Duration::from_millis(5);

/// Where lines go.
#[derive(Debug)]
pub(super) struct Output {
    writer: File,
    /// Standard error has none.
    path: Option<PathBuf>,
    /// The last line was written in part.
    torn: bool,
}

/// The end of the queue that everyone writes to.
#[derive(Debug)]
pub(super) struct Queue {
    lines: SyncSender<Box<[u8]>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes_waiting: AtomicUsize,
    lines_waiting: AtomicUsize,
    dropped: AtomicU64,
    reopen: AtomicBool,
}

/// What the writing thread reports of itself, by writing to the log.
#[derive(Clone, Copy)]
pub(super) struct Reports {
    /// So many lines were dropped since the start.
    pub dropped: fn(u64),
    pub reopened: fn(io::Result<()>),
}

impl Output {
    pub(super) fn file(path: PathBuf) -> io::Result<Output> {
        Ok(Output { writer: open(&path)?, path: Some(path), torn: false })
    }

    /// A duplicate, so that nobody waits for the lock of the standard library's handle.
    pub(super) fn standard_error() -> io::Result<Output> {
        let writer = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Output { writer, path: None, torn: false })
    }

    /// Opens the file anew: whoever rotates logs has moved it.
    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.writer = open(path)?;
            self.torn = false;
        }
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            write_all(&mut self.writer, b"\n").map_err(|(error, _)| error)?;
            self.torn = false;
        }
        write_all(&mut self.writer, line).map_err(|(error, written)| {
            self.torn = written > 0;
            error
        })
    }
}

/// Without waiting for the reader of a named pipe.
fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// An error comes with the bytes that were written before it.
fn write_all(writer: &mut impl Write, mut bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let whole = bytes.len();
    while !bytes.is_empty() {
        match writer.write(bytes) {
            Ok(0) => return Err((ErrorKind::WriteZero.into(), whole - bytes.len())),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares the pipe or terminal made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(POLL),
            Err(error) => return Err((error, whole - bytes.len())),
        }
    }
    Ok(())
}

impl Queue {
    /// Starts the thread.
    pub(super) fn start(output: Output, reports: Reports) -> io::Result<Queue> {
        let (lines, waiting) = mpsc::sync_channel(LINES_MAX);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&waiting, output, &shared, reports))?;
        Ok(Queue { lines, state })
    }

    /// Takes a line to write, or drops it if too many wait. Never waits.
    pub(super) fn push(&self, line: &[u8]) {
        let line: Box<[u8]> = match line.get(..LINE_BYTES_MAX) {
            Some(beginning) if line.len() > LINE_BYTES_MAX => [beginning, b"\n"].concat().into(),
            _ => line.into(),
        };
        let bytes = line.len();
        let state = &self.state;
        state.lines_waiting.fetch_add(1, Ordering::AcqRel);
        let full = state.bytes_waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > BYTES_MAX;
        if full || self.lines.try_send(line).is_err() {
            // No bytes are no line: the order to open the file anew stands without it.
            state.dropped.fetch_add(u64::from(bytes > 0), Ordering::Relaxed);
            state.done_with(bytes);
        }
    }

    /// Has the file opened anew before the next line is written.
    pub(super) fn reopen(&self) {
        self.state.reopen.store(true, Ordering::Release);
        self.push(b"");
    }

    /// Lines dropped since the start, for want of room or because they could not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was taken is written, but not for ever.
    pub(super) fn flush(&self, time_max: Duration) {
        let limit = Instant::now() + time_max;
        while self.state.lines_waiting.load(Ordering::Acquire) > 0 && Instant::now() < limit {
            std::thread::sleep(POLL);
        }
    }
}

impl State {
    fn done_with(&self, bytes: usize) {
        self.bytes_waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.lines_waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn write_lines(waiting: &Receiver<Box<[u8]>>, mut output: Output, state: &State, reports: Reports) {
    let mut reported = 0;
    for line in waiting {
        if state.reopen.swap(false, Ordering::Acquire) {
            (reports.reopened)(output.reopen());
        }
        match output.write(&line) {
            Err(_) => drop(state.dropped.fetch_add(1, Ordering::Relaxed)),
            // Nothing was written: whether that would work again is not known.
            Ok(()) if line.is_empty() => {}
            Ok(()) => {
                let dropped = state.dropped.load(Ordering::Relaxed);
                if dropped > reported {
                    reported = dropped;
                    (reports.dropped)(dropped);
                }
            }
        }
        state.done_with(line.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read, pipe};
    use std::sync::Mutex;

    const PATIENCE: Duration = Duration::from_secs(20);
    static REPORTED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

    /// What a pipe of Linux holds (pipe(7)).
    const PIPE_BYTES: usize = 65_536;

    /// A queue to a pipe that is full, and its reader.
    fn to_full_pipe(reports: Reports) -> (Queue, PipeReader) {
        let (reader, mut writer) = pipe().expect("a pipe");
        writer.write_all(&[b'0'; PIPE_BYTES]).expect("it holds so much");
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
        let output = Output { writer, path: None, torn: false };
        (Queue::start(output, reports).expect("a thread"), reader)
    }

    fn read_all(mut reader: PipeReader) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("it reads");
            bytes.split_off(PIPE_BYTES)
        })
    }

    const SILENT: Reports = Reports { dropped: |_| {}, reopened: |_| {} };

    #[test]
    fn lines_beyond_the_bound_are_dropped_counted_and_reported_later() {
        let reports = Reports { dropped: |lines| REPORTED.lock().expect("a list").push(lines), ..SILENT };
        let (queue, reader) = to_full_pipe(reports);
        let line = [b'x'; 1023];
        let pushed = 2 * BYTES_MAX / line.len();
        for _ in 0..pushed {
            queue.push(&[&line[..], b"\n"].concat());
        }
        let dropped = queue.dropped();
        assert!(dropped > 0, "the queue holds less than that");
        assert!(REPORTED.lock().expect("a list").is_empty(), "not while nobody reads");
        let reading = read_all(reader);
        queue.flush(PATIENCE);
        queue.push(b"the next\n");
        queue.flush(PATIENCE);
        assert_eq!(queue.state.bytes_waiting.load(Ordering::Relaxed), 0);
        assert_eq!(*REPORTED.lock().expect("a list"), [dropped]);
        drop(queue);
        let text = reading.join().expect("it reads");
        let lines = text.split(|&byte| byte == b'\n').filter(|read| *read == line).count();
        assert_eq!(lines as u64 + dropped, pushed as u64, "every line is written or counted");
        assert!(text.ends_with(b"\nthe next\n"));
    }

    #[test]
    fn many_lines_and_long_ones_are_bounded_too() {
        let (queue, reader) = to_full_pipe(SILENT);
        queue.push(&vec![b'x'; 4 * LINE_BYTES_MAX]);
        for _ in 0..LINES_MAX + 1 {
            queue.push(b"\n");
        }
        assert!(queue.dropped() > 0);
        let reading = read_all(reader);
        drop(queue);
        let text = reading.join().expect("it reads");
        let first = text.split(|&byte| byte == b'\n').next().expect("a line");
        assert_eq!(first.len(), LINE_BYTES_MAX);
    }

    #[test]
    fn a_line_begins_where_the_one_before_was_torn() {
        let (reader, writer) = pipe().expect("a pipe");
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
        let mut output = Output { writer, path: None, torn: true };
        output.write(b"whole\n").expect("there is room");
        assert!(!output.torn);
        drop(output);
        assert_eq!(io::read_to_string(reader).expect("text"), "\nwhole\n");
    }
}
