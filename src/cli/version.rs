//! What `safe-chat --version` says: from which sources, by which compiler, how and for what it was
//! built.

/// The version and the facts of the build, one per line.
pub(super) fn long() -> &'static str {
    concat!(
        env!("CARGO_PKG_VERSION"),
        "\ncommit   ",
        env!("SAFE_CHAT_COMMIT"),
        "\nrustc    ",
        env!("SAFE_CHAT_RUSTC"),
        "\nprofile  ",
        env!("SAFE_CHAT_PROFILE"),
        "\ntarget   ",
        env!("SAFE_CHAT_TARGET"),
        "\nfeatures ",
        env!("SAFE_CHAT_FEATURES"),
    )
}
