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
        match self.not_ready() {
            None => respond(StatusCode::OK, &json!({ "status": "ready" })),
            Some(why) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                respond(status, &json!({ "status": why }))
            }
        }
    }

    /// Why new connections are not welcome, in a word.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        let manager = &self.manager;
        if manager.is_draining() {
            return Some("draining");
        }
        if !manager.bus().is_available() {
            return Some("store unavailable");
        }
        if manager.connected() >= manager.config().max_connections {
            return Some("full");
        }
        None
    }
}
