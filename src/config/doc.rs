//! The configuration's reference, from its types: a file of defaults, a list of variables, a page
//! of documentation.

use super::{
    Config,
    environment::{IN_A_FILE, PREFIX, SHORT},
    layers,
};
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write};

/// Columns of what is written.
const WIDTH: usize = 100;
/// Keys whose default differs from machine to machine, and what it is.
const OF_THE_MACHINE: [(&str, &str); 1] = [("node.name", "the host name")];

/// What is known of a key.
struct Key {
    /// `section.name`.
    key: String,
    /// Its default, as it stands in a file; `None`: there is none.
    default: Option<String>,
    /// What its type says of it.
    text: String,
}

/// A config file with every key at its default.
pub fn as_defaults() -> String {
    let mut text = String::from(
        "# Every key of safe-chat with its default (safe-chat config default). What is behind a # \
         has none.\n",
    );
    each_section(
        &mut text,
        |text, section, about| {
            let _ = write!(text, "\n{}[{section}]\n", wrapped("# ", about));
        },
        |text, key| {
            text.push_str(&wrapped("# ", &key.text));
            let name = key.name();
            let _ = match &key.default {
                Some(default) => writeln!(text, "{name} = {default}"),
                None => writeln!(text, "# {name} ="),
            };
        },
    );
    text
}

/// Every key as a variable, in the form of a file of variables.
pub fn as_environment() -> String {
    let mut text = String::from(
        "# Every variable of safe-chat (safe-chat config env). Lists are separated by commas.\n",
    );
    each_section(
        &mut text,
        |text, _, about| {
            let _ = write!(text, "\n{}", wrapped("# ", about));
        },
        |text, key| {
            let default = key.plain_default();
            let _ = writeln!(text, "#{}={default}", key.variable());
            for short in key.short() {
                let _ = writeln!(text, "#{short}={default}");
            }
        },
    );
    text
}

/// A page of documentation. `flags`: the keys that a flag sets, and which.
pub fn as_reference(flags: &[(&str, &str)]) -> String {
    let mut text = String::from(
        "# Configuration\n\n<!-- Written by `safe-chat config doc`; a test compares it. -->\n\n\
         A TOML file (`--config FILE` or `SAFE_CHAT_CONFIG`) < environment < flags. `safe-chat config check`\n\
         prints every value and where it came from.\n",
    );
    each_section(
        &mut text,
        |text, section, about| {
            let _ = write!(text, "\n## [{section}]\n\n{}", wrapped("", about));
        },
        |text, key| {
            let variables = [key.variable()]
                .into_iter()
                .chain(key.short().map(str::to_owned));
            let set_by = flags.iter().filter(|(of, _)| *of == key.key);
            let names = variables.chain(set_by.map(|(_, flag)| (*flag).to_owned()));
            let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            let default = match (&key.default, of_the_machine(&key.key)) {
                (_, Some(machine)) => machine.to_owned(),
                (Some(default), _) => format!("`{default}`"),
                (None, _) => "none".into(),
            };
            let file = match layers::may_be_secret(&key.key) {
                true => {
                    format!(" A variable with `{IN_A_FILE}` behind it names a file that holds it.")
                }
                false => String::new(),
            };
            let _ = write!(text, "\n### {}\n\n", key.key);
            text.push_str(&wrapped(
                "",
                &format!("{} Default: {default}.", names.join(", ")),
            ));
            let _ = write!(text, "\n{}", wrapped("", &format!("{}{file}", key.text)));
        },
    );
    text
}

fn each_section(
    text: &mut String,
    section: impl Fn(&mut String, &str, &str),
    key: impl Fn(&mut String, &Key),
) {
    let defaults = layers::known();
    for (name, about, fields) in sections() {
        section(text, &name, &about);
        for (field, said) in fields {
            let full = format!("{name}.{field}");
            let Some(value) = defaults.get(&full) else {
                continue;
            };
            let default = match of_the_machine(&full) {
                Some(_) => None,
                None => (!value.is_null()).then(|| super::show::shown(value)),
            };
            key(
                text,
                &Key {
                    key: full,
                    default,
                    text: said,
                },
            );
        }
    }
}

/// Sections in their order, each with what it is and its fields with what they are.
fn sections() -> Vec<(String, String, BTreeMap<String, String>)> {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Config>();
    let said = |schema: &Value| {
        let text = schema["description"].as_str().unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let fields = |schema: &Value| {
        let fields = schema["properties"].as_object().into_iter().flatten();
        fields
            .map(|(name, field)| (name.clone(), said(field)))
            .collect()
    };
    let root = schema.to_value();
    let sections = root["properties"].as_object().into_iter().flatten();
    sections
        .map(|(name, section)| (name.clone(), said(section), fields(section)))
        .collect()
}

fn of_the_machine(key: &str) -> Option<&'static str> {
    let of = OF_THE_MACHINE.iter().find(|(other, _)| *other == key);
    of.map(|(_, default)| *default)
}

impl Key {
    fn name(&self) -> &str {
        self.key.split_once('.').map_or(&self.key, |(_, name)| name)
    }

    fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_uppercase().replace('.', "__"))
    }

    fn short(&self) -> impl Iterator<Item = &'static str> {
        SHORT
            .into_iter()
            .filter(|(_, key)| *key == self.key)
            .map(|(short, _)| short)
    }

    /// The default as a variable has it: lists without brackets, text without quotes.
    fn plain_default(&self) -> String {
        let default = self.default.as_deref().unwrap_or_default();
        let items = default.trim_start_matches('[').trim_end_matches(']');
        items.replace(['"', ' '], "")
    }
}

/// Text in lines of at most [`WIDTH`] columns, each after `before`.
fn wrapped(before: &str, text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        match before.len() + line.len() + 1 + word.len() > WIDTH && !line.is_empty() {
            true => lines.push(word.to_owned()),
            false if line.is_empty() => line.push_str(word),
            false => {
                line.push(' ');
                line.push_str(word);
            }
        }
    }
    lines
        .iter()
        .map(|line| format!("{before}{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loaded;

    #[test]
    fn the_file_of_defaults_is_one_and_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), as_defaults()).unwrap();
        let nothing = Vec::<(String, String)>::new();
        let loaded = Loaded::load(Some(file.path()), nothing, Vec::new()).unwrap();
        assert_eq!(loaded.unknown, Vec::<String>::new());
        assert_eq!(loaded.config, Config::default());
    }

    #[test]
    fn every_key_says_what_it_is() {
        let mut known = layers::known();
        for (section, about, fields) in sections() {
            assert_ne!(about, "", "{section}");
            for (field, said) in fields {
                if known.remove(&format!("{section}.{field}")).is_some() {
                    assert_ne!(said, "", "{section}.{field}");
                }
            }
        }
        assert!(known.is_empty(), "not in the reference: {known:?}");
    }

    #[test]
    fn variables_that_are_taken_out_of_the_list_are_understood() {
        let text = as_environment();
        let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
        let set: Vec<(String, String)> = lines
            .filter(|line| line.starts_with(PREFIX))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert!(set.len() > 50, "{set:?}");
        let loaded = Loaded::load(None, set, Vec::new()).unwrap();
        assert_eq!(loaded.unknown, Vec::<String>::new());
        assert_eq!(loaded.config, Config::default());
    }
}
