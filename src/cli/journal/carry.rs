//! `safe-chat journal export|import|copy`: rooms out of a journal, into one, and from one to the
//! other.

use super::super::{Settings, stdout::print};
use crate::{
    app::{
        look::is_switched,
        transfer::{self, Copying, Origin, Strange, Target},
    },
    bus::JournalKind,
    config::Config,
    journal::{
        Hole,
        dump::{self, Error, FileRoom, Item, Names, Reader, Source, Writer, Written},
    },
    room::RoomId,
    telemetry::say,
};
use anyhow::{Context, anyhow, bail, ensure};
use chrono::{SecondsFormat, Utc};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufReader, BufWriter, ErrorKind, Seek, Write},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Rooms that are named at most.
const SHOWN: usize = 20;

/// What to do about an end before the end.
const STOPPED: &str = "it stopped here; the same again goes on where it stopped";

/// What to do about events that neither Cassandra nor the bus has.
const FORGOTTEN: &str = "\
what these events did is forgotten, in rooms of which that was said: what was erased, purged or \
unpinned there is to be done again (nodes log each such act, target safe_chat::audit)
";

/// Bytes between the file and what reads or writes it.
const BUFFER: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Export {
    /// The rooms; without any, all of them. After `--` names may begin with -
    #[arg(value_parser = RoomId::parse)]
    rooms: Vec<RoomId>,
    /// A file with more names of rooms, one a line
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// The file to write, which must not be there (default, and `-`: stdout)
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    to: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Import {
    /// What `journal export` wrote; `-`: from stdin
    file: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CopyOver {
    /// The journal to copy to: bus or cassandra
    #[arg(long, value_name = "KIND", value_parser = kind)]
    to: JournalKind,
    /// With `--to bus`: first part of the names of the streams to copy to
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    to_prefix: Option<String>,
    /// Once every room is equal in both, and while no node runs: the cluster keeps its rooms there
    /// from now on
    #[arg(long)]
    switch: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Recover {
    #[command(flatten)]
    settings: Settings,
}

fn kind(text: &str) -> Result<JournalKind, String> {
    JournalKind::parse(text).ok_or_else(|| "bus or cassandra".into())
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.read()?;
        let mut names: BTreeSet<RoomId> = self.rooms.into_iter().collect();
        if let Some(path) = &self.from_file {
            names.extend(read_names(path)?);
            ensure!(!names.is_empty(), "{} names no room", path.display());
        }
        let from = transfer::from(&config).await?;
        let Some(to) = self.to.filter(|to| to.as_os_str() != "-") else {
            let exported = export(&config, &from, names, Box::new(io::stdout()), "stdout").await;
            return tell(&exported?, "stdout");
        };
        let path = to.display().to_string();
        let exported = export(&config, &from, names, Box::new(private(&to)?), &path).await;
        let exported = exported.and_then(|written| {
            let synced = File::open(&to).and_then(|file| file.sync_all());
            synced.with_context(|| path.clone()).map(|()| written)
        });
        if exported.is_err() && fs::remove_file(&to).is_ok() {
            say(&format!(
                "{path} was not written to its end, and was removed\n"
            ));
        }
        tell(&exported?, &path)
    }
}

/// Writes the rooms, all if none is named, to `out`, which people know as `path`.
async fn export(
    config: &Config,
    from: &Origin,
    names: BTreeSet<RoomId>,
    out: Box<dyn Write>,
    path: &str,
) -> anyhow::Result<Written> {
    let mut writer = Writer::begin(
        BufWriter::with_capacity(BUFFER, out),
        from.cluster.map(|id| id.to_string()),
        config.journal.kind,
        from.shards.count(),
        Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
    )
    .with_context(|| path.to_owned())?;
    let is_all = names.is_empty();
    let mut names = Wanted::new(from, names);
    while let Some(room) = names.next().await? {
        let found = match is_all {
            true => from.source.room(&room).await,
            false => from.named(&room).await.map(Some),
        };
        let done = match found {
            Ok(Some(mut incoming)) => writer.room(&mut incoming).await,
            Ok(None) => Ok(()),
            Err(error) => failed(&mut writer, &room, error),
        };
        match done {
            Err(Error::File(error)) => return Err(error).context(path.to_owned()),
            Err(error) => say(&format!("room {room} is not in the file: {error}\n")),
            Ok(()) => {}
        }
    }
    let (mut out, written) = writer.end().with_context(|| path.to_owned())?;
    out.flush().with_context(|| path.to_owned())?;
    Ok(written)
}

/// Says what is in a file; fails when that is not all.
fn tell(written: &Written, path: &str) -> anyhow::Result<()> {
    let Written {
        rooms,
        events,
        bytes,
        failed,
    } = written;
    say(&format!(
        "{path}: {rooms} rooms, {events} events, {bytes} bytes\n"
    ));
    ensure!(
        *failed == 0,
        "{failed} rooms could not be read: they are not in {path}"
    );
    Ok(())
}

/// Says of a room, in the file too, why it is not there.
fn failed(writer: &mut Writer<impl Write>, room: &RoomId, error: Error) -> Result<(), Error> {
    writer.failed(room, &error)?;
    Err(error)
}

fn read_names(path: &Path) -> anyhow::Result<Vec<RoomId>> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| shown.to_string())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let parsed = lines.map(|line| {
        RoomId::parse(line).map_err(|why| anyhow!("{shown}: `{line}` names no room: {why}"))
    });
    parsed.collect()
}

