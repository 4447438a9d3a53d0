//! What the server publishes because a client asked for it, goes where that client might publish itself.

use crate::play::{Play, connect_as, hpub, reply_in, user};
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::{Access, Link, LinkKind, Mapping, Permissions, Responses, Rule, Rules, User};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;

const CONFIRM: &str = "Nats-Expected-Stream: ringbolt\r\n";

fn access() -> Access {
    access_of(user("ann", 0, &["job", "inbox.>"], &["job", "_INBOX.>", "secret.ann"]))
}

fn access_of(ann: User) -> Access {
    let all = |name: &str, account| User { permissions: None, ..user(name, account, &[], &[]) };
    let mut access = Access::default();
    let other = access.add_account("other").expect("one more");
    for user in [ann, all("root", 0), all("bob", other)] {
        access.add_user(user);
    }
    access.links.push(Link {
        kind: LinkKind::Stream,
        from: 0,
        pattern: "job".to_owned(),
        to: other,
        mapping: Mapping::Same,
    });
    access
}

#[test]
fn a_confirmation_goes_where_its_publisher_may_publish_or_to_itself_alone() {
    for (member_shard, listener_shard) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let mut play = Play::with(&access(), small_limits(2));
        let root = play.nats_as(
            listener_shard,
            &connect_as("root"),
            "SUB secret.> 1\r\nSUB inbox.> 2\r\nSUB _INBOX.> 3\r\n",
        );
        play.nats_as(member_shard, &connect_as("root"), "SUB job g;ack 9\r\n");
        let ann = play.nats_as(0, &connect_as("ann"), "SUB _INBOX.> 1\r\n");
        let ask = |play: &mut Play, reply: &str| {
            play.say(ann, hpub("job", reply, CONFIRM, "do").as_bytes());
            (play.hear(ann).contains("\"seq\""), play.hear(root).contains("\"seq\""))
        };
        assert_eq!(ask(&mut play, "secret.x"), (false, false), "{member_shard} {listener_shard}");
        assert_eq!(ask(&mut play, "secret.ann"), (false, false));
        assert_eq!(ask(&mut play, "inbox.x"), (false, true));
        assert_eq!(ask(&mut play, "_INBOX.x"), (true, false), "what it may hear it hears");
        assert_eq!(play.count(Counter::WorkMessages), 4);
    }
}

#[test]
fn rights_that_were_taken_back_count_at_once() {
    let mut play = Play::with(&access(), small_limits(1));
    let root = play.nats_as(0, &connect_as("root"), "SUB inbox.> 2\r\nSUB job g;ack 9\r\n");
    let ann = play.nats_as(0, &connect_as("ann"), &hpub("job", "inbox.x", CONFIRM, "do"));
    assert!(play.hear(root).contains("\"seq\""));
    let mut fewer = access_of(user("ann", 0, &["job"], &["job"]));
    fewer.succeed(&access()).expect("few");
    play.change_access(&fewer);
    play.say(ann, hpub("job", "inbox.x", CONFIRM, "do").as_bytes());
    assert!(!play.hear(root).contains("\"seq\""));
}

#[test]
fn the_answer_to_an_acknowledgement_goes_where_the_member_may_publish_or_to_itself_alone() {
    let mut play = Play::with(&access(), small_limits(1));
    let root = play.nats_as(0, &connect_as("root"), "SUB secret.> 1\r\nSUB inbox.> 2\r\nSUB _INBOX.> 3\r\n");
    let ann = play.nats_as(0, &connect_as("ann"), "SUB _INBOX.> 1\r\nSUB job g;ack 2\r\n");
    for (to, own, others) in [("secret.x", 0, 0), ("inbox.x", 0, 1), ("_INBOX.x", 1, 0)] {
        play.say(root, b"PUB job 2\r\ndo\r\n");
        let reply = reply_in(&play.hear(ann));
        play.say(ann, format!("PUB {reply} {to} 4\r\n+ACK\r\n").as_bytes());
        let heard = (play.hear(ann).matches(to).count(), play.hear(root).matches(to).count());
        assert_eq!(heard, (own, others), "{to}");
    }
    assert_eq!(play.count(Counter::WorkMessages), 0);
}

#[test]
fn a_confirmation_is_not_published_in_an_account_of_others() {
    let mut play = Play::with(&access(), small_limits(1));
    let bob = play.nats_as(0, &connect_as("bob"), "SUB job g;ack 1\r\nSUB inbox.> 2\r\n");
    let ann = play.nats_as(0, &connect_as("ann"), &hpub("job", "inbox.x", CONFIRM, "do"));
    assert!(!play.hear(bob).contains("\"seq\""));
    assert!(!play.hear(ann).contains("\"seq\""));
    assert_eq!(play.count(Counter::WorkMessages), 1);
}

