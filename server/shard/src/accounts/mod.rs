//! Accounts: who there is, what each may do, the subjects of each, and what they have from one another.

pub mod links;
pub mod space;

use crate::access::{Access, Permissions};
use crate::identity::{AccountId, HashSeed};
use crate::limits::Limits;
use links::Links;
use space::Space;
use std::rc::Rc;

#[derive(Debug)]
pub struct Accounts {
    access: Access,
    pub links: Links,
    /// By place among the users.
    permissions: Vec<Option<Rc<Permissions>>>,
    /// By number of account; empty where an account went.
    spaces: Vec<Space>,
    seed: HashSeed,
    subjects_max: usize,
    routes_bytes_max: usize,
}

impl Accounts {
    pub fn new(access: &Access, reply_key: (u64, u64), seed: HashSeed, limits: &Limits) -> Accounts {
        let mut accounts = Accounts {
            links: Links::new(&access.links, reply_key),
            permissions: access.shared_permissions(),
            spaces: Vec::new(),
            seed,
            subjects_max: limits.subjects_max,
            routes_bytes_max: limits.routes_bytes_max(),
            access: access.clone(),
        };
        accounts.make_spaces(access.account_numbers());
        accounts
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    pub fn spaces(&self) -> impl Iterator<Item = &Space> {
        self.spaces.iter()
    }

    /// The subjects of an account that somebody is in.
    #[inline]
    pub fn space(&mut self, account: AccountId) -> &mut Space {
        &mut self.spaces[usize::from(account.0)]
    }

    /// Likewise, unless the settings that name it have not come here: then nobody here can be in it.
    #[inline]
    pub fn known_space(&mut self, account: AccountId) -> Option<&mut Space> {
        self.spaces.get_mut(usize::from(account.0))
    }

    /// Whether there is such an account.
    pub fn has(&self, account: AccountId) -> bool {
        self.access.account(account.0).is_some()
    }

    /// The subjects of an account that another shard speaks of, unless it went. Its shard may have newer
    /// settings, which will come here too and name it.
    pub fn space_of_other(&mut self, account: AccountId) -> Option<&mut Space> {
        let number = usize::from(account.0);
        if number >= self.access.account_numbers() {
            self.make_spaces(number + 1);
        } else {
            self.access.account(account.0)?;
        }
        Some(&mut self.spaces[number])
    }

    /// The account of a user, and what it may do, if there is a user of that number.
    pub fn user(&self, number: u32) -> Option<(AccountId, Option<Rc<Permissions>>)> {
        let place = self.access.place_of_user(number)?;
        debug_assert_eq!(self.permissions.len(), self.access.users().len(), "what each user may do");
        Some((AccountId(self.access.users()[place].account), self.permissions[place].clone()))
    }

    /// Takes over who there is from now on. Clients of accounts that went must leave them before
    /// [`Accounts::empty_removed`].
    pub fn change(&mut self, access: &Access) -> Access {
        let before = std::mem::replace(&mut self.access, access.clone());
        debug_assert!(before.account_numbers() <= access.account_numbers(), "numbers are never given again");
        self.permissions = access.shared_permissions();
        self.links = Links::new(&access.links, self.links.key());
        self.make_spaces(access.account_numbers());
        before
    }

    /// Forgets what other shards want in accounts that went since then, also those that came and went.
    ///
    /// Returns the memory that took.
    pub fn empty_removed(&mut self, before: &Access) -> usize {
        let mut bytes = 0;
        debug_assert!(self.access.account_numbers() <= self.spaces.len(), "every account has its space");
        for number in 0..self.access.account_numbers() {
            let was_there = number >= before.account_numbers() || before.account(number as u16).is_some();
            if was_there && self.access.account(number as u16).is_none() {
                bytes += self.spaces[number].router.bytes();
                self.spaces[number] = self.new_space();
                debug_assert_eq!(self.spaces[number].router.bytes(), 0, "nobody wants anything there");
            }
        }
        bytes
    }

    /// Recounts the subjects of all accounts. Returns how often they are pinned.
    pub fn check(&self) -> u64 {
        assert!(self.access.account_numbers() <= self.spaces.len(), "every account has its space");
        assert_eq!(self.permissions.len(), self.access.users().len(), "what each user may do");
        self.spaces.iter().map(Space::check).sum()
    }

    fn new_space(&self) -> Space {
        Space::new(self.seed, self.subjects_max, self.routes_bytes_max)
    }

    /// Accounts are known by numbers below this.
    fn make_spaces(&mut self, numbers: usize) {
        assert!(numbers <= 1 << u16::BITS, "accounts have numbers");
        while self.spaces.len() < numbers {
            let space = self.new_space();
            self.spaces.push(space);
        }
    }
}
