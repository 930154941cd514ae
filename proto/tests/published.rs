//! What was published in proto/ stays: no field is removed, renumbered or retyped.
//! `published.txt` holds every field that was ever published; a new one is added there:
//! `PUBLISH=1 cargo test -p proto`.

use std::{collections::BTreeSet, fs, path::Path};

const FILES: [&str; 5] = [
    "safechat/client/v1/client.proto",
    "safechat/bus/v1/bus.proto",
    "safechat/keys/v1/keys.proto",
    "safechat/journal/v1/journal.proto",
    "safechat/journal/v2/journal.proto",
];

macro_rules! collect {
    ($lines:expr, $prefix:expr, $messages:expr) => {{
        let mut open: Vec<_> = $messages
            .iter()
            .map(|message| (format!("{}.{}", $prefix, message.name()), message))
            .collect();
        while let Some((name, message)) = open.pop() {
            for field in &message.field {
                let kind = format!("{:?}", field.r#type()).to_lowercase();
                let of = if field.type_name().is_empty() {
                    kind
                } else {
                    field.type_name().trim_start_matches('.').to_owned()
                };
                let label = if field.proto3_optional() {
                    "optional".to_owned()
                } else if let Some(index) = field.oneof_index {
                    format!("oneof {}", message.oneof_decl[index as usize].name())
                } else {
                    format!("{:?}", field.label())
                        .to_lowercase()
                        .replace("optional", "singular")
                };
                $lines.insert(format!(
                    "{name}.{} = {} {of} {label}",
                    field.name(),
                    field.number()
                ));
            }
            open.extend(
                message
                    .nested_type
                    .iter()
                    .map(|nested| (format!("{name}.{}", nested.name()), nested)),
            );
        }
    }};
}

#[test]
fn what_was_published_stays() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let set = protox::compile(FILES, [root]).unwrap();
    let mut current = BTreeSet::new();
    for file in &set.file {
        collect!(current, file.package(), file.message_type);
    }

    let path = root.join("published.txt");
    let published: BTreeSet<String> = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let broken: Vec<_> = published.difference(&current).collect();
    assert!(
        broken.is_empty(),
        "these published fields are not there any more, which breaks what is stored or deployed: {broken:#?}"
    );

    let new: Vec<_> = current.difference(&published).collect();
    if std::env::var_os("PUBLISH").is_some() {
        let all: Vec<_> = current.iter().map(String::as_str).collect();
        return fs::write(&path, all.join("\n") + "\n").unwrap();
    }
    assert!(
        new.is_empty(),
        "these fields are new: add them with PUBLISH=1 cargo test -p proto: {new:#?}"
    );
}
