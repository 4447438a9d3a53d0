//! Who may connect, as whom, in which account, and what they may publish and subscribe to. Plain data:
//! the settings fill it in, and the shards ask it.

pub mod links;
pub mod permissions;

pub use links::{Link, LinkKind, Mapping};
pub use permissions::{Permissions, Responses, Rule, Rules};

use ringbolt_protocol::nats::Connect;

/// The name of the account of everyone who is given no other.
pub const GLOBAL_ACCOUNT: &str = "$G";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Names of the accounts; the first is [`GLOBAL_ACCOUNT`].
    pub accounts: Vec<String>,
    /// Nobody: everyone may do everything.
    pub users: Vec<User>,
    /// The user a NATS client is that names none; a place in `users`.
    pub no_auth_user: Option<usize>,
    /// What accounts have from one another.
    pub links: Vec<Link>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The name, or the public nkey; empty for a token.
    pub name: String,
    pub credential: Credential,
    /// A place in [`Access::accounts`].
    pub account: u16,
    /// Everything, if there are none.
    pub permissions: Option<Permissions>,
}

/// How a user proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Password(Secret),
    Token(Secret),
    /// By a signature of the server's nonce.
    Nkey,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Plain(String),
    Bcrypt(String),
}

impl User {
    /// Whether it is proven alike and in the same account.
    pub fn is_same(&self, other: &User) -> bool {
        (&self.name, &self.credential, self.account) == (&other.name, &other.credential, other.account)
    }
}

/// Secrets stay out of logs.
impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Credential::Password(_) => "Password",
            Credential::Token(_) => "Token",
            Credential::Nkey => "Nkey",
        })
    }
}

impl Secret {
    /// As it stands in a settings file.
    pub fn new(text: &str) -> Secret {
        let bcrypt = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix));
        if bcrypt { Secret::Bcrypt(text.to_owned()) } else { Secret::Plain(text.to_owned()) }
    }
}

/// A proof that takes too long to check between two messages.
#[derive(Clone, PartialEq, Eq)]
pub enum Verification {
    Bcrypt { hash: String, secret: String },
    Signature { public_key: String, nonce: String, signature: String },
}

impl std::fmt::Debug for Verification {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Verification::Bcrypt { .. } => "Bcrypt",
            Verification::Signature { .. } => "Signature",
        })
    }
}

/// What the options of a `CONNECT` lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    Nobody,
    User(usize),
    /// That user, if it can be verified.
    Unproven(usize, Verification),
}

impl Default for Access {
    fn default() -> Access {
        Access {
            accounts: vec![GLOBAL_ACCOUNT.to_owned()],
            users: Vec::new(),
            no_auth_user: None,
            links: Vec::new(),
        }
    }
}

impl Access {
    /// Whether clients must say who they are.
    pub fn required(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether some prove it by signing a nonce.
    pub fn wants_nonce(&self) -> bool {
        self.users.iter().any(|user| user.credential == Credential::Nkey)
    }

    /// Gives accounts the places they had before, so that what is kept by place stays right.
    pub fn keep_places(&mut self, before: &Access) {
        let mut accounts = before.accounts.clone();
        for name in &self.accounts {
            if !accounts.contains(name) {
                accounts.push(name.clone());
            }
        }
        let place = |now: u16| {
            let name = &self.accounts[usize::from(now)];
            accounts.iter().position(|other| other == name).unwrap_or_default() as u16
        };
        self.users.iter_mut().for_each(|user| user.account = place(user.account));
        self.links.iter_mut().for_each(|link| (link.from, link.to) = (place(link.from), place(link.to)));
        self.accounts = accounts;
    }

    /// The user a client claims to be.
    pub fn claim(&self, options: &Connect, nonce: &str) -> Claim {
        let claimed = options.credentials();
        let names_none = [&claimed.user, &claimed.pass, &claimed.auth_token, &claimed.nkey, &claimed.jwt]
            .iter()
            .all(|text| text.is_empty());
        if names_none {
            return self.no_auth_user.map_or(Claim::Nobody, Claim::User);
        }
        if !claimed.nkey.is_empty() {
            let signed = |user: &User| user.credential == Credential::Nkey && user.name == claimed.nkey;
            let Some(place) = self.users.iter().position(signed) else { return Claim::Nobody };
            let (public_key, nonce) = (claimed.nkey.clone(), nonce.to_owned());
            return Claim::Unproven(
                place,
                Verification::Signature { public_key, nonce, signature: claimed.sig.clone() },
            );
        }
        for (place, user) in self.users.iter().enumerate() {
            let claim = match &user.credential {
                Credential::Token(secret) if !claimed.auth_token.is_empty() => {
                    check(secret, &claimed.auth_token, place)
                }
                Credential::Password(secret) if user.name == claimed.user && !user.name.is_empty() => {
                    check(secret, &claimed.pass, place)
                }
                _ => continue,
            };
            return claim;
        }
        Claim::Nobody
    }
}

fn check(secret: &Secret, said: &str, place: usize) -> Claim {
    match secret {
        Secret::Plain(known) if same(known.as_bytes(), said.as_bytes()) => Claim::User(place),
        Secret::Plain(_) => Claim::Nobody,
        Secret::Bcrypt(hash) => {
            let verification = Verification::Bcrypt { hash: hash.clone(), secret: said.to_owned() };
            Claim::Unproven(place, verification)
        }
    }
}

/// Takes as long whatever the first difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |found, (left, right)| found | (left ^ right));
    left.len() == right.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let user = |name: &str, credential| User {
            name: name.to_owned(),
            credential,
            account: 0,
            permissions: None,
        };
        Access {
            users: vec![
                user("ann", Credential::Password(Secret::new("secret"))),
                user("bob", Credential::Password(Secret::new("$2a$04$x"))),
                user("UKEY", Credential::Nkey),
                user("", Credential::Token(Secret::new("t0ken"))),
                user("guest", Credential::Password(Secret::new("guest"))),
            ],
            no_auth_user: Some(4),
            ..Access::default()
        }
    }

    fn claim(json: &str) -> Claim {
        let mut options = Connect::default();
        options.merge(json.as_bytes()).expect("options");
        access().claim(&options, "nonce")
    }

    #[test]
    fn a_client_is_who_it_proves_to_be() {
        assert_eq!(claim(r#"{"user":"ann","pass":"secret"}"#), Claim::User(0));
        assert_eq!(claim(r#"{"auth_token":"t0ken"}"#), Claim::User(3));
        assert_eq!(claim("{}"), Claim::User(4));
        for wrong in [
            r#"{"user":"ann","pass":"secreT"}"#,
            r#"{"user":"ann"}"#,
            r#"{"user":"","pass":"secret"}"#,
            r#"{"user":"eve","pass":"x"}"#,
            r#"{"auth_token":"secret"}"#,
            r#"{"nkey":"ann","sig":"x"}"#,
            r#"{"jwt":"x"}"#,
        ] {
            assert_eq!(claim(wrong), Claim::Nobody, "{wrong}");
        }
    }

    #[test]
    fn slow_proofs_are_left_to_others() {
        let bcrypt = Verification::Bcrypt { hash: "$2a$04$x".to_owned(), secret: "p".to_owned() };
        assert_eq!(claim(r#"{"user":"bob","pass":"p"}"#), Claim::Unproven(1, bcrypt));
        let signature = Verification::Signature {
            public_key: "UKEY".to_owned(),
            nonce: "nonce".to_owned(),
            signature: "s".to_owned(),
        };
        assert_eq!(claim(r#"{"nkey":"UKEY","sig":"s"}"#), Claim::Unproven(2, signature));
    }
}
