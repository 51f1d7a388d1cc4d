//! An HTTPS GET request that is limited in time and size.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// The time limit of a request, from the first packet to the last.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of a key set. A provider publishes only a few keys.
const MAX_BYTES: usize = 256 * 1024;

/// The reason why a request has no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The system has no certificate authorities to trust. Install them.
    #[error("the system's certificate authorities cannot be read")]
    Roots(#[source] std::io::Error),
    /// The connection failed, or the server's certificate is not trusted.
    #[error("the provider cannot be reached")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// The status is not 200. Redirects are not followed.
    #[error("the provider answered {0}")]
    Status(StatusCode),
    /// The answer ended early, or is larger than a key set.
    #[error("the provider's answer ended early, or has more than {MAX_BYTES} bytes")]
    Body,
    /// The answer did not arrive in time.
    #[error("the provider did not answer within {TIMEOUT:?}")]
    Timeout,
    /// The answer is not a JWKS, or it has no key for the algorithm.
    #[error("the provider's answer is not a set of keys with a key for the algorithm")]
    NoKeys,
}

/// Fetches the content of an address. Each call creates a new client, because keys are fetched only
/// every few minutes. A connection kept for that long would be stale.
pub(crate) async fn get(url: &Uri) -> Result<Bytes, FetchError> {
    let https = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(FetchError::Roots)?
        // The address is plain HTTP only if it is on this machine.
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
