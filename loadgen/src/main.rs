//! Load generator binary.
fn main() {}
