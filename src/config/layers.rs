//! Where values come from: defaults < file < environment (short names < `SAFE_CHAT_SECTION__KEY`) <
//! flags.

use super::{
    Config, Error, Node,
    environment::{self, PREFIX},
};
use crate::telemetry::Format;
use config::{ConfigError, File, FileFormat, Map, Value, ValueKind};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    string::FromUtf8Error,
};

/// How similar a known name must be to be suggested (Jaro-Winkler, 0 to 1).
const SIMILAR: f64 = 0.8;

/// Keys whose values are words, and which.
const WORDS: [(&str, &str); 4] = [
    ("access.default", "open, proven or token"),
    ("journal.kind", "bus or cassandra"),
    ("log.format", "pretty or json"),
    ("node.roles", "gateway, writer, or both"),
];
/// Keys whose values may hold passwords: errors do not quote them.
const SECRET: [(&str, &str); 6] = [
    ("bus.servers", "a list of addresses"),
    ("bus.password", "text"),
    ("bus.token", "text"),
    ("cassandra.password", "text"),
    ("ops.password", "text"),
    ("trace.headers", "a list of name=value"),
];

/// Values of flags: the key, the flag and its text.
pub type Flags = Vec<(&'static str, &'static str, String)>;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// Nobody set it.
    #[default]
    Default,
    /// It follows from another key.
    Follows(&'static str),
    /// The config file.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A file with a secret, and the environment variable that names it.
    SecretFile {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
    },
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Follows(key) => write!(f, "because {key} is set"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::SecretFile { variable, path } => {
                write!(f, "file {}, environment {variable}", path.display())
            }
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A configuration, where its values came from, and what to warn about.
#[derive(Debug)]
pub struct Loaded {
    /// What the parts get.
    pub config: Config,
    /// Where each set key came from.
    pub(super) sources: BTreeMap<String, Source>,
    /// One line for each key or section that is not known. A node does not start with any: what
    /// was meant to be set would not be.
    pub unknown: Vec<String>,
    /// What is good to know, and nothing to change.
    pub notes: Vec<String>,
}

impl Loaded {
    /// Puts the layers together. `environment` is usually [`std::env::vars_os`].
    pub fn load<K: Into<OsString>, V: Into<OsString>>(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (K, V)>,
        flags: Flags,
    ) -> Result<Self, Error> {
        let mut layers = Layers::new();
        if let Some(path) = file {
            layers.file(path)?;
        }
        layers.environment(&environment::own(environment)?)?;
        for (key, flag, text) in flags {
            layers.text(key, text, Source::Flag(flag));
        }
        if layers.set.contains_key("cassandra.hosts") && !layers.set.contains_key("journal.kind") {
            layers.text(
                "journal.kind",
                "cassandra".into(),
                Source::Follows("cassandra.hosts"),
            );
        }
        layers.finish()
    }
}

/// How a node logs and what it is called, as far as a configuration says that which may be wrong
/// elsewhere: so that this, too, is told as the node would.
pub fn voice<K: Into<OsString>, V: Into<OsString>>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (K, V)>,
    flags: Flags,
) -> (Format, String) {
    let mut layers = Layers::new();
    // What is wrong with it is told by whoever loads it.
    if let Some(path) = file {
        let _ = layers.file(path);
    }
    let texts = environment.into_iter().filter_map(|(name, value)| {
        let value: OsString = value.into();
        value.to_str().is_some().then(|| (name.into(), value))
    });
    let own = environment::own::<OsString, OsString>(texts);
    let _ = own.and_then(|own| layers.environment(&own));
    for (key, flag, text) in flags {
        layers.text(key, text, Source::Flag(flag));
    }
    let said = |key| match layers.set.get(key) {
        Some((ValueKind::String(text), _)) => Some(text.as_str()),
        _ => None,
    };
    let format = match said("log.format") {
        Some("json") => Format::Json,
        _ => Format::default(),
    };
    let name = said("node.name").map_or_else(|| Node::default().name, str::to_owned);
    (format, name)
}

pub(super) struct Layers {
    /// Every key with its default.
    pub(super) known: BTreeMap<String, serde_json::Value>,
    set: BTreeMap<String, (ValueKind, Source)>,
    pub(super) unknown: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Layers {
    fn new() -> Self {
        Self {
            known: known(),
            set: BTreeMap::new(),
            unknown: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Sets what can be, also when something else there is wrong.
    fn file(&mut self, path: &Path) -> Result<(), Error> {
        let unusable = |why: String| Error::File {
            path: path.to_owned(),
            why,
        };
        let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| unusable(not_utf8(&error)))?;
        let file = File::from_str(&text, FileFormat::Toml);
        let values = config::Source::collect(&file)
            .map_err(|error| unusable(one_line(&without_excerpt(&error.to_string()))))?;
        let source = Source::File(path.display().to_string());
        let (sections, rest) = values
            .into_iter()
            .partition(|it| self.is_unknown_section(it));
        self.unknown_sections(sections, &source);
        let mut found = Vec::new();
        self.flatten("", rest, &mut found);
        let mut outcome = Ok(());
        for (key, value) in found {
            let source = source.clone();
            match self.known.get(&key) {
                Some(default) => match whole(&key, default, value, &source) {
                    Ok(value) => drop(self.set.insert(key, (value, source))),
                    Err(wrong) => outcome = outcome.and(Err(wrong)),
                },
                None => self.unknown(&key, &key, &source),
            }
        }
        outcome
    }

    /// Whether it is a section that nobody asks for, and that only its own name can explain: it is
    /// empty, or is called nearly as one that exists.
    fn is_unknown_section(&self, (name, value): &(String, Value)) -> bool {
        let ValueKind::Table(keys) = &value.kind else {
            return false;
        };
        let sections: BTreeSet<_> = self.sections().collect();
        !sections.contains(&**name) && (keys.is_empty() || nearest(name, sections).is_some())
    }

    /// One line for each: if its keys are misspelt as well, that shows when its name is right.
    fn unknown_sections(&mut self, sections: Map<String, Value>, source: &Source) {
        let names: BTreeSet<_> = sections.into_keys().collect();
        for name in names {
            let hint = nearest(&name, self.sections())
                .map_or_else(String::new, |near| format!(": did you mean [{near}]?"));
            self.unknown
                .push(format!("[{name}] in {source} is not known{hint}"));
        }
    }

    fn sections(&self) -> impl Iterator<Item = &str> {
        let keys = self.known.keys();
        keys.filter_map(|key| Some(key.split_once('.')?.0))
    }

    /// Spells nested tables out to keys; a known key may have a table as its value. One that is
    /// empty inside a section counts as a key, so that it is not passed over.
    fn flatten(
        &self,
        prefix: &str,
        table: Map<String, Value>,
        found: &mut Vec<(String, ValueKind)>,
    ) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}.{name}")
            };
            match value.kind {
                ValueKind::Table(table)
                    if !self.known.contains_key(&key)
                        && (prefix.is_empty() || !table.is_empty()) =>
                {
                    self.flatten(&key, table, found)
                }
                kind => found.push((key, kind)),
            }
        }
    }

    /// Sets a key from text, which becomes what the key's default is: a list (separated by commas),
    /// a number, or text.
    pub(super) fn text(&mut self, key: &str, text: String, source: Source) {
        let value = match self.known.get(key) {
            Some(serde_json::Value::Array(_)) => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                ValueKind::Array(items.map(|item| Value::new(None, item)).collect())
            }
            // What is no number stays text, so that the refusal can quote it.
            Some(serde_json::Value::Number(_)) => text
                .trim()
                .parse()
                .map_or_else(|_| text.into(), ValueKind::I64),
            _ => text.into(),
        };
        self.set.insert(key.to_owned(), (value, source));
    }

    pub(super) fn unknown(&mut self, key: &str, written: &str, source: &Source) {
        let near = nearest(key, self.known.keys().map(String::as_str));
        let hint = near.map_or_else(String::new, |known| match source {
            Source::Environment(_) => format!(
                ": did you mean {PREFIX}{}?",
                known.to_uppercase().replace('.', "__")
            ),
            _ => format!(": did you mean {known}?"),
        });
        let place = match source {
            Source::Environment(_) => "the environment".to_owned(),
            source => source.to_string(),
        };
        self.unknown
            .push(format!("{written} in {place} is not known{hint}"));
    }

    fn finish(self) -> Result<Loaded, Error> {
        let mut builder = config::Config::builder();
        for (key, (value, _)) in &self.set {
            builder = builder
                .set_override(key, value.clone())
                .map_err(|error| Error::Value(error.to_string()))?;
        }
        let sources: BTreeMap<_, _> = self
            .set
            .into_iter()
            .map(|(key, (_, source))| (key, source))
            .collect();
        let built = builder
            .build()
            .and_then(config::Config::try_deserialize::<Config>);
        let config = built.map_err(|error| Error::Value(explain(&error, &sources)))?;
        config.validate().map_err(|error| from(error, &sources))?;
        Ok(Loaded {
            config,
            sources,
            unknown: self.unknown,
            notes: self.notes,
        })
    }
}

