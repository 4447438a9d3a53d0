//! `authorization` and `accounts`: users, their proofs, permissions and accounts.

use super::context::{Context, Unsupported};
use super::language::{Entry, Node, Value};
use super::trade::Trade;
use ringbolt_shard::access::{
    Access, Credential, GLOBAL_ACCOUNT, Permissions, Responses, Rule, Rules, Secret, User,
};

/// What nats-server takes for `allow_responses: true`.
const RESPONSES_DEFAULT: Responses = Responses { messages_max: Some(1), nanos_max: Some(120_000_000_000) };

/// `authorization { … }`: users of the global account.
pub(super) fn authorization(node: &Node, access: &mut Access, context: &mut Context<'_>) {
    let mut single = (None, None);
    let (mut token, mut default_permissions) = (None, None);
    let mut users = Vec::new();
    for entry in context.block(node) {
        match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => single.0 = context.text(&entry.node),
            "pass" | "password" => single.1 = context.text(&entry.node),
            // An empty one asks for nothing.
            "token" => token = context.text(&entry.node).filter(|secret| !secret.is_empty()),
            "timeout" => {
                let nanos = context.seconds(&entry.node);
                context.set("hello_timeout", format!("{nanos}ns"), entry);
            }
            "users" => users.extend(self::users(&entry.node, 0, context)),
            "default_permissions" | "default_permission" | "permissions" => {
                default_permissions = Some(permissions(&entry.node, context));
            }
            _ => context.unknown(entry),
        }
    }
    let one = single.0.is_some() || single.1.is_some();
    if one && token.is_some() {
        context.wrong(&node.place, "there is either a user with a password or a token".to_owned());
    }
    if (one || token.is_some()) && !users.is_empty() {
        let message = "there is either one user or token, or a list of users".to_owned();
        context.wrong(&node.place, message);
    }
    if one || token.is_some() {
        context.alone = Some(node.place.clone());
    }
    if let Some(secret) = token {
        users.push(User::new("", Credential::Token(Secret::new(&secret)), 0));
    }
    if let Some(name) = single.0 {
        let credential = Credential::Password(Secret::new(&single.1.unwrap_or_default()));
        users.push(User::new(&name, credential, 0));
    }
    give_default(&mut users, default_permissions);
    access.add_users(users);
}

/// `accounts { NAME: { users: […] } }`: each is a space of subjects of its own.
pub(super) fn accounts(node: &Node, access: &mut Access, context: &mut Context<'_>) {
    let mut trade = Trade::default();
    for account in context.block(node) {
        if account.key == GLOBAL_ACCOUNT {
            context.wrong(&account.place, format!("{GLOBAL_ACCOUNT} is the account of all others"));
            continue;
        }
        let Some(number) = access.add_account(&account.key) else {
            return context.wrong(&account.place, "there are too many accounts".to_owned());
        };
        // An account of a bare list has only users.
        let entries: &[Entry] = match &account.node.value {
            Value::List(_) => {
                let users = users(&account.node, number, context);
                access.add_users(users);
                continue;
            }
            _ => context.block(&account.node),
        };
        let mut members = Vec::new();
        let mut default_permissions = None;
        for entry in entries {
            match entry.key.to_ascii_lowercase().as_str() {
                "users" => members.extend(users(&entry.node, number, context)),
                "default_permissions" => default_permissions = Some(permissions(&entry.node, context)),
                "nkey" => drop(context.text(&entry.node)),
                "exports" => trade.exports(number, &entry.node, context),
                "imports" => trade.imports(number, &entry.node, context),
                "mappings" | "maps" | "limits" | "jetstream" | "msg_trace" => {
                    context.unsupported(Unsupported { name: &entry.key, place: &entry.place });
                }
                _ => context.unknown(entry),
            }
        }
        give_default(&mut members, default_permissions);
        access.add_users(members);
    }
    trade.settle(access, context);
}

fn give_default(users: &mut [User], default: Option<Permissions>) {
    for user in users.iter_mut().filter(|user| user.permissions.is_none()) {
        user.permissions.clone_from(&default);
    }
}

fn users(node: &Node, account: u16, context: &mut Context<'_>) -> Vec<User> {
    let Value::List(nodes) = &node.value else {
        context.wrong(&node.place, "users is a list of blocks".to_owned());
        return Vec::new();
    };
    nodes.iter().filter_map(|node| user(node, account, context)).collect()
}

