//! `cargo run -p proto` makes the Rust of the .proto files, for the service and for the client. It
//! is committed, so that building them needs neither protoc nor a compiler of .proto files, and
//! compared by a test. It builds without the service, which may not compile before it is made.

use std::{collections::BTreeMap, error::Error, fs, path::Path, path::PathBuf};

const FILES: [&str; 5] = [
    "safechat/client/v1/client.proto",
    "safechat/bus/v1/bus.proto",
    "safechat/keys/v1/keys.proto",
    "safechat/journal/v1/journal.proto",
    "safechat/journal/v2/journal.proto",
];
/// What the client needs is with it: it builds without the service, which includes it from there.
const OF_CLIENT: &str = "safechat.client.v1.rs";

fn main() -> Result<(), Box<dyn Error>> {
    for (path, text) in generate()? {
        fs::create_dir_all(path.parent().ok_or("a file without a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// What each generated file should hold.
fn generate() -> Result<BTreeMap<PathBuf, String>, Box<dyn Error>> {
    let set = protox::compile(FILES, [env!("CARGO_MANIFEST_DIR")])?;
    let files = set.file.into_iter().map(|file| {
        let module = prost_build::Module::from_protobuf_package_name(file.package());
        (module, file)
    });
    let made = prost_build::Config::new()
        .bytes(["."])
        .generate(files.collect())?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let placed = |(module, text): (prost_build::Module, String)| {
        let name = module.to_file_name_or("proto");
        let folder = match name == OF_CLIENT {
            true => "client/src/codec/generated",
            false => "src/proto/generated",
        };
        (root.join(folder).join(name), text)
    };
    Ok(made.into_iter().map(placed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_rust_is_what_the_proto_files_say() {
        let stale: Vec<_> = generate()
            .unwrap()
            .into_iter()
            .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(text))
            .map(|(path, _)| path)
            .collect();
        assert!(
            stale.is_empty(),
            "these are not what proto/ says; make them again with `cargo run -p proto`: {stale:#?}"
        );
    }
}
