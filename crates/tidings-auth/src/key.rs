//! Signature algorithms, and keys from files.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::{DecodingKey, EncodingKey};

/// A signature algorithm of tokens. `none` is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256. Both sides share one secret.
    HS256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// Returned when a text is not the name of an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an algorithm: HS256, RS256, ES256 or EdDSA")]
pub struct UnknownAlgorithm;

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 4] = [Self::HS256, Self::RS256, Self::ES256, Self::EdDSA];

    /// Returns the algorithm's name in the header of a token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }

    pub(crate) fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::HS256 => jsonwebtoken::Algorithm::HS256,
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl Algorithm {
    pub(crate) fn family(self) -> jsonwebtoken::AlgorithmFamily {
        match self {
            Self::HS256 => jsonwebtoken::AlgorithmFamily::Hmac,
            Self::RS256 => jsonwebtoken::AlgorithmFamily::Rsa,
            Self::ES256 => jsonwebtoken::AlgorithmFamily::Ec,
            Self::EdDSA => jsonwebtoken::AlgorithmFamily::Ed,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
            .ok_or(UnknownAlgorithm)
    }
}

/// The minimum length of a secret in bytes: the length of the hash (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;

/// The reason why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file is empty or blank. Write a secret into it.
    #[error("the key is empty: write a secret with `head -c 32 /dev/urandom | base64`")]
    Empty,
    /// The secret has fewer than 32 bytes. It could be guessed with the help of one token.
    #[error(
        "the secret has {bytes} bytes, so it can be guessed from a token: HS256 needs {MIN_SECRET} \
         random bytes, as `head -c 32 /dev/urandom | base64` writes them"
    )]
    Short {
        /// The length of the secret in bytes.
        bytes: usize,
    },
    /// The file contains a public or private key instead of a secret. Other people may know it.
    #[error(
        "this is a key of another algorithm, not a secret for HS256: name its algorithm with \
         --jwt-algorithm RS256, ES256 or EdDSA"
    )]
    NotSecret,
    /// The file does not contain the kind of key that the algorithm needs.
    #[error("this is not {expected}, which {algorithm} needs")]
    Malformed {
        /// The algorithm.
        algorithm: Algorithm,
        /// The kind of key that the algorithm needs.
        expected: &'static str,
    },
}

/// Returns the secret in a file, without the line break that editors append.
///
/// # Errors
/// Returns an error if the secret is empty or too short, or if it is a public or private key. A
/// server that used a public key as its secret would accept everyone's tokens.
fn secret(bytes: &[u8]) -> Result<&[u8], KeyError> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(KeyError::Empty);
    }
    if is_known_format(bytes) {
        return Err(KeyError::NotSecret);
    }
    if bytes.len() < MIN_SECRET {
        return Err(KeyError::Short { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Returns true if these bytes are a key file: PEM, DER, JWK, JWKS or SSH.
fn is_known_format(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    // Text may precede the first line of a PEM (RFC 7468 §5.2).
    let pem = text.windows(11).any(|part| part == b"-----BEGIN ");
    let ssh = [&b"ssh-"[..], b"ecdsa-sha2-", b"sk-ssh-"];
    let json = || serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(text);
    pem || is_der(bytes)
        || ssh.iter().any(|kind| text.starts_with(kind))
        || (text.starts_with(b"{") && json().is_ok())
}

/// Returns true if these bytes are one ASN.1 sequence of exactly this length, like a DER key.
fn is_der(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, length @ 0..=0x7f, rest @ ..] => rest.len() == usize::from(*length),
        [0x30, 0x81, length, rest @ ..] => rest.len() == usize::from(*length),
        [0x30, 0x82, high, low, rest @ ..] => {
            rest.len() == usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}

/// Returns the key that verifies signatures: a secret, or a public key as PEM.
pub(crate) fn decoding(algorithm: Algorithm, bytes: &[u8]) -> Result<DecodingKey, KeyError> {
    let (key, expected) = match algorithm {
        Algorithm::HS256 => return secret(bytes).map(DecodingKey::from_secret),
        Algorithm::RS256 => (DecodingKey::from_rsa_pem(bytes), "an RSA public key as PEM"),
        Algorithm::ES256 => (
            DecodingKey::from_ec_pem(bytes),
            "an elliptic-curve (P-256) public key as PEM",
        ),
        Algorithm::EdDSA => (
            DecodingKey::from_ed_pem(bytes),
            "an Ed25519 public key as PEM",
        ),
    };
    key.map_err(|_| KeyError::Malformed {
        algorithm,
        expected,
    })
}

/// Returns the key that signs: a secret, or a private key as PEM.
pub(crate) fn encoding(algorithm: Algorithm, bytes: &[u8]) -> Result<EncodingKey, KeyError> {
    let (key, expected) = match algorithm {
        Algorithm::HS256 => return secret(bytes).map(EncodingKey::from_secret),
        Algorithm::RS256 => (
            EncodingKey::from_rsa_pem(bytes),
            "an RSA private key as PEM",
        ),
        Algorithm::ES256 => (
            EncodingKey::from_ec_pem(bytes),
            "an elliptic-curve (P-256) private key as PEM (PKCS #8)",
        ),
        Algorithm::EdDSA => (
            EncodingKey::from_ed_pem(bytes),
            "an Ed25519 private key as PEM (PKCS #8)",
        ),
    };
    key.map_err(|_| KeyError::Malformed {
        algorithm,
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_file_less_its_line_end() {
        let key = [b'k'; 32];
        for end in [&b""[..], b"\n", b"\r\n"] {
            assert_eq!(secret(&[&key, end].concat()).unwrap(), key);
        }
        let two = [&key[..], b"\n\n"].concat();
        assert_eq!(secret(&two).unwrap(), &two[..33]);
    }

    /// Random bytes are not mistaken for a key file, even if they begin like one.
    #[test]
    fn random_bytes_are_a_secret() {
        for first in 0..=u8::MAX {
            let mut bytes = [0xa5; 40];
            bytes[0] = first;
            assert!(secret(&bytes).is_ok(), "{first}");
        }
    }

    #[test]
    fn a_public_key_is_no_secret_nor_the_other_way_round() {
        for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(decoding(algorithm, b"a secret").is_err());
            assert!(encoding(algorithm, b"a secret").is_err());
        }
    }
}
