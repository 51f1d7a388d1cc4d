//! Connecting without a transport.

use futures_util::FutureExt;
use tidings_connections::{
    AdmissionError, ConnectRequest, ConnectionGuard, ConnectionManager, Socket, Wire,
};

/// Connects a client at once, to a manager that is in no cluster.
///
/// # Errors
/// Returns an error if the client is refused.
///
/// # Panics
/// Panics if the manager is in a cluster and waits for other nodes.
pub fn connect(
    manager: &ConnectionManager,
    request: ConnectRequest,
    socket: Box<dyn Socket>,
    wire: &'static dyn Wire,
) -> Result<ConnectionGuard, AdmissionError> {
    let admission = manager.admit(request).now_or_never();
    let admission = admission.expect("one node waits for nobody")?;
    admission.connect(socket, wire)
}
