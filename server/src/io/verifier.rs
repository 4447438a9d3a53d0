//! Checks proofs of identity, for as long as that takes: see [`super::offload`] for where.

use nkeys::KeyPair;
use ringbolt_shard::access::Verification;

pub fn is_proven(verification: &Verification) -> bool {
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
