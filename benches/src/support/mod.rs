//! The shared parts of the benches: servers in their own processes, a loader that checks what it
//! reads, and one table of results against targets.

pub(crate) mod args;
pub(crate) mod disk;
pub(crate) mod frames;
pub(crate) mod loader;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod results;
pub(crate) mod servers;

pub(crate) use args::Args;

/// The server's own allocator, which all compared servers use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