#[test]
fn a_confirmation_finds_its_way_back_through_a_service() {
    let mut linked = access();
    linked.links[0].kind = LinkKind::Service;
    for shard in [0, 1] {
        let mut play = Play::with(&linked, small_limits(2));
        play.nats_as(shard, &connect_as("bob"), "SUB job g;ack 1\r\n");
        let root = play.nats_as(0, &connect_as("root"), "SUB inbox.> 2\r\n");
        let ann = play.nats_as(0, &connect_as("ann"), "SUB _INBOX.> 1\r\n");
        play.say(ann, hpub("job", "secret.x", CONFIRM, "do").as_bytes());
        play.say(ann, hpub("job", "inbox.x", CONFIRM, "do").as_bytes());
        play.say(ann, hpub("job", "_INBOX.x", CONFIRM, "do").as_bytes());
        assert_eq!(play.hear(ann).matches("\"seq\"").count(), 1);
        assert_eq!(play.hear(root).matches("\"seq\"").count(), 1);
    }
}

/// Settings are read again: rules are about groups' own names, a user without rules has no filters left, and
/// what might be answered by a rule that is gone may not be any more.
#[test]
fn a_change_of_rules_counts_for_what_is_there_already() {
    let ann = |subscribe: Option<Rules>, responses: Option<Responses>| {
        let mut access = Access::default();
        let rules = Permissions {
            publish: Rules { allow: Some(Vec::new()), deny: Vec::new() },
            subscribe: subscribe.clone().unwrap_or_default(),
            responses,
        };
        access.add_user(User { permissions: subscribe.map(|_| rules), ..user("ann", 0, &[], &[]) });
        access.add_user(User { permissions: None, ..user("root", 0, &[], &[]) });
        access
    };
    let rule = |text: &str| Rule::parse(text).expect("a rule");
    let group = Rules { allow: Some(vec![rule("jobs w"), rule("ask")]), deny: Vec::new() };
    let secret = Rules { allow: None, deny: vec![rule("a.secret")] };
    let responses = Responses { messages_max: None, nanos_max: None };
    let again = |play: &mut Play, mut access: Access, before: &Access| {
        access.succeed(before).expect("few");
        play.change_access(&access);
        access
    };

    let first = ann(Some(group.clone()), Some(responses));
    let mut play = Play::with(&first, small_limits(1));
    let client = play.nats_as(0, &connect_as("ann"), "SUB jobs w;ack;key=User 1\r\nSUB ask 2\r\n");
    let root = play.nats_as(0, &connect_as("root"), "SUB in.> 1\r\nPUB ask in.x 1\r\nx\r\n");
    assert!(play.hear(client).contains("MSG ask 2 in.x"));
    let second = again(&mut play, ann(Some(group), None), &first);
    assert_eq!(play.hear(client), "", "the group's own name is allowed as before");
    play.say(client, b"PUB in.x 1\r\ny\r\n");
    assert!(play.hear(client).contains("Permissions Violation for Publish to \"in.x\""));
    assert_eq!(play.hear(root), "");

    let third = again(&mut play, ann(Some(secret), None), &second);
    play.say(client, b"SUB a.* 3\r\n");
    play.say(root, b"PUB a.secret 1\r\n1\r\n");
    assert_eq!(play.hear(client), "");
    again(&mut play, ann(None, None), &third);
    play.say(root, b"PUB a.secret 1\r\n2\r\n");
    assert!(play.hear(client).contains("MSG a.secret 3 1"));
}

#[test]
fn who_becomes_another_user_keeps_nothing_of_the_first() {
    let mut access = Access::default();
    access.add_user(user("big", 0, &[">"], &[">"]));
    access.add_user(user("small", 0, &["ok.>"], &["ok.>"]));
    let mut play = Play::with(&access, small_limits(1));
    let client = play.nats_as(0, &connect_as("big"), "SUB secret.> 1\r\n");
    let root = play.nats_as(0, &connect_as("big"), "");
    play.say(client, connect_as("small").as_bytes());
    play.say(client, b"SUB ok.> 2\r\n");
    play.say(root, b"PUB secret.x 1\r\na\r\nPUB ok.x 1\r\nb\r\n");
    let heard = play.hear(client);
    assert!(heard.contains("MSG ok.x 2 1") && !heard.contains("secret"), "{heard}");
}

#[test]
fn a_right_to_publish_is_to_a_subject_and_not_to_its_place_in_the_table() {
    let mut access = Access::default();
    access.add_user(user("root", 0, &[">"], &[">"]));
    access.add_user(user("ann", 0, &["ok.>"], &[]));
    let mut play = Play::with(&access, Limits { subjects_max: 4, ..small_limits(1) });
    let root = play.nats_as(0, &connect_as("root"), "SUB secret 1\r\n");
    let ann = play.nats_as(0, &connect_as("ann"), "");
    // Whatever the table evicts, some round gives the place of what ann published to last to the other.
    for fillers in 0..24 {
        play.say(ann, format!("PUB ok.{fillers} 0\r\n\r\n").as_bytes());
        for filler in 0..fillers {
            play.say(root, format!("PUB filler.{fillers}.{filler} 0\r\n\r\n").as_bytes());
        }
        play.say(root, b"PUB secret 4\r\nroot\r\n");
        assert_eq!(play.hear(root), "MSG secret 1 4\nroot\n");
        play.say(ann, b"PUB secret 3\r\nann\r\n");
        assert!(play.hear(ann).contains("Permissions Violation for Publish to \"secret\""), "{fillers}");
        assert_eq!(play.hear(root), "", "{fillers}");
    }
}
