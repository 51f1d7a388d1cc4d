//! Algorithms, and keys from files.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::{DecodingKey, EncodingKey};

/// How tokens are signed. There is no `none` among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: one secret on both sides.
    HS256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// The text names no algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an algorithm: HS256, RS256, ES256 or EdDSA")]
pub struct UnknownAlgorithm;

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::HS256, Self::RS256, Self::ES256, Self::EdDSA];

    /// Its name in the header of a token.
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

/// A key that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file is empty; put a secret into it.
    #[error("the key is empty")]
    Empty,
    /// Not the key that the algorithm needs.
    #[error("this is not {expected}, which {algorithm} needs")]
    Malformed {
        /// The algorithm.
        algorithm: Algorithm,
        /// What it needs.
        expected: &'static str,
    },
}

/// A secret as a file has it: an editor ends every file with a line end.
fn secret(bytes: &[u8]) -> Result<&[u8], KeyError> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.is_empty() {
        return Err(KeyError::Empty);
    }
    Ok(bytes)
}

/// The key to check with: a secret, or a public key as PEM.
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

/// The key to sign with: a secret, or a private key as PEM.
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
        for (file, expected) in [
            (&b"key"[..], &b"key"[..]),
            (b"key\n", b"key"),
            (b"key\r\n", b"key"),
            (b"key\n\n", b"key\n"),
        ] {
            assert_eq!(secret(file).unwrap(), expected);
        }
        assert_eq!(secret(b"\n").unwrap_err(), KeyError::Empty);
    }

    #[test]
    fn a_public_key_is_no_secret_nor_the_other_way_round() {
        for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(decoding(algorithm, b"a secret").is_err());
            assert!(encoding(algorithm, b"a secret").is_err());
        }
    }
}
