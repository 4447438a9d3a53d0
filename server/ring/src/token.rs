//! How an operation is named in the 64 bits that travel through the kernel.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Accept = 1,
    Receive,
    Send,
    Connect,
    ShutDown,
    Close,
    Doorbell,
    Cancel,
    Install,
}

impl Kind {
    pub(crate) fn token(self, index: u32) -> u64 {
        u64::from(self as u8) << 56 | u64::from(index)
    }

    pub(crate) fn of(token: u64) -> (Kind, u32) {
        let kind = match (token >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Connect,
            5 => Kind::ShutDown,
            6 => Kind::Close,
            7 => Kind::Doorbell,
            8 => Kind::Cancel,
            9 => Kind::Install,
            other => unreachable!("the kernel returned a token that was never issued: kind {other}"),
        };
        (kind, token as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn a_token_returns_its_kind_and_index() {
        for kind in
            [Kind::Accept, Kind::Receive, Kind::Send, Kind::Connect, Kind::Close, Kind::Cancel, Kind::Install]
        {
            for index in [0, 1, u32::MAX] {
                assert_eq!(Kind::of(kind.token(index)), (kind, index));
            }
        }
    }
}
