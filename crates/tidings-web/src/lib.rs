//! Tidings in the browser, as embedded files.
//!
//! The dashboard, the page of a task and the client `tidings.js` are built from `ui/` and embedded.
//! A server is therefore a single file, and `cargo build` needs no Node.js. This crate uses no HTTP
//! library. It returns the bytes and headers for a path, and the caller serves them, as
//! `tidings-server` does.
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

/// Returns the file at a path, if there is one. The path is percent-encoded, as in a request, and
/// has no query.
///
/// If a browser requests a path that does not exist, serve [`missing`], which says so. Pages and
/// scripts find one another and the server also below a path, such as `/tidings`, if the router or
/// proxy that mounts the server there removes that path from requests.
pub fn asset(path: &str) -> Option<&'static Asset> {
    let file = match path {
        "/" | "/connections" => "/index.html",
        _ if is_task(path) => "/task.html",
        other => other,
    };
    find(file)
}

/// Returns the page that says that there is nothing at a path.
pub fn missing(path: &str) -> Option<&'static Asset> {
    // Pages name their scripts relative to themselves, so each depth has its own. At a path that
    // is deeper than any page, the scripts are found only if the server is not mounted under a path.
    find(match path.matches('/').count() {
        0 | 1 => "/index.html",
        2 => "/task.html",
        _ => "/elsewhere.html",
    })
}

fn find(file: &str) -> Option<&'static Asset> {
    assets::ASSETS.iter().find(|asset| asset.path == file)
}

/// Returns all embedded files.
pub fn assets() -> &'static [Asset] {
    assets::ASSETS
}

/// Returns whether the path is that of a task's page, `/tasks/{task_id}`. The page itself finds out
/// whether the task exists.
fn is_task(path: &str) -> bool {
    path.strip_prefix("/tasks/")
        .is_some_and(|id| !id.is_empty() && !id.contains('/'))
}
