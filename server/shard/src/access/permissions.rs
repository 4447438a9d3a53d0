//! What a user may publish and subscribe to.

use ringbolt_protocol::subject::{Pattern, Subject};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Permissions {
    pub publish: Rules,
    pub subscribe: Rules,
    /// Answers to received requests that may be published whatever `publish` says.
    pub responses: Option<Responses>,
}

#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Rules {
    /// Everything, if there are none.
    pub allow: Option<Vec<Rule>>,
    pub deny: Vec<Rule>,
}

/// A pattern, and perhaps a queue group that it is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    pub pattern: String,
    /// A name, or a pattern of names.
    pub group: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Responses {
    /// Answers to one request; `None`: any number.
    pub messages_max: Option<u32>,
    /// From the request on; `None`: forever.
    pub nanos_max: Option<u64>,
}

/// What a queue group is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupName<'a> {
    /// As people know it: what is denied to it is denied whatever its members add.
    pub own: &'a str,
    /// With what makes it another group than others of that name: what is allowed is allowed to this one.
    pub whole: &'a str,
}

impl<'a> GroupName<'a> {
    pub fn plain(name: &'a str) -> GroupName<'a> {
        GroupName { own: name, whole: name }
    }
}

impl Rule {
    /// `pattern`, or `pattern group`. `None` if it is neither.
    pub fn parse(text: &str) -> Option<Rule> {
        let mut words = text.split_ascii_whitespace();
        let pattern = words.next()?;
        let group = words.next();
        Pattern::relaxed(pattern.as_bytes()).ok()?;
        words.next().is_none().then(|| Rule { pattern: pattern.to_owned(), group: group.map(str::to_owned) })
    }

