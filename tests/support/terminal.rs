//! The client on a terminal of its own, as a person has it.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tokio::{sync::mpsc, time::timeout};

/// Bounds a wait; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The client, on a terminal of its own.
pub(crate) struct Terminal {
    keys: File,
    /// Chunks of what it printed.
    printed: mpsc::UnboundedReceiver<String>,
    seen: String,
    pub(crate) client: Child,
}

impl Terminal {
    /// `safe-chat chat` with these arguments.
    pub(crate) fn open(arguments: &[&str], columns: u16) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
        program.arg("chat").args(arguments);
        Self::run(program, columns)
    }

    /// A program with the terminal on its three ends.
    pub(crate) fn run(mut program: Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())).to_owned();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        tcsetwinsize(&slave, size).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let client = program
            .env_clear()
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, printed) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..read]).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            keys,
            printed,
            seen: String::new(),
            client,
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this was printed; forgets what came before.
    pub(crate) async fn shows(&mut self, what: &str) {
        loop {
            if let Some(at) = self.seen.find(what) {
                self.seen.drain(..at + what.len());
                return;
            }
            self.prints(what).await;
        }
    }

    /// What was printed before this; waits until it was.
    #[allow(dead_code)] // Each test binary uses its part.
    pub(crate) async fn shows_up_to(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(end) {
                let before = self.seen[..at].to_owned();
                self.seen.drain(..at + end.len());
                return before;
            }
            self.prints(end).await;
        }
    }

    /// Waits until it does not show what is typed. Of that it tells nobody, so it is looked at.
    #[allow(dead_code)] // Each test binary uses its part.
    pub(crate) async fn hides(&self) {
        let shown = || tcgetattr(&self.keys).unwrap().local_modes;
        let hidden = async {
            while shown().contains(LocalModes::ECHO) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, hidden).await.expect("a hidden line");
    }

    async fn prints(&mut self, what: &str) {
        let next = timeout(PATIENCE, self.printed.recv()).await;
        let chunk = next.ok().flatten();
        self.seen += &chunk.unwrap_or_else(|| panic!("{what:?} is missing in {:?}", self.seen));
    }

    /// The exit code, once the client gave the terminal back.
    pub(crate) async fn ends(mut self) -> Option<i32> {
        self.shows("\u{1b}[?2004l").await;
        let code = self.client.wait().unwrap().code();
        let modes = tcgetattr(&self.keys).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON), "raw");
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
