//! Random command streams of a few clients: mostly right, sometimes odd, sometimes wrong.

/// One thing a client does, before everyone is waited for.
#[derive(Clone, Debug)]
pub struct Step {
    pub client: usize,
    /// Written one after the other, with a pause between.
    pub writes: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub struct Transcript {
    pub clients: usize,
    pub steps: Vec<Step>,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// `@` stands for the transcript's own first token: transcripts do not meet.
const PATTERNS: &[&str] = &[
    "@.a", "@.a", "@.b", "@.a.b", "@.*", "@.>", "@.*.b", "@.a.*", "@.a.>", "@.*.*", "@.a*", "@.>b", "*.@",
    "@.in.*", "@.in.>", "@.é", "@", "@.A",
];
const WRONG_PATTERNS: &[&str] = &["@..a", ".@", "@.", "@.>.a", ".", "..", "@.a..", ">.@"];
const SUBJECTS: &[&str] =
    &["@.a", "@.a", "@.a", "@.b", "@.a.b", "@.c.b", "@.a.b.c", "@", "@.a*", "@.>b", "@.é", "@.A", "@.in.1"];
const ODD_SUBJECTS: &[&str] = &[
    "@.*",
    "@.>",
    "@.>.b",
    "@..a",
    ".@",
    "@.",
    "@.a.*.c",
    "_GR_.@",
    "$GR.@",
    "_GR_.",
    "$SYS.@",
    "$JS.ACK.@",
];
const REPLIES: &[&str] = &["@.in.1", "@.in.2", "@.a", "@.nobody", "5", "x"];
const ODD_REPLIES: &[&str] =
    &["@..in", "@.in.>", "@.in.*", "_R_.@", "_R_.", "_GR_.@", "$GR.@", "$JS.ACK.@", "_R_"];
const SIDS: &[&str] = &["1", "2", "3", "01", "abc", "9999999999999999999999", "Ä-1"];
const WRONG_LINES: &[&str] = &[
    "",
    "X",
    "PUBX",
    "GET / HTTP/1.1",
    "PUB",
    "SUB",
    "UNSUB",
    "HPUB",
    "SUB @.a",
    "SUB a b c d",
    "UNSUB 1 2 3",
    "PUB @.a",
    "PUB @.a x",
    "PUB @.a -1",
    "PUB @.a b c 1",
    "PUB @.a 1234567890",
    "PUB @.a 18446744073709551616",
    "PUB @.a 1048577",
    "PUB @.a 999999999",
    "HPUB @.a 12",
    "HPUB @.a 13 12",
    "HPUB @.a x 12",
    "HPUB @.a 12 1048577",
    "HPUB @.a r q 12 12",
    "-ERR 'x'",
    "-ERR",
    "INFO",
    "INFO x",
    "CONNECT",
    "CONNECT x",
    "CONNECT {",
    "CONNECT []",
    "CONNECT {\"verbose\":1}",
    "CONNECT {\"protocol\":2}",
    "CONNECT {\"protocol\":-1}",
    "CONNECT {\"protocol\":\"1\"}",
    "CONNECT {\"account\":\"A\"}",
    "CONNECT {\"new_account\":true}",
    "CONNECT {\"headers\":false,\"no_responders\":true}",
    "CONNECT {} x",
    "MSG a 1 0",
    "+ERR",
    "A+ a",
    "RS+ a",
    "LS+ a",
];
const HEADER_BLOCKS: &[&str] = &[
    "NATS/1.0\r\n\r\n",
    "NATS/1.0\r\nA: b\r\n\r\n",
    "NATS/1.0 503\r\n\r\n",
    "abcdef",
    "NATS/1.0\r\nA:b\r\nA: c\r\n\r\n",
    "",
];

struct Generator {
    dice: Dice,
    seed: u64,
    published: u32,
    /// The group that permissions name has its member.
    named: bool,
    /// Clients say who they are.
    users: bool,
    /// Clients that connected, and such that subscribed: nats-server loses sight of subscriptions at a
    /// second `CONNECT`.
    connected: [bool; CLIENTS_MAX],
    subscribed: [bool; CLIENTS_MAX],
    client: usize,
}

const CLIENTS_MAX: usize = 3;

impl Transcript {
    pub fn generate(seed: u64, users: bool) -> Transcript {
        let mut generator = Generator {
            dice: Dice(seed),
            seed,
            published: 0,
            users,
            named: false,
            connected: [false; CLIENTS_MAX],
            subscribed: [false; CLIENTS_MAX],
            client: 0,
        };
        let clients = 1 + generator.dice.below(CLIENTS_MAX as u64) as usize;
        let mut steps: Vec<Step> = (0..clients)
            .filter_map(|client| {
                generator.client = client;
                let connect = generator.connect()?;
                Some(Step { client, writes: vec![connect.into_bytes()] })
            })
            .collect();
        for _ in 0..2 + generator.dice.below(9) {
            let client = generator.dice.below(clients as u64) as usize;
            generator.client = client;
            let operations = 1 + generator.dice.below(4);
            let mut text = String::new();
            for _ in 0..operations {
                let operation = generator.operation();
                text += &operation;
                // What stands behind it is still done by nats-server, if it came at once.
                if operation.starts_with("-ERR") {
                    break;
                }
            }
            let writes = generator.cut(text.as_bytes());
            steps.push(Step { client, writes });
        }
        Transcript { clients, steps }
    }
}

impl Generator {
    fn place(&self, text: &str) -> String {
        text.replace('@', &format!("t{}", self.seed))
    }

    fn word(&mut self, usual: &[&str], odd: &[&str], odd_percent: u64) -> String {
        let choices = if self.dice.chance(odd_percent) { odd } else { usual };
        let text = self.dice.pick(choices);
        self.place(text)
    }

    fn connect(&mut self) -> Option<String> {
        // To be somebody else then is another such case.
        let again = (self.connected[self.client] || self.users) && self.subscribed[self.client];
        if again || self.dice.chance(15) {
            return None;
        }
        self.connected[self.client] = true;
        let mut fields = Vec::new();
        for (name, percent) in [("verbose", 40), ("pedantic", 30), ("echo", 70), ("headers", 80)] {
            if self.dice.chance(90) {
                fields.push(format!("\"{name}\":{}", self.dice.chance(percent)));
            }
        }
        if self.dice.chance(60) {
            let wanted = fields.iter().any(|field| field == "\"headers\":true") || self.dice.chance(3);
            fields.push(format!("\"no_responders\":{wanted}"));
        }
        for (text, percent) in
            [("\"protocol\":1", 50), ("\"name\":\"x\"", 30), ("\"Lang\":null", 10), ("\"zz\":[1]", 5)]
        {
            if self.dice.chance(percent) {
                fields.push(text.to_owned());
            }
        }
        if self.users && self.dice.chance(90) {
            let user = self.dice.pick(&["all", "some", "groups", "answers", "other", "guest", "nobody"]);
            let right = if user == "guest" { "guest" } else { "s3cret" };
            let password = if self.dice.chance(95) { right } else { "wrong" };
            fields.push(format!("\"user\":\"{user}\",\"pass\":\"{password}\""));
        }
        let verb = if self.dice.chance(90) { "CONNECT" } else { "connect" };
        let blank = if self.dice.chance(95) { " " } else { "" };
        Some(format!("{verb}{blank}{{{}}}{}", fields.join(","), self.end()))
    }

    fn end(&mut self) -> &'static str {
        if self.dice.chance(93) { "\r\n" } else { "\n" }
    }

    fn blank(&mut self) -> &'static str {
        if self.dice.chance(90) { " " } else { self.dice.pick(&["  ", "\t", " \t "]) }
    }