    fn matches(&self, text: &str) -> bool {
        matches(&self.pattern, text)
    }
}

/// Text with empty tokens matches nothing.
fn matches(pattern: &str, text: &str) -> bool {
    match (Pattern::relaxed(pattern.as_bytes()), Subject::relaxed(text.as_bytes())) {
        (Ok(pattern), Ok(subject)) => pattern.matches(&subject),
        _ => false,
    }
}

impl Permissions {
    pub fn may_publish(&self, subject: &str) -> bool {
        let allowed =
            self.publish.allow.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.matches(subject)));
        allowed && !self.publish.deny.iter().any(|rule| rule.matches(subject))
    }

    /// A rule with a group is about that group alone. Where one is for the group's subject it decides what is
    /// allowed; what is denied without a group is denied to every group too.
    pub fn may_subscribe(&self, pattern: &str, group: Option<GroupName<'_>>) -> bool {
        let allows = |rules: &[Rule]| {
            let fitting = || rules.iter().filter(|rule| rule.matches(pattern));
            let of_groups = || fitting().filter_map(|rule| rule.group.as_deref());
            match group {
                Some(name) if of_groups().next().is_some() => {
                    of_groups().any(|wanted| matches(wanted, name.whole))
                }
                _ => fitting().any(|rule| rule.group.is_none()),
            }
        };
        self.subscribe.allow.as_deref().is_none_or(allows)
            && self.may_receive(pattern, group.map(|name| name.own))
    }

    /// Whether messages for such a subscription must be looked at: a wildcard may reach what is denied.
    pub fn filters(&self, pattern: Pattern<'_>) -> bool {
        pattern.has_wildcard() && !self.subscribe.deny.is_empty()
    }

    /// Whether nothing denies it: a subscription, or the delivery of a message to a wildcard.
    pub fn may_receive(&self, subject: &str, group: Option<&str>) -> bool {
        !self.subscribe.deny.iter().any(|rule| {
            rule.matches(subject)
                && match (&rule.group, group) {
                    (None, _) => true,
                    (Some(wanted), Some(name)) => matches(wanted, name),
                    (Some(_), None) => false,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: Option<&[&str]>, deny: &[&str]) -> Rules {
        let parse = |texts: &[&str]| texts.iter().map(|text| Rule::parse(text).expect("a rule")).collect();
        Rules { allow: allow.map(parse), deny: parse(deny) }
    }

    #[test]
    fn a_publisher_may_what_is_allowed_and_not_denied() {
        let permissions =
            Permissions { publish: rules(Some(&["a.>", "b"]), &["a.secret.*"]), ..Permissions::default() };
        for (subject, allowed) in [
            ("a.b", true),
            ("b", true),
            ("a", false),
            ("c", false),
            ("a.secret.x", false),
            ("a.secret", true),
        ] {
            assert_eq!(permissions.may_publish(subject), allowed, "{subject}");
        }
        assert!(Permissions::default().may_publish("anything"));
    }

    #[test]
    fn a_rule_for_a_group_is_about_that_group() {
        let permissions = Permissions {
            subscribe: rules(Some(&["a", "b v1", "b v2.*"]), &["c", "a bad"]),
            ..Permissions::default()
        };
        for (pattern, group, allowed) in [
            ("a", None, true),
            ("a", Some("any"), true),
            ("a", Some("bad"), false),
            ("b", None, false),
            ("b", Some("v1"), true),
            ("b", Some("v2.x"), true),
            ("b", Some("v3"), false),
            ("c", None, false),
        ] {
            assert_eq!(
                permissions.may_subscribe(pattern, group.map(GroupName::plain)),
                allowed,
                "{pattern} {group:?}"
            );
        }
    }

    #[test]
    fn a_group_with_a_key_is_another_one_and_shares_what_is_denied() {
        let keyed = |own, whole| Some(GroupName { own, whole });
        for (allow, deny, allowed) in [
            (Some(&["a g"][..]), &[][..], false),
            (Some(&["a g;ack;key=K"]), &[], true),
            (Some(&["a *"]), &[], true),
            (Some(&["a"]), &[], true),
            (Some(&["a g;ack;key=K"]), &["a g"], false),
            (None, &["a g"], false),
            (None, &["a other"], true),
        ] {
            let permissions = Permissions { subscribe: rules(allow, deny), ..Permissions::default() };
            let found = permissions.may_subscribe("a", keyed("g", "g;ack;key=K"));
            assert_eq!(found, allowed, "{allow:?} but {deny:?}");
        }
    }

    #[test]
    fn what_is_denied_without_a_group_is_denied_to_every_group() {
        // As nats-server 2.15.1 answers: allowed, denied, the subscription, and whether it may be.
        for (allow, deny, (pattern, group), allowed) in [
            (None, &["a", "a bad"][..], ("a", Some("ok")), false),
            (None, &["a", "a bad"], ("a", Some("bad")), false),
            (None, &["a", "a bad"], ("a", None), false),
            (None, &["a", "a bad"], ("b", Some("bad")), true),
            (None, &["a.*", "> q"], ("a.b", Some("s")), false),
            (None, &["a.*", "> q"], ("a.>", Some("s")), false),
            (None, &["a.*", "> q"], ("b", Some("s")), true),
            (None, &["a *"], ("a", Some("s")), false),
            (None, &["a *"], ("a", None), true),
            (None, &["a q.*"], ("a", Some("q.x")), false),
            (None, &["a q.*"], ("a", Some("q")), true),
            // What a rule for a group allows, no other rule allows to another group.
            (Some(&["a", "a ok"][..]), &["zz"], ("a", Some("other")), false),
            (Some(&["a", "a ok"]), &["zz"], ("a", Some("ok")), true),
            (Some(&["a", "a ok"]), &["zz"], ("a", None), true),
            (Some(&["> r", "a *"]), &["> q", "*"], ("a", Some("r")), false),
        ] {
            let permissions = Permissions { subscribe: rules(allow, deny), ..Permissions::default() };
            let found = permissions.may_subscribe(pattern, group.map(GroupName::plain));
            assert_eq!(found, allowed, "{allow:?} but {deny:?}: {pattern} {group:?}");
        }
    }

    #[test]
    fn a_wildcard_gets_nothing_of_what_is_denied() {
        let permissions =
            Permissions { subscribe: rules(None, &["a.secret", "b q"]), ..Permissions::default() };
        let wild = Pattern::relaxed(b"a.*").expect("a pattern");
        assert!(permissions.may_subscribe("a.*", None) && permissions.filters(wild));
        assert!(!permissions.may_subscribe("a.secret", None));
        assert!(permissions.may_receive("a.b", None) && !permissions.may_receive("a.secret", None));
        assert!(permissions.may_receive("b", None) && !permissions.may_receive("b", Some("q")));
    }

    #[test]
    fn a_rule_is_a_pattern_and_perhaps_a_group() {
        assert_eq!(Rule::parse("a.* g").and_then(|rule| rule.group), Some("g".to_owned()));
        for wrong in ["", "a..b", "a b c"] {
            assert_eq!(Rule::parse(wrong), None, "{wrong}");
        }
    }
}
