//! What a client says of itself: the options of `CONNECT`.

use serde_json::Value;
use std::fmt;

/// The options, with the values a client has that never sent any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connect {
    /// `+OK` for every operation.
    pub verbose: bool,
    /// Strict checks of subjects.
    pub pedantic: bool,
    /// Own messages come back to own subscriptions.
    pub echo: bool,
    pub headers: bool,
    /// A request that reaches nobody is answered by the server.
    pub no_responders: bool,
    pub tls_required: bool,
    /// 1: further `INFO` lines are understood.
    pub protocol: i64,
    pub name: String,
    pub lang: String,
    pub version: String,
    pub new_account: bool,
    /// Most clients have none, and there may be many clients.
    credentials: Option<Box<Credentials>>,
}

/// Who a client says it is, and how it proves that.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Credentials {
    pub user: String,
    pub pass: String,
    pub auth_token: String,
    pub nkey: String,
    pub sig: String,
    pub jwt: String,
    pub account: String,
}

impl Credentials {
    fn own_bytes(&self) -> usize {
        let Credentials { user, pass, auth_token, nkey, sig, jwt, account } = self;
        let texts = [user, pass, auth_token, nkey, sig, jwt, account].map(String::capacity);
        size_of::<Credentials>() + texts.into_iter().sum::<usize>()
    }
}

impl Default for Connect {
    fn default() -> Connect {
        let none = String::new;
        Connect {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            tls_required: false,
            protocol: 0,
            name: none(),
            lang: none(),
            version: none(),
            new_account: false,
            credentials: None,
        }
    }
}

/// The options are not JSON, or one has a value of another kind than it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectError;

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the options of CONNECT are not the JSON object they should be")
    }
}

impl std::error::Error for ConnectError {}

impl Connect {
    /// Memory that its texts take.
    pub fn own_bytes(&self) -> usize {
        let texts = self.name.capacity() + self.lang.capacity() + self.version.capacity();
        texts + self.credentials.as_deref().map_or(0, Credentials::own_bytes)
    }

    pub fn credentials(&self) -> &Credentials {
        const NONE: &Credentials = &Credentials {
            user: String::new(),
            pass: String::new(),
            auth_token: String::new(),
            nkey: String::new(),
            sig: String::new(),
            jwt: String::new(),
            account: String::new(),
        };
        self.credentials.as_deref().unwrap_or(NONE)
    }

    /// Takes over the options a client sends. Those it does not name stay, unknown ones are let be,
    /// and names are matched whatever their case, as nats-server's decoder does.
    pub fn merge(&mut self, json: &[u8]) -> Result<(), ConnectError> {
        let options = match serde_json::from_slice(json) {
            Ok(Value::Object(options)) => options,
            Ok(Value::Null) => return Ok(()),
            _ => return Err(ConnectError),
        };
        for (name, value) in &options {
            if !value.is_null() {
                self.set(&name.to_ascii_lowercase(), value)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), ConnectError> {
        if let Some(place) = self.flag(name) {
            *place = value.as_bool().ok_or(ConnectError)?;
        } else if let Some(place) = self.text(name) {
            value.as_str().ok_or(ConnectError)?.clone_into(place);
        } else if name == "protocol" {
            self.protocol = value.as_i64().ok_or(ConnectError)?;
        } else if Credentials::default().text(name).is_some() {
            let text = value.as_str().ok_or(ConnectError)?;
            if !text.is_empty() || self.credentials.is_some() {
                let credentials = self.credentials.get_or_insert_default();
                credentials.text(name).ok_or(ConnectError)?.replace_range(.., text);
            }
        }
        Ok(())
    }

    fn flag(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "verbose" => &mut self.verbose,
            "pedantic" => &mut self.pedantic,
            "echo" => &mut self.echo,
            "headers" => &mut self.headers,
            "no_responders" => &mut self.no_responders,
            "tls_required" => &mut self.tls_required,
            "new_account" => &mut self.new_account,
            _ => return None,
        })
    }

    fn text(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "name" => &mut self.name,
            "lang" => &mut self.lang,
            "version" => &mut self.version,
            _ => return None,
        })
    }
}

impl Credentials {
    fn text(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "user" => &mut self.user,
            "pass" => &mut self.pass,
            "auth_token" => &mut self.auth_token,
            "nkey" => &mut self.nkey,
            "sig" => &mut self.sig,
            "jwt" => &mut self.jwt,
            "account" => &mut self.account,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_not_named_stay_and_unknown_ones_are_let_be() {
        let mut options = Connect::default();
        assert!(options.verbose && options.pedantic && options.echo);
        let first = br#"{"Verbose":false,"lang":"rust","protocol":1,"more":[1,{}],"user":null}"#;
        assert_eq!(options.merge(first), Ok(()));
        assert!(!options.verbose && options.pedantic && options.echo);
        assert_eq!((options.lang.as_str(), options.protocol), ("rust", 1));
        assert_eq!(options.merge(br#"{"echo":false}"#), Ok(()));
        assert!(!options.echo && options.lang == "rust");
    }

    #[test]
    fn what_is_not_an_object_of_the_right_kinds_is_refused() {
        for wrong in
            ["", "{", "[]", "1", "{} {}", r#"{"verbose":"no"}"#, r#"{"name":1}"#, r#"{"protocol":1.5}"#]
        {
            assert_eq!(Connect::default().merge(wrong.as_bytes()), Err(ConnectError), "{wrong}");
        }
    }
}