/// The known name that is most like a written one, if it is like it enough.
fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let by_likeness = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(written, known), known));
    by_likeness
        .filter(|(likeness, _)| *likeness >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Whether a key may hold a secret, or the name of the user whose secret another holds.
pub(super) fn may_be_secret(key: &str) -> bool {
    key.ends_with(".user") || SECRET.iter().any(|(secret, _)| *secret == key)
}

/// Every key with its default value, from the types themselves.
pub(super) fn known() -> BTreeMap<String, serde_json::Value> {
    keys(&Config::default())
}

/// Every key of a configuration with its value.
pub(super) fn keys(config: &Config) -> BTreeMap<String, serde_json::Value> {
    let sections = serde_json::to_value(config).expect("a configuration has only plain values");
    let sections = sections.as_object().cloned().unwrap_or_default();
    let keys = sections.into_iter().flat_map(|(section, values)| {
        let values = values.as_object().cloned().unwrap_or_default();
        values
            .into_iter()
            .map(move |(key, value)| (format!("{section}.{key}"), value))
    });
    keys.collect()
}

/// A number of the file as its key has it. The library would round 0.5 to 1, and -0.5 and nan to 0,
/// which turns limits off.
fn whole(
    key: &str,
    default: &serde_json::Value,
    value: ValueKind,
    source: &Source,
) -> Result<ValueKind, Error> {
    match value {
        ValueKind::Float(number) if default.is_u64() || default.is_i64() => {
            let is_whole = number.fract() == 0.0 && number.abs() < 2_f64.powi(53);
            match is_whole {
                true => Ok(ValueKind::I64(number as i64)),
                false => Err(Error::Value(format!(
                    "{key} ({source}) cannot be {number}: it must be a whole number"
                ))),
            }
        }
        other => Ok(other),
    }
}

fn explain(error: &ConfigError, sources: &BTreeMap<String, Source>) -> String {
    let text = one_line(&error.to_string());
    let Some((key, source)) = sources
        .iter()
        .find(|(key, _)| text.contains(&format!("`{key}")))
    else {
        return text;
    };
    let named = |table: &[(&str, &'static str)]| {
        table
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, words)| *words)
    };
    // The library quotes what was given before the key.
    let given = text
        .split_once("variant constructor ")
        .and_then(|(_, rest)| rest.rsplit_once(" for key "))
        .map(|(given, _)| given);
    match (named(&WORDS), given, named(&SECRET)) {
        (Some(words), Some(given), _) => {
            format!("{key} ({source}) cannot be `{given}`: it must be {words}")
        }
        (Some(words), None, _) | (None, _, Some(words)) => {
            format!("{key} ({source}) cannot be used: it must be {words}")
        }
        (None, _, None) => format!("{key} ({source}) cannot be used: {text}"),
    }
}

/// An error that begins with a key, with where the key's value came from.
fn from(error: Error, sources: &BTreeMap<String, Source>) -> Error {
    let Error::Value(text) = error else {
        return error;
    };
    let end = text.find([' ', ':']).unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    Error::Value(match sources.get(key) {
        Some(source) => format!("{key} ({source}){rest}"),
        None => text,
    })
}

fn not_utf8(error: &FromUtf8Error) -> String {
    let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
    format!("line {line} is not UTF-8")
}

/// An error of the TOML reader without the line that it quotes: a password may stand there.
fn without_excerpt(text: &str) -> String {
    let quotes = |line: &&str| {
        line.trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .trim_start()
            .starts_with('|')
    };
    text.lines()
        .filter(|line| !quotes(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
