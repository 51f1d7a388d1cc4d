//! Keys that an identity provider publishes and rotates (RFC 7517).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::Uri;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use tidings_connections::AuthError;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::fetch::{self, FetchError};
use crate::key::Algorithm;

/// The age at which keys are renewed in the background. While the provider answers, a withdrawn key
/// is accepted for at most this long.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The minimum time between two requests to the provider. Even a flood of tokens causes no more
/// requests. A rotation of keys is noticed within this time.
const PAUSE: Duration = Duration::from_secs(10);

/// The time for which old keys stay in use while the provider cannot be reached.
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);

/// The most keys of one set.
const MAX_KEYS: usize = 100;

/// The reason why an address cannot be used as a source of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksUrlError {
    /// The address is not `https`, or it is `http` to another machine.
    #[error(
        "a JWKS address must be https://… (http://… only to this machine: whoever changes the answer \
         on its way can sign tokens)"
    )]
    Address,
    /// The algorithm is HS256. It needs a secret, which must not stand at an address.
    #[error(
        "HS256 needs a secret, which an address cannot hold: name the algorithm of the keys with \
         --jwt-algorithm RS256, ES256 or EdDSA"
    )]
    Secret,
}

/// The keys at one moment.
struct Keys {
    by_id: HashMap<String, Arc<DecodingKey>>,
    /// The only key of a set with one key. Tokens then need not name the key.
    only: Option<Arc<DecodingKey>>,
    at: Instant,
}

/// The keys behind an address.
pub(crate) struct Jwks {
    algorithm: Algorithm,
    url: Uri,
    keys: RwLock<Option<Arc<Keys>>>,
    /// The time of the last request to the provider. The lock is held during a request, so that one
    /// request serves all waiting callers.
    asked: Arc<Mutex<Option<Instant>>>,
}

impl Jwks {
    pub(crate) fn new(algorithm: Algorithm, url: &str) -> Result<Self, JwksUrlError> {
        if algorithm == Algorithm::HS256 {
            return Err(JwksUrlError::Secret);
        }
        let url: Uri = url.parse().map_err(|_| JwksUrlError::Address)?;
        let near = matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match (url.scheme_str(), url.host()) {
            (Some("https"), Some(_)) => {}
            (Some("http"), Some(_)) if near => {}
            _ => return Err(JwksUrlError::Address),
        }
        Ok(Self {
            algorithm,
            url,
            keys: RwLock::new(None),
            asked: Arc::default(),
        })
    }

    pub(crate) fn url(&self) -> &Uri {
        &self.url
    }

    fn known(&self) -> Option<Arc<Keys>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone().filter(|keys| keys.at.elapsed() < MAX_STALE)
    }

    /// Returns the key with this id.
    ///
    /// A known key is returned at once. If it is old, it is renewed in the background. Only a
    /// request that names an unknown key waits for the provider.
    pub(crate) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
    ) -> Result<Arc<DecodingKey>, AuthError> {
        if let Some(keys) = self.known()
            && let Some(key) = keys.find(kid)
        {
            if keys.at.elapsed() >= MAX_AGE {
                self.renew();
            }
            return Ok(key);
        }
        self.renew();
        // Wait for the lock, which is free when the provider has answered.
        drop(self.asked.lock().await);
        let keys = self.known().ok_or(AuthError::Unavailable)?;
        keys.find(kid).ok_or(AuthError::Invalid)
    }

    /// Asks the provider and waits for its answer, unless it was asked just now.
    pub(crate) async fn warm_up(&self) -> Result<(), FetchError> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < PAUSE) {
            return Ok(());
        }
        *asked = Some(Instant::now());
        self.ask().await
    }

    /// Starts a request to the provider, unless one is running or was made just now.
    ///
    /// The spawned task always ends, because a request has a time limit. The task does not belong
    /// to the caller, which may be cancelled.
    fn renew(self: &Arc<Self>) {
        let Ok(mut asked) = Arc::clone(&self.asked).try_lock_owned() else {
            return;
        };
        if asked.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        *asked = Some(Instant::now());
        let jwks = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = jwks.ask().await {
                tracing::warn!(url = %jwks.url, %error, "the keys for tokens cannot be fetched");
            }
            drop(asked);
        });
    }

    async fn ask(&self) -> Result<(), FetchError> {
        let body = fetch::get(&self.url).await?;
        let keys = Keys::parse(self.algorithm, &body).ok_or(FetchError::NoKeys)?;
        tracing::debug!(url = %self.url, keys = keys.by_id.len(), "keys for tokens were fetched");
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
        Ok(())
    }
}

