//! A TCP proxy between two programs on this machine, which can be told to lose, delay and reset what passes.
