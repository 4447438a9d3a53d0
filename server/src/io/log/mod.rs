//! Where the log goes, and its lines as nats-server writes them.

mod queue;
mod seldom;

pub use seldom::Seldom;

use crate::config::{Config, LogFormat};
use queue::{Output, Queue, Reports};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::Handle;

/// The log of this process, once it is set up.
static QUEUE: OnceLock<Queue> = OnceLock::new();
/// How long the end of the process may wait for its last lines.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Starts logging as the settings say.
pub fn set_up(config: &Config) -> io::Result<()> {
    let output = match &config.log_file {
        Some(path) => Output::file(path.clone())?,
        None => Output::standard_error()?,
    };
    let _ = QUEUE.set(Queue::start(output, REPORTS)?);
    report_panics();
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&config.log)).with_target(false);
    let builder = builder.with_writer(Line).with_ansi(false);
    match config.log_format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            remember(builder.reload_handle());
            builder.init();
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            remember(builder.reload_handle());
            builder.init();
        }
        LogFormat::Nats => {
            let builder = builder.event_format(NatsLines).with_filter_reloading();
            remember(builder.reload_handle());
            builder.init();
        }
    }
    Ok(())
}

fn filter(text: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"));
    // glommio warns when its unused I/O memory cannot be registered; the data plane has its own.
    match "glommio=error".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    }
}

type ChangeFilter = Box<dyn Fn(EnvFilter) + Send + Sync>;

static CHANGE_FILTER: OnceLock<ChangeFilter> = OnceLock::new();

fn remember<S: 'static>(handle: Handle<EnvFilter, S>) {
    // Without a subscriber there is nothing to change.
    let change = move |filter| drop(handle.reload(filter));
    let _ = CHANGE_FILTER.set(Box::new(change));
}

/// Changes what is logged from now on.
pub fn change_filter(text: &str) {
    if let Some(change) = CHANGE_FILTER.get() {
        change(filter(text));
    }
}

const REPORTS: Reports = Reports {
    dropped: |lines| {
        tracing::warn!("log: {lines} lines were dropped since the start: they could not be written in time");
    },
    reopened: |result| match result {
        Ok(()) => tracing::info!("File log re-opened"),
        Err(error) => tracing::error!("the log file cannot be opened again: {error}"),
    },
};

/// Has the file opened anew: whoever rotates logs has moved it.
pub fn reopen() {
    QUEUE.get().into_iter().for_each(Queue::reopen);
}

/// Lines that were dropped since the start.
pub fn lines_dropped() -> u64 {
    QUEUE.get().map_or(0, Queue::dropped)
}

/// To be called before the process ends: waits for the last lines, if they can be written.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH_TIME_MAX);
    }
}

/// Panics go to the log like everything else: writing to standard error might wait for ever.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => tracing::error!("{panic}\n{backtrace}"),
            _ => tracing::error!("{panic}"),
        }
        flush();
    }));
}

/// A line to the log; what cannot be written is dropped and counted there.
#[derive(Debug)]
struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(queue) = QUEUE.get() {
            queue.push(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Line {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }
}

/// `[pid] 2026/01/31 12:00:00.000000 [INF] message`.
struct NatsLines;

impl<S, N> FormatEvent<S, N> for NatsLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let time = time.trim_end_matches('Z').replace('-', "/").replace('T', " ");
        let level = match *event.metadata().level() {
            Level::ERROR => "ERR",
            Level::WARN => "WRN",
            Level::INFO => "INF",
            Level::DEBUG => "DBG",
            Level::TRACE => "TRC",
        };
        let mut line = Fields::default();
        event.record(&mut line);
        writeln!(writer, "[{}] {time} [{level}] {}{}", std::process::id(), line.message, line.fields)
    }
}

/// The message, then the fields.
#[derive(Default)]
struct Fields {
    message: String,
    fields: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields += &format!(" {name}={value:?}"),
        }
    }
}
