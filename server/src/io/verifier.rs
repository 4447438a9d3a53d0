//! Checks proofs of identity on a thread of their own: a password hash takes milliseconds by design,
//! and no client may wait for another one's.

use super::mesh::Beds;
use super::platform::Offload;
use nkeys::KeyPair;
use ringbolt_ring::Doorbell;
use ringbolt_shard::access::{Verdict, Verification};
use ringbolt_shard::{ConnectionId, ShardId};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

/// Proofs of all shards that may wait; further ones fail at once.
const WAITING_MAX: usize = 4096;

struct Request {
    shard: ShardId,
    id: ConnectionId,
    verification: Verification,
}

/// One shard's end.
#[derive(Debug)]
pub struct Verifier {
    shard: ShardId,
    requests: SyncSender<Request>,
    outcomes: Receiver<(ConnectionId, Verdict)>,
    /// Outcomes may be there.
    ready: Arc<AtomicBool>,
}

/// Starts the thread. It ends with the last shard.
pub fn start(beds: &Beds<Doorbell>) -> io::Result<Vec<Verifier>> {
    let (requests, waiting) = mpsc::sync_channel::<Request>(WAITING_MAX);
    let mut answers = Vec::new();
    let mut verifiers = Vec::new();
    for shard in 0..beds.len() as ShardId {
        let (outcome, outcomes) = mpsc::channel();
        let ready = Arc::new(AtomicBool::new(false));
        answers.push((outcome, Arc::clone(&ready)));
        verifiers.push(Verifier { shard, requests: requests.clone(), outcomes, ready });
    }
    let beds = Arc::clone(beds);
    std::thread::Builder::new().name("verifier".to_owned()).spawn(move || {
        for request in waiting {
            let proven = is_proven(&request.verification);
            let verdict = if proven { Verdict::Proven } else { Verdict::Unproven };
            let (outcome, ready) = &answers[usize::from(request.shard)];
            // A shard that has stopped asks no more.
            let _ = outcome.send((request.id, verdict));
            ready.store(true, Ordering::Release);
            beds[usize::from(request.shard)].wake();
        }
    })?;
    Ok(verifiers)
}

impl Offload for Verifier {
    fn ask(&self, id: ConnectionId, verification: Verification) -> bool {
        self.requests.try_send(Request { shard: self.shard, id, verification }).is_ok()
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn outcome(&self) -> Option<(ConnectionId, Verdict)> {
        self.ready.store(false, Ordering::Relaxed);
        let outcome = self.outcomes.try_recv().ok()?;
        // There may be more.
        self.ready.store(true, Ordering::Relaxed);
        Some(outcome)
    }
}

fn is_proven(verification: &Verification) -> bool {
    match verification {
        Verification::Bcrypt { hash, secret } => bcrypt::verify(secret, hash).unwrap_or(false),
        Verification::Signature { public_key, nonce, signature } => {
            let key = KeyPair::from_public_key(public_key);
            let signature = decode(signature);
            match (key, signature) {
                (Ok(key), Some(signature)) => key.verify(nonce.as_bytes(), &signature).is_ok(),
                _ => false,
            }
        }
    }
}

/// Base64 in the alphabet for URLs or the other one, padded or not: clients differ.
fn decode(text: &str) -> Option<Vec<u8>> {
    let plain: String = text
        .trim_end_matches('=')
        .chars()
        .map(|letter| match letter {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_proven_by_its_hash() {
        let hash = bcrypt::hash("secret", 4).expect("a hash");
        let proof = |secret: &str| Verification::Bcrypt { hash: hash.clone(), secret: secret.to_owned() };
        assert!(is_proven(&proof("secret")));
        assert!(!is_proven(&proof("Secret")));
        assert!(!is_proven(&Verification::Bcrypt { hash: "$2a$".to_owned(), secret: "x".to_owned() }));
    }

    #[test]
    fn a_key_is_proven_by_its_signature_of_the_nonce() {
        let user = KeyPair::new_user();
        let signature = user.sign(b"nonce").expect("a signature");
        let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
        let proof = |nonce: &str, signature: String| Verification::Signature {
            public_key: user.public_key(),
            nonce: nonce.to_owned(),
            signature,
        };
        assert!(is_proven(&proof("nonce", encode(&signature))));
        assert!(!is_proven(&proof("other", encode(&signature))));
        assert!(!is_proven(&proof("nonce", "?".to_owned())));
    }
}
