//! Servers to compare with: how each is started, on a core of its own, and what it speaks. Their
//! own files are in `peers/`; their programs are where `cargo xtask bench --obtain` puts them, or
//! on the PATH.

use crate::engine::Dialect;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::{
    env, fmt, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    runtime,
    time::{sleep, timeout},
};

const CENTRIFUGO_JSON: &str = include_str!("../peers/centrifugo.json");
const BUN_JS: &str = include_str!("../peers/bun.js");
const SOCKETIO_JS: &str = include_str!("../peers/socketio.js");

/// Where its program is in the cache, and what brings it there.
pub const CENTRIFUGO: &str = "centrifugo-6.9.1";
/// The packages of npm, in the cache: `node_modules` of `peers/package.json`.
pub const NPM: &str = "peers-npm-1";

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);
/// How often is looked whether it does.
const LOOK: Duration = Duration::from_millis(20);
/// Of its output, when it does not start.
const LAST_LINES: usize = 5;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// The least there can be, with every message in a file, synced once per round
    BareFsync,
    /// Bun's publish: uWebSockets, in memory
    Bun,
    /// Centrifugo, in memory; with a history where sessions resume
    Centrifugo,
    /// socket.io on Node, one process, in memory
    #[value(name = "socketio")]
    SocketIo,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value().expect("none is hidden");
        out.write_str(name.get_name())
    }
}

/// How all of them are started.
#[derive(Debug, Clone)]
pub struct Starter {
    /// The core they run on.
    pub core: Option<usize>,
    /// Where programs were put.
    pub cache: PathBuf,
    /// Whether sessions of the scenario resume.
    pub resumes: bool,
}

/// One that runs, until it is dropped.
pub struct Running {
    child: Child,
    files: Files,
    /// Where it listens.
    pub at: SocketAddr,
    /// What it speaks.
    pub dialect: Dialect,
}

/// A folder of a running server, gone with it.
struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        // The system empties this place anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Starter {
    /// Starts the bare server.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn bare(&self) -> Result<Running> {
        let this = env::current_exe()?;
        self.start("bare", Dialect::SafeChat, |at, _| {
            let mut command = Command::new(&this);
            command.arg("bare").arg("--at").arg(at.to_string());
            Ok(command)
        })
    }

    /// Starts one of the others.
    ///
    /// # Errors
    /// It is not on this machine, or does not start.
    pub fn peer(&self, kind: Kind) -> Result<Running> {
        let write = |files: &Path, name: &str, text: &str| -> Result<PathBuf> {
            let path = files.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            Ok(path)
        };
        let dialect = match kind {
            Kind::BareFsync | Kind::Bun => Dialect::SafeChat,
            Kind::Centrifugo => Dialect::Centrifugo {
                keeps: self.resumes,
            },
            Kind::SocketIo => Dialect::SocketIo,
        };
        let program = self.program(kind)?;
        self.start(&kind.to_string(), dialect, |at, files| {
            let mut command = Command::new(&program);
            let port = at.port().to_string();
            match kind {
                Kind::BareFsync => {
                    command.arg("bare").arg("--at").arg(at.to_string());
                    command.arg("--log").arg(files.join("log"));
                }
                Kind::Bun => {
                    command.arg(write(files, "bun.js", BUN_JS)?).arg(port);
                }
                Kind::Centrifugo => {
                    let config = write(files, "centrifugo.json", CENTRIFUGO_JSON)?;
                    command.arg("--config").arg(config);
                    command.env("CENTRIFUGO_HTTP_SERVER_PORT", port);
                }
                Kind::SocketIo => {
                    let modules = self.cache.join(NPM).join("node_modules");
                    command
                        .env("NODE_PATH", modules)
                        .env("NODE_ENV", "production");
                    command.arg(write(files, "socketio.cjs", SOCKETIO_JS)?);
                    command.arg(port);
                }
            }
            Ok(command)
        })
    }

    /// Its program; an error says what is missing.
    ///
    /// # Errors
    /// It is not on this machine.
    pub fn program(&self, kind: Kind) -> Result<PathBuf> {
        let npm = self.cache.join(NPM).join("node_modules");
        let found = match kind {
            Kind::BareFsync => Some(env::current_exe()?),
            Kind::Bun => bun_of(&npm).or_else(|| on_path("bun")),
            Kind::Centrifugo => {
                let cached = self.cache.join(CENTRIFUGO);
                let cached = Some(cached).filter(|it| it.is_file());
                cached.or_else(|| on_path("centrifugo"))
            }
            Kind::SocketIo if npm.join("socket.io").is_dir() => on_path("node"),
            Kind::SocketIo => None,
        };
        found.with_context(|| {
            format!(
                "{kind} is not in {}: cargo xtask bench --obtain gets what can be had",
                self.cache.display()
            )
        })
    }

    fn start(
        &self,
        name: &str,
        dialect: Dialect,
        command: impl FnOnce(SocketAddr, &Path) -> Result<Command>,
    ) -> Result<Running> {
        // Free now; who takes it until the server listens there makes that fail, and say so.
        let at = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let files = Files(folder(name)?);
        let command = self.pinned(&command(at, &files.0)?);
        let log = fs::File::create(files.0.join("output"))?;
        let child = { command }
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let mut running = Running {
            child,
            files,
            at,
            dialect,
        };
        running.wait().with_context(|| name.to_owned())?;
        Ok(running)
    }

    /// The same command, on the core for servers.
    fn pinned(&self, command: &Command) -> Command {
        let Some(core) = self.core else {
            return copy(command, Command::new(command.get_program()));
        };
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(core.to_string());
        pinned.arg(command.get_program());
        copy(command, pinned)
    }
}

