//! A service of your own with axum: people log in, begin jobs, watch and cancel
//! them, and a stop cancels the jobs and tells every watcher when to come back.
//!
//! ```text
//! AUTH="Authorization: Bearer $(curl -s -d ada http://127.0.0.1:8000/login)"
//! curl -X POST -H "$AUTH" http://127.0.0.1:8000/jobs/7
//! curl -N -H "$AUTH" -H 'Accept: text/event-stream' http://127.0.0.1:8000/api/tasks/ada-7/events
//! curl -H "$AUTH" --json '{"command":"cancel"}' http://127.0.0.1:8000/api/tasks/ada-7/commands
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tidings::bus::guard::{BoxError, Reporter};
use tidings::connections::{AuthError, Authenticator, Credentials};
use tidings::connections::{Permission, Permissions, Principal};
use tidings::{BusConfig, ConnectionManager, ConnectionsConfig, EventBus};
use tidings::{TidingsService, TransportConfig, WEBSOCKET};
use tokio::net::TcpListener;

#[derive(Clone)]
struct App {
    bus: EventBus,
    /// Who is logged in, by token.
    sessions: Arc<Mutex<HashMap<String, String>>>,
}

impl App {
    fn sessions(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn user(&self, token: Option<&str>) -> Option<String> {
        self.sessions().get(token?).cloned()
    }
}

#[async_trait]
impl Authenticator for App {
    /// Lets everybody watch and command the own tasks.
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        let user = self.user(credentials.token).ok_or(AuthError::Invalid)?;
        let own = || format!("{user}-*").parse().into_iter().collect();
        let permissions = Permissions::default()
            .with(Permission::Watch, own())
            .with(Permission::Command, own());
        Ok(Principal::new(permissions).subject(user))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET))?;
    let (bus_of_app, sessions) = (bus.clone(), Arc::default());
    let app = App {
        bus: bus_of_app,
        sessions,
    };
    let (config, people) = (ConnectionsConfig::default(), Arc::new(app.clone()));
    let manager = ConnectionManager::with_authenticator(bus.clone(), config, people)?;
    let tidings = TidingsService::new(manager.clone(), TransportConfig::default())?;
    let app = Router::new()
        .route("/login", post(login))
        .route("/jobs/{number}", post(begin))
        .with_state(app)
        .fallback_service(tidings);
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async move {
        let _ = tokio::signal::ctrl_c().await;
        // Jobs report that they are cancelled, then watchers are sent away.
        bus.shutdown().await;
        let drain = manager.drain(Duration::from_secs(1));
        let _ = tokio::time::timeout(Duration::from_secs(5), drain).await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

/// Any name will do here; a real service checks a password.
async fn login(State(app): State<App>, user: String) -> String {
    let token = format!("{:032x}", fastrand::u128(..));
    app.sessions().insert(token.clone(), user);
    token
}

async fn begin(
    State(app): State<App>,
    Path(number): Path<u32>,
    headers: HeaderMap,
) -> Result<(StatusCode, String), StatusCode> {
    let header = headers.get("authorization");
    let token = header.and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
    let user = app.user(token).ok_or(StatusCode::UNAUTHORIZED)?;
    let id = format!("{user}-{number}");
    let place = format!("watch it at /ws/tasks/{id}\n");
    tokio::spawn(async move { app.bus.run(id, job).await });
    Ok((StatusCode::ACCEPTED, place))
}

/// The work: what it returns is the task's end.
async fn job(task: Reporter) -> Result<&'static str, BoxError> {
    for (percent, stage) in [(20.0, "fetching"), (60.0, "compiling"), (90.0, "linking")] {
        task.progress(percent, stage);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok("built")
}
