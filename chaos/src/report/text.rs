//! Figures and words as a person reads them, safe within HTML and within a table of markdown.

/// Within an element or an attribute of HTML or SVG.
pub(super) fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// Within a cell of a markdown table: no end of the cell or the line, no HTML.
pub(super) fn cell(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace(['\n', '\r'], " ")
}

/// `5.1 ms`, `123 ms`, `1.23 s`.
pub(super) fn millis(ms: f64) -> String {
    match ms {
        ms if !ms.is_finite() => "-".to_owned(),
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 9995.0 => format!("{:.2} s", ms / 1000.0),
        ms if ms < 99_950.0 => format!("{:.1} s", ms / 1000.0),
        ms => format!("{:.0} s", ms / 1000.0),
    }
}

/// The same of microseconds.
pub(super) fn micros(us: u64) -> String {
    millis(us as f64 / 1000.0)
}

/// `12 345`: groups of three digits.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `8.3 s`: a moment.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds.is_finite() {
        format!("{seconds:.1} s")
    } else {
        "-".to_owned()
    }
}

/// `8 s`, `2:05 min`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    if whole < 120 {
        format!("{whole} s")
    } else {
        format!("{}:{:02} min", whole / 60, whole % 60)
    }
}

/// A figure with its unit: `61.3 MiB`, `412`, `0.5`. Signs are kept.
pub(super) fn amount(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let size = value.abs();
    match unit {
        "bytes" if size >= 1024.0 * 1024.0 * 1024.0 => {
            format!("{:.2} GiB", value / (1024.0 * 1024.0 * 1024.0))
        }
        "bytes" if size >= 1024.0 * 1024.0 => format!("{:.1} MiB", value / (1024.0 * 1024.0)),
        "bytes" if size >= 1024.0 => format!("{:.1} KiB", value / 1024.0),
        "bytes" => format!("{value:.0} B"),
        _ if size >= 1e6 => format!("{:.1} M", value / 1e6),
        _ if size >= 1e4 => format!("{:.1} k", value / 1e3),
        _ if value.fract().abs() < 0.05 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_an_attribute_or_a_cell() {
        assert_eq!(
            html("<a href='x'>\"&\""),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;"
        );
        assert_eq!(cell("a|b\nc\\|<i>"), "a\\|b c\\\\\\|&lt;i>");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 5.12, 9.97, 123.4, 999.6, 12_345.0, 1e5].map(millis),
            [
                "0.0 ms", "5.1 ms", "10 ms", "123 ms", "1.00 s", "12.3 s", "100 s"
            ]
        );
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!(
            [0.2, 119.4, 125.0].map(duration),
            ["0 s", "119 s", "2:05 min"]
        );
        assert_eq!(amount(64.0 * 1024.0 * 1024.0, "bytes"), "64.0 MiB");
        assert_eq!(amount(-2048.0, "bytes"), "-2.0 KiB");
        assert_eq!(
            [412.0, 0.5, 12_345.0, f64::NAN].map(|n| amount(n, "")),
            ["412", "0.5", "12.3 k", "-"]
        );
    }
}
