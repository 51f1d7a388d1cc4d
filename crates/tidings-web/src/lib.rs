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
//! let best = page.representation("gzip, br");
//! assert_eq!(best.encoding, Some("br"));
//! assert!(page.headers(best).any(|(name, _)| name == "content-security-policy"));
//! assert!(tidings_web::asset("/nothing/of/ours").is_none());
//! ```

mod asset;
mod assets;
mod encoding;

pub use asset::{Asset, Representation};

/// Returns the file at a path, if there is one. The path is percent-encoded as
/// in a request, and has no query.
///
/// The page at `/` also shows that a path leads nowhere, if a browser asks for one.
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
