//! Where the log goes, and its lines as nats-server writes them.

use crate::config::{Config, LogFormat};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::Handle;

/// The file of this process, if it logs to one.
static FILE: OnceLock<LogFile> = OnceLock::new();

#[derive(Clone, Debug)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Starts logging as the settings say.
pub fn set_up(config: &Config) -> io::Result<()> {
    if let Some(path) = &config.log_file {
        let file = Arc::new(Mutex::new(open(path)?));
        let _ = FILE.set(LogFile { path: path.clone(), file });
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&config.log)).with_target(false);
    let builder = builder.with_writer(Output).with_ansi(false);
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

/// Opens the file anew: whoever rotates logs has moved it.
pub fn reopen() -> io::Result<()> {
    let Some(log) = FILE.get() else { return Ok(()) };
    let fresh = open(&log.path)?;
    *log.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    Ok(())
}

/// The file, or standard error.
#[derive(Debug)]
struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match FILE.get() {
            Some(log) => log.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Output;

    fn make_writer(&'a self) -> Output {
        Output
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
        let mut line = Line::default();
        event.record(&mut line);
        writeln!(writer, "[{}] {time} [{level}] {}{}", std::process::id(), line.message, line.fields)
    }
}

/// The message, then the fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields += &format!(" {name}={value:?}"),
        }
    }
}
