//! What a server says of itself: the first line of every connection.

use serde::Serialize;

/// The fields of `INFO`. What is false or empty is left out where clients expect that.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Info<'a> {
    pub server_id: &'a str,
    pub server_name: &'a str,
    pub version: &'a str,
    pub proto: u32,
    /// Clients of old want it; the toolchain of nats-server, here what stands in its place.
    pub go: &'a str,
    pub host: &'a str,
    pub port: u16,
    pub headers: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    pub max_payload: usize,
    pub client_id: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub client_ip: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub connect_urls: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub nonce: &'a str,
    /// The server is about to stop: connect elsewhere.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// The version of ringbolt; `version` is the version of nats-server whose protocol this is.
    pub ringbolt: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
