//! The path of this program, which starts itself again for small duties.

use std::io;
use std::path::PathBuf;

/// The name of this program in the list of processes.
pub(super) const NAME: &str = "tidings";

/// Sets the short name of this process, as `ps` and `top` show it. The system has named the
/// process after the file `exe`.
pub(super) fn take_name() {
    // A name only helps people.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(c"tidings");
}

/// Returns the path of this program.
pub(super) fn this_program() -> io::Result<PathBuf> {
    match cfg!(target_os = "linux") {
        // This name is valid even if the file was replaced.
        true => Ok("/proc/self/exe".into()),
        false => std::env::current_exe(),
    }
}