/// A file of rooms.
fn opened(path: &Path) -> anyhow::Result<File> {
    let shown = path.display();
    ensure!(
        !path.is_dir(),
        "{shown} is a directory: name the file that `journal export` wrote"
    );
    File::open(path).with_context(|| shown.to_string())
}

/// A file that was not there, for nobody else's eyes.
fn private(path: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    options.create_new(true).write(true).read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        let shown = path.display();
        match error.kind() {
            ErrorKind::AlreadyExists if path.is_dir() => {
                anyhow!("{shown} is a directory: name a file in it")
            }
            ErrorKind::AlreadyExists => {
                anyhow!("{shown} is there already: name another file, or remove it")
            }
            _ => anyhow!("{shown} cannot be made: {error}"),
        }
    })
}

/// The rooms that were named, or all.
struct Wanted<'a> {
    given: Option<BTreeSet<RoomId>>,
    all: Names<'a>,
}

impl<'a> Wanted<'a> {
    fn new(from: &'a Origin, given: BTreeSet<RoomId>) -> Self {
        Self {
            given: (!given.is_empty()).then_some(given),
            all: from.source.names(),
        }
    }

    async fn next(&mut self) -> Result<Option<RoomId>, Error> {
        match &mut self.given {
            Some(given) => Ok(given.pop_first()),
            None => Ok(self.all.next().await?),
        }
    }
}

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.read()?;
        let shown = self.file.display().to_string();
        let file = match self.file.to_str() {
            Some("-") => spooled()?,
            _ => opened(&self.file)?,
        };
        let checked = dump::check(BufReader::with_capacity(BUFFER, &file));
        let checked = checked.with_context(|| format!("{shown}: nothing was written"))?;
        for (room, why) in &checked.failed {
            say(&format!("room {room} is not in the file: {why}\n"));
        }
        let mut target = Target::for_file(&config, checked.sha256).await?;
        (&file).rewind().with_context(|| shown.clone())?;
        let told = write_all(&file, &mut target).await;
        let released = target.release(told.is_ok()).await;
        let mut told = told.with_context(|| format!("{shown}: {STOPPED}"))?;
        released?;
        told.refused += checked.failed.len();
        told.say("as in the file")
    }
}

#[derive(Default)]
struct Told {
    rooms: u64,
    changed: u64,
    added: u64,
    refused: usize,
    /// Rooms of which events are missing that nobody had, and how many.
    with_holes: u64,
    missing: u64,
}

impl Told {
    /// Says what was done; fails when that is not all.
    fn say(&self, how: &str) -> anyhow::Result<()> {
        let Self {
            rooms,
            changed,
            added,
            refused,
            with_holes,
            missing,
        } = self;
        let gone = match missing {
            0 => String::new(),
            _ => format!("; {missing} events of {with_holes} rooms are gone for good"),
        };
        let _ = print(&format!(
            "{rooms} rooms are there {how}: {changed} were written, {added} events added{gone}\n"
        ))?;
        ensure!(*refused == 0, "{refused} rooms were not written");
        Ok(())
    }

