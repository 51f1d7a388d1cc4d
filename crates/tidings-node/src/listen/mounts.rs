//! Routes that the program around a node adds.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tidings_bus::EventBus;
use tower_service::Service;

/// An error in the body of a mounted service.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The response body of a mounted service.
pub(crate) type MountedBody = UnsyncBoxBody<Bytes, BoxError>;

/// The response of a mounted service, as a future.
pub(crate) type Mounted =
    Pin<Box<dyn Future<Output = Result<Response<MountedBody>, Infallible>> + Send>>;

type Answer = dyn Fn(Request<Incoming>) -> Mounted + Send + Sync;
type Make = dyn Fn(EventBus) -> Box<Answer> + Send + Sync;

/// Constructors of services, by the path prefixes that the services answer.
#[derive(Clone, Default)]
pub(crate) struct Mounts(Vec<(String, Arc<Make>)>);

impl Mounts {
    pub(crate) fn add<S, B>(
        &mut self,
        prefix: &str,
        make: impl Fn(EventBus) -> S + Send + Sync + 'static,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        assert!(prefix.starts_with('/'), "{prefix:?} begins with no slash");
        let prefix = prefix.trim_end_matches('/').to_owned();
        let make = move |bus| answer(make(bus));
        self.0.push((prefix, Arc::new(make)));
        // Keep the longest prefix first.
        self.0
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    }

    /// Creates the services.
    pub(crate) fn make(&self, bus: &EventBus) -> MountedServices {
        let made = |(prefix, make): &(String, Arc<Make>)| (prefix.clone(), make(bus.clone()));
        MountedServices(self.0.iter().map(made).collect())
    }
}

fn answer<S, B>(service: S) -> Box<Answer>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |request| {
        let mut service = service.clone();
        Box::pin(async move {
            match std::future::poll_fn(|cx| service.poll_ready(cx)).await {
                Ok(()) => {}
                Err(never) => match never {},
            }
            let response = service.call(request).await?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    })
}

/// Services by the path prefixes that they answer, the longest prefix first.
#[derive(Default)]
pub(crate) struct MountedServices(Vec<(String, Box<Answer>)>);

impl MountedServices {
    /// Returns the service that answers a path, if there is one.
    pub(crate) fn find(&self, path: &str) -> Option<&Answer> {
        let (_, answer) = self.0.iter().find(|(prefix, _)| {
            path.strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })?;
        Some(answer.as_ref())
    }
}

impl fmt::Debug for Mounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefixes = self.0.iter().map(|(prefix, _)| prefix);
        f.debug_list().entries(prefixes).finish()
    }
}
