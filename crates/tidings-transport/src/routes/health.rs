//! The index, statistics, liveness and readiness.

use http::{Response, StatusCode};
use serde_json::json;

use super::PATHS;
use crate::body::{Body, json as respond};
use crate::service::Core;

impl Core {
    /// What there is to see here.
    pub(crate) fn index(&self) -> Response<Body> {
        let routes: Vec<_> = PATHS.iter().map(|(path, _)| path).collect();
        respond(
            StatusCode::OK,
            &json!({
                "name": "tidings",
                "version": env!("CARGO_PKG_VERSION"),
                "protocol": "tidings.v1",
                "routes": routes,
            }),
        )
    }

    pub(crate) fn stats(&self) -> Response<Body> {
        respond(
            StatusCode::OK,
            &json!({
                "version": env!("CARGO_PKG_VERSION"),
                "uptime_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                "bus": self.manager.bus().stats(),
                "connections": self.manager.stats(),
            }),
        )
    }

    /// Alive: the process answers.
    pub(crate) fn healthz(&self) -> Response<Body> {
        respond(StatusCode::OK, &json!({ "status": "ok" }))
    }

    /// Ready: new connections are welcome, and publishes can be taken.
    pub(crate) fn readyz(&self) -> Response<Body> {
        let (status, text) = if self.manager.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else if !self.manager.bus().is_available() {
            (StatusCode::SERVICE_UNAVAILABLE, "store unavailable")
        } else {
            (StatusCode::OK, "ready")
        };
        respond(status, &json!({ "status": text }))
    }
}
