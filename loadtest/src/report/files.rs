//! The files of a report: `report.html` and `report.json`, histograms as percentiles (`.hgrm`) and
//! as logs of their seconds (`.hlog`) for the tools of HdrHistogram.

use super::Report;
use crate::measure::{Histogram, Latency, Recorder};
use anyhow::{Context, Result};
use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

const PAGE: &str = include_str!("../../assets/report.html");
const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = include_str!("../../assets/report.js");
const CHART: &str = include_str!("../../assets/uPlot-1.6.32.min.js");
const CHART_STYLE: &str = include_str!("../../assets/uPlot-1.6.32.min.css");

/// Writes all of them into a folder.
///
/// # Errors
/// The folder cannot be written.
pub fn write(folder: &Path, report: &Report, recorder: &Recorder) -> Result<()> {
    let unwritable = || format!("cannot write the report into {}", folder.display());
    fs::create_dir_all(folder).with_context(unwritable)?;
    let put = |name: &str, text: &[u8]| fs::write(folder.join(name), text).with_context(unwritable);
    let json = serde_json::to_string(report)?;
    put("report.json", json.as_bytes())?;
    put("report.html", page(&json).as_bytes())?;
    for (name, latency) in [
        ("answer", &recorder.answer),
        ("delivery", &recorder.delivery),
        ("last", &recorder.last),
    ] {
        if latency.due.is_empty() {
            continue;
        }
        put(
            &format!("{name}.hgrm"),
            percentiles(&latency.due).as_bytes(),
        )?;
        put(
            &format!("{name}.uncorrected.hgrm"),
            percentiles(&latency.sent).as_bytes(),
        )?;
        put(&format!("{name}.hlog"), &log(name, latency)?)?;
    }
    Ok(())
}

/// Reads a report: its JSON, or the folder with it.
///
/// # Errors
/// There is none.
pub fn read(path: &Path) -> Result<Report> {
    let file = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_owned()
    };
    let text = fs::read_to_string(&file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report", file.display()))
}

fn page(json: &str) -> String {
    // Nothing in the data may end the script that holds it.
    let data = json.replace("</", "<\\/");
    PAGE.replace("{{chart-style}}", CHART_STYLE)
        .replace("{{style}}", STYLE)
        .replace("{{chart}}", CHART)
        .replace("{{script}}", SCRIPT)
        .replace("{{data}}", &data)
}

/// The percentile distribution as HdrHistogram's own tools print it, in milliseconds.
fn percentiles(histogram: &Histogram) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for point in histogram.iter_quantiles(5) {
        let quantile = point.quantile_iterated_to();
        let value = point.value_iterated_to() as f64 / 1e3;
        let count = histogram.count_between(0, point.value_iterated_to());
        let _ = if quantile < 1.0 {
            writeln!(
                out,
                "{value:12.3} {quantile:14.12} {count:10} {:14.2}",
                1.0 / (1.0 - quantile)
            )
        } else {
            writeln!(out, "{value:12.3} {quantile:14.12} {count:10}")
        };
    }
    let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
    let (max, count) = (histogram.max() as f64 / 1e3, histogram.len());
    let _ = writeln!(
        out,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]"
    );
    let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    out
}

fn log(name: &str, latency: &Latency) -> Result<Vec<u8>> {
    let (mut out, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let began = latency.log.first().map_or(SystemTime::now(), |(at, _)| *at);
    let tag = Tag::new(name).context("a tag without blanks")?;
    let mut writer = IntervalLogWriterBuilder::new()
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(1e3)
        .begin_log_with(&mut out, &mut serializer)?;
    for (at, histogram) in &latency.log {
        let since = at.duration_since(began).unwrap_or_default();
        writer
            .write_histogram(histogram, since, Duration::from_secs(1), Some(tag))
            .map_err(|error| anyhow::anyhow!("the log of {name}: {error:?}"))?;
    }
    Ok(out)
}
