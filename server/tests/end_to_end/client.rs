//! A blocking client of the native dialect.

use crate::server::PATIENCE;
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::limits::FRAME_BODY_BYTES_CEILING;
use ringbolt_protocol::native::control::{
    Close, CloseCode, Control, Hello, Ping, Pong, RefusalCode, SlowConsumer, Subscribe, Unsubscribe,
    encode_control,
};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::encode;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub subscription: u32,
    pub correlation_id: u64,
    pub reply: Option<String>,
    pub flags: Flags,
    pub header_bytes: u32,
    pub payload: Vec<u8>,
}

/// A frame, as far as tests look at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Got {
    Delivery(Delivery),
    Welcome {
        shard: u16,
    },
    Subscribed(u32),
    Unsubscribed(u32),
    Refused {
        code: RefusalCode,
        correlation_id: u64,
    },
    Pong(u64),
    /// Whether the publisher is paused.
    Flow(bool),
    Ping,
    Closed(CloseCode),
    Other,
}

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub struct Client {
    pub stream: Stream,
    buffer: Vec<u8>,
    got: VecDeque<Got>,
    pub shard: u16,
    pub answers_pings: bool,
    subscriptions: u32,
}

impl Client {
    pub fn connect(address: &str) -> Client {
        let mut client = Client::silent(address);
        client.greet();
        client
    }

    pub fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut client = Client::over(Stream::Unix(stream));
        client.greet();
        client
    }

    /// Connected, and nothing said.
    pub fn silent(address: &str) -> Client {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Client::over(Stream::Tcp(stream))
    }

    fn over(stream: Stream) -> Client {
        Client {
            stream,
            buffer: Vec::new(),
            got: VecDeque::new(),
            shard: u16::MAX,
            answers_pings: true,
            subscriptions: 0,
        }
    }

    pub fn greet(&mut self) {
        self.try_greet().unwrap_or_else(|other| panic!("{other:?} in place of WELCOME"));
    }

    /// Says HELLO. What came in place of WELCOME is the error.
    pub fn try_greet(&mut self) -> Result<(), Option<Got>> {
        let mut bytes = Vec::new();
        encode_control(&hello(), &mut bytes);
        // What it was told before it was refused may still be read.
        let _ = self.try_write(&bytes);
        match self.next() {
            Some(Got::Welcome { shard }) => self.shard = shard,
            other => return Err(other),
        }
        Ok(())
    }

    pub fn send(&mut self, control: &Control<'_>) {
        let mut bytes = Vec::new();
        encode_control(control, &mut bytes);
        self.write(&bytes);
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("the server takes bytes");
    }

    pub fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Unix(_) => panic!("a TCP client is needed"),
        }
    }

    /// Subscribes and waits until it is in force on all shards. Returns the subscription's number.
    pub fn subscribe(&mut self, pattern: &str, group: Option<&str>) -> u32 {
        self.subscribe_with(pattern, group, SlowConsumer::Default)
    }

    pub fn subscribe_with(&mut self, pattern: &str, group: Option<&str>, policy: SlowConsumer) -> u32 {
        self.subscriptions += 1;
        let id = self.subscriptions;
        let (correlation_id, queue_group) = (0, group);
        self.send(&Control::Subscribe(Subscribe {
            correlation_id,
            id,
            pattern,
            queue_group,
            slow_consumer: policy,
        }));
        self.expect(&Got::Subscribed(id));
        id
    }

    pub fn unsubscribe(&mut self, id: u32) {
        self.send(&Control::Unsubscribe(Unsubscribe { correlation_id: 0, id, deliveries_max: 0 }));
        self.expect(&Got::Unsubscribed(id));
    }

    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.write(&publish_frame(subject, None, 0, payload));
    }

    /// Everything said before has been carried out.
    pub fn barrier(&mut self) {
        self.send(&Control::Ping(Ping { correlation_id: 77 }));
        self.expect(&Got::Pong(77));
    }

    /// Waits for `wanted`; deliveries before it are kept for [`Client::delivery`].
    pub fn expect(&mut self, wanted: &Got) {
        let mut kept = VecDeque::new();
        loop {
            match self.next() {
                Some(got) if got == *wanted => break,
                Some(got @ Got::Delivery(_)) => kept.push_back(got),
                other => panic!("{other:?} in place of {wanted:?}"),
            }
        }
        kept.append(&mut self.got);
        self.got = kept;
    }

    pub fn delivery(&mut self) -> Delivery {
        match self.next() {
            Some(Got::Delivery(delivery)) => delivery,
            other => panic!("{other:?} in place of a delivery"),
        }
    }

    /// Every frame up to the end of the stream, however it ends.
    pub fn rest(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The next frame, or none at the end of the stream, also one by reset.
    pub fn next(&mut self) -> Option<Got> {
        match self.try_next() {
            Ok(got) => Some(got),
            Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => None,
            Err(error) => panic!("reading: {error}"),
        }
    }

    /// The next frame, if one comes in that time.
    pub fn next_within(&mut self, patience: Duration) -> Option<Got> {
        self.tcp().set_read_timeout(Some(patience)).expect("a timeout");
        let got = self.try_next();
        self.tcp().set_read_timeout(Some(PATIENCE)).expect("a timeout");
        match got {
            Ok(got) => Some(got),
            Err(ErrorKind::WouldBlock) => None,
            Err(error) => panic!("reading: {error}"),
        }
    }

    fn try_next(&mut self) -> Result<Got, ErrorKind> {
        loop {
            if let Some(got) = self.got.pop_front() {
                return Ok(got);
            }
            let mut chunk = [0; 64 << 10];
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut chunk),
                Stream::Unix(stream) => stream.read(&mut chunk),
            };
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof),
                Ok(bytes) => self.buffer.extend_from_slice(&chunk[..bytes]),
                Err(error) => return Err(error.kind()),
            }
            self.decode();
        }
    }

    fn decode(&mut self) {
        let limits = DecodeLimits { body_bytes_max: FRAME_BODY_BYTES_CEILING };
        let (mut taken, mut pings) = (0, 0);
        while let Decoded::Frame { frame, consumed } =
            decode_frame(&self.buffer[taken..], &limits).expect("the server speaks the protocol")
        {
            taken += consumed;
            let got = owned(&frame);
            if got == Got::Ping && self.answers_pings {
                pings += 1;
            } else {
                self.got.push_back(got);
            }
        }
        self.buffer.drain(..taken);
        for _ in 0..pings {
            self.send(&Control::Pong(Pong { correlation_id: 0 }));
        }
    }

    pub fn close(&mut self) {
        self.send(&Control::Close(Close { correlation_id: 0, code: CloseCode::Normal, message: "" }));
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(self.tcp());
        socket.set_linger(Some(Duration::ZERO)).expect("an option");
    }
}

