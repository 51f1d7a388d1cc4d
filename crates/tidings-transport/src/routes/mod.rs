//! Routing of paths.

mod backups;
mod batch;
mod commands;
mod connect;
mod connections;
mod events;
mod filter;
mod health;
mod inputs;
mod links;
mod outputs;
mod page;
mod streams;
mod tasks;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use matchit::Router;
use tidings_connections::{Access, AuthError, Permission};

use crate::body::{Body, full};
use crate::config::TransportConfigError;
use crate::extra_route::ExtraRoute;
use crate::forwarded;
use crate::pages::wants_html;
use crate::problem::Problem;
use crate::service::{BoxError, Core, PeerAddr};

/// The longest path with its query, in bytes. It has room for a token.
const MAX_URI: usize = 10 * 1024;

/// A route of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Index,
    Watch,
    WatchTask,
    Tasks,
    Task,
    Events,
    Streams,
    Output,
    Commands,
    Inputs,
    Input,
    Links,
    Link,
    Connections,
    Connection,
    Messages,
    Backups,
    Stats,
    Healthz,
    Readyz,
    /// A route of the application, by its place in the configuration.
    Extra(usize),
}

/// The paths of Tidings' own routes, in the order of the index.
const PATHS: &[(&str, Route)] = &[
    ("/", Route::Index),
    ("/ws", Route::Watch),
    ("/ws/tasks/{task_id}", Route::WatchTask),
    ("/api/tasks", Route::Tasks),
    ("/api/tasks/{task_id}", Route::Task),
    ("/api/tasks/{task_id}/events", Route::Events),
    ("/api/events", Route::Streams),
    ("/api/tasks/{task_id}/outputs/{output_id}", Route::Output),
    ("/api/tasks/{task_id}/commands", Route::Commands),
    ("/api/tasks/{task_id}/inputs/{input_id}", Route::Input),
    ("/api/tasks/{task_id}/inputs/{input_id}/links", Route::Links),
    ("/api/inputs", Route::Inputs),
    ("/answer/{token}", Route::Link),
    ("/api/connections", Route::Connections),
    ("/api/connections/{client_id}", Route::Connection),
    ("/api/connections/{client_id}/messages", Route::Messages),
    ("/api/backups", Route::Backups),
    ("/api/stats", Route::Stats),
    ("/healthz", Route::Healthz),
    ("/readyz", Route::Readyz),
];

/// All routes: the routes of Tidings, and the routes that the application adds.
pub(crate) struct Routes {
    all: Vec<(&'static str, Route)>,
    /// The values are places in `all`.
    router: Router<usize>,
}

/// The route that a path leads to.
pub(crate) struct Found {
    route: Route,
    /// The pattern of the route: the path without the parts that clients choose.
    pub(crate) label: &'static str,
    /// The id in the path, or empty if there is none.
    id: String,
    /// The second id in the path, or empty if there is none.
    item: String,
}

impl Routes {
    /// Builds the router.
    ///
    /// # Errors
    /// Returns an error if two routes have the same path, or if a path is not valid.
    pub(crate) fn new(extra: &[ExtraRoute]) -> Result<Self, TransportConfigError> {
        let mut all = PATHS.to_vec();
        let extra = extra.iter().enumerate();
        all.extend(extra.map(|(at, route)| (route.path(), Route::Extra(at))));
        let mut router = Router::new();
        for (at, (path, _)) in all.iter().enumerate() {
            let inserted = router.insert(*path, at);
            inserted.map_err(|_| TransportConfigError::Route { path })?;
        }
        Ok(Self { all, router })
    }

    /// Returns all paths, with the methods of each.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.all
            .iter()
            .map(|(path, route)| (*path, allowed(*route)))
    }

    /// Returns the route that a path leads to.
    pub(crate) fn find(&self, path: &str) -> Option<Found> {
        let found = self.router.at(path).ok()?;
        let (label, route) = self.all[*found.value];
        let mut ids = found.params.iter().map(|(_, id)| id.to_owned());
        Some(Found {
            route,
            label,
            id: ids.next().unwrap_or_default(),
            item: ids.next().unwrap_or_default(),
        })
    }
}

