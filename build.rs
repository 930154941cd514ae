//! Generates the protobuf types from `proto/`, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "safechat/client/v1/client.proto",
        "safechat/bus/v1/bus.proto",
        "safechat/journal/v1/journal.proto",
        "safechat/journal/v2/journal.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
