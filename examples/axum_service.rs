//! A service of your own with axum. Users log in, start jobs, and watch and cancel them. A stop
//! cancels the jobs and tells every watcher when to reconnect.
//!
//! ```text
//! curl -c jar -d ada http://127.0.0.1:8000/login
//! curl -b jar -X POST http://127.0.0.1:8000/jobs/7
//! curl -b jar -N -H 'Accept: text/event-stream' http://127.0.0.1:8000/api/tasks/ada-7/events
//! curl -b jar --json '{"command":"cancel"}' http://127.0.0.1:8000/api/tasks/ada-7/commands
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use tidings::bus::guard::{BoxError, Reporter};
use tidings::connections::{AuthError, Authenticator, Credentials};
use tidings::connections::{Permission, Permissions, Principal};
use tidings::transport::{AxumListener, PeerAddr, RequestParts, cookie};
use tidings::{BusConfig, ConnectionManager, ConnectionsConfig, EventBus, Pattern};
use tidings::{TidingsService, TransportConfig};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct App {
    bus: EventBus,
    sessions: Arc<Mutex<HashMap<String, String>>>,
}

impl App {
    async fn user(&self, headers: &HeaderMap) -> Option<String> {
        let sessions = self.sessions.lock().await;
        sessions.get(cookie(headers, "session")?).cloned()
    }
}

#[async_trait::async_trait]
impl Authenticator for App {
    /// Allows all users to watch and command their own tasks.
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        let request: &RequestParts = credentials.request().ok_or(AuthError::Missing)?;
        let user = self
            .user(&request.headers)
            .await
            .ok_or(AuthError::Missing)?;
        let own: Pattern = format!("{user}-*").parse().or(Err(AuthError::Invalid))?;
        let permissions = Permissions::default()
            .with(Permission::Watch, own.clone().into())
            .with(Permission::Command, own.into());
        Ok(Principal::new(permissions).subject(user))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let bus = EventBus::new(BusConfig::default())?;
    let app = App {
        bus: bus.clone(),
        sessions: Arc::default(),
    };
    let (config, people) = (ConnectionsConfig::default(), Arc::new(app.clone()));
    let manager = ConnectionManager::with_authenticator(bus.clone(), config, people)?;
    let tidings = TidingsService::new(manager, TransportConfig::default())?;
    let addr = std::env::args().nth(1);
    let listener = TcpListener::bind(addr.as_deref().unwrap_or("127.0.0.1:8000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = AxumListener::new(listener, &tidings)?;
    let stop = CancellationToken::new();
    let drained = tidings.drain_on(stop.clone(), Duration::from_secs(1));
    let app = Router::new()
        .route("/login", post(login))
        .route("/jobs/{number}", post(begin))
        .with_state(app)
        .fallback_service(tidings)
        .into_make_service_with_connect_info::<PeerAddr>();
    let stopping = async move {
        let _ = tokio::signal::ctrl_c().await;
        // Jobs report that they are cancelled. Then the watchers are disconnected.
        bus.shutdown().await;
        stop.cancel();
    };
    let serve = axum::serve(listener, app);
    serve.with_graceful_shutdown(stopping).await?;
    drained.await;
    Ok(())
}

/// Any name is accepted here. A real service checks a password.
async fn login(State(app): State<App>, user: String) -> impl axum::response::IntoResponse {
    let session = format!("{:032x}", fastrand::u128(..));
    let cookie = format!("session={session}; HttpOnly; SameSite=Strict; Path=/");
    app.sessions.lock().await.insert(session, user);
    [(header::SET_COOKIE, cookie)]
}

async fn begin(
    State(app): State<App>,
    Path(number): Path<u32>,
    headers: HeaderMap,
) -> Result<(StatusCode, String), StatusCode> {
    let user = app.user(&headers).await.ok_or(StatusCode::UNAUTHORIZED)?;
    let id = format!("{user}-{number}");
    let place = format!("watch it at /ws/tasks/{id}\n");
    tokio::spawn(async move { app.bus.run(id, job).await });
    Ok((StatusCode::ACCEPTED, place))
}

/// The work of a job. Its return value is the outcome of the task.
async fn job(task: Reporter) -> Result<&'static str, BoxError> {
    for (percent, stage) in [(20.0, "fetching"), (60.0, "compiling"), (90.0, "linking")] {
        task.progress(percent, stage);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok("built")
}
