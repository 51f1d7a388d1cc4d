//! A file, its representations, and its headers.

use crate::encoding::{self, Coding};

/// Allows the pages to connect to their own server only. No other site and no inline script is
/// loaded.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Makes a browser check for a newer page each time, because a newer server has newer pages.
const ASK_AGAIN: &str = "no-cache";

/// Allows a browser to keep a file forever. A changed file has another name.
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
    /// The entity tag of these bytes, including its quotes (RFC 9110 §8.8.3).
    pub etag: &'static str,
    /// The bytes to send.
    pub body: &'static [u8],
}

impl Asset {
    /// Returns the smallest representation that a client accepts.
    ///
    /// `accept_encoding` is the value of the request's `Accept-Encoding`, or `""` if there is none.
    /// If the client accepts no other encoding, this returns the plain representation.
    #[must_use]
    pub fn representation(&self, accept_encoding: &str) -> &'static Representation {
        let accepted = encoding::parse(accept_encoding);
        let accepts = |encoding: &str| Coding::accepts(&accepted, encoding);
        self.representations
            .iter()
            .find(|known| known.encoding.is_none_or(accepts))
            .unwrap_or_else(|| self.plain())
    }

    /// Returns the uncompressed representation.
    #[must_use]
    pub fn plain(&self) -> &'static Representation {
        &self.representations[self.representations.len() - 1]
    }

    /// Returns the response headers, with lower-case names.
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
