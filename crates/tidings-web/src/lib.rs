//! Tidings in the browser, as bytes to serve.
//!
//! The dashboard, a task's page and the client `tidings.js` are built from
//! `ui/` and embedded, so that a server is one file and `cargo build` needs no
//! Node.js. This crate knows no HTTP library: it says which bytes belong to a
//! path and which headers go with them, and whoever serves them, such as
//! `tidings-server`, does the rest.
//!
//! ```
//! let page = tidings_web::asset("/tasks/build-7").expect("every task has a page");
//! assert_eq!(page.content_type, "text/html; charset=utf-8");
//! assert!(page.headers().any(|(name, _)| name == "content-security-policy"));
//! assert!(tidings_web::asset("/nothing/of/ours").is_none());
//! ```

mod asset;
mod assets;

pub use asset::Asset;

/// What is at a path, if anything: the path alone, percent-encoded as in a
/// request, without a query.
pub fn asset(path: &str) -> Option<&'static Asset> {
    let file = match path {
        "/" | "/connections" => "/index.html",
        _ if is_task(path) => "/index.html",
        other => other,
    };
    assets::ASSETS.iter().find(|asset| asset.path == file)
}

/// Everything that is embedded.
pub fn assets() -> &'static [Asset] {
    assets::ASSETS
}

/// Whether this is the page of a task, `/tasks/{task_id}`. Whether there is such
/// a task, the page finds out itself.
fn is_task(path: &str) -> bool {
    path.strip_prefix("/tasks/")
        .is_some_and(|id| !id.is_empty() && !id.contains('/'))
}
