//! What holds of what is promised: the table of ratios against the targets.
//!
//! Cargo runs benches in the order of their names, so this one ends
//! `cargo bench`; alone it shows what the others found last.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program that prints"
)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::result_large_err,
    reason = "a bench stops where something is wrong"
)]

mod support;

fn main() {
    let _ = support::Args::read();
    println!("\n{}", support::results::table());
}
