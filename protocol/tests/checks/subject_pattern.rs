//! Subjects and patterns against a plain second implementation. The fuzz target and the property tests
//! share it.

use ringbolt_protocol::limits::{SUBJECT_BYTES_MAX, TOKENS_MAX};
use ringbolt_protocol::subject::{Pattern, Subject};

/// Input: a pattern, a newline, a subject. Returns whether they match, if both are valid.
pub fn check(input: &[u8]) -> Option<bool> {
    let newline = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (pattern, subject) = (&input[..newline], input.get(newline + 1..).unwrap_or_default());
    for text in [pattern, subject] {
        check_subject(text);
        check_pattern(text);
    }
    let (pattern, subject) = (Pattern::new(pattern).ok()?, Subject::new(subject).ok()?);
    let (wanted, given) = (tokens(pattern.as_str().as_bytes())?, tokens(subject.as_bytes())?);
    let matches = pattern.matches(&subject);
    assert_eq!(matches, naive_match(&wanted, &given), "{pattern:?} {subject:?}");
    if !pattern.has_wildcard() {
        assert_eq!(matches, pattern.as_str() == subject.as_str());
    }
    Some(matches)
}

fn check_subject(text: &[u8]) {
    let valid = tokens(text).is_some_and(|tokens| !tokens.iter().any(|&token| is_wildcard(token)));
    match Subject::new(text) {
        Ok(subject) => {
            assert!(valid, "{subject:?}");
            assert_eq!(subject.as_bytes(), text);
            assert_eq!(subject.tokens().collect::<Vec<_>>().join("."), subject.as_str());
            assert!(Pattern::new(text).expect("a subject is a pattern").matches(&subject));
        }
        Err(error) => assert!(!valid, "{text:?}: {error}"),
    }
}

fn check_pattern(text: &[u8]) {
    let tokens = tokens(text);
    let valid = tokens.as_ref().is_some_and(|tokens| !tokens[..tokens.len() - 1].contains(&">"));
    match Pattern::new(text) {
        Ok(pattern) => {
            assert!(valid, "{pattern:?}");
            assert_eq!(pattern.as_str().as_bytes(), text);
            assert_eq!(Some(pattern.tokens().collect()), tokens);
            assert_eq!(pattern.has_wildcard(), pattern.tokens().any(is_wildcard));
        }
        Err(error) => assert!(!valid, "{text:?}: {error}"),
    }
}

fn is_wildcard(token: &str) -> bool {
    token == "*" || token == ">"
}

fn tokens(text: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(text).ok()?;
    let tokens: Vec<&str> = text.split('.').collect();
    let characters = text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    let filled = tokens.iter().all(|token| !token.is_empty());
    let short = text.len() <= SUBJECT_BYTES_MAX && tokens.len() <= TOKENS_MAX;
    (characters && filled && short).then_some(tokens)
}

fn naive_match(pattern: &[&str], subject: &[&str]) -> bool {
    match (pattern, subject) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        ([token, pattern @ ..], [other, subject @ ..]) => {
            (*token == "*" || token == other) && naive_match(pattern, subject)
        }
        _ => false,
    }
}
