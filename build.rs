//! Rebuilds the crate when a scenario changes: the scenarios are embedded in the binary.

fn main() {
    println!("cargo:rerun-if-changed=scenarios");
}
