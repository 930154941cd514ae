//! What time it is at the servers.

use super::link::Link;
use crate::bus::Error;
use chrono::{DateTime, Utc};

/// By the clock of the server that leads a stream, which its description says.
pub(super) async fn time(link: &Link, stream: &str) -> Result<DateTime<Utc>, Error> {
    let told = link.info(stream).await?.ts;
    let told = DateTime::parse_from_rfc3339(&told);
    let told = told.map_err(|bad| {
        Error::Unavailable(format!("what time it is at the bus is not known: {bad}"))
    })?;
    Ok(told.with_timezone(&Utc))
}