    fn line(&mut self, verb: &str, words: &[String]) -> String {
        let verb = if self.dice.chance(90) { verb.to_owned() } else { verb.to_lowercase() };
        let mut line = verb;
        for word in words {
            line += self.blank();
            line += word;
        }
        if self.dice.chance(5) {
            line += self.blank();
        }
        line + self.end()
    }

    fn operation(&mut self) -> String {
        match self.dice.below(100) {
            0..30 => self.subscribe(),
            30..40 => self.unsubscribe(),
            40..66 => self.publish(),
            66..80 => self.publish_with_headers(),
            80..90 => {
                let verb = self.dice.pick(&["PING", "PING", "PONG", "+OK", "INFO {}"]);
                self.line(verb, &[])
            }
            90..93 => self.connect().unwrap_or_default(),
            93..96 => {
                let text = self.dice.pick(WRONG_LINES);
                self.place(text) + self.end()
            }
            96 => {
                self.subscribed[self.client] = true;
                format!("SUB {} 1{}", "x".repeat(4088 + self.dice.below(12) as usize), self.end())
            }
            _ => self.wrong_payload(),
        }
    }

    fn subscribe(&mut self) -> String {
        self.subscribed[self.client] = true;
        let mut words = vec![self.word(PATTERNS, WRONG_PATTERNS, 5)];
        // Which member of a group gets a message is chance: there is one each, its sid is its name.
        if self.dice.chance(20) {
            let group = if self.users && self.dice.chance(50) && !std::mem::replace(&mut self.named, true) {
                // The one that permissions name.
                "0.g1".to_owned()
            } else {
                self.place(&format!("@.g{}", self.published))
            };
            self.published += 1;
            words.push(group);
        }
        words.push(self.dice.pick(SIDS).to_owned());
        self.line("SUB", &words)
    }

