//! Every kind of invalid token is refused.

use crate::support::{
    self, SECRET, ask, claims, config, header, hs256, now, pair, part, with_secret,
};
use serde_json::json;
use tidings_auth::{Algorithm, JwtAuthenticator, KeyError, KeySource, TokenIssuer};
use tidings_connections::AuthError::{self, Expired, Invalid, Malformed, NotForHere, NotYetValid};
use tidings_connections::{Authenticator as _, Credentials, Permissions};

fn with(name: &str, value: serde_json::Value) -> serde_json::Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_good_token_is_taken_and_its_faults_are_named() {
    let asked = with_secret(config(Algorithm::HS256));
    let sign = |claims| hs256(&header(), &claims, SECRET);
    let none = json!({"alg": "none"});
    let unsigned = format!("{}.{}.", part(&none), part(&claims()));
    let good = sign(claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let everything = with("tidings", json!({"watch": ["*"]}));
    let tampered = format!("{}.{}.{signature}", part(&header()), part(&everything));
    let mut headless = claims();
    headless.as_object_mut().unwrap().remove("exp");
    let crit = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    for (what, token, expected) in [
        ("good", good.clone(), None),
        (
            "expired within the clocks' difference",
            sign(with("exp", json!(now() - 10))),
            None,
        ),
        (
            "expired",
            sign(with("exp", json!(now() - 60))),
            Some(Expired),
        ),
        ("without an end", sign(headless), Some(Malformed)),
        (
            "an end that is text",
            sign(with("exp", json!("tomorrow"))),
            Some(Malformed),
        ),
        (
            "not yet",
            sign(with("nbf", json!(now() + 60))),
            Some(NotYetValid),
        ),
        ("soon", sign(with("nbf", json!(now() + 10))), None),
        (
            "for somebody else",
            sign(with("aud", json!("other"))),
            Some(NotForHere),
        ),
        (
            "another secret",
            hs256(&header(), &claims(), b"guess"),
            Some(Invalid),
        ),
        ("alg: none", unsigned, Some(Malformed)),
        (
            "alg: none, signed",
            hs256(&none, &claims(), SECRET),
            Some(Malformed),
        ),
        ("no signature", format!("{signed}."), Some(Invalid)),
        ("tampered", tampered, Some(Invalid)),
        (
            "another algorithm",
            hs256(&json!({"alg": "HS512"}), &claims(), SECRET),
            Some(Invalid),
        ),
        (
            "must be understood",
            hs256(&crit, &claims(), SECRET),
            Some(Invalid),
        ),
        (
            "a subject with a line end",
            sign(with("sub", json!("a\r\nb"))),
            Some(Invalid),
        ),
        (
            "a subject as long as a novel",
            sign(with("sub", json!("x".repeat(300)))),
            Some(Invalid),
        ),
        (
            "permissions that are none",
            sign(with("tidings", json!({"watch": "*"}))),
            Some(Malformed),
        ),
        (
            "a pattern that is none",
            sign(with("tidings", json!({"watch": ["a b"]}))),
            Some(Malformed),
        ),
        (
            "too long",
            sign(with("x", json!("x".repeat(9_000)))),
            Some(Malformed),
        ),
        ("no token", "guess".to_owned(), Some(Malformed)),
        ("empty", String::new(), Some(Malformed)),
        ("dots", "...".to_owned(), Some(Malformed)),
        ("four parts", format!("{good}.x"), Some(Malformed)),
    ] {
        let answer = ask(&asked, &token).await;
        assert_eq!(answer.err(), expected, "{what}");
    }
    let missing = asked.authenticate(Credentials::new(None, None)).await;
    assert_eq!(missing, Err(AuthError::Missing));
    let ada = ask(&asked, &good).await.unwrap();
    assert_eq!(ada.subject.as_deref(), Some("ada"));
    assert_eq!(ada.permissions.watch.to_string(), "build-*");
    assert!(ada.permissions.publish.is_nothing());
}

#[tokio::test]
async fn audience_and_issuer_are_needed_where_they_are_set() {
    let config = config(Algorithm::HS256)
        .audience(["tidings".to_owned()])
        .issuer(["https://id.example".to_owned()]);
    let asked = with_secret(config);
    for (aud, iss, taken) in [
        (json!("tidings"), json!("https://id.example"), true),
        (json!(["x", "tidings"]), json!("https://id.example"), true),
        (json!("x"), json!("https://id.example"), false),
        (json!(null), json!("https://id.example"), false),
        (json!("tidings"), json!("https://evil.example"), false),
        (json!("tidings"), json!(null), false),
    ] {
        let mut claims = with("aud", aud.clone());
        claims["iss"] = iss.clone();
        let token = hs256(&header(), &claims, SECRET);
        let answer = ask(&asked, &token).await;
        assert_eq!(answer.is_ok(), taken, "{aud} {iss}: {answer:?}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let pair = pair(algorithm);
        let keys = KeySource::file(algorithm, pair.public.as_bytes()).unwrap();
        let asked = JwtAuthenticator::new(config(algorithm), keys);
        // The classic attack uses the public key, which is no secret, as an HMAC secret.
        for alg in ["HS256", algorithm.as_str()] {
            let token = hs256(&json!({"alg": alg}), &claims(), pair.public.as_bytes());
            assert!(ask(&asked, &token).await.is_err(), "{alg} for {algorithm}");
        }
        let issuer = TokenIssuer::new(algorithm, pair.private.as_bytes()).unwrap();
        let lifetime = std::time::Duration::from_secs(60);
        let token = issuer.issue("ada", &Permissions::all(), lifetime).unwrap();
        let ada = ask(&asked, token.reveal()).await.unwrap();
        assert_eq!(ada.permissions, Permissions::all(), "{algorithm}");
        let other = KeySource::file(algorithm, support::pair(algorithm).public.as_bytes());
        let other = JwtAuthenticator::new(config(algorithm), other.unwrap());
        assert_eq!(
            ask(&other, token.reveal()).await,
            Err(Invalid),
            "{algorithm}"
        );
    }
}

#[tokio::test]
async fn headers_that_name_a_key_of_their_own_are_not_followed() {
    let asked = with_secret(config(Algorithm::HS256));
    for header in [
        json!({"alg": "HS256", "kid": "../../../../dev/null"}),
        json!({"alg": "HS256", "kid": "' UNION SELECT 'guess"}),
        json!({"alg": "HS256", "jku": "http://evil.example/keys"}),
        json!({"alg": "HS256", "x5u": "http://evil.example/cert"}),
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "Z3Vlc3M"}}),
    ] {
        for secret in [&b""[..], b"guess"] {
            let token = hs256(&header, &claims(), secret);
            assert!(ask(&asked, &token).await.is_err(), "{header}");
        }
    }
}

