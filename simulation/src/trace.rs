//! What happened in a run, line by line, with virtual times.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex},
};
use tokio::time::Instant;
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, format::Writer, time::FormatTime},
};

/// Runs a seed and returns everything that it logs. `filter` as in `RUST_LOG`.
pub fn traced<T>(filter: &str, run: impl FnOnce() -> T) -> (T, String) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_timer(Virtual::default())
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let output = tracing::subscriber::with_default(subscriber, run);
    let text =
        String::from_utf8_lossy(&lines.0.lock().expect("nobody panics with it")).into_owned();
    (output, text)
}

/// The virtual time since the first line.
#[derive(Default)]
struct Virtual(Mutex<Option<Instant>>);

impl FormatTime for Virtual {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = Instant::now();
        let start = *self.0.lock().map_err(|_| fmt::Error)?.get_or_insert(now);
        write!(writer, "{:10.4}", (now - start).as_secs_f64())
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
