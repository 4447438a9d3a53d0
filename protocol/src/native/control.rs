//! Control frames: FlatBuffers tables, verified, as plain borrowed structs.

use super::generated::ringbolt::control as table;
use super::header::{FrameType, Header};
use crate::command::Flags;
use crate::error::DecodeError;
use crate::limits::CONTROL_BODY_BYTES_MAX;
use flatbuffers::{FlatBufferBuilder, Follow, Verifiable, WIPOffset};

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident: $number:ty { $first:ident = 0, $($variant:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr($number)]
        pub enum $name { $first = 0, $($variant = $value,)* }

        impl $name {
            /// A number of a later version reads as the first variant.
            pub fn from_number(number: $number) -> $name {
                match number { $($value => $name::$variant,)* _ => $name::$first }
            }
        }
    };
}

codes! {
    /// What happens when a subscriber's outbox is full.
    SlowConsumer: u8 {
        Default = 0, Disconnect = 1, DropOldest = 2, DropNewest = 3, PausePublisher = 4,
    }
}
codes! {
    /// Why a frame was refused; the connection stays open.
    RefusalCode: u16 {
        None = 0, InvalidSubject = 1, InvalidPattern = 2, UnknownInternedSubject = 3, PayloadTooLarge = 4,
        SubscriptionLimit = 5, InternLimit = 6, DuplicateSubscription = 7, UnknownSubscription = 8,
        NoResponders = 9, ShuttingDown = 10, UnsupportedVersion = 11, ConnectionLimit = 12, NotReady = 13,
        Internal = 14, Overloaded = 15, NotPermitted = 16,
    }
}
codes! {
    /// Why a connection is closed.
    CloseCode: u16 {
        None = 0, Normal = 1, ShuttingDown = 2, ProtocolError = 3, SlowConsumer = 4, Stale = 5,
        HelloTimeout = 6, Limit = 7,
    }
}

macro_rules! messages {
    ($($name:ident { $($field:ident: $type:ty,)* })*) => { $(
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            /// Echoed in the answer.
            pub correlation_id: u64,
            $(pub $field: $type,)*
        }
    )* };
}

