//! Faults that were mended, put back one by one: each must be found by the test that is named for it.
//!
//! A patch that no longer applies fails the first test here. With `RINGBOLT_FAULTS=1` the second builds the
//! server with each fault in turn and runs its finder, up to a minute each; `RINGBOLT_FAULTS=a,b` with those
//! of these names.

mod checks;
mod patch;

use patch::Patch;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A fault, as the name of its patch; the package and test target of the test that finds it; and that test.
const FAULTS: &[(&str, &str, &str, &str)] = &[
    (
        "a-reply-to-a-group-counts-too",
        "ringbolt-server",
        "shard",
        "requests::a_reply_that_a_queue_group_hears_too_is_one",
    ),
    (
        "account-takes-the-number-of-one-that-went",
        "ringbolt-shard",
        "lib",
        "access::tests::a_number_stands_for_the_same_account_for_ever",
    ),
    (
        "accounts-have-no-place-before-a-reload",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "accounts-numbered-by-place",
        "ringbolt-shard",
        "lib",
        "access::tests::a_number_stands_for_the_same_account_for_ever",
    ),
    (
        "all-of-an-acknowledgement-is-read",
        "ringbolt-shard",
        "lib",
        "work::acknowledgement::tests::of_what_is_longer_the_beginning_is_read",
    ),
    (
        "answer-to-a-request-acknowledges",
        "ringbolt-server",
        "border",
        "acknowledgements::an_answer_to_a_request_acknowledges_nothing",
    ),
    (
        "answers-beyond-the-rights-of-who-asked",
        "ringbolt-server",
        "border",
        "rights::a_confirmation_goes_where_its_publisher_may_publish_or_to_itself_alone",
    ),
    (
        "answers-held-are-not-counted",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "answers-overtake-those-that-wait",
        "ringbolt-server",
        "border",
        "answers::a_client_is_answered_in_the_order_it_asked_whatever_an_answer_waits_for",
    ),
    (
        "bytes-of-a-closed-outbox-stay-counted",
        "ringbolt-server",
        "simulation",
        "edge::promises_hold_whatever_the_kernel_does",
    ),
    (
        "bytes-of-a-finished-message-stay-counted",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "bytes-of-a-newcomer-that-went-stay-counted",
        "ringbolt-server",
        "border",
        "admission::what_all_say_before_they_are_admitted_is_bounded_and_others_are_served",
    ),
    (
        "bytes-of-a-shed-batch-stay-counted",
        "ringbolt-shard",
        "lib",
        "mesh::link::tests::lanes_overtake_each_other_and_a_fence_is_last",
    ),
    (
        "bytes-of-a-taken-batch-stay-counted",
        "ringbolt-server",
        "simulation",
        "edge::promises_hold_whatever_the_kernel_does",
    ),
    (
        "bytes-of-dropped-messages-stay-counted",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "bytes-of-expired-messages-stay-counted",
        "ringbolt-server",
        "shard",
        "deadlines::what_nobody_wants_any_more_is_dropped_from_the_outbox",
    ),
    (
        "bytes-of-taken-letters-stay-counted",
        "ringbolt-server",
        "border",
        "server_headers::a_dead_letter_that_is_sent_again_counts_anew",
    ),
    (
        "bytes-of-who-is-admitted-stay-counted",
        "ringbolt-server",
        "border",
        "admission::what_all_say_before_they_are_admitted_is_bounded_and_others_are_served",
    ),
    (
        "bytes-that-left-a-lane-stay-entered",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "clients-publish-in-the-servers-place",
        "ringbolt-server",
        "border",
        "server_subjects::nobody_publishes_what_only_the_server_says",
    ),
    (
        "closed-publishers-stay-held-back",
        "ringbolt-server",
        "simulation",
        "edge::promises_hold_whatever_the_kernel_does",
    ),
    (
        "closings-lose-their-reason",
        "ringbolt-server",
        "border",
        "endings::the_client_the_metrics_and_the_edge_are_told_the_same_reason",
    ),
    (
        "connections-that-went-stay-counted",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "deadlines-of-other-shards-are-not-read",
        "ringbolt-server",
        "shard",
        "deadlines::the_earliest_deadline_of_a_lane_goes_first_and_lanes_before_each_other",
    ),
    (
        "deliveries-counted-by-their-publisher",
        "ringbolt-server",
        "border",
        "server_headers::a_publisher_does_not_say_how_often_its_message_was_delivered",
    ),
    (
        "ending-forgotten-without-buffers",
        "ringbolt-server",
        "simulation",
        "edge::promises_hold_whatever_the_kernel_does",
    ),
    (
        "ends-on-a-connection-that-is-looked-up",
        "ringbolt-server",
        "simulation",
        "edge::opening::a_connection_that_is_looked_up_holds_a_drain_up_for_no_longer_than_its_time",
    ),
    (
        "ends-with-messages-for-other-shards",
        "ringbolt-server",
        "simulation",
        "edge::drain::a_shard_without_clients_sends_what_it_accepted_before_it_ends",
    ),
    (
        "expired-messages-stay-waited-for",
        "ringbolt-server",
        "shard",
        "deadlines::what_nobody_wants_any_more_is_dropped_from_the_outbox",
    ),
    (
        "first-use-of-a-place-is-nobodys",
        "ringbolt-shard",
        "lib",
        "table::tests::it_holds_what_a_list_of_pairs_holds",
    ),
    (
        "group-rule-overrides-a-plain-deny",
        "ringbolt-shard",
        "lib",
        "access::permissions::tests::what_is_denied_without_a_group_is_denied_to_every_group",
    ),
    (
        "groups-without-members-stay",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "hops-of-one-group-count-for-the-next",
        "ringbolt-server",
        "border",
        "acknowledgements::each_group_passes_a_message_on_by_itself",
    ),
    (
        "ids-of-ended-subscriptions-stay-taken",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "interest-in-an-unknown-account-ends-the-shard",
        "ringbolt-server",
        "shard",
        "accounts::interest_in_an_account_that_a_shard_does_not_know_yet_is_kept",
    ),
    (
        "lanes-are-promised-more-than-there-is",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "large-message-that-waits-counts-as-starving",
        "ringbolt-server",
        "shard",
        "lanes::a_large_message_with_a_deadline_may_wait_behind_many_small_ones",
    ),
    (
        "late-close-takes-the-next-connection",
        "ringbolt-server",
        "simulation",
        "edge::promises_hold_whatever_the_kernel_does",
    ),
    (
        "long-line-judged-by-where-it-is-cut",
        "ringbolt-protocol",
        "nats",
        "a_line_of_any_length_means_the_same_wherever_it_is_cut",
    ),
    (
        "lowered-limits-break-what-was-promised",
        "ringbolt-server",
        "border",
        "acknowledgements::what_was_promised_before_the_limits_fell_is_delivered",
    ),
    (
        "members-are-given-what-they-may-not-have",
        "ringbolt-server",
        "border",
        "acknowledgements::what_no_member_may_have_keeps_nothing_from_them",
    ),
    (
        "members-elsewhere-are-not-heard-of",
        "ringbolt-server",
        "border",
        "acknowledgements::what_a_full_link_does_not_take_is_handed_over_when_it_does",
    ),
    (
        "messages-let-go-stay-held",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "messages-of-a-finished-group-stay-counted",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "messages-taken-back-stay-in-flight",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "messages-taken-out-stay-waiting",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "messages-that-are-given-stay-due",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "native-clients-get-subjects-beyond-their-limits",
        "ringbolt-server",
        "border",
        "promises::a_native_client_gets_no_subject_beyond_what_it_was_told",
    ),
    (
        "native-clients-that-went-stay-counted",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "newcomers-send-without-bound",
        "ringbolt-server",
        "border",
        "admission::what_all_say_before_they_are_admitted_is_bounded_and_others_are_served",
    ),
    (
        "nodes-that-lead-nowhere-are-lost",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "numbers-are-given-from-a-full-table",
        "ringbolt-server",
        "border",
        "numbers::numbers_of_who_ends_are_free_for_others_however_it_ends",
    ),
    (
        "numbers-of-a-closed-connection-stay-counted",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "numbers-that-went-stay-pinned",
        "ringbolt-server",
        "border",
        "numbers::numbers_of_who_ends_are_free_for_others_however_it_ends",
    ),
    (
        "open-breakers-stay-open",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "patterns-that-nobody-wants-stay",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "payloads-that-a-batch-shares-weigh-nothing",
        "ringbolt-server",
        "simulation",
        "shards::what_is_promised_holds_in_every_order_of_events",
    ),
    (
        "places-go-with-one-of-several-subscriptions",
        "ringbolt-server",
        "border",
        "acknowledgements::a_key_stays_with_its_connection_until_that_is_no_member",
    ),
    (
        "places-of-those-that-ended-are-not-counted",
        "ringbolt-shard",
        "lib",
        "router::subscribers::tests::they_keep_their_order_whoever_leaves",
    ),
    (
        "publisher-writes-the-servers-headers",
        "ringbolt-server",
        "border",
        "server_headers::headers_of_the_server_are_taken_out_of_what_clients_publish_and_all_else_is_kept",
    ),
    (
        "reload-lowers-what-a-client-was-promised",
        "ringbolt-server",
        "end_to_end",
        "reload::a_lower_limit_is_for_those_who_come_after_it",
    ),
    (
        "replies-watched-at-what-is-no-subject",
        "ringbolt-server",
        "border",
        "replies::a_reply_subject_that_is_none_is_not_routed",
    ),
    (
        "requests-forgotten-stay-due",
        "ringbolt-server",
        "shard",
        "requests::a_reply_behind_the_deadline_is_dropped_wherever_it_comes_from",
    ),
    (
        "room-for-more-than-hello",
        "ringbolt-server",
        "border",
        "admission::before_hello_a_native_client_has_room_for_no_more_than_one",
    ),
    (
        "room-that-comes-is-not-heard-of",
        "ringbolt-server",
        "shard",
        "work::room_in_an_outbox_is_used_when_it_comes_and_not_with_the_next_tick",
    ),
    (
        "sleeps-on-a-full-link",
        "ringbolt-server",
        "simulation",
        "edge::promises_hold_whatever_the_kernel_does",
    ),
    (
        "slot-taken-before-its-close-is-reported",
        "ringbolt-server",
        "simulation",
        "edge::promises_hold_whatever_the_kernel_does",
    ),
    (
        "stuck-batch-wakes-nobody",
        "ringbolt-server",
        "simulation",
        "edge::promises_hold_whatever_the_kernel_does",
    ),
    (
        "subjects-of-a-cut-client-stay-pinned",
        "ringbolt-server",
        "border",
        "numbers::numbers_of_who_ends_are_free_for_others_however_it_ends",
    ),
    (
        "subjects-of-forgotten-requests-stay-counted",
        "ringbolt-server",
        "shard",
        "requests::a_reply_behind_the_deadline_is_dropped_wherever_it_comes_from",
    ),
    (
        "the-fed-go-first-for-buffers",
        "ringbolt-server",
        "simulation",
        "edge::fairness::senders_without_a_buffer_are_served_in_turn",
    ),
    (
        "timers-do-not-know-who-is-before-them",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "trimmed-id-ends-a-strangers-subscription",
        "ringbolt-server",
        "border",
        "subscriptions::an_id_with_odd_bytes_ends_its_own_subscription_and_once",
    ),
    (
        "what-a-full-link-refused-is-not-looked-at-again",
        "ringbolt-server",
        "border",
        "acknowledgements::what_a_full_link_does_not_take_is_handed_over_when_it_does",
    ),
    (
        "what-is-handed-over-is-judged-anew",
        "ringbolt-server",
        "border",
        "acknowledgements::what_was_kept_once_waits_where_it_is_handed_over_to",
    ),
    (
        "what-is-past-waits-for-its-predecessor",
        "ringbolt-server",
        "shard",
        "deadlines::what_is_past_while_it_waits_for_an_earlier_message_is_not_sent",
    ),
    (
        "who-is-verified-may-take-for-ever",
        "ringbolt-server",
        "border",
        "admission::who_is_not_admitted_in_time_is_closed_whatever_it_waits_for",
    ),
    (
        "who-leaves-takes-the-turns-of-others",
        "ringbolt-server",
        "shard",
        "work::everyone_has_one_turn_in_a_round_whoever_leaves",
    ),
    (
        "who-settled-the-last-stays-leaving",
        "ringbolt-server",
        "simulation",
        "work::every_message_is_acknowledged_dead_or_counted",
    ),
    (
        "words-of-a-member-write-headers",
        "ringbolt-server",
        "border",
        "texts::why_a_member_failed_a_message_is_one_line_of_a_letter",
    ),
    (
        "youngest-first-for-buffers",
        "ringbolt-server",
        "simulation",
        "edge::fairness::senders_without_a_buffer_are_served_in_turn",
    ),
];

