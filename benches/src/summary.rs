//! What holds of what is promised: the table of ratios against the targets.
//!
//! Cargo runs benches in the order of their names, so this one ends
//! `cargo bench`; alone it shows what the others found last.

pub(crate) fn main() {
    println!("\n{}", crate::support::results::table());
}
