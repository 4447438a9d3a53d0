//! What tells others that the server runs, and where: pid file, ports files, lines in the log.

use crate::config::{Config, LogFormat};
use ringbolt_protocol::nats::COMPATIBLE_VERSION;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where clients and tools connect, as it was bound.
#[derive(Clone, Debug)]
pub struct Bound {
    pub native: Option<SocketAddr>,
    pub nats: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// Writes the files and says so. An error names the file.
pub fn announce(config: &Config, bound: &Bound, server_id: &str) -> Result<(), String> {
    let pid = std::process::id();
    let written =
        |path: &Path, result: io::Result<()>| result.map_err(|error| format!("{}: {error}", path.display()));
    if let Some(path) = &config.pid_file {
        written(path, std::fs::write(path, format!("{pid}\n")))?;
    }
    if let Some(path) = &config.ports_file {
        let (native, nats, admin) = (quoted(bound.native), quoted(bound.nats), quoted(bound.admin));
        let text =
            format!("{{\"native\": {native}, \"nats\": {nats}, \"admin\": {admin}, \"pid\": {pid}}}\n");
        written(path, write_whole(path, &text))?;
    }
    if let Some(path) = nats_ports_file(config) {
        let urls = |scheme: &str, address: Option<SocketAddr>| match address {
            Some(address) => format!("[\"{scheme}://{address}\"]"),
            None => "[]".to_owned(),
        };
        let (nats, monitoring) = (urls("nats", bound.nats), urls("http", bound.admin));
        let text = format!("{{\n  \"nats\": {nats},\n  \"monitoring\": {monitoring}\n}}\n");
        written(&path, write_whole(&path, &text))?;
    }
    match config.log_format {
        LogFormat::Nats => nats_lines(config, bound, server_id),
        LogFormat::Text | LogFormat::Json => {
            let (native, nats, admin) = (or_off(bound.native), or_off(bound.nats), or_off(bound.admin));
            tracing::info!(%native, %nats, %admin, cores = ?config.cores, wait = ?config.wait, "ready");
        }
    }
    Ok(())
}

/// Removes what was written.
pub fn withdraw(config: &Config) {
    let files = [&config.pid_file, &config.ports_file, &config.native_unix];
    let files = files.into_iter().flatten().cloned().chain(nats_ports_file(config));
    for file in files {
        // Ours to remove, and not worth failing an orderly stop for.
        let _ = std::fs::remove_file(file);
    }
}

/// What programs wait for that start nats-server.
fn nats_lines(config: &Config, bound: &Bound, server_id: &str) {
    tracing::info!("Starting ringbolt-server in place of nats-server");
    tracing::info!("  Version:  {COMPATIBLE_VERSION} (ringbolt {})", env!("CARGO_PKG_VERSION"));
    tracing::info!("  Name:     {}", config.server_name);
    tracing::info!("  ID:       {server_id}");
    tracing::info!("  Cores:    {:?}, waiting: {:?}", config.cores, config.wait);
    if let Some(address) = bound.admin {
        tracing::info!("Starting http monitor on {address}");
    }
    if let Some(address) = bound.native {
        tracing::info!("Listening for native client connections on {address}");
    }
    if let Some(address) = bound.nats {
        tracing::info!("Listening for client connections on {address}");
    }
    tracing::info!("Server is ready");
}

fn nats_ports_file(config: &Config) -> Option<PathBuf> {
    let folder = config.nats_ports_directory.as_ref()?;
    Some(folder.join(format!("nats-server_{}.ports", std::process::id())))
}

/// Renamed into place: whoever waits for the file reads it whole.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}

fn quoted(address: Option<SocketAddr>) -> String {
    address.map_or("null".to_owned(), |address| format!("\"{address}\""))
}

fn or_off(address: Option<SocketAddr>) -> String {
    address.map_or("off".to_owned(), |address| address.to_string())
}