/// The target of the tests beside the code of a package.
const LIB: &str = "lib";

/// Faults that only some orders of events show are found within so many.
const SEEDS: &str = "10000";

const PATCHES: &str = "server/tests/fault_finders/patches";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the server is in the workspace").to_owned()
}

fn read(name: &str) -> Patch {
    let path = root().join(PATCHES).join(name).with_extension("patch");
    Patch::parse(&std::fs::read_to_string(path).expect("a patch for every fault"))
}

#[test]
fn every_fault_can_be_put_back_and_has_its_row() {
    let document = std::fs::read_to_string(root().join("docs/TESTING.md")).expect("it is there");
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(root().join(PATCHES)).expect("a folder") {
        let path = entry.expect("an entry").path();
        names.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
    }
    names.sort();
    let known: Vec<&str> = FAULTS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, known, "each patch has its row here, in order");
    for (name, package, target, test) in FAULTS {
        read(name).applied_to(&root()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let row = format!("| `{name}` | `{package}`, `{target}` | `{test}` |");
        assert!(document.contains(&row), "docs/TESTING.md lacks the row\n{row}");
    }
}

/// Runs one test of the tree, and returns what it printed. `seeds`: runs that are drawn, if not as many as
/// usual.
fn run(folder: &Path, (package, target, test): (&str, &str, &str), seeds: Option<&str>) -> String {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["test", "--package", package]);
        let target: &[&str] = if target == LIB { &["--lib"] } else { &["--test", target] };
        command.args(target).args(arguments).current_dir(folder);
        command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults-built"));
        if let Some(seeds) = seeds {
            command.env("RINGBOLT_SEEDS", seeds);
        }
        command.output().expect("cargo runs")
    };
    let built = cargo(&["--no-run"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let Output { stdout, stderr, .. } = cargo(&[test]);
    [stdout, stderr].iter().map(|bytes| String::from_utf8_lossy(bytes)).collect()
}

#[test]
fn every_fault_is_found() {
    let Ok(asked) = std::env::var("RINGBOLT_FAULTS") else {
        println!("not run: RINGBOLT_FAULTS=1 builds the server with each fault, which takes minutes");
        return;
    };
    let names: BTreeSet<&str> = asked.split(',').collect();
    let faults: Vec<_> = FAULTS.iter().filter(|(name, ..)| asked == "1" || names.contains(name)).collect();
    assert!(asked == "1" || faults.len() == names.len(), "some of {asked} is no fault");
    // A copy of the tree, and what is built of it: a server with a fault is nobody else's.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let _ = std::fs::remove_dir_all(&folder);
    patch::copy_tree(&root(), &folder);
    let finders: BTreeSet<_> =
        faults.iter().map(|&&(_, package, target, test)| (package, target, test)).collect();
    for (package, target, test) in finders {
        let words = run(&folder, (package, target, test), None);
        assert!(words.contains(&format!("{test} ... ok")), "{test} fails without a fault:\n{words}");
    }
    let mut missed = Vec::new();
    for (name, package, target, test) in faults {
        let patch = read(name);
        let files = patch.applied_to(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let before = patch::write(&folder, &files);
        let words = run(&folder, (package, target, test), Some(SEEDS));
        // What a check must find, no other assert may find before it.
        let check = checks::CHECKS.iter().find(|(_, fault)| fault == name);
        let noticed = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).expect("a file of the copy");
            checks::panicked(&words, file, &text)
        };
        let found =
            words.contains(&format!("{test} ... FAILED")) && check.is_none_or(|(file, _)| noticed(file));
        println!("{name}: {}", if found { "found" } else { "missed" });
        if !found {
            missed.push(*name);
        }
        patch::write(&folder, &before);
    }
    std::fs::remove_dir_all(&folder).expect("the copy is ours");
    assert!(missed.is_empty(), "nobody finds {missed:?}");
}
