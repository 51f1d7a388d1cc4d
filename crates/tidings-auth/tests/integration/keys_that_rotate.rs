//! Keys behind a JWKS address.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{self, Pair, ask, config, pair};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tidings_auth::{Algorithm, JwtAuthenticator, KeySource};
use tidings_connections::AuthError;
use tokio::net::TcpListener;

/// An identity provider: how often it was asked, and what it answers.
#[derive(Default)]
struct Provider {
    asked: AtomicUsize,
    body: Mutex<Option<String>>,
}

impl Provider {
    async fn start() -> (Arc<Self>, String) {
        let provider = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answers = Arc::clone(&provider);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                let service = service_fn(move |_| {
                    answers.asked.fetch_add(1, Ordering::Relaxed);
                    let body = answers.body.lock().unwrap().clone();
                    let status = if body.is_some() { 200 } else { 500 };
                    let body = Full::new(Bytes::from(body.unwrap_or_default()));
                    async move { http::Response::builder().status(status).body(body) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        (provider, url)
    }

    fn has(&self, keys: &[(&str, &Pair)]) {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(kid, pair)| {
                let mut jwk = pair.jwk.clone();
                jwk["kid"] = json!(kid);
                jwk
            })
            .collect();
        *self.body.lock().unwrap() = Some(json!({"keys": keys}).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A token signed by one key that says it is of another id.
fn token(pair: &Pair, algorithm: Algorithm, kid: Option<&str>) -> String {
    let mut header = jsonwebtoken::Header::new(algorithm.as_str().parse().unwrap());
    header.kid = kid.map(str::to_owned);
    let pem = pair.private.as_bytes();
    let key = match algorithm {
        Algorithm::RS256 => jsonwebtoken::EncodingKey::from_rsa_pem(pem),
        Algorithm::ES256 => jsonwebtoken::EncodingKey::from_ec_pem(pem),
        _ => jsonwebtoken::EncodingKey::from_ed_pem(pem),
    };
    jsonwebtoken::encode(&header, &support::claims(), &key.unwrap()).unwrap()
}

fn authenticator(algorithm: Algorithm, url: &str) -> JwtAuthenticator {
    let keys = KeySource::jwks(algorithm, url).unwrap();
    JwtAuthenticator::new(config(algorithm), keys)
}

#[tokio::test]
async fn keys_of_every_kind_are_found_by_their_id() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let (provider, url) = Provider::start().await;
        let (one, two) = (pair(algorithm), pair(algorithm));
        provider.has(&[("one", &one), ("two", &two)]);
        let asked = authenticator(algorithm, &url);
        for (kid, pair, taken) in [
            (Some("one"), &one, true),
            (Some("two"), &two, true),
            (Some("one"), &two, false),
            (Some("three"), &one, false),
            (None, &one, false),
        ] {
            let answer = ask(&asked, &token(pair, algorithm, kid)).await;
            assert_eq!(answer.is_ok(), taken, "{algorithm} {kid:?}");
        }
        assert_eq!(provider.asked(), 1);
    }
}

#[tokio::test]
async fn a_new_key_is_found_and_made_up_names_do_not_reach_the_provider() {
    tokio::time::pause();
    let algorithm = Algorithm::EdDSA;
    let (provider, url) = Provider::start().await;
    let (old, new) = (pair(algorithm), pair(algorithm));
    provider.has(&[("old", &old)]);
    let asked = authenticator(algorithm, &url);
    tokio::time::resume();
    assert!(
        ask(&asked, &token(&old, algorithm, Some("old")))
            .await
            .is_ok()
    );
    for number in 0..100 {
        let kid = format!("made-up-{number}");
        let answer = ask(&asked, &token(&old, algorithm, Some(&kid))).await;
        assert_eq!(answer, Err(AuthError::Invalid));
    }
    assert_eq!(provider.asked(), 1, "not within the pause");
    provider.has(&[("new", &new)]);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    assert!(
        ask(&asked, &token(&new, algorithm, Some("new")))
            .await
            .is_ok()
    );
    assert_eq!(provider.asked(), 2);
    let withdrawn = ask(&asked, &token(&old, algorithm, Some("old"))).await;
    assert_eq!(withdrawn, Err(AuthError::Invalid));
}

#[tokio::test]
async fn without_its_provider_it_uses_what_it_has_and_refuses_what_it_cannot_check() {
    let algorithm = Algorithm::EdDSA;
    let (provider, url) = Provider::start().await;
    let key = pair(algorithm);
    let asked = authenticator(algorithm, &url);
    let token = token(&key, algorithm, Some("k"));
    assert_eq!(ask(&asked, &token).await, Err(AuthError::Unavailable));
    assert!(asked.warm_up().await.is_ok(), "asked just now");
    provider.has(&[("k", &key)]);
    let advance = async |seconds| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    advance(11).await;
    assert!(ask(&asked, &token).await.is_ok());
    *provider.body.lock().unwrap() = None;
    advance(700).await;
    assert!(ask(&asked, &token).await.is_ok(), "old, but all there is");
    assert_eq!(provider.asked(), 3);
    advance(24 * 3_600).await;
    assert_eq!(ask(&asked, &token).await, Err(AuthError::Unavailable));
}
