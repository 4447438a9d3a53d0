//! What was promised, and whether it was kept.

use super::client::{Client, Nature};
use super::hostile;
use ringbolt_protocol::subject::{Pattern, Subject};
use std::collections::BTreeMap;

#[derive(Debug)]
pub struct Subscription {
    pub client: usize,
    pub id: u32,
    pub account: usize,
    pub pattern: &'static str,
    pub group: Option<&'static str>,
    /// The step in which its client heard that it is in force.
    pub confirmed: Option<u32>,
    /// Its client ended it, or left.
    pub ended: bool,
    /// The places in the list of messages of what it was given.
    pub given: Vec<u32>,
}

/// A message; its payload begins with its place in the list.
#[derive(Debug)]
pub struct Published {
    pub publisher: usize,
    pub account: usize,
    pub subject: &'static str,
    /// The step in which it was written.
    pub step: u32,
    /// The mark its publisher set after it.
    pub mark: u64,
    /// Its publisher heard of the mark, in time.
    pub accepted: bool,
}

/// Takes a delivery down. Returns what is wrong with it at first sight.
pub fn note(
    subscriptions: &mut [Subscription],
    client: usize,
    id: u32,
    payload: &[u8],
    published: &[Published],
) -> Result<(), String> {
    let own = |other: &&mut Subscription| other.client == client && other.id == id;
    let Some(subscription) = subscriptions.iter_mut().find(own) else {
        return Err(format!("client {client} was given something for no subscription of its own: {id}"));
    };
    if payload.ends_with(&hostile::MARK) {
        return Ok(());
    }
    let number = payload.first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
    let message = published.get(number as usize).ok_or("a payload that nobody published")?;
    if message.account != subscription.account {
        return Err(format!("message {number} left its account"));
    }
    if !matches(subscription.pattern, message.subject) {
        return Err(format!("message {number} was given to a subscription to {}", subscription.pattern));
    }
    subscription.given.push(number);
    Ok(())
}

/// Looks at everything once nothing is under way any more.
pub fn judge(
    clients: &[Client],
    subscriptions: &[Subscription],
    published: &[Published],
) -> Result<(), String> {
    for subscription in subscriptions {
        let members_left = subscription.group.is_some()
            && !subscriptions
                .iter()
                .filter(|other| other.group == subscription.group)
                .all(|other| is_faithful(clients, other));
        in_order(subscription, published, members_left)?;
        if subscription.group.is_none() && is_faithful(clients, subscription) {
            let owed = |number: &u32| is_owed(subscription, &published[*number as usize]);
            let numbers = 0..published.len() as u32;
            let missing = numbers.filter(owed).find(|number| !subscription.given.contains(number));
            if let Some(number) = missing {
                let (client, id) = (subscription.client, subscription.id);
                return Err(format!("subscription {id} of client {client} was not given message {number}"));
            }
        }
    }
    groups(clients, subscriptions, published)
}

/// Messages of one publisher on one subject come in order, and each once. What had to be passed on because a
/// member of a group has left may come late.
fn in_order(subscription: &Subscription, published: &[Published], members_left: bool) -> Result<(), String> {
    let mut last = BTreeMap::new();
    for (place, &number) in subscription.given.iter().enumerate() {
        let message = &published[number as usize];
        let before = last.insert((message.publisher, message.subject), number);
        let again = subscription.given[..place].contains(&number);
        if again || !members_left && before.is_some_and(|before| before >= number) {
            let (client, id) = (subscription.client, subscription.id);
            return Err(format!(
                "message {number} came after {before:?} to subscription {id} of client {client}"
            ));
        }
    }
    Ok(())
}

/// A message goes to one member of each group, whatever patterns its members have, and to none only where
/// members may be lost.
fn groups(clients: &[Client], subscriptions: &[Subscription], published: &[Published]) -> Result<(), String> {
    let mut groups: BTreeMap<_, Vec<&Subscription>> = BTreeMap::new();
    for subscription in subscriptions {
        if let Some(name) = subscription.group {
            groups.entry((subscription.account, name)).or_default().push(subscription);
        }
    }
    for ((account, name), members) in groups {
        for (number, message) in
            published.iter().enumerate().filter(|(_, message)| message.account == account)
        {
            let wants = |member: &&&Subscription| matches(member.pattern, message.subject);
            let members: Vec<_> = members.iter().filter(wants).collect();
            let count = members.iter().filter(|member| member.given.contains(&(number as u32))).count();
            if count > 1 {
                return Err(format!("message {number} was given to {count} members of {name}"));
            }
            let steady = members.iter().all(|member| is_faithful(clients, member));
            let owed = members.iter().any(|member| is_owed(member, message));
            if count == 0 && owed && steady {
                return Err(format!("message {number} was given to no member of {name}"));
            }
        }
    }
    Ok(())
}

/// Whether a subscription loses nothing once it is in force.
fn is_faithful(clients: &[Client], subscription: &Subscription) -> bool {
    clients[subscription.client].nature == Nature::Healthy && !subscription.ended
}

fn is_owed(subscription: &Subscription, message: &Published) -> bool {
    message.accepted
        && subscription.confirmed.is_some_and(|confirmed| confirmed < message.step)
        && message.account == subscription.account
        && matches(subscription.pattern, message.subject)
}

fn matches(pattern: &str, subject: &str) -> bool {
    let pattern = Pattern::new(pattern.as_bytes()).expect("one of ours");
    pattern.matches(&Subject::new(subject.as_bytes()).expect("one of ours"))
}
