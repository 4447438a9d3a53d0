//! Which names the admin address answers to. A page in a browser may ask a server on the same machine under
//! a name of its own that it has pointed there (DNS rebinding), and then read the answers.

use std::net::IpAddr;

/// Names beside `localhost` and addresses.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    /// `configured`, and the name of this host, which nobody else points anywhere.
    pub fn new(configured: &[String]) -> Hosts {
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let own = Some(own.trim().to_owned()).filter(|name| !name.is_empty() && name != "(none)");
        Hosts { names: configured.iter().cloned().chain(own).collect() }
    }

    /// Whether a `Host` header names this server. An address does: nobody can point one elsewhere.
    pub(super) fn admit(&self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else { return false };
        let name = without_port(host.trim());
        let name = name.strip_suffix('.').unwrap_or(name);
        let under_localhost =
            name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
        under_localhost
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
            || self.names.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(name))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_this_server() {
        let hosts = Hosts { names: vec!["metrics.example.org".to_owned()] };
        for host in [
            "localhost",
            "LocalHost:9090",
            "app.localhost:9090",
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:9090",
            "[::1]",
            "[::1]:9090",
            "metrics.example.org",
            "Metrics.Example.org.:9090",
        ] {
            assert!(hosts.admit(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":9090",
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "metrics.example.org.evil.example",
            "x.metrics.example.org",
            "127.0.0.1@evil.example",
        ] {
            assert!(!hosts.admit(host.as_bytes()), "{host}");
        }
        assert!(!hosts.admit(b"\xff"));
        assert!(Hosts { names: vec!["*".to_owned()] }.admit(b"any.example"));
    }
}
