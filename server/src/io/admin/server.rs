//! The admin listener on its glommio executor.

use super::ask::{REQUEST_TIME_MAX, ask, silent};
use super::http::{self, Method, Parsed};
use super::letters;
use super::pulse::Pulse;
use super::query::Query;
use super::state::{AdminState, Answer, JSON, TEXT};
use crate::io::log::Seldom;
use crate::io::shard_loop::Inquiry;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::{sleep, timeout};
use glommio::{GlommioError, LocalExecutorBuilder, Placement, Task};
use ringbolt_shard::ShardId;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(super) const CONNECTIONS_MAX: usize = 64;
/// After so long a connection is closed with its next answer, however often it asks.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// Probes of load balancers may call the server anything: these pages show nothing.
const SAID_TO_ANYBODY: [&str; 2] = ["/healthz", "/readyz"];
/// Connections a shard reports in one turn.
const REPORTS_AT_ONCE: usize = 256;
const FAILURES_REPORTED_EVERY: Duration = Duration::from_secs(10);
/// glommio 0.9 may park with a task runnable; a timer bounds how long (docs/decisions/0002).
const HEARTBEAT: Duration = Duration::from_millis(50);
/// The executor's registered I/O memory: it moves no files, and RLIMIT_MEMLOCK may be small.
const IO_MEMORY_BYTES: usize = 256 << 10;

/// A running admin thread.
#[derive(Debug)]
pub struct AdminHandle {
    thread: std::thread::JoinHandle<()>,
    state: Arc<AdminState>,
    pub address: SocketAddr,
}

impl AdminHandle {
    /// Stops answering and joins the thread.
    pub fn stop(self) {
        self.state.stop.store(true, Ordering::Relaxed);
        // It ends within a heartbeat; a panic there was already reported.
        let _ = self.thread.join();
    }
}

/// Starts answering on `address`. Returns once it is bound.
pub fn spawn(address: SocketAddr, state: Arc<AdminState>) -> io::Result<AdminHandle> {
    let (bound, answer) = mpsc::channel();
    let served = Arc::clone(&state);
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .name("admin")
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(64)
            .make();
        let executor = match executor {
            Ok(executor) => executor,
            Err(error) => return drop(bound.send(Err(into_io(error)))),
        };
        executor.run(async move {
            match TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener))) {
                Ok((address, listener)) => {
                    let _ = bound.send(Ok(address));
                    serve(listener, served).await;
                }
                Err(error) => drop(bound.send(Err(into_io(error)))),
            }
        });
    })?;
    let ended = || io::Error::other("the admin thread ended before it listened");
    let address = answer.recv().map_err(|_| ended())??;
    Ok(AdminHandle { thread, state, address })
}

/// A connection being answered.
struct Conversation {
    phase: Rc<Cell<Phase>>,
    task: Task<()>,
}

/// What a connection does, and since when.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// It waits for a request, or for the rest of one.
    Waiting(Instant),
    Answering(Instant),
    Ended,
}

type Conversations = Rc<RefCell<Vec<Conversation>>>;

async fn serve(listener: TcpListener, state: Arc<AdminState>) {
    let pulse = Rc::new(RefCell::new(state.pulse()));
    let conversations = Conversations::default();
    let accepting = glommio::spawn_local(accept(
        listener,
        Arc::clone(&state),
        Rc::clone(&pulse),
        Rc::clone(&conversations),
    ));
    while !state.stop.load(Ordering::Relaxed) {
        state.observe(&mut pulse.borrow_mut());
        sleep(HEARTBEAT).await;
    }
    accepting.cancel().await;
    let open = conversations.take();
    for conversation in open {
        conversation.task.cancel().await;
    }
}

async fn accept(
    listener: TcpListener,
    state: Arc<AdminState>,
    pulse: Rc<RefCell<Pulse>>,
    conversations: Conversations,
) {
    let (mut failures, started) = (Seldom::new(FAILURES_REPORTED_EVERY), Instant::now());
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => {
                // It lingers if this side closes first, and the next server wants the address at once.
                // Without the option that one has to wait, which is not worth a connection.
                let _ = ringbolt_ring::reuse_address(&stream);
                stream
            }
            Err(error) => {
                if let Some(times) = failures.happened(started.elapsed()) {
                    tracing::warn!(%error, times, "the admin address accepts no connection");
                }
                // Out of descriptors, most likely: it would fail again at once.
                sleep(HEARTBEAT).await;
                continue;
            }
        };
        conversations.borrow_mut().retain(|conversation| conversation.phase.get() != Phase::Ended);
        let evicted = make_room(&mut conversations.borrow_mut());
        if let Some(evicted) = evicted {
            evicted.task.cancel().await;
        }
        let phase = Rc::new(Cell::new(Phase::Waiting(Instant::now())));
        let (state, pulse, now) = (Arc::clone(&state), Rc::clone(&pulse), Rc::clone(&phase));
        let task = glommio::spawn_local(async move {
            converse(stream, &state, &pulse, &now).await;
            now.set(Phase::Ended);
        });
        conversations.borrow_mut().push(Conversation { phase, task });
    }
}

