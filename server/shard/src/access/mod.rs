//! Who may connect, as whom, in which account, and what they may publish and subscribe to. Plain data:
//! the settings fill it in, and the shards ask it.

pub mod links;
pub mod permissions;

pub use links::{Link, LinkKind, Mapping};
pub use permissions::{GroupName, Permissions, Responses, Rule, Rules};

use ringbolt_protocol::nats::Connect;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The name of the account of everyone who is given no other.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// Accounts and users have numbers by which the shards know them. A number stands for the same account or
/// user as long as the server runs: it is never given to another, nor again to one that was away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Access {
    /// By number; the first is [`GLOBAL_ACCOUNT`], whose number is 0.
    accounts: Vec<Account>,
    /// By number. Nobody: everyone may do everything.
    users: Vec<User>,
    /// Number of the user a NATS client is that names none.
    pub no_auth_user: Option<u32>,
    /// What accounts have from one another.
    pub links: Vec<Link>,
    given: Given,
}

/// Numbers given so far, those that nobody has any more included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Given {
    accounts: u32,
    users: u32,
}

/// A space of subjects of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub number: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// Given by [`Access::add_user`].
    pub number: u32,
    /// The name, or the public nkey; empty for a token.
    pub name: String,
    pub credential: Credential,
    /// Number of its account.
    pub account: u16,
    /// Everything, if there are none.
    pub permissions: Option<Permissions>,
}

/// How a user proves who it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    Password(Secret),
    Token(Secret),
    /// By a signature of the server's nonce.
    Nkey,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secret {
    Plain(String),
    Bcrypt(String),
}

impl User {
    pub fn new(name: &str, credential: Credential, account: u16) -> User {
        User { number: 0, name: name.to_owned(), credential, account, permissions: None }
    }

    /// Whether it is proven alike and in the same account.
    fn is_same(&self, other: &User) -> bool {
        (&self.name, &self.credential, self.account) == (&other.name, &other.credential, other.account)
    }

    fn key(&self) -> (&str, bool) {
        (&self.name, self.credential == Credential::Nkey)
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

/// What a verification found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    Proven,
    Unproven,
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
    /// The number of a user.
    User(u32),
    /// That user, if it can be verified.
    Unproven(u32, Verification),
}

impl Default for Access {
    fn default() -> Access {
        Access {
            accounts: vec![Account { name: GLOBAL_ACCOUNT.to_owned(), number: 0 }],
            users: Vec::new(),
            no_auth_user: None,
            links: Vec::new(),
            given: Given { accounts: 1, users: 0 },
        }
    }
}

impl Access {
    /// The same with every secret replaced: plain ones by what `hide` makes of them, hashes by none. Nothing
    /// that is decided without a verification changes, if clients' secrets are replaced alike.
    pub fn with_secrets_hidden(&self, hide: impl Fn(&str) -> String) -> Access {
        let mut hidden = self.clone();
        for user in &mut hidden.users {
            if let Credential::Password(secret) | Credential::Token(secret) = &mut user.credential {
                match secret {
                    Secret::Plain(text) => *text = hide(text),
                    Secret::Bcrypt(hash) => hash.clear(),
                }
            }
        }
        hidden
    }

    /// Whether clients must say who they are.
    pub fn required(&self) -> bool {
        !self.users.is_empty()
    }

    /// What each user may do, by place among the users.
    pub fn shared_permissions(&self) -> Vec<Option<Rc<Permissions>>> {
        self.users.iter().map(|user| user.permissions.clone().map(Rc::new)).collect()
    }

    /// Whether some prove it by signing a nonce.
    pub fn wants_nonce(&self) -> bool {
        self.users.iter().any(|user| user.credential == Credential::Nkey)
    }

    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The number of an account of that name, which is made if there is none. `None`: there are too many.
    pub fn add_account(&mut self, name: &str) -> Option<u16> {
        if let Some(account) = self.accounts.iter().find(|account| account.name == name) {
            return Some(account.number);
        }
        let number = next_account(&mut self.given)?;
        assert!(self.accounts.last().is_none_or(|last| last.number < number), "accounts stand by number");
        self.accounts.push(Account { name: name.to_owned(), number });
        Some(number)
    }

    /// Returns its number.
    pub fn add_user(&mut self, user: User) -> u32 {
        let number = next_user(&mut self.given);
        assert!(self.users.last().is_none_or(|last| last.number < number), "users stand by number");
        self.users.push(User { number, ..user });
        number
    }

