//! Pages of the application in addition to the routes.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{ConnectionManager, ConnectionsConfig};
use tidings_transport::{ExtraRoute, Pages, TidingsService, TransportConfig};

fn service(pages: Option<Pages>) -> TidingsService {
    let bus = EventBus::new(BusConfig::default()).unwrap();
    let manager = ConnectionManager::new(bus, ConnectionsConfig::default()).unwrap();
    let own = ExtraRoute::open("/own", |_| Response::new(Bytes::from_static(b"own")));
    let mut config = TransportConfig::default().route(own);
    if let Some(pages) = pages {
        config = config.pages(pages);
    }
    TidingsService::new(manager, config).unwrap()
}

/// Every path but one has a page, which contains the path.
fn pages() -> Pages {
    Pages::new(|path, _| {
        let page = Response::builder()
            .header(header::CONTENT_TYPE, "text/html")
            .header(header::ETAG, "\"v1\"")
            .header("x-page", path)
            .body(Bytes::from(format!("page {path}")));
        (path != "/none").then(|| page.unwrap())
    })
}

async fn answer(
    service: &TidingsService,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, http::HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let (parts, body) = service.handle(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, parts.headers, text)
}

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test]
async fn a_path_that_is_no_route_is_a_page() {
    let service = service(Some(pages()));
    let (status, headers, body) = answer(&service, "GET", "/tasks/a%20b?x=1", &[]).await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::OK, "page /tasks/a%20b")
    );
    assert_eq!(headers["x-page"], "/tasks/a%20b");

    let (status, ..) = answer(&service, "GET", "/none", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, ..) = answer(&service, "POST", "/tasks/a", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_route_is_never_a_page() {
    let service = service(Some(pages()));
    for path in [
        "/api/tasks",
        "/healthz",
        "/own",
        "/api/tasks/unknown",
        "/ws",
    ] {
        let (_, headers, _) = answer(&service, "GET", path, &[BROWSER]).await;
        assert!(!headers.contains_key("x-page"), "{path}");
    }
}

#[tokio::test]
async fn at_the_root_a_browser_sees_a_page_and_a_program_the_routes() {
    let service = service(Some(pages()));
    let (_, headers, body) = answer(&service, "GET", "/", &[BROWSER]).await;
    assert_eq!(
        (body.as_str(), &headers["vary"]),
        ("page /", &"accept".parse().unwrap())
    );
    for accept in [
        None,
        Some(("accept", "*/*")),
        Some(("accept", "application/json")),
    ] {
        let (_, _, body) = answer(&service, "GET", "/", accept.as_slice()).await;
        assert!(body.contains("\"tidings.v1\""), "{accept:?}: {body}");
    }
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let service = service(Some(pages()));
    for (tags, expected) in [
        ("\"v1\"", 304),
        ("W/\"v1\"", 304),
        ("\"v0\", \"v1\"", 304),
        ("*", 304),
        ("\"v2\"", 200),
        ("v1", 200),
    ] {
        let (status, headers, body) =
            answer(&service, "GET", "/page", &[("if-none-match", tags)]).await;
        assert_eq!(status, expected, "{tags}");
        assert_eq!(headers["etag"], "\"v1\"");
        assert_eq!(body.is_empty(), expected == 304, "{tags}");
    }
}

#[tokio::test]
async fn without_pages_nothing_is_there() {
    let service = service(None);
    let (_, _, body) = answer(&service, "GET", "/", &[BROWSER]).await;
    assert!(body.contains("\"tidings.v1\""));
    let (status, ..) = answer(&service, "GET", "/tasks/a", &[BROWSER]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
