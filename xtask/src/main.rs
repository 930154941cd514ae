//! `cargo xtask`: the library says what it can do.

fn main() -> std::process::ExitCode {
    xtask::main()
}