fn owned(frame: &Frame<'_>) -> Got {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("subjects are UTF-8");
    match frame {
        Frame::Deliver(deliver) => Got::Delivery(Delivery {
            subscription: deliver.subscription_id,
            correlation_id: deliver.correlation_id,
            reply: deliver.reply.map(text),
            flags: deliver.flags.without_layout_bits(),
            header_bytes: deliver.header_bytes,
            payload: deliver.payload.to_vec(),
        }),
        Frame::Control(Control::Welcome(welcome)) => Got::Welcome { shard: welcome.shard },
        Frame::Control(Control::Subscribed(subscribed)) => Got::Subscribed(subscribed.id),
        Frame::Control(Control::Unsubscribed(unsubscribed)) => Got::Unsubscribed(unsubscribed.id),
        Frame::Control(Control::Refusal(refusal)) => {
            Got::Refused { code: refusal.code, correlation_id: refusal.correlation_id }
        }
        Frame::Control(Control::Pong(pong)) => Got::Pong(pong.correlation_id),
        Frame::Control(Control::Flow(flow)) => Got::Flow(flow.paused),
        Frame::Control(Control::Ping(_)) => Got::Ping,
        Frame::Control(Control::Close(close)) => Got::Closed(close.code),
        _ => Got::Other,
    }
}

pub fn hello() -> Control<'static> {
    Control::Hello(Hello {
        correlation_id: 0,
        version_min: 1,
        version_max: 1,
        name: "test",
        library: "test",
        batches: false,
        flow: false,
    })
}

pub fn publish_frame(subject: &str, reply: Option<&str>, correlation_id: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let publish = Publish {
        flags: Flags::default(),
        timestamp_nanos: 0,
        correlation_id,
        subject: SubjectRef::Literal(subject.as_bytes()),
        reply: reply.map(str::as_bytes),
        header_bytes: 0,
        payload,
    };
    encode::publish(&mut bytes, &publish);
    bytes
}
