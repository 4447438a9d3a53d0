//! Secrets are replaced before they reach a file, each by the same digest wherever it stands, so that what is
//! decided by comparing them is decided alike.

use serde_json::{Map, Value};
use std::hash::{BuildHasher, RandomState};

/// Options of a `CONNECT` that prove something.
const SECRET: &[&str] = &["pass", "auth_token", "sig", "jwt"];
/// Those that the server heeds besides.
const HEEDED: &[&str] = &[
    "verbose",
    "pedantic",
    "echo",
    "headers",
    "no_responders",
    "tls_required",
    "protocol",
    "name",
    "lang",
    "version",
    "new_account",
    "user",
    "nkey",
    "account",
];

/// Digests under a key of this process that is written nowhere.
#[derive(Debug, Default)]
pub struct Secrets(RandomState);

impl Secrets {
    /// What stands for a secret. Nothing stands for nothing: whether there is one decides too.
    pub fn hide(&self, secret: &str) -> String {
        if secret.is_empty() { String::new() } else { format!("{:016x}", self.0.hash_one(secret)) }
    }

    /// The options of a `CONNECT` with the same effect, without secrets and without what the server ignores;
    /// no shorter than they were, for lines are limited.
    pub fn hide_options(&self, json: &[u8]) -> Vec<u8> {
        let mut hidden = match serde_json::from_slice(json) {
            Ok(Value::Object(options)) => self.hide_each(options).to_string().into_bytes(),
            Ok(Value::Null) => b"null".to_vec(),
            // It is refused, whatever it is.
            _ => b"[]".to_vec(),
        };
        hidden.resize(hidden.len().max(json.len()), b' ');
        hidden
    }

    fn hide_each(&self, options: Map<String, Value>) -> Value {
        let named = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let hidden = options.into_iter().filter_map(|(name, value)| {
            let value = match value {
                Value::String(secret) if named(SECRET, &name) => Value::String(self.hide(&secret)),
                // Of a wrong kind, which is refused.
                other if named(SECRET, &name) && !other.is_null() => Value::Bool(false),
                other => other,
            };
            let heeded = named(SECRET, &name) || named(HEEDED, &name);
            heeded.then_some((name, value))
        });
        Value::Object(hidden.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_protocol::nats::Connect;

    fn merged(json: &[u8]) -> Option<Connect> {
        let mut options = Connect::default();
        options.merge(json).is_ok().then_some(options)
    }

    #[test]
    fn options_without_secrets_have_the_same_effect() {
        let secrets = Secrets::default();
        let (pass, token) = (secrets.hide("s3cret"), secrets.hide("t0ken"));
        for (json, expected) in [
            (
                r#"{"user":"ann","pass":"s3cret","x":"s3cret", "echo":false}"#,
                format!(r#"{{"user":"ann","pass":"{pass}","echo":false}}"#),
            ),
            (r#"{"PASS":"s3cret","pass":""}"#, format!(r#"{{"PASS":"{pass}","pass":""}}"#)),
            (r#"{"auth_token":"t0ken","nkey":"U"}"#, format!(r#"{{"auth_token":"{token}","nkey":"U"}}"#)),
            (r#"{"pass":["s3cret"]}"#, r#"{"pass":false}"#.to_owned()),
            (r#"{"pass":"s3cret""#, "[]".to_owned()),
            ("null", "null".to_owned()),
            ("\"s3cret\"", "[]".to_owned()),
        ] {
            let hidden = secrets.hide_options(json.as_bytes());
            assert_eq!(merged(&hidden), merged(expected.as_bytes()), "{json}");
            assert_eq!(merged(&hidden).is_some(), merged(json.as_bytes()).is_some(), "{json}");
            assert!(!hidden.windows(6).any(|part| part == b"s3cret"), "{json}");
            assert!(hidden.len() >= json.len());
        }
    }

    #[test]
    fn digests_are_equal_where_secrets_are_and_only_under_one_key() {
        let secrets = Secrets::default();
        assert_eq!(secrets.hide("a"), secrets.hide("a"));
        assert_ne!(secrets.hide("a"), secrets.hide("b"));
        assert_ne!(secrets.hide("a"), Secrets::default().hide("a"));
        assert_eq!(secrets.hide(""), "");
    }
}