/// Returns the methods of a route.
fn allowed(route: Route) -> &'static str {
    match route {
        Route::Task | Route::Connection => "GET, HEAD, DELETE",
        Route::Events | Route::Link => "GET, HEAD, POST",
        Route::Commands | Route::Input | Route::Links | Route::Messages | Route::Backups => "POST",
        Route::Watch | Route::WatchTask => "GET",
        _ => "GET, HEAD",
    }
}

impl Core {
    /// Returns whether a route reveals nothing about tasks, so that it needs no token.
    fn is_open(&self, route: Route) -> bool {
        match route {
            // The token in the path of a link proves its own permissions.
            Route::Index | Route::Healthz | Route::Readyz | Route::Link => true,
            Route::Extra(at) => self.config.routes[at].is_open(),
            _ => false,
        }
    }

    /// Returns the application's page at a path without a route, or for a browser at `/`.
    fn page<B>(&self, found: Option<&Found>, request: &Request<B>) -> Option<Response<Body>> {
        let pages = self.config.pages.as_ref()?;
        let at_root = match found.map(|found| found.route) {
            None => false,
            Some(Route::Index) if wants_html(request.headers()) => true,
            Some(_) => return None,
        };
        let (method, path) = (request.method(), request.uri().path());
        let mut page = pages.answer(method, path, request.headers())?;
        if at_root {
            let headers = page.headers_mut();
            headers.append(header::VARY, HeaderValue::from_static("accept"));
        }
        Some(page)
    }

    /// Answers a request whose path leads to this route.
    pub(crate) async fn route<B>(
        &self,
        found: Option<Found>,
        mut request: Request<B>,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if let Some(peer) = crate::access::peer(request.extensions()) {
            // The PROXY protocol has already named the client. A client in a trusted network is not
            // a proxy.
            let trusted = match self.config.proxy_protocol {
                true => &[],
                false => &*self.config.trusted_proxies,
            };
            let client = forwarded::client(request.headers(), peer, trusted);
            request.extensions_mut().insert(PeerAddr(client));
        }
        if let Some(problem) = self.hosts.refusal_of_name(&request) {
            return Err(problem);
        }
        let addr = request.extensions().get().map(|PeerAddr(addr)| *addr);
        let asked = request.uri().path_and_query();
        if asked.is_some_and(|asked| asked.as_str().len() > MAX_URI) {
            return Err(self.in_vain(addr, Problem::uri_too_long(MAX_URI)));
        }
        if let Some(page) = self.page(found.as_ref(), &request) {
            return Ok(page);
        }
        let Some(Found {
            route, id, item, ..
        }) = found
        else {
            let problem = Problem::no_route(request.uri().path());
            return Err(self.in_vain(addr, problem));
        };
        let access = match route {
            route if self.is_open(route) => Ok(Access::unrestricted()),
            _ => {
                // Drop the body before the first await, because it need not be `Sync`.
                let (parts, body) = request.into_parts();
                let access = self.access(&parts).await;
                request = Request::from_parts(parts, body);
                access
            }
        };
        // hyper removes the body of a response to HEAD.
        let method = match request.method() {
            method if method == Method::HEAD => Method::GET,
            method => method.clone(),
        };
        // A web page cannot see the reason of a refused handshake, but it can see a close code.
        match (route, &method) {
            (Route::Watch, &Method::GET) => return self.watch(request, None, access),
            (Route::WatchTask, &Method::GET) => {
                let task_id = crate::query::task_id(&id)?;
                return self.watch(request, Some(task_id), access);
            }
            _ => {}
        }
        // Keep this future in a box of its own. It takes kilobytes, and the future of a handshake
        // would otherwise contain it.
        Box::pin(self.answer(route, method, request, (&id, &item), access)).await
    }

    /// Counts a failed request against its address, and returns the answer.
    fn in_vain(&self, addr: Option<SocketAddr>, problem: Problem) -> Problem {
        match self.manager.note_failure(addr) {
            Ok(()) => problem,
            Err(limited) => limited.into(),
        }
    }