    pub fn add_users(&mut self, users: Vec<User>) {
        for user in users {
            self.add_user(user);
        }
    }

    pub fn account(&self, number: u16) -> Option<&Account> {
        let place = self.accounts.binary_search_by_key(&number, |account| account.number).ok()?;
        Some(&self.accounts[place])
    }

    /// Where a user stands among the users, if there is one of that number.
    pub fn place_of_user(&self, number: u32) -> Option<usize> {
        self.users.binary_search_by_key(&number, |user| user.number).ok()
    }

    pub fn user(&self, number: u32) -> Option<&User> {
        Some(&self.users[self.place_of_user(number)?])
    }

    /// Accounts are numbered below this.
    pub fn account_numbers(&self) -> usize {
        self.given.accounts as usize
    }

    /// Takes the place of what was in force: who was known before keeps its number, the others get numbers
    /// that nobody had.
    pub fn succeed(&mut self, before: &Access) -> Result<(), String> {
        let mut given = before.given;
        let known: BTreeMap<&str, u16> =
            before.accounts.iter().map(|account| (&*account.name, account.number)).collect();
        let mut renumbered = BTreeMap::new();
        for account in &mut self.accounts {
            let number = known.get(&*account.name).copied().or_else(|| next_account(&mut given));
            let number = number.ok_or("no account can be added any more: restart the server")?;
            renumbered.insert(account.number, number);
            account.number = number;
        }
        self.links.iter_mut().for_each(|link| {
            (link.from, link.to) = (renumbered[&link.from], renumbered[&link.to]);
        });
        let known: BTreeMap<_, &User> = before.users.iter().map(|user| (user.key(), user)).collect();
        let mut unnamed = None;
        for user in &mut self.users {
            user.account = renumbered[&user.account];
            let same = known.get(&user.key()).filter(|other| other.is_same(user));
            let number = same.map_or_else(|| next_user(&mut given), |same| same.number);
            unnamed = unnamed.or((self.no_auth_user == Some(user.number)).then_some(number));
            user.number = number;
        }
        self.no_auth_user = unnamed;
        self.accounts.sort_unstable_by_key(|account| account.number);
        self.users.sort_unstable_by_key(|user| user.number);
        assert!(self.accounts.windows(2).all(|pair| pair[0].number < pair[1].number), "each has its number");
        self.given = given;
        Ok(())
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
            let Some(user) = self.users.iter().find(|user| signed(user)) else { return Claim::Nobody };
            let (public_key, nonce) = (claimed.nkey.clone(), nonce.to_owned());
            return Claim::Unproven(
                user.number,
                Verification::Signature { public_key, nonce, signature: claimed.sig.clone() },
            );
        }
        for user in &self.users {
            let claim = match &user.credential {
                Credential::Token(secret) if !claimed.auth_token.is_empty() => {
                    check(secret, &claimed.auth_token, user.number)
                }
                Credential::Password(secret) if user.name == claimed.user && !user.name.is_empty() => {
                    check(secret, &claimed.pass, user.number)
                }
                _ => continue,
            };
            return claim;
        }
        Claim::Nobody
    }
}

fn next_account(given: &mut Given) -> Option<u16> {
    let number = u16::try_from(given.accounts).ok()?;
    given.accounts += 1;
    Some(number)
}

fn next_user(given: &mut Given) -> u32 {
    given.users += 1;
    given.users
}

