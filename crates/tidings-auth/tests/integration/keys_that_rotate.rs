//! Keys from a JWKS address that change while the server runs.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
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

/// An identity provider that counts the requests and has prepared answers.
#[derive(Default)]
struct Provider {
    asked: AtomicUsize,
    body: Mutex<Option<String>>,
    /// True if the provider accepts requests without answering.
    hangs: AtomicBool,
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
                    let hangs = answers.hangs.load(Ordering::Relaxed);
                    async move {
                        if hangs {
                            std::future::pending::<()>().await;
                        }
                        http::Response::builder().status(status).body(body)
                    }
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

/// Returns a token that is signed by one key and names the id of another.
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

async fn advance(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// Returns the result of a future that is ready at once, or `None` if the future would wait.
fn at_once<T>(asking: impl Future<Output = T>) -> Option<T> {
    match pin!(asking).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keys_that_are_there_serve_at_once_while_they_are_renewed() {
    let algorithm = Algorithm::EdDSA;
    let (provider, url) = Provider::start().await;
    let (old, new) = (pair(algorithm), pair(algorithm));
    provider.has(&[("old", &old)]);
    let asked = authenticator(algorithm, &url);
    let (old_token, new_token) = (
        token(&old, algorithm, Some("old")),
        token(&new, algorithm, Some("new")),
    );
    assert!(ask(&asked, &old_token).await.is_ok());
    provider.hangs.store(true, Ordering::Relaxed);
    advance(700).await;
    for _ in 0..10 {
        let answer = at_once(ask(&asked, &old_token));
        assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
    }
    until("the provider is asked", async || provider.asked() == 2).await;
    // The hanging request ends, and the next one is answered.
    provider.hangs.store(false, Ordering::Relaxed);
    provider.has(&[("new", &new)]);
    advance(20).await;
    until("the new keys are there", async || {
        let answer = at_once(ask(&asked, &old_token));
        assert!(answer.is_some() || provider.asked() > 2, "nobody waits");
        matches!(at_once(ask(&asked, &new_token)), Some(Ok(_)))
    })
    .await;
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
    advance(11).await;
    assert!(ask(&asked, &token).await.is_ok());
    *provider.body.lock().unwrap() = None;
    advance(700).await;
    assert!(ask(&asked, &token).await.is_ok(), "old, but all there is");
    until("the provider is asked", async || provider.asked() == 3).await;
    advance(24 * 3_600).await;
    assert_eq!(ask(&asked, &token).await, Err(AuthError::Unavailable));
}
