//! A small NATS server with one fault of choice.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What goes wrong with the message of this number, counted over all, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Everything stands still, once, this long after the first message and for so long.
    Freeze(Duration, Duration),
    Lose(u64),
    Duplicate(u64),
    /// It is delivered after the next one.
    Swap(u64),
    Corrupt(u64),
}

struct State {
    fault: Fault,
    count: u64,
    first_at: Option<Instant>,
    frozen: bool,
    /// Subject, subscription id, and where to send.
    subscriptions: Vec<(String, String, TcpStream)>,
    held: Option<(String, Vec<u8>)>,
}

/// Starts one; it serves until the process ends. Returns its address.
pub fn start(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let state = Arc::new(Mutex::new(State {
        fault,
        count: 0,
        first_at: None,
        frozen: false,
        subscriptions: Vec::new(),
        held: None,
    }));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            thread::spawn(move || serve(stream, &state));
        }
    });
    address
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    stream.write_all(b"INFO {\"server_id\":\"x\",\"max_payload\":1048576}\r\n").ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => stream.write_all(b"PONG\r\n").ok()?,
            ["SUB", subject, id] => {
                let target = (subject.to_owned(), id.to_owned(), stream.try_clone().ok()?);
                state.lock().expect("no panics").subscriptions.push(target);
            }
            ["PUB", subject, bytes] => {
                let mut payload = vec![0; bytes.parse::<usize>().ok()? + 2];
                reader.read_exact(&mut payload).ok()?;
                publish(&mut state.lock().expect("no panics"), subject.to_owned(), payload);
            }
            _ => {}
        }
    }
}

fn publish(state: &mut State, subject: String, mut payload: Vec<u8>) {
    let number = state.count;
    state.count += 1;
    let first_at = *state.first_at.get_or_insert_with(Instant::now);
    match state.fault {
        Fault::Freeze(after, time) if !state.frozen && first_at.elapsed() > after => {
            state.frozen = true;
            thread::sleep(time);
        }
        Fault::Lose(at) if at == number => return,
        Fault::Duplicate(at) if at == number => deliver(state, &subject, &payload),
        Fault::Swap(at) if at == number => {
            state.held = Some((subject, payload));
            return;
        }
        Fault::Corrupt(at) if at == number => payload[20] ^= 1,
        _ => {}
    }
    deliver(state, &subject, &payload);
    if let Some((subject, payload)) = state.held.take() {
        deliver(state, &subject, &payload);
    }
}

fn deliver(state: &mut State, subject: &str, payload: &[u8]) {
    for (pattern, id, stream) in &mut state.subscriptions {
        if pattern == subject {
            let mut message = format!("MSG {subject} {id} {}\r\n", payload.len() - 2).into_bytes();
            message.extend_from_slice(payload);
            // A subscriber that has gone is the generator's affair.
            let _ = stream.write_all(&message);
        }
    }
}
