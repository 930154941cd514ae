//! What tests share: names of their own, and the servers that a run may have.

#![allow(dead_code)] // Each test binary uses its part.

use uuid::Uuid;

/// The value of an environment variable that names a server; says what is left out when there is
/// none.
pub(crate) fn server(variable: &str, left_out: &str) -> Option<String> {
    let value = std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty());
    if value.is_none() {
        println!("left out: {left_out} ({variable} is not set)");
    }
    value
}

/// A name that no other test has, usable as prefix, room or keyspace: 13 characters of a-z 0-9.
pub(crate) fn unique(letter: char) -> String {
    let id = Uuid::now_v7().simple().to_string();
    // The end is random; the beginning is the time, the same for tests that start together.
    format!("{letter}{}", &id[20..])
}
