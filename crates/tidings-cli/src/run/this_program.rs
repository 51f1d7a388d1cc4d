//! The path of this program, which starts itself again for small duties.

use std::io;
use std::path::PathBuf;

/// The name of this program in the list of processes.
pub(super) const NAME: &str = "tidings";

/// Returns the path of this program.
pub(super) fn this_program() -> io::Result<PathBuf> {
    match cfg!(target_os = "linux") {
        // This name is valid even if the file was replaced.
        true => Ok("/proc/self/exe".into()),
        false => std::env::current_exe(),
    }
}
