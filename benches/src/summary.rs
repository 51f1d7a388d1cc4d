//! Which targets are met? Prints the table of results against targets.
//!
//! Cargo runs benches in the order of their names, so this one ends `cargo bench`. Run alone, it
//! prints the last results of the others.

pub(crate) fn main() {
    println!("\n{}", crate::support::results::table());
}