fn user(node: &Node, account: u16, context: &mut Context<'_>) -> Option<User> {
    let (mut name, mut password, mut nkey, mut own_permissions) = (None, None, None, None);
    for entry in context.block(node) {
        match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => name = context.text(&entry.node),
            "pass" | "password" => password = context.text(&entry.node),
            "nkey" => nkey = context.text(&entry.node),
            "permissions" | "permission" | "authorization" => {
                own_permissions = Some(permissions(&entry.node, context));
            }
            "allowed_connection_types" | "connection_types" | "clients" => {
                context.unsupported(Unsupported { name: &entry.key, place: &entry.place });
            }
            _ => context.unknown(entry),
        }
    }
    let (name, credential) = match (name, nkey) {
        (Some(name), None) => (name, Credential::Password(Secret::new(&password.unwrap_or_default()))),
        (None, Some(key)) if is_user_key(&key) => (key, Credential::Nkey),
        (None, Some(_)) => {
            context.wrong(&node.place, "nkey is not the public key of a user (U…)".to_owned());
            return None;
        }
        _ => {
            context.wrong(&node.place, "a user has either a name or an nkey".to_owned());
            return None;
        }
    };
    if name.is_empty() || !context.names.insert(name.clone()) {
        let message = if name.is_empty() {
            "a user has a name".to_owned()
        } else {
            format!("user '{name}' is there twice")
        };
        context.wrong(&node.place, message);
        return None;
    }
    Some(User { permissions: own_permissions, ..User::new(&name, credential, account) })
}

fn is_user_key(key: &str) -> bool {
    key.starts_with('U') && nkeys::KeyPair::from_public_key(key).is_ok()
}

fn permissions(node: &Node, context: &mut Context<'_>) -> Permissions {
    let mut permissions = Permissions::default();
    for entry in context.block(node) {
        match entry.key.to_ascii_lowercase().as_str() {
            "publish" | "pub" | "import" => permissions.publish = rules(&entry.node, context),
            "subscribe" | "sub" | "export" => permissions.subscribe = rules(&entry.node, context),
            "allow_responses" | "publish_allow_responses" => {
                permissions.responses = responses(&entry.node, context);
            }
            _ => context.unknown(entry),
        }
    }
    if permissions.responses.is_some() && permissions.publish.allow.is_none() {
        // Answers are an exception from nothing else, then.
        permissions.publish.allow = Some(Vec::new());
    }
    permissions
}

/// A pattern, a list of them, or a block of `allow` and `deny`.
fn rules(node: &Node, context: &mut Context<'_>) -> Rules {
    let Value::Block(entries) = &node.value else {
        return Rules { allow: Some(patterns(node, context)), deny: Vec::new() };
    };
    let mut rules = Rules::default();
    for entry in entries {
        match entry.key.to_ascii_lowercase().as_str() {
            "allow" => rules.allow = Some(patterns(&entry.node, context)),
            "deny" => rules.deny = patterns(&entry.node, context),
            _ => context.unknown(entry),
        }
    }
    rules
}

fn patterns(node: &Node, context: &mut Context<'_>) -> Vec<Rule> {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut rules = Vec::new();
    for node in nodes {
        let Some(text) = context.text(node) else { continue };
        match Rule::parse(&text) {
            Some(rule) => rules.push(rule),
            None => {
                context.wrong(&node.place, format!("'{text}' is not a subject, nor a subject and a queue"));
            }
        }
    }
    rules
}

fn responses(node: &Node, context: &mut Context<'_>) -> Option<Responses> {
    if let Value::Bool(wanted) = node.value {
        return wanted.then_some(RESPONSES_DEFAULT);
    }
    let mut responses = RESPONSES_DEFAULT;
    for entry in context.block(node) {
        match entry.key.to_ascii_lowercase().as_str() {
            "max" | "max_msgs" => {
                let count = context.number(&entry.node);
                responses.messages_max = u32::try_from(count).ok().filter(|&count| count > 0);
            }
            "expires" | "ttl" => {
                responses.nanos_max = Some(context.seconds(&entry.node)).filter(|&nanos| nanos > 0);
            }
            _ => context.unknown(entry),
        }
    }
    Some(responses)
}
