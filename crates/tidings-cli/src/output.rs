//! Standard output. All commands write to it through this module.
//!
//! The module cleans text. A failed write ends the command.

use std::io::{self, Write};

use crate::Failure;
use crate::text::{clean, clean_json};

/// Prints a line for people. The text cannot control the terminal.
///
/// # Errors
/// Returns an error if the line could not be written.
pub fn print(line: &str) -> Result<(), Failure> {
    print_bytes(format!("{}\n", clean(line)).as_bytes())
}

/// Prints a JSON text on one line.
///
/// # Errors
/// Returns an error if the line could not be written.
pub fn print_json(json: &str) -> Result<(), Failure> {
    print_bytes(format!("{}\n", clean_json(json)).as_bytes())
}

/// Prints bytes unchanged.
///
/// # Errors
/// Returns an error if the bytes could not be written.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// Prints a line on standard error that begins with `tidings:`.
pub(crate) fn say(text: &str) {
    // If standard error is closed, there is no reader to tell.
    let _ = writeln!(io::stderr(), "tidings: {}", clean(text));
}
