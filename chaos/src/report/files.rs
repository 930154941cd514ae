//! The report on disk: the page, its tables, and the data of both, from which pages of several
//! reports are made.

use super::{Report, html, markdown};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Writes one report and its data: the page at `page`, the rest beside it.
pub fn write(report: &Report, page: &Path) -> Result<()> {
    put(
        &page.with_extension("json"),
        &serde_json::to_string_pretty(report)?,
    )?;
    write_page(std::slice::from_ref(report), page)
}

/// Writes one page of several reports, and its tables beside it.
pub fn write_page(reports: &[Report], page: &Path) -> Result<()> {
    put(page, &html(reports))?;
    put(&page.with_extension("md"), &markdown(reports))
}

/// Reads the data of reports.
pub fn read(files: &[PathBuf]) -> Result<Vec<Report>> {
    files.iter().map(|file| read_one(file)).collect()
}

fn read_one(file: &Path) -> Result<Report> {
    let data = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_slice(&data).with_context(|| {
        format!(
            "{} is not the data of a report (REPORT.json beside the page)",
            file.display()
        )
    })
}

fn put(file: &Path, text: &str) -> Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    }
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}
