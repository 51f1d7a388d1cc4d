//! Where tokens come from.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tidings_protocol::Secret;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Fetched = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// Asked for a token at the beginning, if there is none, and whenever the
/// server has refused the one that was shown.
#[derive(Clone)]
pub(crate) struct TokenSource(Arc<dyn Fn() -> Fetched + Send + Sync>);

impl TokenSource {
    pub(crate) fn new<F, T>(source: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(source())))
    }

    pub(crate) async fn fetch(&self) -> Option<Secret> {
        match (self.0)().await {
            Ok(token) => Some(token.into()),
            Err(error) => {
                tracing::warn!(%error, "no new token could be had");
                None
            }
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}
