//! A file, its representations, and the headers that go with them.

use crate::encoding::{self, Coding};

/// Lets the pages talk to their own server and to nothing else. Nothing is
/// loaded from elsewhere, and nothing inline runs.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Has a browser ask for a page every time, because a newer server has newer pages.
const ASK_AGAIN: &str = "no-cache";

/// Lets a browser keep a file for good: a changed file has another name.
const KEEP: &str = "public, max-age=31536000, immutable";

/// A file to serve.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asset {
    /// Path at which the file is served.
    pub path: &'static str,
    /// Media type of the content.
    pub content_type: &'static str,
    /// Whether the content at this path never changes.
    pub is_immutable: bool,
    /// The content in each encoding, the smallest first and the plain one last.
    pub representations: &'static [Representation],
}

/// The content of a file in one encoding.
#[derive(Debug)]
#[non_exhaustive]
pub struct Representation {
    /// Value of `Content-Encoding`, if the content is compressed.
    pub encoding: Option<&'static str>,
    /// Name of these bytes, quotes included (RFC 9110, section 8.8.3).
    pub etag: &'static str,
    /// The bytes to send.
    pub body: &'static [u8],
}

impl Asset {
    /// Returns the smallest representation that a client accepts.
    ///
    /// `accept_encoding` is the request's `Accept-Encoding`, or `""` without
    /// one. The plain representation is the answer to everything else.
    #[must_use]
    pub fn representation(&self, accept_encoding: &str) -> &'static Representation {
        let accepted = encoding::parse(accept_encoding);
        let accepts = |encoding: &str| Coding::accepts(&accepted, encoding);
        self.representations
            .iter()
            .find(|known| known.encoding.is_none_or(accepts))
            .unwrap_or_else(|| self.plain())
    }

    /// Returns the representation without compression.
    #[must_use]
    pub fn plain(&self) -> &'static Representation {
        &self.representations[self.representations.len() - 1]
    }

    /// Returns the headers to answer with, by lower-case names.
    pub fn headers(
        &self,
        representation: &Representation,
    ) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let cache_control = if self.is_immutable { KEEP } else { ASK_AGAIN };
        [
            ("content-type", self.content_type),
            ("etag", representation.etag),
            ("cache-control", cache_control),
            ("vary", "accept-encoding"),
            ("content-security-policy", CONTENT_SECURITY_POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ]
        .into_iter()
        .chain(
            representation
                .encoding
                .map(|encoding| ("content-encoding", encoding)),
        )
    }
}
