//! Two clients that talk while others do what they like.

use crate::nats::Nats;
use std::time::{Duration, Instant};

pub struct Honest {
    asking: Nats,
    answering: Nats,
    number: u64,
}

impl Honest {
    pub fn connect(address: &str, user: Option<&str>) -> Honest {
        let join = |pattern: &str| {
            let mut nats = Nats::connect_as(address, user);
            nats.say(&format!("SUB {pattern} 1\r\n"));
            nats.sync();
            nats
        };
        Honest { asking: join("honest.answer"), answering: join("honest.question"), number: 0 }
    }

    /// Asks, answers, and reads the answer: nothing else is heard.
    pub fn talk(&mut self) -> Duration {
        self.number += 1;
        let asked = Instant::now();
        let word = format!("{:020}\r\n", self.number);
        self.asking.say(&format!("PUB honest.question 20\r\n{word}"));
        heard(&mut self.answering, "honest.question", &word);
        self.answering.say(&format!("PUB honest.answer 20\r\n{word}"));
        heard(&mut self.asking, "honest.answer", &word);
        asked.elapsed()
    }
}

fn heard(nats: &mut Nats, subject: &str, word: &str) {
    let heard = String::from_utf8(nats.await_word(word)).expect("ASCII");
    // What a server says of itself may come at any time.
    let lines: String = heard
        .split_inclusive("\r\n")
        .filter(|line| *line != "PING\r\n" && !line.starts_with("INFO "))
        .collect();
    assert_eq!(lines, format!("MSG {subject} 1 20\r\n{word}"), "once, and nothing of others");
}
