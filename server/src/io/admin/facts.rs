//! What is known of the server from its start on.

use super::hosts::Hosts;

/// What the pages say that no shard knows, and that stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    pub server_id: String,
    pub server_name: String,
    pub host: String,
    pub port: u16,
    pub monitor_host: String,
    pub monitor_port: u16,
    pub cores: usize,
    /// What monitoring may call this server.
    pub hosts: Hosts,
}
