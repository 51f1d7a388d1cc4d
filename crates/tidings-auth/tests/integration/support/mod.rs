//! Keys made for a test, and tokens put together by hand.

use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};
use tidings_auth::{Algorithm, JwtAuthenticator, JwtConfig, KeySource};
use tidings_connections::{AuthError, Authenticator as _, Credentials, Principal};

/// A private key and its public half, as PEM.
pub(crate) struct Pair {
    pub(crate) private: String,
    pub(crate) public: String,
    /// As it is in a JWKS, without a `kid`.
    pub(crate) jwk: Value,
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// The bytes that a PEM stands for.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    BASE64.decode(text.as_bytes()).unwrap()
}

pub(crate) fn pair(algorithm: Algorithm) -> Pair {
    match algorithm {
        Algorithm::EdDSA => {
            let key = Ed25519KeyPair::generate().unwrap();
            let public = key.public_key();
            Pair {
                private: pem("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref()),
                public: pem("PUBLIC KEY", public.as_der().unwrap().as_ref()),
                jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(public.as_ref())}),
            }
        }
        Algorithm::ES256 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            let public = key.public_key();
            let point = public.as_ref();
            Pair {
                private: pem("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref()),
                public: pem("PUBLIC KEY", public.as_der().unwrap().as_ref()),
                jwk: json!({"kty": "EC", "crv": "P-256",
                    "x": BASE64URL_NOPAD.encode(&point[1..33]), "y": BASE64URL_NOPAD.encode(&point[33..])}),
            }
        }
        Algorithm::RS256 => {
            let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
            let public = key.public_key();
            let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
            let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> = public.as_der().unwrap();
            let number = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
            Pair {
                private: pem("PRIVATE KEY", der.as_ref()),
                public: pem("PUBLIC KEY", spki.as_ref()),
                jwk: json!({"kty": "RSA",
                    "n": number(public.modulus().big_endian_without_leading_zero()),
                    "e": number(public.exponent().big_endian_without_leading_zero())}),
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

/// A token with a header and claims of the test's own, signed as HS256.
pub(crate) fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let text = format!("{}.{}", part(header), part(claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let signature = aws_lc_rs::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

pub(crate) fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

/// Claims that hold for an hour.
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