impl Keys {
    /// Returns the keys of a set that fit the algorithm, or `None` if there are none.
    fn parse(algorithm: Algorithm, body: &[u8]) -> Option<Self> {
        // A provider may list keys of kinds that this code does not know. Parse each key
        // separately, and skip unknown kinds.
        let set: serde_json::Value = serde_json::from_slice(body).ok()?;
        let listed = set.get("keys")?.as_array()?;
        let fit: Vec<_> = listed
            .iter()
            .take(MAX_KEYS)
            .filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok())
            .filter_map(|jwk| Some((jwk.common.key_id.clone(), usable(algorithm, &jwk)?)))
            .collect();
        let only = match &*fit {
            [] => return None,
            [(_, key)] => Some(Arc::clone(key)),
            _ => None,
        };
        let by_id = fit
            .into_iter()
            .filter_map(|(id, key)| Some((id?, key)))
            .collect();
        Some(Self {
            by_id,
            only,
            at: Instant::now(),
        })
    }

    fn find(&self, kid: Option<&str>) -> Option<Arc<DecodingKey>> {
        match kid {
            Some(kid) => self.by_id.get(kid).cloned(),
            None => self.only.clone(),
        }
    }
}

/// Returns the key if it can verify signatures of the algorithm.
fn usable(algorithm: Algorithm, jwk: &Jwk) -> Option<Arc<DecodingKey>> {
    let named = jwk.common.key_algorithm.map(|named| named.to_string());
    let fits = named.is_none_or(|named| named == algorithm.as_str());
    let signs = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    if !fits || !signs {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    // A secret in a public set, or a key of another kind, is never the right key.
    (key.family() == algorithm.family()).then(|| Arc::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_nobody_can_answer_for_are_taken() {
        for (url, taken) in [
            ("https://id.example/keys", true),
            ("http://127.0.0.1:1/keys", true),
            ("http://localhost/keys", true),
            ("http://id.example/keys", false),
            ("file:///etc/passwd", false),
            ("id.example", false),
            ("", false),
        ] {
            assert_eq!(Jwks::new(Algorithm::RS256, url).is_ok(), taken, "{url}");
        }
    }

    #[test]
    fn keys_of_another_kind_are_passed_over() {
        let hmac = r#"{"kty":"oct","k":"c2VjcmV0","kid":"a"}"#;
        let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"b"}"#;
        let encrypts = ed.replace("\"kid\"", "\"use\":\"enc\",\"kid\"");
        let other = ed.replace("\"kid\"", "\"alg\":\"ES256\",\"kid\"");
        let strange = r#"{"kty":"quantum","kid":"c"}"#;
        for (keys, found) in [
            (vec![ed], true),
            (vec![hmac, strange, ed], true),
            (vec![hmac], false),
            (vec![strange], false),
            (vec![encrypts.as_str()], false),
            (vec![other.as_str()], false),
            (vec![], false),
        ] {
            let body = format!("{{\"keys\":[{}]}}", keys.join(","));
            let parsed = Keys::parse(Algorithm::EdDSA, body.as_bytes());
            assert_eq!(parsed.is_some(), found, "{body}");
            let parsed =
                parsed.map(|keys| (keys.find(Some("b")).is_some(), keys.find(None).is_some()));
            assert!(parsed.is_none_or(|found| found == (true, true)));
        }
        for body in ["", "[]", "{}", r#"{"keys":{}}"#, "\u{0}"] {
            assert!(Keys::parse(Algorithm::EdDSA, body.as_bytes()).is_none());
        }
    }
}