    /// What became of a room; whatever is not about this room alone is an error.
    fn note(&mut self, room: &RoomId, taken: Result<dump::Taken, Error>) -> Result<(), Error> {
        match taken {
            Ok(taken) => {
                self.rooms += 1;
                self.changed += u64::from(taken.is_changed);
                self.added += taken.added;
                let missing = Hole::total(&taken.holes);
                if !taken.no_place.is_empty() {
                    say(&format!(
                        "room {room}: events {} came and are missing, but something else is stored \
                         at their places, or was removed there: look at it with `safe-chat journal \
                         inspect {room}`\n",
                        Hole::list(&taken.no_place)
                    ));
                }
                if missing > 0 {
                    self.with_holes += 1;
                    self.missing += missing;
                    say(&format!(
                        "room {room}: {missing} events are neither there nor in what came: {}\n",
                        Hole::list(&taken.holes)
                    ));
                }
            }
            Err(error) if error.is_of_room() => {
                self.refused += 1;
                say(&format!("room {room} was not written: {error}\n"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

async fn write_all(file: &File, target: &mut Target) -> Result<Told, Error> {
    let mut reader = Reader::open(BufReader::with_capacity(BUFFER, file))?;
    let mut told = Told::default();
    while let Some(item) = reader.item()? {
        let Item::Room { room, head } = item else {
            continue;
        };
        let mut incoming = FileRoom::new(&mut reader, room.clone(), head);
        let taken = target.take(&mut incoming).await;
        told.note(&room, taken)?;
        reader.skip_room()?;
    }
    Ok(told)
}

/// What comes from stdin, in a file that nobody else finds: it is read twice.
fn spooled() -> anyhow::Result<File> {
    let path = std::env::temp_dir().join(format!("safe-chat-import-{}", Uuid::now_v7()));
    let mut file = private(&path)?;
    fs::remove_file(&path).with_context(|| path.display().to_string())?;
    let copied = io::copy(&mut io::stdin().lock(), &mut file);
    copied.with_context(|| format!("stdin, into {}", path.display()))?;
    file.rewind()?;
    Ok(file)
}

impl CopyOver {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.read()?;
        let prefix = self.to_prefix.as_deref();
        if let Some(done) = is_switched(&config, self.to, prefix, self.switch).await? {
            let _ = print(&format!("the cluster is switched already: {done}\n"))?;
            return Ok(());
        }
        let mut copying =
            Copying::begin(&config, self.to, self.to_prefix.clone(), self.switch).await?;
        let Copying { from, to, .. } = &mut copying;
        let told = copy_all(&from.source, to).await;
        let switched = match &told {
            Ok(told) if told.refused == 0 => Some(self.finish(&copying).await),
            _ => None,
        };
        // What it lacks is over with the switch.
        let released = copying.to.release(false).await;
        let told = told.context(STOPPED)?;
        released?;
        told.say("as they are here")?;
        if let Some(switched) = switched.transpose()?.flatten() {
            let _ = print(&format!("the cluster is switched: {switched}\n"))?;
        }
        Ok(())
    }

    /// Every room was found equal, or made so.
    async fn finish(&self, copying: &Copying) -> anyhow::Result<Option<String>> {
        check_strange(copying, self.switch).await?;
        match self.switch {
            true => copying.switch().await.map(Some),
            false => Ok(None),
        }
    }
}

impl Recover {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.read()?;
        let mut target = Target::for_own(&config).await?;
        let source = target.newest_on_bus(config.cluster.validate()?);
        let told = copy_all(&source, &mut target).await;
        let absent = match &told {
            Ok(_) => Some(target.not_on_bus(SHOWN).await),
            Err(_) => None,
        };
        let released = target.release(told.is_ok()).await;
        let told = told.context(STOPPED)?;
        released?;
        let absent = absent.transpose();
        let absent = absent.context("which rooms the bus has nothing of is not known")?;
        told.say("up to where the bus has them")?;
        if told.missing > 0 {
            say(FORGOTTEN);
        }
        if let Some(absent) = absent.filter(|(rooms, _)| !rooms.is_empty()) {
            tell_absent(&absent);
        }
        Ok(())
    }
}

/// Rooms that may come back to life with a backup: that they were removed, nothing says any more.
fn tell_absent((rooms, count): &(Vec<RoomId>, u64)) {
    let names: Vec<_> = rooms.iter().map(RoomId::to_string).collect();
    let dots = if rooms.len() as u64 == *count {
        ""
    } else {
        " ..."
    };
    say(&format!(
        "of {count} rooms Cassandra has something and the bus nothing: {}{dots}: they were quiet \
         for long, or removed since the backup: purge again those that were removed (nodes log \
         that, target safe_chat::audit)\n",
        names.join(", ")
    ));
}

async fn copy_all(source: &Source, to: &mut Target) -> Result<Told, Error> {
    let mut told = Told::default();
    let mut names = source.names();
    while let Some(room) = names.next().await? {
        let taken = match source.room(&room).await {
            Ok(Some(mut incoming)) => to.take(&mut incoming).await,
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        told.note(&room, taken)?;
    }
    Ok(told)
}

/// What to do about rooms that are there and not here: nothing removes them, and they would come
/// back to life.
async fn check_strange(copying: &Copying, is_last: bool) -> anyhow::Result<()> {
    let Strange { rooms, more } = copying.strange(SHOWN).await?;
    if rooms.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = rooms.iter().map(RoomId::to_string).collect();
    let (count, dots) = (rooms.len(), if more { " and more" } else { "" });
    let told = format!(
        "{count}{dots} rooms are there and not here, since they have gone meanwhile, or were there \
         before: {}{dots}",
        names.join(", ")
    );
    match is_last {
        true => bail!("{told}: nothing was switched; copy to an empty journal"),
        false => {
            say(&format!(
                "warning: {told}: --switch will refuse them; begin again with an empty keyspace or \
                 prefix, and remove this one, which has their content\n"
            ));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rooms.ndjson");
        writeln!(private(&path).unwrap(), "a room").unwrap();
        let refused = private(&path).unwrap_err().to_string();
        assert!(refused.ends_with("remove it"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a room\n");
    }
}