    /// Answers a request that is not a WebSocket handshake.
    async fn answer<B>(
        &self,
        route: Route,
        method: Method,
        request: Request<B>,
        (id, item): (&str, &str),
        access: Result<Access, AuthError>,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // The page of a link uses no cookies, so a page of another origin cannot misuse them.
        if !matches!(route, Route::Link) && !self.lets_in(&request) {
            let addr = request.extensions().get().map(|PeerAddr(addr)| *addr);
            return Err(self.in_vain(addr, Problem::forbidden_origin()));
        }
        let access = access?;
        let addr = request.extensions().get().map(|PeerAddr(addr)| *addr);
        if !matches!(route, Route::Healthz | Route::Readyz) {
            self.manager.note_request(&access, addr)?;
        }
        let asks = access.clone();
        let answered = self.dispatch(route, method, request, (id, item), access);
        answered.await.inspect_err(|problem| {
            if problem.is_refusal() {
                self.manager.note_refusal(&asks, addr);
            }
        })
    }

    /// Answers a request after its limits and its origin were checked.
    async fn dispatch<B>(
        &self,
        route: Route,
        method: Method,
        request: Request<B>,
        (id, item): (&str, &str),
        access: Access,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let addr = request.extensions().get().map(|PeerAddr(addr)| *addr);
        match (route, method) {
            (Route::Tasks, Method::GET) => {
                let uri = request.uri().clone();
                drop(request);
                self.list_tasks(&uri, &access, addr).await
            }
            (Route::Task, Method::GET) => self.get_task(id, &access, addr).await,
            (Route::Task, Method::DELETE) => self.delete_task(id, &access).await,
            (Route::Events, Method::GET) => self.get_events(request, id, access).await,
            (Route::Events, Method::POST) => self.publish(request, id, &access).await,
            (Route::Streams, Method::GET) => self.stream_of_many(request, access).await,
            (Route::Output, Method::GET) => {
                let headers = request.headers().clone();
                drop(request);
                self.get_output(&headers, (id, item), &access).await
            }
            (Route::Commands, Method::POST) => self.command(request, id, &access).await,
            (Route::Inputs, Method::GET) => {
                let uri = request.uri().clone();
                drop(request);
                self.list_inputs(&uri, &access, addr).await
            }
            (Route::Input, Method::POST) => self.answer_input(request, (id, item), &access).await,
            (Route::Links, Method::POST) => self.make_link(request, (id, item), &access).await,
            (Route::Link, Method::GET) => {
                drop(request);
                self.show_link(id, addr).await
            }
            (Route::Link, Method::POST) => self.answer_link(request, id, addr).await,
            (Route::Connections, Method::GET) => {
                let uri = request.uri().clone();
                drop(request);
                self.list_connections(&uri, &access).await
            }
            (Route::Connection, Method::GET) => {
                access.check_everything(Permission::Admin)?;
                drop(request);
                self.get_connection(id).await
            }
            (Route::Connection, Method::DELETE) => {
                access.check_everything(Permission::Admin)?;
                drop(request);
                self.kick(id).await
            }
            (Route::Messages, Method::POST) => {
                access.check_everything(Permission::Admin)?;
                self.send_message(request, id, &access).await
            }
            (Route::Backups, Method::POST) => {
                access.check_everything(Permission::Admin)?;
                drop(request);
                self.back_up().await
            }
            (Route::Index, Method::GET) => Ok(self.index()),
            (Route::Stats, Method::GET) => {
                access.check_everything(Permission::Admin)?;
                drop(request);
                Ok(self.stats().await)
            }
            (Route::Healthz, Method::GET) => Ok(self.healthz()),
            (Route::Readyz, Method::GET) => Ok(self.readyz()),
            (Route::Extra(at), Method::GET) => {
                let route = &self.config.routes[at];
                if !route.is_open() {
                    access.check_everything(Permission::Admin)?;
                }
                Ok(route.answer(self, &request).map(full))
            }
            (route, _) => Err(Problem::method(allowed(route))),
        }
    }
}
