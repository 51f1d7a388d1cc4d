//! The index, statistics, liveness and readiness.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{Body, json as respond};
use crate::service::Core;

impl Core {
    /// Returns the list of routes.
    pub(crate) fn index(&self) -> Response<Body> {
        let routes: Vec<_> = self.routes.all().map(|(path, _)| path).collect();
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

    /// Returns the counters. In a cluster, returns their sums and the counters of each node.
    pub(crate) async fn stats(&self) -> Response<Body> {
        if let Some(nodes) = self.manager.all_stats().await {
            let mut sum = json!({ "bus": {}, "connections": {} });
            for counted in nodes.iter().filter_map(|node| node.stats.as_ref()) {
                add(&mut sum, counted);
            }
            let missing = nodes.iter().filter(|node| node.stats.is_none());
            let unanswered: Vec<_> = missing.map(|node| &node.node).collect();
            return respond(
                StatusCode::OK,
                &json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "uptime_ms": self.uptime_ms(),
                    "bus": sum["bus"],
                    "connections": sum["connections"],
                    "nodes": nodes,
                    "unanswered": unanswered,
                }),
            );
        }
        respond(
            StatusCode::OK,
            &json!({
                "version": env!("CARGO_PKG_VERSION"),
                "uptime_ms": self.uptime_ms(),
                "bus": self.manager.bus().stats(),
                "connections": self.manager.stats(),
            }),
        )
    }

    fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Liveness: the process answers.
    pub(crate) fn healthz(&self) -> Response<Body> {
        respond(StatusCode::OK, &json!({ "status": "ok" }))
    }

    /// Readiness: new connections are accepted, and events can be published.
    pub(crate) fn readyz(&self) -> Response<Body> {
        match self.not_ready() {
            None => respond(StatusCode::OK, &json!({ "status": "ready" })),
            Some(why) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                respond(status, &json!({ "status": why }))
            }
        }
    }

    /// Returns why new connections are refused, in one word, or `None` if they are accepted.
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

/// Adds numbers to numbers, at all levels.
fn add(sum: &mut Value, more: &Value) {
    match more {
        Value::Object(fields) => {
            if !sum.is_object() {
                *sum = json!({});
            }
            for (name, value) in fields {
                add(&mut sum[name.as_str()], value);
            }
        }
        Value::Number(number) => {
            let before = sum.as_u64().unwrap_or(0);
            *sum = before.saturating_add(number.as_u64().unwrap_or(0)).into();
        }
        _ => {}
    }
}