messages! {
    Subscribed { id: u32, }
    Unsubscribe { id: u32, deliveries_max: u64, }
    Unsubscribed { id: u32, }
    Interned { id: u32, }
    Ping {}
    Pong {}
    Flow { paused: bool, }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    pub correlation_id: u64,
    pub version_min: u8,
    pub version_max: u8,
    pub name: &'a str,
    pub library: &'a str,
    /// The client takes DELIVER_BATCH.
    pub batches: bool,
    /// The client takes FLOW.
    pub flow: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome<'a> {
    pub correlation_id: u64,
    pub version: u8,
    pub server_id: &'a str,
    pub server_name: &'a str,
    pub server_version: &'a str,
    pub shard: u16,
    pub connection_id: u64,
    pub frame_bytes_max: u32,
    pub payload_bytes_max: u32,
    pub subject_bytes_max: u16,
    pub subscriptions_max: u32,
    pub interned_subjects_max: u32,
    pub ping_interval_millis: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    pub correlation_id: u64,
    pub id: u32,
    pub pattern: &'a str,
    pub queue_group: Option<&'a str>,
    pub slow_consumer: SlowConsumer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intern<'a> {
    pub correlation_id: u64,
    pub id: u32,
    pub subject: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal<'a> {
    pub correlation_id: u64,
    pub code: RefusalCode,
    /// The type of the refused frame.
    pub frame_type: FrameType,
    /// The subscription or subject number it was about, or 0.
    pub id: u32,
    pub message: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close<'a> {
    pub correlation_id: u64,
    pub code: CloseCode,
    pub message: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control<'a> {
    Hello(Hello<'a>),
    Welcome(Welcome<'a>),
    Subscribe(Subscribe<'a>),
    Subscribed(Subscribed),
    Unsubscribe(Unsubscribe),
    Unsubscribed(Unsubscribed),
    Intern(Intern<'a>),
    Interned(Interned),
    Refusal(Refusal<'a>),
    Ping(Ping),
    Pong(Pong),
    Close(Close<'a>),
    Flow(Flow),
}

fn root<'a, T>(header: &Header, body: &'a [u8]) -> Result<T::Inner, DecodeError>
where
    T: Follow<'a> + Verifiable + 'a,
{
    flatbuffers::root::<T>(body).map_err(|_| DecodeError::Control { frame_type: header.frame_type as u8 })
}

/// Decodes the body of a control frame.
pub(super) fn decode<'a>(header: &Header, body: &'a [u8]) -> Result<Control<'a>, DecodeError> {
    let correlation_id = header.correlation_id;
    Ok(match header.frame_type {
        FrameType::Hello => {
            let hello = root::<table::Hello<'_>>(header, body)?;
            Control::Hello(Hello {
                correlation_id,
                version_min: hello.version_min(),
                version_max: hello.version_max(),
                name: hello.name().unwrap_or(""),
                library: hello.library().unwrap_or(""),
                batches: hello.batches(),
                flow: hello.flow(),
            })
        }
        FrameType::Welcome => Control::Welcome(decode_welcome(header, body)?),
        FrameType::Subscribe => {
            let subscribe = root::<table::Subscribe<'_>>(header, body)?;
            Control::Subscribe(Subscribe {
                correlation_id,
                id: subscribe.id(),
                pattern: subscribe.pattern(),
                queue_group: subscribe.queue_group().filter(|name| !name.is_empty()),
                slow_consumer: SlowConsumer::from_number(subscribe.slow_consumer().0),
            })
        }
        FrameType::Subscribed => {
            let id = root::<table::Subscribed<'_>>(header, body)?.id();
            Control::Subscribed(Subscribed { correlation_id, id })
        }
        FrameType::Unsubscribe => {
            let unsubscribe = root::<table::Unsubscribe<'_>>(header, body)?;
            let (id, deliveries_max) = (unsubscribe.id(), unsubscribe.deliveries_max());
            Control::Unsubscribe(Unsubscribe { correlation_id, id, deliveries_max })
        }
        FrameType::Unsubscribed => {
            let id = root::<table::Unsubscribed<'_>>(header, body)?.id();
            Control::Unsubscribed(Unsubscribed { correlation_id, id })
        }
        FrameType::Intern => {
            let intern = root::<table::Intern<'_>>(header, body)?;
            Control::Intern(Intern { correlation_id, id: intern.id(), subject: intern.subject() })
        }
        FrameType::Interned => {
            let id = root::<table::Interned<'_>>(header, body)?.id();
            Control::Interned(Interned { correlation_id, id })
        }
        FrameType::Refusal => {
            let refusal = root::<table::Refusal<'_>>(header, body)?;
            let frame_type = FrameType::from_number(refusal.frame_type())
                .ok_or(DecodeError::Control { frame_type: header.frame_type as u8 })?;
            Control::Refusal(Refusal {
                correlation_id,
                code: RefusalCode::from_number(refusal.code().0),
                frame_type,
                id: refusal.id(),
                message: refusal.message().unwrap_or(""),
            })
        }
        FrameType::Ping => {
            root::<table::Ping<'_>>(header, body)?;
            Control::Ping(Ping { correlation_id })
        }
        FrameType::Pong => {
            root::<table::Pong<'_>>(header, body)?;
            Control::Pong(Pong { correlation_id })
        }
        FrameType::Close => {
            let close = root::<table::Close<'_>>(header, body)?;
            let code = CloseCode::from_number(close.code().0);
            Control::Close(Close { correlation_id, code, message: close.message().unwrap_or("") })
        }
        FrameType::Flow => {
            let paused = root::<table::Flow<'_>>(header, body)?.paused();
            Control::Flow(Flow { correlation_id, paused })
        }
        FrameType::Publish | FrameType::Deliver | FrameType::PublishBatch | FrameType::DeliverBatch => {
            unreachable!("messages are not control frames")
        }
    })
}

fn decode_welcome<'a>(header: &Header, body: &'a [u8]) -> Result<Welcome<'a>, DecodeError> {
    let welcome = root::<table::Welcome<'_>>(header, body)?;
    Ok(Welcome {
        correlation_id: header.correlation_id,
        version: welcome.version(),
        server_id: welcome.server_id().unwrap_or(""),
        server_name: welcome.server_name().unwrap_or(""),
        server_version: welcome.server_version().unwrap_or(""),
        shard: welcome.shard(),
        connection_id: welcome.connection_id(),
        frame_bytes_max: welcome.frame_bytes_max(),
        payload_bytes_max: welcome.payload_bytes_max(),
        subject_bytes_max: welcome.subject_bytes_max(),
        subscriptions_max: welcome.subscriptions_max(),
        interned_subjects_max: welcome.interned_subjects_max(),
        ping_interval_millis: welcome.ping_interval_millis(),
    })
}

/// Appends a whole control frame. Texts that would not fit into a control body are cut.
pub fn encode_control(control: &Control<'_>, out: &mut Vec<u8>) {
    let mut builder = FlatBufferBuilder::with_capacity(256);
    let (frame_type, correlation_id) = build(control, &mut builder);
    let body = builder.finished_data();
    assert!(body.len() <= CONTROL_BODY_BYTES_MAX as usize, "texts were cut to fit");
    let header = Header {
        frame_type,
        flags: Flags::default(),
        body_bytes: body.len() as u32,
        timestamp_nanos: 0,
        correlation_id,
    };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
}

/// Longest text put into a control frame: three of them fit into a body.
const TEXT_BYTES_MAX: usize = 1024;

fn text(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn build(control: &Control<'_>, to: &mut FlatBufferBuilder<'_>) -> (FrameType, u64) {
    macro_rules! finish {
        ($frame:ident, $message:expr, $table:expr) => {{
            let table: WIPOffset<_> = $table;
            to.finish_minimal(table);
            (FrameType::$frame, $message.correlation_id)
        }};
    }
    match control {
        Control::Hello(hello) => {
            let name = Some(to.create_string(text(hello.name)));
            let library = Some(to.create_string(text(hello.library)));
            let (version_min, version_max) = (hello.version_min, hello.version_max);
            let (batches, flow) = (hello.batches, hello.flow);
            let arguments = table::HelloArgs { version_min, version_max, name, library, batches, flow };
            finish!(Hello, hello, table::Hello::create(to, &arguments))
        }
        Control::Welcome(welcome) => {
            let arguments = table::WelcomeArgs {
                version: welcome.version,
                server_id: Some(to.create_string(text(welcome.server_id))),
                server_name: Some(to.create_string(text(welcome.server_name))),
                server_version: Some(to.create_string(text(welcome.server_version))),
                shard: welcome.shard,
                connection_id: welcome.connection_id,
                frame_bytes_max: welcome.frame_bytes_max,
                payload_bytes_max: welcome.payload_bytes_max,
                subject_bytes_max: welcome.subject_bytes_max,
                subscriptions_max: welcome.subscriptions_max,
                interned_subjects_max: welcome.interned_subjects_max,
                ping_interval_millis: welcome.ping_interval_millis,
            };
            finish!(Welcome, welcome, table::Welcome::create(to, &arguments))
        }
        Control::Subscribe(subscribe) => {
            let arguments = table::SubscribeArgs {
                id: subscribe.id,
                pattern: Some(to.create_string(text(subscribe.pattern))),
                queue_group: subscribe.queue_group.map(|name| to.create_string(text(name))),
                slow_consumer: table::SlowConsumer(subscribe.slow_consumer as u8),
            };
            finish!(Subscribe, subscribe, table::Subscribe::create(to, &arguments))
        }
        Control::Subscribed(it) => {
            finish!(Subscribed, it, table::Subscribed::create(to, &table::SubscribedArgs { id: it.id }))
        }
        Control::Unsubscribe(it) => {
            let arguments = table::UnsubscribeArgs { id: it.id, deliveries_max: it.deliveries_max };
            finish!(Unsubscribe, it, table::Unsubscribe::create(to, &arguments))
        }
        Control::Unsubscribed(it) => {
            let arguments = table::UnsubscribedArgs { id: it.id };
            finish!(Unsubscribed, it, table::Unsubscribed::create(to, &arguments))
        }
        Control::Intern(it) => {
            let subject = Some(to.create_string(text(it.subject)));
            finish!(Intern, it, table::Intern::create(to, &table::InternArgs { id: it.id, subject }))
        }
        Control::Interned(it) => {
            finish!(Interned, it, table::Interned::create(to, &table::InternedArgs { id: it.id }))
        }
        Control::Refusal(it) => {
            let arguments = table::RefusalArgs {
                code: table::RefusalCode(it.code as u16),
                frame_type: it.frame_type as u8,
                id: it.id,
                message: Some(to.create_string(text(it.message))),
            };
            finish!(Refusal, it, table::Refusal::create(to, &arguments))
        }
        Control::Ping(it) => finish!(Ping, it, table::Ping::create(to, &table::PingArgs {})),
        Control::Pong(it) => finish!(Pong, it, table::Pong::create(to, &table::PongArgs {})),
        Control::Flow(it) => {
            finish!(Flow, it, table::Flow::create(to, &table::FlowArgs { paused: it.paused }))
        }
        Control::Close(it) => {
            let message = Some(to.create_string(text(it.message)));
            let code = table::CloseCode(it.code as u16);
            finish!(Close, it, table::Close::create(to, &table::CloseArgs { code, message }))
        }
    }
}
