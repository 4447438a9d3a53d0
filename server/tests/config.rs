//! Settings through the real process: what `check-config` and `print-config` say, and the exit codes.

use std::path::Path;
use std::process::{Command, Output};

const EXIT_HOST: i32 = 1;
const EXIT_CONFIG: i32 = 2;

fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
    // Settings of whoever runs the tests are not the tests'.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("RINGBOLT_")) {
            command.env_remove(name);
        }
    }
    command
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the server binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn file(directory: &Path, text: &str) -> String {
    let path = directory.join("ringbolt.toml");
    std::fs::write(&path, text).expect("writes");
    path.to_str().expect("UTF-8").to_owned()
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn the_defaults_are_valid() {
    let (code, stdout, stderr) = output(server().arg("check-config"));
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "the configuration is valid\n", ""));
}

#[test]
fn a_flag_wins_over_the_environment_and_the_environment_over_the_file() {
    let directory = directory();
    let path = file(directory.path(), "wait = \"latency\"\nname = \"file\"\nping_interval = \"9s\"\n");
    let (code, stdout, stderr) = output(
        server()
            .args(["print-config", "--config", &path, "--name", "flag"])
            .env("RINGBOLT_NAME", "environment")
            .env("RINGBOLT_WAIT", "efficient"),
    );
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for line in [
        "name = \"flag\"  # --name".to_owned(),
        "wait = \"efficient\"  # RINGBOLT_WAIT".to_owned(),
        format!("ping_interval = \"9s\"  # {path}"),
        "hello_timeout = \"5s\"  # default".to_owned(),
        "# pid_file is not set".to_owned(),
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line} in {stdout}");
    }
}

#[test]
fn what_print_config_prints_is_a_file_that_means_the_same() {
    let flags = ["--cores", "0", "--outbox-bytes-max", "3MiB", "--admin", "off", "--name", "a \"b\" # \\"];
    let (code, printed, _) = output(server().arg("print-config").args(flags));
    assert_eq!(code, Some(0));
    let directory = directory();
    let path = file(directory.path(), &printed);
    let (code, again, stderr) = output(server().args(["print-config", "--config", &path]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let values = |text: &str| -> toml::Table { text.parse().expect("TOML") };
    assert_eq!(values(&printed), values(&again));
    assert_eq!(values(&again)["name"].as_str(), Some(flags[7]));
}

#[test]
fn check_config_names_everything_that_is_wrong_in_one_run() {
    let directory = directory();
    let path = file(directory.path(), "outbox_byte_max = 1\nwait = \"fast\"\nnative = true\n");
    let (code, stdout, stderr) = output(
        server()
            .args(["check-config", "--config", &path, "--payload-bytes-max", "1TiB"])
            .args(["--slow-consumer-by-subject", "a..b=drop-oldest,c.>=drop-oldest,d=wait"])
            .env("RINGBOLT_PING_INTERVALL", "10s")
            .env("RINGBOLT_HELLO_TIMEOUT", "10"),
    );
    assert_eq!((code, stdout.as_str()), (Some(EXIT_CONFIG), ""));
    for sentence in [
        format!("outbox_byte_max: is not a setting (from {path}): did you mean outbox_bytes_max?"),
        format!("native: takes ADDR|off, not a boolean (from {path})"),
        "RINGBOLT_PING_INTERVALL: is not a setting (from the environment): did you mean ping_interval?"
            .into(),
        format!("wait: 'fast' is not one of latency, balanced, efficient (from {path})"),
        "payload_bytes_max: '1TiB' is not a size: write bytes, or 64KiB, 1MiB, 2GiB \
         (from --payload-bytes-max)"
            .into(),
        "slow_consumer_by_subject: 'a..b' is no pattern: the subject has an empty token \
         (from --slow-consumer-by-subject)"
            .into(),
        "slow_consumer_by_subject: 'd=wait' has no policy behind its '=': hold, disconnect, \
         drop-oldest, drop-newest, pause-publisher (from --slow-consumer-by-subject)"
            .into(),
        "hello_timeout: '10' is not a time up to 24h: write 500ms, 10s or 2m (from RINGBOLT_HELLO_TIMEOUT)"
            .into(),
    ] {
        let line = format!("ringbolt-server: {sentence}");
        assert!(stderr.lines().any(|found| found == line), "{line} in {stderr}");
    }
    assert_eq!(stderr.lines().count(), 8, "{stderr}");
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_told_apart() {
    let (code, _, stderr) = output(server().args(["check-config", "--config", "/nonexistent/ringbolt.toml"]));
    assert_eq!(code, Some(EXIT_CONFIG));
    assert!(stderr.contains("/nonexistent/ringbolt.toml: cannot be read ("), "{stderr}");
    assert!(stderr.contains("name an existing TOML file"), "{stderr}");
    let directory = directory();
    let path = file(directory.path(), "name = \"x\"\nwait = \n");
    let (code, _, stderr) = output(server().args(["check-config", "--config", &path]));
    assert_eq!(code, Some(EXIT_CONFIG));
    assert!(stderr.contains(&format!("{path}: is not valid TOML (")), "{stderr}");
    assert!(stderr.trim_end().ends_with("correct line 2"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (flags, told) in [
        (&["--cores", "0", "--shards", "2"][..], "shards: 2 shards do not fit 1 cores"),
        (&["--native", "127.0.0.1:7", "--admin", "127.0.0.1:7"], "admin: 127.0.0.1:7 is also the native"),
        (&["--outbox-bytes-max", "64KiB"], "outbox_bytes_max: must hold two payloads: set it to 2097152"),
        (
            &["--receive-buffers", "32768", "--receive-buffer-bytes", "1MiB"],
            "receive_buffers: a shard's receive buffers may take 4GiB in all: set it to 4096 or less",
        ),
    ] {
        let (code, _, stderr) = output(server().arg("check-config").args(flags));
        assert_eq!(code, Some(EXIT_CONFIG), "{flags:?}");
        assert!(stderr.contains(told), "{told} in {stderr}");
    }
}

#[test]
fn an_unknown_flag_exits_like_a_wrong_setting() {
    let (code, _, stderr) = output(server().arg("--outbox-byte-max=1"));
    assert_eq!(code, Some(EXIT_CONFIG));
    assert!(stderr.contains("--outbox-bytes-max"), "names the closest: {stderr}");
}

#[test]
fn help_shows_every_setting_with_its_environment_variable() {
    let (code, stdout, _) = output(server().arg("--help"));
    assert_eq!(code, Some(0));
    for setting in ringbolt_server::config::settings::SETTINGS {
        assert!(stdout.contains(&format!("--{} <", setting.flag())), "{}", setting.key);
        assert!(stdout.contains(&setting.environment()), "{}", setting.key);
    }
}

#[test]
fn an_obstacle_of_the_host_has_an_exit_code_of_its_own() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, _, stderr) = output(server().args([
        "--cores",
        "0",
        "--native",
        "127.0.0.1:0",
        "--nats",
        "off",
        "--admin",
        &address,
    ]));
    assert_eq!(code, Some(EXIT_HOST), "{stderr}");
    assert!(stderr.contains(&format!("{address} cannot be listened on (")), "{stderr}");
    assert!(stderr.contains("stop what listens there, or choose another with --admin"), "{stderr}");
    let (code, _, stderr) =
        output(server().args(["check-host", "--cores", "1023", "--nats", "off", "--admin", "off"]));
    assert_eq!(code, Some(EXIT_HOST), "{stderr}");
    assert!(stderr.contains("core 1023 does not exist or is not allowed to this process"), "{stderr}");
}
