//! A QR code in a terminal: two modules in each character, in black on white whatever the colours of
//! the terminal, with the margin that cameras need.

use anyhow::{Context, ensure};
use qrcodegen::{QrCode, QrCodeEcc};
use std::io::{self, IsTerminal};

/// Light modules around the code (ISO/IEC 18004).
const MARGIN: i32 = 4;
/// Black on white of the 256 colours, which no theme changes; and back.
const COLOURS: (&str, &str) = ("\x1b[38;5;16;48;5;231m", "\x1b[0m");

/// The lines of a code for this text.
///
/// # Errors
/// It is too long, or the terminal that stdout is has too few columns.
pub(super) fn code(text: &str) -> anyhow::Result<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low);
    let code = code.context("the link is too long for a QR code")?;
    let columns = code.size() + 2 * MARGIN;
    if io::stdout().is_terminal() {
        let (has, _) = crossterm::terminal::size().context("the terminal has no size")?;
        ensure!(
            i32::from(has) >= columns,
            "the QR code needs {columns} columns, and the terminal has {has}: make it wider, or \
             its letters smaller"
        );
    }
    Ok(drawn(&code))
}

fn drawn(code: &QrCode) -> String {
    let end = code.size() + MARGIN;
    let mut lines = String::new();
    for y in (-MARGIN..end).step_by(2) {
        lines += COLOURS.0;
        // What is outside the code is light.
        let dark = |x| (code.get_module(x, y), code.get_module(x, y + 1));
        lines.extend((-MARGIN..end).map(|x| match dark(x) {
            (true, true) => '\u{2588}',
            (true, false) => '\u{2580}',
            (false, true) => '\u{2584}',
            (false, false) => ' ',
        }));
        lines += COLOURS.1;
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use seal::{Identity, export};

    /// tests/page/qr.test.js reads the same code module by module.
    #[test]
    fn a_link_is_drawn_as_the_code_that_a_reader_reads() {
        let with = export::Entropy {
            salt: [1; 16],
            nonce: [2; 24],
        };
        let identity = Identity::from_seed(&[9; 32]);
        let exported = export::export(&identity, "correct horse battery", &with).unwrap();
        let gateway = "https://chat.example".parse().unwrap();
        let link = super::super::link(&gateway, &exported);
        let shown = format!("{}{link}\n", code(&link).unwrap());
        assert_eq!(shown, include_str!("../../../tests/golden/key.qr"));
    }
}
