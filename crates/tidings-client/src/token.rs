//! The source of tokens.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tidings_protocol::Secret;

use tidings_scope::BoxError;

type Fetched = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// Returns tokens. The client asks the source at the beginning if it has no token, and
/// whenever the server has refused the shown token.
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
        // The source is the program's own code. Its panic must not end the client.
        let fetch = AssertUnwindSafe(async { (self.0)().await }).catch_unwind();
        match fetch.await {
            Ok(Ok(token)) => Some(token.into()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the token source has failed: it is asked again");
                None
            }
            Err(_) => {
                tracing::warn!("the token source has panicked: it is asked again");
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
