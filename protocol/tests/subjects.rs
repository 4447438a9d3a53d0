//! Which texts are subjects and patterns, and which pattern matches which subject, as tables.

use ringbolt_protocol::limits::{SUBJECT_BYTES_MAX, TOKENS_MAX};
use ringbolt_protocol::subject::{Pattern, Subject, SubjectError};

#[test]
fn subjects_are_accepted_and_refused_as_documented() {
    use SubjectError::*;
    let cases: [(&[u8], Result<(), SubjectError>); 23] = [
        (b"a", Ok(())),
        (b"orders.eu.created", Ok(())),
        (b"a.B.3.-_/:", Ok(())),
        ("früh.漢字".as_bytes(), Ok(())),
        (b"a*.b>.*c.>d.**.>>", Ok(())),
        (b"$internal.x", Ok(())),
        (b"", Err(Empty)),
        (b".", Err(EmptyToken)),
        (b".a", Err(EmptyToken)),
        (b"a.", Err(EmptyToken)),
        (b"a..b", Err(EmptyToken)),
        (b"a b", Err(Character { byte: b' ' })),
        (b"a\tb", Err(Character { byte: b'\t' })),
        (b"a.b\r\n", Err(Character { byte: b'\r' })),
        (b"a\0", Err(Character { byte: 0 })),
        (b"a\x7f", Err(Character { byte: 0x7f })),
        (b"a\x1f", Err(Character { byte: 0x1f })),
        (b"a.\xff", Err(NotUtf8)),
        (b"a.\xc3.b", Err(NotUtf8)),
        (b"*", Err(Wildcard)),
        (b"a.*.b", Err(Wildcard)),
        (b"a.>", Err(Wildcard)),
        (b">.a", Err(Wildcard)),
    ];
    for (text, expected) in cases {
        assert_eq!(Subject::new(text).map(|_| ()), expected, "{:?}", text.escape_ascii().to_string());
    }
}

#[test]
fn patterns_are_accepted_and_refused_as_documented() {
    use SubjectError::*;
    let cases: [(&[u8], Result<bool, SubjectError>); 14] = [
        (b"a.b", Ok(false)),
        (b"a*.>b.**", Ok(false)),
        (b"*", Ok(true)),
        (b">", Ok(true)),
        (b"*.*.*", Ok(true)),
        (b"a.*.b", Ok(true)),
        (b"a.>", Ok(true)),
        (b"*.>", Ok(true)),
        (b">.a", Err(RestNotLast)),
        (b"a.>.b", Err(RestNotLast)),
        (b">.>", Err(RestNotLast)),
        (b"a..>", Err(EmptyToken)),
        (b"", Err(Empty)),
        (b"a. ", Err(Character { byte: b' ' })),
    ];
    for (text, expected) in cases {
        let has_wildcard = Pattern::new(text).map(|pattern| pattern.has_wildcard());
        assert_eq!(has_wildcard, expected, "{:?}", text.escape_ascii().to_string());
    }
}

#[test]
fn the_limits_themselves_are_allowed_and_one_more_is_not() {
    let longest = "x".repeat(SUBJECT_BYTES_MAX);
    assert!(Subject::new(longest.as_bytes()).is_ok());
    assert!(Pattern::new(longest.as_bytes()).is_ok());
    let longer = "x".repeat(SUBJECT_BYTES_MAX + 1);
    let error = SubjectError::TooLong { bytes: SUBJECT_BYTES_MAX + 1 };
    assert_eq!(Subject::new(longer.as_bytes()), Err(error));
    assert_eq!(Pattern::new(longer.as_bytes()), Err(error));
    let most = vec!["a"; TOKENS_MAX].join(".");
    assert!(Subject::new(most.as_bytes()).is_ok());
    let more = vec!["a"; TOKENS_MAX + 1].join(".");
    assert_eq!(Subject::new(more.as_bytes()), Err(SubjectError::TooManyTokens));
    assert_eq!(Pattern::new(more.as_bytes()), Err(SubjectError::TooManyTokens));
}

#[test]
fn patterns_match_exactly_the_subjects_they_stand_for() {
    for (pattern, matching, other) in [
        ("a.b", &["a.b"][..], &["a", "a.b.c", "a.bb", "A.b", "b.a"][..]),
        ("*", &["a", "ab"], &["a.b"]),
        ("a.*", &["a.b", "a.c"], &["a", "a.b.c", "b.a"]),
        ("*.b", &["a.b", "é.b"], &["b", "a.c", "a.a.b"]),
        ("a.*.c", &["a.b.c", "a.**.c"], &["a.c", "a.b.b.c", "a.b.d"]),
        (">", &["a", "a.b", "a.b.c.d"], &[]),
        ("a.>", &["a.b", "a.b.c"], &["a", "b.c", "ab.c"]),
        ("a.*.>", &["a.b.c", "a.b.c.d"], &["a.b", "a"]),
        ("*.*", &["a.b"], &["a", "a.b.c"]),
        ("a*", &["a*"], &["ab", "a"]),
        (">>.b", &[">>.b"], &["a.b"]),
    ] {
        let parsed = Pattern::new(pattern.as_bytes()).expect("a valid pattern");
        let verdict =
            |subject: &str| parsed.matches(&Subject::new(subject.as_bytes()).expect("a valid subject"));
        for subject in matching {
            assert!(verdict(subject), "{pattern} stands for {subject}");
        }
        for subject in other {
            assert!(!verdict(subject), "{pattern} does not stand for {subject}");
        }
    }
}

#[test]
fn every_error_says_what_is_wrong() {
    for (text, words) in [
        (&b""[..], "empty"),
        (b"a..b", "empty token"),
        (b"a b", "0x20"),
        (b"\xff", "UTF-8"),
        (b"a.*", "wildcard"),
        (b"a.>.b", "wildcard"),
        (&[b'x'; 300], "300 bytes"),
    ] {
        let message = Subject::new(text).expect_err("not a subject").to_string();
        assert!(message.contains(words), "{message}");
    }
    let message = Pattern::new(b">.a").expect_err("not a pattern").to_string();
    assert!(message.contains("last token"), "{message}");
}

#[test]
fn the_relaxed_rules_are_those_of_the_nats_protocol() {
    let long = "a".repeat(5000);
    let deep = ["t"; 100].join(".");
    for text in ["a", "a.b", "a.*.b", "a.>.b", ">", "*", "a\u{1}b", "é.ü", "a*b", "a.>b", &long, &deep] {
        let subject = Subject::relaxed(text.as_bytes()).expect(text);
        assert_eq!(subject.as_str(), text);
        let pattern = Pattern::relaxed(text.as_bytes());
        assert_eq!(pattern.is_err(), text == "a.>.b", "{text}");
        if let Ok(strict) = Pattern::new(text.as_bytes()) {
            assert_eq!(pattern, Ok(strict));
        }
    }
    for text in ["", ".", "a.", ".a", "a..b", "some.longer.subject..with.an.empty.token"] {
        assert!(Subject::relaxed(text.as_bytes()).is_err(), "{text}");
        assert!(Pattern::relaxed(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(Subject::relaxed(b"a\xff"), Err(SubjectError::NotUtf8));
    assert_eq!(Pattern::relaxed(b"a\xff"), Err(SubjectError::NotUtf8));
    let literal = Subject::relaxed(b"a.*").expect("a subject");
    assert!(Pattern::relaxed(b"a.*").expect("a pattern").matches(&literal));
    assert!(!Pattern::relaxed(b"a.b").expect("a pattern").matches(&literal));
}