/// Takes the connection out that has waited longest for its client, if there is no room for another: who
/// comes now is answered whatever the others do.
fn make_room(conversations: &mut Vec<Conversation>) -> Option<Conversation> {
    if conversations.len() < CONNECTIONS_MAX {
        return None;
    }
    let phases =
        conversations.iter().enumerate().map(|(place, conversation)| (conversation.phase.get(), place));
    let (_, place) = phases.min()?;
    Some(conversations.swap_remove(place))
}

async fn converse(mut stream: TcpStream, state: &AdminState, pulse: &RefCell<Pulse>, phase: &Cell<Phase>) {
    let mut buffer = Vec::new();
    let opened = Instant::now();
    loop {
        phase.set(Phase::Waiting(Instant::now()));
        let request = read_request(&mut stream, &mut buffer).await;
        phase.set(Phase::Answering(Instant::now()));
        let (answer, keep_alive) = match request {
            Parsed::Incomplete => return,
            Parsed::Bad(status) => {
                let answer = (status, "text/plain", format!("status {status}\n"));
                (http::response(&answer, Method::Get, false), false)
            }
            Parsed::Request { method: Method::Other, .. } => {
                let answer = (405, "text/plain", "only GET, HEAD and POST\n".to_owned());
                (http::response(&answer, Method::Get, false), false)
            }
            Parsed::Request { method, path, query, keep_alive, head_bytes, host, from_a_page } => {
                buffer.drain(..head_bytes);
                let query = Query(&query);
                let keep_alive = keep_alive && opened.elapsed() < CONNECTION_TIME_MAX;
                let elsewhere = host.is_some_and(|host| !state.facts.hosts.admit(&host));
                let answer = match (method, path.as_str()) {
                    (_, path) if elsewhere && !SAID_TO_ANYBODY.contains(&path) => {
                        (421, TEXT, "this server has another name: see the setting admin_hosts\n".to_owned())
                    }
                    (_, path) if path.starts_with(letters::PATH) && from_a_page => {
                        (403, TEXT, "not from a page: send the header Ringbolt-Admin\n".to_owned())
                    }
                    (_, "/connz") => connz(state, &query).await,
                    (Method::Get, letters::PATH) => letters::list(state, &query).await,
                    (Method::Post, letters::REPLAY) => letters::replay(state, &query).await,
                    (Method::Post, letters::PURGE) => letters::purge(state, &query).await,
                    (Method::Post, _) => (405, TEXT, "only GET and HEAD\n".to_owned()),
                    (_, path) => state.answer(path, &pulse.borrow()),
                };
                (http::response(&answer, method, keep_alive), keep_alive)
            }
        };
        let written = timeout(REQUEST_TIME_MAX, async {
            stream.write_all(&answer).await.map_err(GlommioError::<()>::from)
        });
        if written.await.is_err() || !keep_alive {
            return;
        }
    }
}

/// Asks every shard, a few connections at a time, so that none is held up for long.
async fn connz(state: &AdminState, query: &Query<'_>) -> Answer {
    let mut reports = Vec::new();
    for shard in 0..state.counters.len() as ShardId {
        let mut from = Some(0);
        while let Some(from_slot) = from {
            let (most, patterns) = (REPORTS_AT_ONCE, query.wants_patterns());
            let inquiry = |answer| Inquiry::Connections { from_slot, most, patterns, answer };
            let Some((more, next)) = ask(state, shard, inquiry).await else {
                return silent(shard);
            };
            reports.extend(more);
            from = next;
        }
    }
    match state.connz(reports, query) {
        Ok(page) => (200, JSON, page.to_string()),
        Err(error) => (400, TEXT, error),
    }
}

/// The next request in `buffer`; `Incomplete` if the client went away or took too long.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Parsed {
    let deadline = Instant::now() + REQUEST_TIME_MAX;
    let mut chunk = [0; 2048];
    loop {
        match http::parse(buffer) {
            Parsed::Incomplete => {}
            parsed => return parsed,
        }
        let read = timeout(deadline.saturating_duration_since(Instant::now()), async {
            stream.read(&mut chunk).await.map_err(GlommioError::<()>::from)
        });
        match read.await {
            Ok(bytes) if bytes > 0 => buffer.extend_from_slice(&chunk[..bytes]),
            _ => return Parsed::Incomplete,
        }
    }
}

fn into_io(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}
