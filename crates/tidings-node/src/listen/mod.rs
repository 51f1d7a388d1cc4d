//! From a TCP port to requests: the accept loop, the PROXY protocol, TLS, HTTP/1.1 and HTTP/2, and
//! the check of host names.

mod acceptor;
mod mounts;
mod places;
mod proxy_protocol;
mod server;
mod slots;

pub use acceptor::{Accepted, Acceptor, BoxedStream, Stream};
pub(crate) use mounts::{BoxError, Mounts};
pub use server::Server;
