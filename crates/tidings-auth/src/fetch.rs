//! One GET over HTTPS, bounded in time and size.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// How long it may take, from the first packet to the last.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a key set at most: a provider has a handful of keys.
const MAX_BYTES: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// This system has no certificate authorities to believe; install them.
    #[error("the system's certificate authorities cannot be read")]
    Roots(#[source] std::io::Error),
    /// Nobody is there, or nobody whom to believe.
    #[error("it cannot be reached")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// Not 200; redirects are not followed.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// It broke off, or was larger than a key set is.
    #[error("its answer broke off, or has more than {MAX_BYTES} bytes")]
    Body,
    /// It took too long.
    #[error("it did not answer within {TIMEOUT:?}")]
    Timeout,
    /// It is no JWKS, or has no key for the algorithm.
    #[error("its answer is no set of keys with one for the algorithm")]
    NoKeys,
}

/// Gets what is at an address. A client of its own each time: keys are asked
/// for every few minutes, and a connection kept for that would be stale.
pub(crate) async fn get(url: &Uri) -> Result<Bytes, FetchError> {
    let https = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(FetchError::Roots)?
        // Plain HTTP only gets here for this machine itself.
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(https);
    let exchange = async {
        let response = client.get(url.clone()).await.map_err(FetchError::Connect)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES)
            .collect()
            .await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|_| FetchError::Body)
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .unwrap_or(Err(FetchError::Timeout))
}
