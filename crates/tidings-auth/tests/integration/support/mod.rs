//! Keys that a test generates, and tokens that it assembles by hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use ring::signature::RsaPublicKeyComponents;
use serde_json::{Value, json};
use tidings_auth::{Algorithm, JwtAuthenticator, JwtConfig, KeySource};
use tidings_connections::{AuthError, Authenticator as _, Credentials, Principal};

/// A private key and its public key, as PEM.
pub(crate) struct Pair {
    pub(crate) private: String,
    pub(crate) public: String,
    /// The public key as JWK, without a `kid`.
    pub(crate) jwk: Value,
}

/// Keys from `openssl genpkey -algorithm RSA`, because ring cannot generate RSA keys.
const RSA: [&str; 2] = [include_str!("rsa_one.pem"), include_str!("rsa_two.pem")];

/// Returns the bytes that a PEM text contains.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    BASE64.decode(text.as_bytes()).unwrap()
}

pub(crate) fn pair(algorithm: Algorithm) -> Pair {
    match algorithm {
        Algorithm::EdDSA => {
            let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            let x = BASE64URL_NOPAD.encode(key.public_key_raw());
            Pair {
                private: key.serialize_pem(),
                public: key.public_key_pem(),
                jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
            }
        }
        Algorithm::ES256 => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let point = key.public_key_raw();
            Pair {
                private: key.serialize_pem(),
                public: key.public_key_pem(),
                jwk: json!({"kty": "EC", "crv": "P-256",
                    "x": BASE64URL_NOPAD.encode(&point[1..33]), "y": BASE64URL_NOPAD.encode(&point[33..])}),
            }
        }
        Algorithm::RS256 => {
            // Two calls return two different keys.
            static CALLS: AtomicUsize = AtomicUsize::new(0);
            let pem = RSA[CALLS.fetch_add(1, Ordering::Relaxed) % RSA.len()];
            let key = KeyPair::from_pem(pem).unwrap();
            let parts = ring::rsa::KeyPair::from_pkcs8(&der(pem)).unwrap();
            let number = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
            let public = RsaPublicKeyComponents::<Vec<u8>>::from(parts.public());
            Pair {
                private: pem.to_owned(),
                public: key.public_key_pem(),
                jwk: json!({"kty": "RSA",
                    "n": number(&public.n), "e": number(&public.e)}),
            }
        }
        Algorithm::HS256 => unreachable!("a secret is no pair"),
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub(crate) fn part(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

/// Returns a token with the given header and claims, signed as HS256.
pub(crate) fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let text = format!("{}.{}", part(header), part(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

pub(crate) fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

/// Returns claims that are valid for an hour.
pub(crate) fn claims() -> Value {
    json!({"sub": "ada", "exp": now() + 3_600, "tidings": {"watch": ["build-*"]}})
}

pub(crate) const SECRET: &[u8] = b"a secret of more than 32 bytes, for tests";

pub(crate) fn config(algorithm: Algorithm) -> JwtConfig {
    JwtConfig::new(algorithm).leeway(Duration::from_secs(30))
}

pub(crate) fn with_secret(config: JwtConfig) -> JwtAuthenticator {
    let keys = KeySource::file(Algorithm::HS256, SECRET).unwrap();
    JwtAuthenticator::new(config, keys)
}

pub(crate) async fn ask(asked: &JwtAuthenticator, token: &str) -> Result<Principal, AuthError> {
    asked
        .authenticate(Credentials::new(Some(token), None))
        .await
}
