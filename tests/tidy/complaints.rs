//! Each check is shown to complain.

use super::*;

fn file(path: &str, text: &str) -> File {
    File {
        path: path.into(),
        text: text.into(),
    }
}

#[test]
fn about_a_module_that_uses_one_above_it() {
    assert_eq!(
        directions(&file("src/room/mod.rs", "use crate::bus::Bus;")),
        ["room may not use crate::bus::Bus"]
    );
    assert_eq!(
        directions(&file(
            "src/wire/text.rs",
            "use crate::{\n    proto::x as y,\n    room::{A as B, C},\n    writer,\n};"
        ))
        .len(),
        1
    );
    assert_eq!(
        directions(&file(
            "src/wire/text.rs",
            "// crate::writer\nuse crate::room::A;"
        )),
        [""; 0]
    );
    assert_eq!(directions(&file("src/other.rs", "")).len(), 1);
}

#[test]
fn about_a_part_that_knows_an_adapter() {
    let grouped = "use crate::{bus::{Bus, memory::Hub}, room::State};";
    let complaints = directions(&file("src/writer/shard.rs", grouped));
    assert_eq!(
        complaints,
        ["writer knows an adapter: crate::bus::memory::Hub; only its port may be known"]
    );
    assert_eq!(directions(&file("src/app/connect.rs", grouped)), [""; 0]);
    assert_eq!(directions(&file("src/bus/memory/mod.rs", grouped)), [""; 0]);
    assert_eq!(
        directions(&file(
            "src/writer/shard.rs",
            &format!("#[cfg(test)]\nmod tests {{ {grouped} }}")
        )),
        [""; 0]
    );
}

#[test]
fn about_a_street_that_leads_back() {
    let text = "use crate::gateway::{Session, metrics};";
    assert_eq!(
        streets(&file("src/gateway/replica/generation.rs", text)),
        ["replica may not use gateway::Session"]
    );
}

#[test]
fn about_a_missing_header_and_a_long_file() {
    assert_eq!(header(&file("src/a.rs", "use std::fmt;")).len(), 1);
    assert_eq!(
        length(&file("src/a.rs", &"\n".repeat(MOST_LINES + 1))).len(),
        1
    );
    assert_eq!(length(&file("src/a.rs", &"\n".repeat(MOST_LINES))).len(), 0);
}

#[test]
fn about_every_left_over_word() {
    for word in LEFT_OVER {
        assert_eq!(
            left_over(&file("src/a.rs", &format!("fine\n    {word}"))),
            [format!("line 2 has a left-over {word}")]
        );
    }
}

#[test]
fn about_a_dependency_without_a_reason() {
    let text = "[package]\nname = \"a\"\n[dev-dependencies]\nserde = \"1\" # JSON\nrand = \"1\"";
    assert_eq!(dependencies(&file("Cargo.toml", text)).len(), 1);
}

#[test]
fn about_a_named_file_that_is_not_there() {
    let text = "`a.rs` is `b/`; `c d.rs`, `e::f` and `g.rs` are not";
    assert_eq!(
        named(&file("ARCHITECTURE.md", text), &|name| name != "g.rs"),
        ["names g.rs, which is not there"]
    );
}

#[test]
fn about_a_link_that_leads_nowhere() {
    let text = "[a](docs/a.md#part) [b](https://b.example) [c](#here) [d](docs/d.md)";
    let complaints = links(&file("README.md", text), &|path| {
        path.ends_with("docs/a.md")
    });
    assert_eq!(complaints, ["the link to docs/d.md leads nowhere"]);
}