    fn unsubscribe(&mut self) -> String {
        let mut words = vec![self.dice.pick(SIDS).to_owned()];
        if self.dice.chance(60) {
            words.push(self.dice.pick(&["1", "2", "3", "5", "0", "-1", "x", "1234567890"]).to_owned());
        }
        self.line("UNSUB", &words)
    }

    fn payload(&mut self) -> String {
        self.published += 1;
        let fill = ["", "hello", "\r\n", "PUB @.a 5\r\n", "é"];
        let text = format!("{}{}", self.published, self.dice.pick(&fill));
        match self.dice.below(20) {
            0 => String::new(),
            1 => text + &"y".repeat(self.dice.below(40_000) as usize),
            _ => text,
        }
    }

    fn size(&mut self, bytes: usize) -> String {
        let zeros = if self.dice.chance(5) { "00" } else { "" };
        format!("{zeros}{bytes}")
    }

    fn publish(&mut self) -> String {
        let mut words = vec![self.word(SUBJECTS, ODD_SUBJECTS, 15)];
        if self.dice.chance(45) {
            words.push(self.word(REPLIES, ODD_REPLIES, 12));
        }
        let payload = self.payload();
        words.push(self.size(payload.len()));
        self.line("PUB", &words) + &payload + "\r\n"
    }

    fn publish_with_headers(&mut self) -> String {
        let mut words = vec![self.word(SUBJECTS, ODD_SUBJECTS, 8)];
        if self.dice.chance(45) {
            words.push(self.word(REPLIES, ODD_REPLIES, 8));
        }
        let (block, payload) = (self.dice.pick(HEADER_BLOCKS), self.payload());
        words.push(self.size(block.len()));
        words.push(self.size(block.len() + payload.len()));
        self.line("HPUB", &words) + block + &payload + "\r\n"
    }

    /// A payload that is longer than it said.
    fn wrong_payload(&mut self) -> String {
        let subject = self.word(SUBJECTS, ODD_SUBJECTS, 10);
        let end = self.dice.pick(&["xx\r\n", "x\n", "x\rx\n", "\n\n"]);
        format!("PUB {subject} 1\r\n{end}")
    }

    /// Cuts some streams in pieces.
    fn cut(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = vec![bytes.to_vec()];
        if bytes.len() > 1 && self.dice.chance(15) {
            for _ in 0..1 + self.dice.below(3) {
                let last = pieces.pop().expect("never empty");
                let place = self.dice.below(last.len() as u64 + 1) as usize;
                pieces.push(last[..place].to_vec());
                pieces.push(last[place..].to_vec());
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}
