//! The key that signs answer links.

use ring::hmac;
use tidings_connections::Signer;

/// The smallest length of a key, in bytes: the length of a signature.
const MIN_BYTES: usize = 32;

/// A key that signs answer links, by HMAC-SHA256.
///
/// All nodes of an installation need the same key. Another key makes all earlier links
/// void.
pub struct LinkKey(hmac::Key);

/// Returned when a secret is too short for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key has {bytes} bytes, and needs at least 32")]
#[non_exhaustive]
pub struct LinkKeyError {
    /// The length of the secret in bytes.
    pub bytes: usize,
}

impl LinkKey {
    /// Creates a key from a secret of at least 32 bytes. White space around the secret
    /// does not count.
    ///
    /// # Errors
    /// Returns an error if the secret is too short.
    pub fn new(secret: &[u8]) -> Result<Self, LinkKeyError> {
        let secret = secret.trim_ascii();
        let bytes = secret.len();
        if bytes < MIN_BYTES {
            return Err(LinkKeyError { bytes });
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkKey").finish_non_exhaustive()
    }
}

impl Signer for LinkKey {
    fn sign(&self, text: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, text).as_ref().to_vec()
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, text, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_knows_its_own_signatures_alone() {
        let key = LinkKey::new(&[7; 32]).unwrap();
        let signature = key.sign(b"text");
        assert!(key.verify(b"text", &signature));
        assert!(!key.verify(b"texts", &signature));
        assert!(!key.verify(b"text", &signature[1..]));
        let other = LinkKey::new(&[8; 32]).unwrap();
        assert!(!other.verify(b"text", &signature));
    }

    #[test]
    fn a_short_key_is_refused() {
        let error = LinkKey::new(b"  secret \n").unwrap_err();
        assert_eq!(error, LinkKeyError { bytes: 6 });
    }
}