fn copy(from: &Command, mut to: Command) -> Command {
    to.args(from.get_args());
    for (name, value) in from.get_envs() {
        if let Some(value) = value {
            to.env(name, value);
        }
    }
    to
}

impl Running {
    /// Its address for an engine.
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Until it listens.
    fn wait(&mut self) -> Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listens = timeout(START, self.listens()).await;
            listens.unwrap_or_else(|_| bail!("it does not listen: {}", self.last_words()))
        })
    }

    async fn listens(&mut self) -> Result<()> {
        while TcpStream::connect(self.at).await.is_err() {
            if let Some(how) = self.child.try_wait()? {
                bail!("it ended ({how}): {}", self.last_words());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let output = fs::read_to_string(self.files.0.join("output")).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ")
    }
}

/// Bun's own program. npm installs the package of this machine only; the script of `bun`, where npm
/// runs scripts, moves the program out of it.
fn bun_of(modules: &Path) -> Option<PathBuf> {
    let packages = fs::read_dir(modules.join("@oven")).ok()?.flatten();
    let moved = modules.join("bun/bin/bun.exe");
    let is_program = |path: &PathBuf| {
        // Until it is moved there, a line of text is in its place.
        fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() > 1_000_000)
    };
    packages
        .map(|package| package.path().join("bin/bun"))
        .chain([moved])
        .find(is_program)
}

fn folder(name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("loadtest-{}-{number}-{name}", std::process::id());
    let path = env::temp_dir().join(name);
    fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Where `cargo xtask` puts programs: `SAFE_CHAT_CACHE`, or `safe-chat` in the user's cache.
pub fn cache() -> PathBuf {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    set("SAFE_CHAT_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("safe-chat")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/safe-chat")))
        .unwrap_or_else(|| ".cache".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_this_machine_is_said() {
        let starter = Starter {
            core: None,
            cache: "/nowhere".into(),
            resumes: false,
        };
        let why = starter.peer(Kind::SocketIo).err().unwrap().to_string();
        assert!(why.contains("socketio is not in /nowhere"), "{why}");
    }

    #[test]
    fn a_command_on_a_core_keeps_its_arguments_and_variables() {
        let mut command = Command::new("server");
        command.arg("x").env("PORT", "1");
        let starter = Starter {
            core: Some(3),
            cache: PathBuf::new(),
            resumes: false,
        };
        let pinned = format!("{:?}", starter.pinned(&command));
        assert_eq!(pinned, r#"PORT="1" "taskset" "-c" "3" "server" "x""#);
    }
}
