//! Standard output: the one place where the commands write to it.
//!
//! Text is cleaned here, and a write that fails ends the command.

use std::io::{self, Write};

use crate::Failure;
use crate::text::{clean, clean_json};

/// Prints a line for people. Text in it cannot control the terminal.
///
/// # Errors
/// The line was not written.
pub fn print(line: &str) -> Result<(), Failure> {
    print_bytes(format!("{}\n", clean(line)).as_bytes())
}

/// Prints a JSON text on one line.
///
/// # Errors
/// The line was not written.
pub fn print_json(json: &str) -> Result<(), Failure> {
    print_bytes(format!("{}\n", clean_json(json)).as_bytes())
}

/// Prints bytes as they are.
///
/// # Errors
/// The bytes were not written.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// Prints a line on standard error, marked as ours.
pub(crate) fn say(text: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(io::stderr(), "tidings: {}", clean(text));
}
