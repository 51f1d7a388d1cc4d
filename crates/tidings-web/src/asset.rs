//! A file and the headers that go with it.

/// What the pages may do: talk to where they are from, and nothing else.
/// Nothing is loaded from elsewhere, and nothing inline runs.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Kept, but asked about every time: a newer server has newer pages.
const CACHE_CONTROL: &str = "no-cache";

/// A file to serve.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asset {
    /// Where it is served.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Names its content, quotes included (RFC 9110, section 8.8.3).
    pub etag: &'static str,
    /// Its content.
    pub body: &'static [u8],
}

impl Asset {
    /// The headers to answer with, by lower-case names.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        [
            ("content-type", self.content_type),
            ("etag", self.etag),
            ("cache-control", CACHE_CONTROL),
            ("content-security-policy", CONTENT_SECURITY_POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ]
        .into_iter()
    }
}
