//! Generates the frames of the protobuf protocol from the published .proto, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../proto/safechat/client");
    let descriptors = protox::compile(["safechat/client/v1/client.proto"], ["../proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
