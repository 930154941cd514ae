//! `chaos report`: one page of the data of several reports.

use super::files;
use anyhow::{Result, ensure};
use clap::Args;
use std::path::PathBuf;

/// Makes one page, and its tables in markdown, of several reports.
#[derive(Debug, Args)]
pub struct Options {
    /// The data of reports: the .json beside their pages
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the page is written; its tables are put beside it, as .md
    #[arg(long, value_name = "FILE", default_value = "chaos-reports.html")]
    to: PathBuf,
}

/// Reads all, then writes.
pub fn run(options: &Options) -> Result<()> {
    ensure!(
        !options.files.contains(&options.to),
        "--to {} is one of the files that are read",
        options.to.display()
    );
    let reports = files::read(&options.files)?;
    files::write_page(&reports, &options.to)?;
    println!(
        "{} reports are in {} and {}",
        reports.len(),
        options.to.display(),
        options.to.with_extension("md").display()
    );
    Ok(())
}
