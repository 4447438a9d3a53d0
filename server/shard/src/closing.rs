//! Why a connection ends: one list for what the client reads, the metrics and the log.

use crate::metrics::Counter;
use ringbolt_protocol::native::control::CloseCode;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The client said or did so.
    Client,
    /// The socket failed.
    SocketError,
    /// What it sent is not its dialect.
    ProtocolError,
    /// It does not take what is sent to it.
    SlowConsumer,
    /// Pings were not answered.
    Stale,
    /// It did not say who it is in time.
    AdmissionTimeout,
    /// It may not be here.
    Authorization,
    /// There is no room for what it sent before it was admitted.
    UnadmittedBytes,
    /// Others need the memory that it holds and does nothing with.
    Memory,
    /// There is no room for another connection.
    ConnectionsMax,
    /// It sent more than it was allowed at once.
    PayloadTooLarge,
    Shutdown,
}

impl CloseReason {
    /// As the log names it; the words of nats-server where it has some.
    pub fn name(self) -> &'static str {
        match self {
            CloseReason::Client => "Client Closed",
            CloseReason::SocketError => "Read Error",
            CloseReason::ProtocolError => "Protocol Violation",
            CloseReason::SlowConsumer => "Slow Consumer",
            CloseReason::Stale => "Stale Connection",
            CloseReason::AdmissionTimeout => "Authentication Timeout",
            CloseReason::Authorization => "Authentication Failure",
            CloseReason::UnadmittedBytes => "Maximum Unauthenticated Bytes Exceeded",
            CloseReason::Memory => "Memory Needed By Others",
            CloseReason::ConnectionsMax => "Maximum Connections Exceeded",
            CloseReason::PayloadTooLarge => "Maximum Message Payload Exceeded",
            CloseReason::Shutdown => "Server Shutdown",
        }
    }

    pub fn counter(self) -> Counter {
        match self {
            CloseReason::Client => Counter::ConnectionsClosedClient,
            CloseReason::SocketError => Counter::ConnectionsClosedError,
            CloseReason::ProtocolError => Counter::ConnectionsClosedProtocolError,
            CloseReason::SlowConsumer => Counter::ConnectionsClosedSlowConsumer,
            CloseReason::Stale => Counter::ConnectionsClosedStale,
            CloseReason::AdmissionTimeout => Counter::ConnectionsClosedHelloTimeout,
            CloseReason::Authorization => Counter::ConnectionsClosedAuthorization,
            CloseReason::UnadmittedBytes => Counter::ConnectionsClosedUnadmittedBytes,
            CloseReason::Memory => Counter::ConnectionsClosedMemory,
            CloseReason::ConnectionsMax | CloseReason::PayloadTooLarge => Counter::ConnectionsClosedLimit,
            CloseReason::Shutdown => Counter::ConnectionsClosedShutdown,
        }
    }

    /// The code of a native client's CLOSE frame, and its words where there are no better ones.
    pub fn native(self) -> (CloseCode, &'static str) {
        match self {
            CloseReason::Client => (CloseCode::Normal, "closed by the client"),
            CloseReason::SocketError => (CloseCode::Normal, "the socket failed"),
            CloseReason::ProtocolError => (CloseCode::ProtocolError, "this is not the native dialect"),
            CloseReason::SlowConsumer => (CloseCode::SlowConsumer, "deliveries were not taken in time"),
            CloseReason::Stale => (CloseCode::Stale, "pings were not answered"),
            CloseReason::AdmissionTimeout => (CloseCode::HelloTimeout, "no HELLO came in time"),
            CloseReason::Authorization => (CloseCode::ProtocolError, "not authorized"),
            CloseReason::UnadmittedBytes => {
                (CloseCode::Limit, "too much waits of clients that were not admitted")
            }
            CloseReason::Memory => (CloseCode::Limit, "others need the memory that it holds"),
            CloseReason::ConnectionsMax => (CloseCode::Limit, "this shard has reached connections_max"),
            CloseReason::PayloadTooLarge => (CloseCode::Limit, "the payload exceeds payload_bytes_max"),
            CloseReason::Shutdown => (CloseCode::ShuttingDown, "the server is shutting down"),
        }
    }

    /// The error that a NATS client reads, that of nats-server where it has one; nothing where it just
    /// closes.
    pub fn nats(self) -> Option<&'static str> {
        match self {
            CloseReason::UnadmittedBytes => Some("maximum bytes of unauthenticated connections exceeded"),
            CloseReason::Memory => Some("Memory Needed By Others"),
            CloseReason::ConnectionsMax => Some("maximum connections exceeded"),
            CloseReason::AdmissionTimeout => Some("Authentication Timeout"),
            CloseReason::Stale => Some("Stale Connection"),
            CloseReason::Authorization => Some("Authorization Violation"),
            CloseReason::PayloadTooLarge => Some("Maximum Payload Violation"),
            CloseReason::Client
            | CloseReason::SocketError
            | CloseReason::ProtocolError
            | CloseReason::SlowConsumer
            | CloseReason::Shutdown => None,
        }
    }
}
