//! Numbers that people compare, and links that carry a key, as QR codes.

use qrcodegen::{QrCode, QrCodeEcc};
use std::fmt::Write as _;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// A QR code: the width in modules, then the path of the dark ones for an SVG of that width.
#[wasm_bindgen]
pub fn qr(text: &str) -> Result<String, JsError> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium)
        .map_err(|_| JsError::new("too long for a QR code"))?;
    let mut path = format!("{} ", code.size());
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            write!(path, "M{x} {y}h1v1h-1z").expect("a String takes what is written");
        }
    }
    Ok(path)
}