fn check(secret: &Secret, said: &str, user: u32) -> Claim {
    match secret {
        Secret::Plain(known) if same(known.as_bytes(), said.as_bytes()) => Claim::User(user),
        Secret::Plain(_) => Claim::Nobody,
        Secret::Bcrypt(hash) => {
            let verification = Verification::Bcrypt { hash: hash.clone(), secret: said.to_owned() };
            Claim::Unproven(user, verification)
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
        let password = |secret| Credential::Password(Secret::new(secret));
        with_users(&[
            ("ann", password("secret"), 0),
            ("bob", password("$2a$04$x"), 0),
            ("UKEY", Credential::Nkey, 0),
            ("", Credential::Token(Secret::new("t0ken")), 0),
            ("guest", password("guest"), 0),
        ])
    }

    fn with_users(users: &[(&str, Credential, u16)]) -> Access {
        let mut access = Access::default();
        for (name, credential, account) in users {
            access.add_user(User::new(name, credential.clone(), *account));
        }
        access
    }

    fn claim(json: &str) -> Claim {
        let mut options = Connect::default();
        options.merge(json.as_bytes()).expect("options");
        let guest = Some(5);
        Access { no_auth_user: guest, ..access() }.claim(&options, "nonce")
    }

    #[test]
    fn a_client_is_who_it_proves_to_be() {
        assert_eq!(claim(r#"{"user":"ann","pass":"secret"}"#), Claim::User(1));
        assert_eq!(claim(r#"{"auth_token":"t0ken"}"#), Claim::User(4));
        assert_eq!(claim("{}"), Claim::User(5));
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
        assert_eq!(claim(r#"{"user":"bob","pass":"p"}"#), Claim::Unproven(2, bcrypt));
        let signature = Verification::Signature {
            public_key: "UKEY".to_owned(),
            nonce: "nonce".to_owned(),
            signature: "s".to_owned(),
        };
        assert_eq!(claim(r#"{"nkey":"UKEY","sig":"s"}"#), Claim::Unproven(3, signature));
    }

    fn with_accounts(names: &[&str]) -> Access {
        let mut access = Access::default();
        for name in names {
            let number = access.add_account(name).expect("few");
            access.add_user(User::new(name, Credential::Password(Secret::new("p")), number));
        }
        access
    }

    fn numbers(access: &Access) -> Vec<(&str, u16)> {
        access.accounts().iter().map(|account| (&*account.name, account.number)).collect()
    }

    #[test]
    fn a_number_stands_for_the_same_account_for_ever() {
        let mut access = Access::default();
        for (names, expected) in [
            (&["A"][..], &[("$G", 0), ("A", 1)][..]),
            (&["A", "B"], &[("$G", 0), ("A", 1), ("B", 2)]),
            (&["A", "C", "B"], &[("$G", 0), ("A", 1), ("B", 2), ("C", 3)]),
            (&["C"], &[("$G", 0), ("C", 3)]),
            (&["B", "C", "A"], &[("$G", 0), ("C", 3), ("B", 4), ("A", 5)]),
        ] {
            let mut next = with_accounts(names);
            let link = Link {
                kind: LinkKind::Stream,
                from: next.add_account(names[0]).expect("there"),
                pattern: "x".to_owned(),
                to: 0,
                mapping: Mapping::Same,
            };
            next.links.push(link);
            next.succeed(&access).expect("few");
            assert_eq!(numbers(&next), expected);
            let from = next.account(next.links[0].from).expect("an account");
            assert_eq!(from.name, names[0], "links follow");
            for user in next.users() {
                let account = next.account(user.account).expect("an account");
                assert_eq!(account.name, user.name, "users follow");
            }
            access = next;
        }
        assert_eq!(access.account(2), None, "the first B went");
    }

    #[test]
    fn a_user_keeps_its_number_as_long_as_it_is_proven_alike_in_the_same_account() {
        let password = |secret| Credential::Password(Secret::new(secret));
        let before = with_users(&[("ann", password("a"), 0), ("bob", password("b"), 0)]);
        let number = |access: &Access, name: &str| {
            access.users().iter().find(|user| user.name == name).map(|user| user.number)
        };
        for (bob, kept) in [
            (("bob", password("b"), 0), true),
            (("bob", password("c"), 0), false),
            (("bob", Credential::Nkey, 0), false),
            (("bob", password("b"), 1), false),
        ] {
            let mut now = with_users(&[("eve", password("b"), 0), bob, ("ann", password("a"), 0)]);
            now.add_account("A");
            now.no_auth_user = number(&now, "ann");
            now.succeed(&before).expect("few");
            assert_eq!(number(&now, "ann"), Some(1));
            assert_eq!(now.no_auth_user, Some(1));
            assert_eq!(number(&now, "bob") == Some(2), kept, "{now:?}");
            let fresh = number(&now, "eve").expect("a user");
            assert!(fresh > 2 && now.place_of_user(fresh).is_some(), "{now:?}");
        }
    }

    #[test]
    fn numbers_of_accounts_are_not_given_again_when_they_run_out() {
        let mut before = Access::default();
        before.given.accounts = u32::from(u16::MAX);
        let mut last = with_accounts(&["A"]);
        last.succeed(&before).expect("the last number");
        assert_eq!(last.account(u16::MAX).map(|account| &*account.name), Some("A"));
        with_accounts(&["A"]).succeed(&last).expect("no number is needed");
        let error = with_accounts(&["A", "B"]).succeed(&last).expect_err("none is left");
        assert!(error.contains("restart"), "{error}");
    }
}
