//! The cryptography of tokens: a backend of jsonwebtoken that uses `ring`, which TLS also uses.
//!
//! jsonwebtoken itself offers two backends. aws-lc has a C build that takes longer than all of our
//! own code. The RustCrypto crates contain an RSA implementation with an open advisory. This
//! backend only passes keys and texts to `ring`. See `docs/decisions/001-ring.md`.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{EllipticCurve, ThumbprintHash};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    self as algorithms, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    RsaEncoding, RsaKeyPair, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{digest, hmac};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: rsa_components,
        // ring offers no way to take a public key apart. Tidings creates no JWKs.
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::InvalidKeyFormat.into()),
        ec_pub_components_from_private_key: ec_components,
        ed_pub_components_from_private_key: ed_component,
        compute_digest: |data, hash| {
            let algorithm = match hash {
                ThumbprintHash::SHA256 => &digest::SHA256,
                ThumbprintHash::SHA384 => &digest::SHA384,
                ThumbprintHash::SHA512 => &digest::SHA512,
                _ => return Err(ErrorKind::InvalidAlgorithm.into()),
            };
            Ok(digest::digest(algorithm, data).as_ref().to_vec())
        },
    },
};

/// Makes `ring` the cryptography of jsonwebtoken, unless the application has already chosen another
/// backend for its process.
pub(crate) fn install() {
    let _ = PROVIDER.install_default();
}

fn family(algorithm: Algorithm) -> AlgorithmFamily {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => AlgorithmFamily::Hmac,
        Algorithm::ES256 | Algorithm::ES384 => AlgorithmFamily::Ec,
        Algorithm::EdDSA => AlgorithmFamily::Ed,
        _ => AlgorithmFamily::Rsa,
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    if key.family() != family(*algorithm) {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Signing(*algorithm, key.clone())))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != family(*algorithm) {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Verifying(*algorithm, key.clone())))
}

/// Hides the reason why a key or a signature was refused. `ring` does not reveal it, and an
/// attacker could use it.
fn refused<E>(_: E) -> signature::Error {
    signature::Error::new()
}

fn of_hmac(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

fn of_curve(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::ES384 => &algorithms::ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &algorithms::ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

/// Returns the algorithms with which RSA signs and verifies.
fn of_rsa(algorithm: Algorithm) -> (&'static dyn RsaEncoding, &'static RsaParameters) {
    use algorithms as a;
    match algorithm {
        Algorithm::RS384 => (&a::RSA_PKCS1_SHA384, &a::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => (&a::RSA_PKCS1_SHA512, &a::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => (&a::RSA_PSS_SHA256, &a::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => (&a::RSA_PSS_SHA384, &a::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => (&a::RSA_PSS_SHA512, &a::RSA_PSS_2048_8192_SHA512),
        _ => (&a::RSA_PKCS1_SHA256, &a::RSA_PKCS1_2048_8192_SHA256),
    }
}

struct Signing(Algorithm, EncodingKey);

impl Signer<Vec<u8>> for Signing {
    fn try_sign(&self, text: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let Self(algorithm, key) = self;
        let (key, random) = (key.as_bytes(), SystemRandom::new());
        match family(*algorithm) {
            AlgorithmFamily::Hmac => {
                let key = hmac::Key::new(of_hmac(*algorithm), key);
                Ok(hmac::sign(&key, text).as_ref().to_vec())
            }
            AlgorithmFamily::Rsa => {
                let key = RsaKeyPair::from_der(key).map_err(refused)?;
                let mut signed = vec![0; key.public().modulus_len()];
                let (encoding, _) = of_rsa(*algorithm);
                key.sign(encoding, &random, text, &mut signed)
                    .map_err(refused)?;
                Ok(signed)
            }
            AlgorithmFamily::Ec => {
                let key = EcdsaKeyPair::from_pkcs8(of_curve(*algorithm), key, &random);
                let signed = key.map_err(refused)?.sign(&random, text);
                Ok(signed.map_err(refused)?.as_ref().to_vec())
            }
            AlgorithmFamily::Ed => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).map_err(refused)?;
                Ok(key.sign(text).as_ref().to_vec())
            }
        }
    }
}

impl JwtSigner for Signing {
    fn algorithm(&self) -> Algorithm {
        self.0
    }
}

struct Verifying(Algorithm, DecodingKey);

impl Verifier<Vec<u8>> for Verifying {
    fn verify(&self, text: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let Self(algorithm, key) = self;
        let (_, rsa) = of_rsa(*algorithm);
        let key = match key.kind() {
            DecodingKeyKind::SecretOrDer(key) => key,
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                return key.verify(rsa, text, signed).map_err(refused);
            }
        };
        let parameters: &dyn algorithms::VerificationAlgorithm =
            match (family(*algorithm), *algorithm) {
                (AlgorithmFamily::Hmac, _) => {
                    let key = hmac::Key::new(of_hmac(*algorithm), key);
                    return hmac::verify(&key, text, signed).map_err(refused);
                }
                (AlgorithmFamily::Rsa, _) => rsa,
                (AlgorithmFamily::Ec, Algorithm::ES384) => &algorithms::ECDSA_P384_SHA384_FIXED,
                (AlgorithmFamily::Ec, _) => &algorithms::ECDSA_P256_SHA256_FIXED,
                (AlgorithmFamily::Ed, _) => &algorithms::ED25519,
            };
        let key = UnparsedPublicKey::new(parameters, key);
        key.verify(text, signed).map_err(refused)
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        self.0
    }
}

fn rsa_components(key: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let key = RsaKeyPair::from_der(key).map_err(|why| ErrorKind::InvalidRsaKey(why.to_string()))?;
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
    Ok((public.n, public.e))
}

fn ec_components(
    key: &[u8],
    algorithm: Algorithm,
) -> Result<(EllipticCurve, Vec<u8>, Vec<u8>), Error> {
    let (curve, bytes) = match algorithm {
        Algorithm::ES256 => (EllipticCurve::P256, 32),
        Algorithm::ES384 => (EllipticCurve::P384, 48),
        _ => return Err(ErrorKind::InvalidEcdsaKey.into()),
    };
    let key = EcdsaKeyPair::from_pkcs8(of_curve(algorithm), key, &SystemRandom::new());
    let key = key.map_err(|_| ErrorKind::InvalidEcdsaKey)?;
    // The key is an uncompressed point: a tag byte, then x and y.
    let (x, y) = key.public_key().as_ref()[1..].split_at(bytes);
    Ok((curve, x.to_vec(), y.to_vec()))
}

fn ed_component(key: &[u8], curve: &EllipticCurve) -> Result<Vec<u8>, Error> {
    if *curve != EllipticCurve::Ed25519 {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key);
    let key = key.map_err(|_| ErrorKind::InvalidEddsaKey)?;
    Ok(key.public_key().as_ref().to_vec())
}
