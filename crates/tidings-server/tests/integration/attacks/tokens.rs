//! Invalid tokens, presented in every possible way.

use std::net::SocketAddr;

use jsonwebtoken::{Algorithm, Header};
use serde_json::json;

use crate::attacks::Attack;
use crate::attacks::target::{PUBLIC_KEY, SECRET, Target, claims, good, sign, status};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "no token",
        run: |target| refused(target, target.addr(), ""),
    },
    Attack {
        name: "a guessed token",
        run: |target| refused(target, target.addr(), "guess"),
    },
    Attack {
        name: "signed with another key",
        run: |target| forged(target, &hs256(), b"guess"),
    },
    Attack {
        name: "alg: none",
        run: unsigned,
    },
    Attack {
        name: "public key as HMAC secret (RS/HS)",
        run: confused,
    },
    Attack {
        name: "expired",
        run: |target| claiming(target, |claims, now| claims["exp"] = json!(now - 60)),
    },
    Attack {
        name: "not yet valid",
        run: |target| claiming(target, |claims, now| claims["nbf"] = json!(now + 60)),
    },
    Attack {
        name: "for another audience",
        run: |target| claiming(target, |claims, _| claims["aud"] = json!("other")),
    },
    Attack {
        name: "without an end",
        run: |target| {
            claiming(target, |claims, _| {
                claims.as_object_mut().unwrap().remove("exp");
            })
        },
    },
    Attack {
        name: "kid that is a path",
        run: |target| with_kid(target, "../../../../dev/null", b"x"),
    },
    Attack {
        name: "kid that is SQL",
        run: |target| with_kid(target, "x' UNION SELECT 'x", b"x"),
    },
    Attack {
        name: "kid of 6,000 characters, or with line ends",
        run: |target| {
            with_kid(target, &"k".repeat(6_000), b"x");
            with_kid(target, "k\r\nX: y\0", b"x")
        },
    },
    Attack {
        name: "a key of its own (jwk, jku, x5u, x5c)",
        run: own_key,
    },
    Attack {
        name: "tampered claims",
        run: tampered,
    },
    Attack {
        name: "token in the query",
        run: in_query,
    },
];

fn hs256() -> Header {
    Header::new(Algorithm::HS256)
}

/// Checks that REST, SSE and WebSocket all refuse the token.
fn refused(target: &Target, addr: SocketAddr, token: &str) -> String {
    let rest = target.http_at(addr, "GET", "/api/tasks/build-1", token, "", "");
    assert_eq!(status(&rest), 401, "{rest}");
    assert!(
        token.is_empty() || !rest.contains(token),
        "the token is not repeated"
    );
    let stream = "Accept: text/event-stream\r\n";
    let sse = target.http_at(addr, "GET", "/api/tasks/build-1/events", token, stream, "");
    assert_eq!(status(&sse), 401, "{sse}");
    let code = target
        .ws_at(addr, "/ws/tasks/build-1", token, "")
        .close_code();
    assert_eq!(code, 4401);
    "401, 401, closed 4401".to_owned()
}

fn forged(target: &Target, header: &Header, secret: &[u8]) -> String {
    refused(
        target,
        target.addr(),
        &sign(header, &claims(|_, _| {}), secret),
    )
}

fn claiming(target: &Target, change: impl FnOnce(&mut serde_json::Value, u64)) -> String {
    refused(
        target,
        target.addr(),
        &sign(&hs256(), &claims(change), SECRET),
    )
}

fn with_kid(target: &Target, kid: &str, secret: &[u8]) -> String {
    let mut header = hs256();
    header.kid = Some(kid.to_owned());
    forged(target, &header, secret)
}

/// The token's header names the address of a key, or contains a key. The server ignores both.
fn own_key(target: &Target) -> String {
    let secret = b"the attacker's own, of more than 32 bytes";
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": "dGhlIGF0dGFja2VyJ3Mgb3duLCBvZiBtb3JlIHRoYW4gMzIgYnl0ZXM"});
    let mut headers = [hs256(), hs256(), hs256(), hs256()];
    headers[0].jwk = Some(serde_json::from_value(jwk).unwrap());
    headers[1].jku = Some("http://127.0.0.1:1/keys".to_owned());
    headers[2].x5u = Some("http://127.0.0.1:1/cert.pem".to_owned());
    headers[3].x5c = Some(vec!["AAAA".to_owned()]);
    let answers = headers.map(|header| forged(target, &header, secret));
    answers[0].clone()
}

fn unsigned(target: &Target) -> String {
    let good = good();
    let body = good.split('.').nth(1).unwrap();
    // `{"alg":"none"}`, and the same in capitals.
    for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOT05FIn0"] {
        refused(target, target.addr(), &format!("{header}.{body}."));
    }
    "401, 401, closed 4401".to_owned()
}

fn confused(target: &Target) -> String {
    let token = sign(&hs256(), &claims(|_, _| {}), PUBLIC_KEY);
    refused(target, target.rsa_addr(), &token)
}

fn tampered(target: &Target) -> String {
    let (good, all) = (
        good(),
        claims(|claims, _| claims["tidings"] = json!({"watch": ["*"]})),
    );
    let other = sign(&hs256(), &all, b"guess");
    let parts: Vec<_> = good.split('.').collect();
    let body = other.split('.').nth(1).unwrap();
    refused(
        target,
        target.addr(),
        &format!("{}.{body}.{}", parts[0], parts[2]),
    )
}

fn in_query(target: &Target) -> String {
    let path = format!("/api/tasks?token={}", good());
    let answer = target.http("GET", &path, "", "", "");
    assert_eq!(status(&answer), 401);
    "401: not taken from there".to_owned()
}
