//! The signals that a node may get. Those that ask for an end make it drain, and end it at once
//! when they come again. No other signal ends it that is not for a fault of the program.

use crate::telemetry;
use futures::{Stream, StreamExt, stream};
use nix::{
    libc::{SIGRTMAX, SIGRTMIN},
    sys::signal::Signal,
};
use std::{io, process, sync::Arc};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// The exit code when a signal that asks for an end came twice: nothing was finished.
const AT_ONCE: i32 = 1;

/// What a signal means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Drain; when it comes again, end at once.
    End,
    /// Drain; it comes again by itself.
    EndSoon,
    /// Read again what is read at start. A terminal that goes away sends it too.
    Reload,
    /// Nothing.
    Nothing,
    /// Nothing, and not to be logged: it comes from writing the log.
    Unsaid,
}

const SIGNALS: [(Signal, Meaning); 15] = [
    (Signal::SIGTERM, Meaning::End),
    (Signal::SIGINT, Meaning::End),
    (Signal::SIGQUIT, Meaning::End),
    // The power fails; the limit of processor time is reached.
    (Signal::SIGPWR, Meaning::EndSoon),
    (Signal::SIGXCPU, Meaning::EndSoon),
    (Signal::SIGHUP, Meaning::Reload),
    (Signal::SIGUSR1, Meaning::Nothing),
    (Signal::SIGUSR2, Meaning::Nothing),
    (Signal::SIGALRM, Meaning::Nothing),
    (Signal::SIGVTALRM, Meaning::Nothing),
    (Signal::SIGPROF, Meaning::Nothing),
    (Signal::SIGIO, Meaning::Nothing),
    (Signal::SIGSTKFLT, Meaning::Nothing),
    // Pipes and connections whose reader is gone, and files at their limit: the write fails, that
    // is enough.
    (Signal::SIGPIPE, Meaning::Unsaid),
    (Signal::SIGXFSZ, Meaning::Unsaid),
];

/// What signals ask for.
pub struct Asked {
    /// Cancelled: an end.
    pub end: CancellationToken,
    /// Notified: files are to be read again. One that comes early is kept.
    pub reload: Arc<Notify>,
}

/// Takes the signals over. Called once, as early as possible: until then each signal does what it
/// does to any process.
pub fn on_signals() -> io::Result<Asked> {
    let mut signals = arrivals()?;
    let asked = Asked {
        end: CancellationToken::new(),
        reload: Arc::default(),
    };
    let (token, reload) = (asked.end.clone(), asked.reload.clone());
    tokio::spawn(async move {
        while let Some((name, meaning)) = signals.next().await {
            match meaning {
                Meaning::End if token.is_cancelled() => {
                    warn!("{name} again: ending at once");
                    telemetry::finish();
                    process::exit(AT_ONCE);
                }
                Meaning::End | Meaning::EndSoon if !token.is_cancelled() => {
                    token.cancel();
                    warn!("{name}: draining; SIGTERM once more ends at once");
                }
                Meaning::Reload => {
                    info!("{name}: looking at certificates and operators");
                    reload.notify_one();
                }
                Meaning::Nothing => info!("{name} means nothing to a node; going on"),
                Meaning::End | Meaning::EndSoon => debug!("{name}: draining already"),
                Meaning::Unsaid => {}
            }
        }
    });
    Ok(asked)
}

/// Every signal as it arrives; the same one twice in a row may be one.
fn arrivals() -> io::Result<impl Stream<Item = (String, Meaning)> + Unpin> {
    let named = SIGNALS.map(|(signal, meaning)| (signal as i32, signal.to_string(), meaning));
    let real_time = (SIGRTMIN()..=SIGRTMAX()).map(|number| {
        let name = format!("SIGRTMIN+{}", number - SIGRTMIN());
        (number, name, Meaning::Nothing)
    });
    let mut all = Vec::new();
    for (number, name, meaning) in named.into_iter().chain(real_time) {
        let mut arriving = signal(SignalKind::from_raw(number))?;
        let arrivals = stream::poll_fn(move |context| arriving.poll_recv(context));
        all.push(arrivals.map(move |()| (name.clone(), meaning)));
    }
    Ok(stream::select_all(all))
}