#[test]
fn nothing_shows_a_secret() {
    let keys = KeySource::file(Algorithm::HS256, SECRET).unwrap();
    let text = format!("{keys:?}");
    let asked = JwtAuthenticator::new(config(Algorithm::HS256), keys);
    let issuer = TokenIssuer::new(Algorithm::HS256, SECRET).unwrap();
    let token = issuer.issue(
        "ada",
        &Permissions::all(),
        std::time::Duration::from_secs(60),
    );
    let token = token.unwrap();
    let credentials = Credentials::new(Some(token.reveal()), None);
    let shown = format!("{text} {asked:?} {issuer:?} {token:?} {credentials:?}");
    let secret = std::str::from_utf8(SECRET).unwrap();
    assert!(
        !shown.contains(secret) && !shown.contains(token.reveal()),
        "{shown}"
    );
    assert!(!shown.contains(&format!("{:?}", SECRET)), "{shown}");
}

/// Without `--jwt-algorithm` a server expects HS256. It must not use a public key as the secret.
#[test]
fn what_everybody_may_know_is_no_secret() {
    let [rsa, ec, ed] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(pair);
    let jwks = json!({"keys": [rsa.jwk.clone()]}).to_string();
    let der = support::der(&ec.public);
    let explained = format!("Bag Attributes\n  localKeyID: 01\n{}", rsa.public);
    for (what, bytes) in [
        ("an RSA public key", rsa.public.as_bytes()),
        ("a public key of a curve", ec.public.as_bytes()),
        ("a private key", ed.private.as_bytes()),
        ("a PEM with text before it", explained.as_bytes()),
        ("a public key as DER", &der),
        ("a JWK", rsa.jwk.to_string().as_bytes()),
        ("a JWKS", jwks.as_bytes()),
        (
            "an SSH key",
            b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ada@example",
        ),
    ] {
        let refused = KeySource::file(Algorithm::HS256, bytes).unwrap_err();
        assert_eq!(refused, KeyError::NotSecret, "{what}");
        assert!(refused.to_string().contains("--jwt-algorithm"), "{refused}");
        let refused = TokenIssuer::new(Algorithm::HS256, bytes).unwrap_err();
        assert_eq!(refused, KeyError::NotSecret, "{what}, to sign with");
    }
    assert!(KeySource::jwks(Algorithm::HS256, "https://id.example/keys").is_err());
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    for (bytes, expected) in [
        (&b"x"[..], KeyError::Short { bytes: 1 }),
        (
            b"a secret of 31 bytes, too short\n",
            KeyError::Short { bytes: 31 },
        ),
        (&[b' '; 64], KeyError::Empty),
        (b"\n\n\n", KeyError::Empty),
        (b"", KeyError::Empty),
    ] {
        assert_eq!(
            KeySource::file(Algorithm::HS256, bytes).unwrap_err(),
            expected
        );
        assert_eq!(
            TokenIssuer::new(Algorithm::HS256, bytes).unwrap_err(),
            expected
        );
    }
    assert!(KeySource::file(Algorithm::HS256, &[b'x'; 32]).is_ok());
}
