//! `chaos`: faults on a real safe-chat, and a report of what came of them.

fn main() {}
