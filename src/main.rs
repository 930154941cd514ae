//! The `safe-chat` program.

fn main() {}
