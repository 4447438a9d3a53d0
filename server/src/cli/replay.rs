//! `ringbolt-server replay`: runs the capture of a shard again, and compares what it answers.

use super::words::{complain, say};
use crate::capture::{Capture, Outcome, Payloads, describe, replay};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The replay answers something else.
const EXIT_DIFFERENT: u8 = 1;
/// The file is not whole, or none.
const EXIT_DAMAGED: u8 = 2;

/// The settings of a server, which are flags of every command, mean nothing to this one.
const HELP: &str = "\
{about-with-newline}
{usage-heading} ringbolt-server replay [--verbose] [--partial] FILE

  FILE       The capture: shard-N.ringbolt-capture
  --verbose  Print every record before it is run
  --partial  Replay a file that was cut or damaged as far as it is whole

Exit status: 0 if everything is the same; 1 if something differs, which is named by its record, its time
and its byte in the file; 2 if the file is damaged, which is named likewise.
";

pub fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("replay")
        .about("Runs a shard again from its capture, without sockets, and compares what it sends")
        .help_template(HELP)
        .arg(Arg::new("file").value_name("FILE").required(true))
        .arg(flag("verbose"))
        .arg(flag("partial"))
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let path = Path::new(matches.get_one::<String>("file").expect("clap requires it"));
    let read = std::fs::read(path).map_err(|error| error.to_string());
    let run = read.as_deref().map_err(Clone::clone).and_then(|file| {
        let capture = Capture::read(file).map_err(|damage| damage.to_string())?;
        Ok(run(path, &capture, matches))
    });
    run.unwrap_or_else(|error| {
        complain(format_args!("{}: {error}", path.display()));
        ExitCode::from(EXIT_DAMAGED)
    })
}

fn run(path: &Path, capture: &Capture<'_>, matches: &ArgMatches) -> ExitCode {
    let told = say(&about(path, capture));
    if told != ExitCode::SUCCESS {
        return told;
    }
    let own = env!("CARGO_PKG_VERSION");
    if capture.header.version != own {
        complain(format_args!("it was written by {}, this is {own}: it may differ", capture.header.version));
    }
    if let Some(damage) = &capture.damage {
        complain(format_args!("{}: {damage}", path.display()));
        if !matches.get_flag("partial") {
            complain("replay what stands before that with --partial");
            return ExitCode::from(EXIT_DAMAGED);
        }
    }
    let verbose = matches.get_flag("verbose");
    let began = Instant::now();
    let outcome = replay(capture, |place, at, entry| {
        if verbose {
            let at = Duration::from_nanos(at.0).as_secs_f64();
            // Who reads it may have seen enough; the outcome counts.
            let _ = say(&format!("{} byte {} {at:.9} {}\n", place.record, place.offset, describe(entry)));
        }
    });
    match outcome {
        Outcome::Same { events } => {
            let seconds = began.elapsed().as_secs_f64();
            say(&format!("replayed {events} events to the same bytes in {seconds:.1} s\n"))
        }
        Outcome::Panicked { events } => say(&format!("replayed {events} events to the same panic\n")),
        Outcome::Differs(difference) => {
            let at = Duration::from_nanos(difference.at.0).as_secs_f64();
            complain(format_args!(
                "record {} (byte {} of the file, {at:.9} s): {}",
                difference.place.record, difference.place.offset, difference.what
            ));
            ExitCode::from(EXIT_DIFFERENT)
        }
    }
}

fn about(path: &Path, capture: &Capture<'_>) -> String {
    let header = &capture.header;
    let payloads = match header.payloads {
        Payloads::Lengths => "their lengths only",
        Payloads::Kept => "kept",
    };
    let end = capture.end.map_or("it does not say".to_owned(), |end| end.to_string());
    format!(
        "capture   {}\nserver    {} {}\nshard     {} of {}\npayloads  {payloads}\nrecords   {}\n\
         duration  {:.1} s\nend       {end}\n",
        path.display(),
        header.identity.server_name,
        header.version,
        header.shard,
        header.limits.shards,
        capture.records,
        Duration::from_nanos(capture.nanos).as_secs_f64(),
    )
}
