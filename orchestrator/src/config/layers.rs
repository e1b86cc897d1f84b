//! Putting the layers together, and checking each value with the name of where it came from.

use super::limits::{FILE_BYTES_MAX, FILTER_BYTES_MAX, RANGES};
use super::{Config, Error, Origin};
use crate::http_rail::{HttpRail, sandbox_profile};
use crate::toml_file::Source;
use ::config::{File, FileFormat};
use gristmill_workflows::program::is_name;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

const PREFIX: &str = "GRISTMILL_";
const SEPARATOR: &str = "__";

/// What flags set, above all other layers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// `--rail`: `rail.url`.
    pub rail: Option<String>,
    /// `--programs`: `programs.dir`.
    pub programs: Option<PathBuf>,
}

/// The layers above the defaults, and which of them set what.
struct Layers {
    file: Option<(Source, Table)>,
    /// By key: the name of the variable, and its value.
    variables: BTreeMap<String, (String, String)>,
    /// By key: the flag, and its value.
    flags: BTreeMap<&'static str, (&'static str, String)>,
}

impl Config {
    /// The configuration of this process: `file` is that of `--config`, `environment` usually
    /// [`std::env::vars_os`].
    ///
    /// Only variables `GRISTMILL_SECTION__KEY` are looked at: with a double underscore.
    ///
    /// # Errors
    /// The first thing wrong, with its key and the file and line, variable or flag that set it.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &Overrides,
    ) -> Result<Self, Error> {
        let source = file.map(|path| Source::read(path, FILE_BYTES_MAX)).transpose()?;
        Self::from_layers(source, environment, overrides)
    }

    /// The configuration of a file's text and the defaults alone.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        Self::from_layers(Some(Source::of(name, text)), [], &Overrides::default())
    }

    fn from_layers(
        source: Option<Source>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &Overrides,
    ) -> Result<Self, Error> {
        let known = Table::try_from(Self::default()).expect("the defaults are TOML");
        let file = source.map(|source| checked(source, &known)).transpose()?;
        let variables = variables(environment, &known)?;
        let layers = Layers { file, variables, flags: flags(overrides)? };
        let config = layers.merge()?;
        for (key, low, high) in RANGES {
            let value = config.get::<i64>(key)?;
            if !(*low..=*high).contains(&value) {
                let origin = layers.origin(key);
                return Err(Error::Range { origin, key, value, low: *low, high: *high });
            }
        }
        let config: Self = config.try_deserialize()?;
        match config.broken_rule() {
            Some((key, rule)) => Err(Error::Rule { origin: layers.origin(key), key, rule }),
            None => Ok(config),
        }
    }

    /// The first text, or pair of numbers, that means nothing sensible.
    fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let url = self.rail_url();
        let rules = [
            (
                "trace.origin",
                gristmill_trace::key::check_name(&self.trace.origin).is_ok(),
                "1 to 255 bytes without whitespace, control characters or `+`",
            ),
            (
                "rail.url",
                url.is_none_or(|url| HttpRail::new(url, sandbox_profile()).is_ok()),
                "http://host:port without a path, or empty",
            ),
            (
                "bucket.endpoint",
                self.bucket.endpoint.is_empty() || is_endpoint(&self.bucket.endpoint),
                "http://host:port or https://host:port without a path, or empty",
            ),
            ("bucket.region", is_name(&self.bucket.region), "1 to 64 of a-z, 0-9, - and _"),
            ("service.listen", self.listen().is_some(), "an address and port, as 127.0.0.1:7700"),
            ("rail.name", is_name(&self.rail.name), "1 to 64 of a-z, 0-9, - and _"),
            (
                "rail.settle_time_ms",
                self.rail.settle_time_ms < self.rail.key_window_ms,
                "below rail.key_window_ms",
            ),
            (
                "log.filter",
                (1..=FILTER_BYTES_MAX).contains(&self.log.filter.len())
                    && EnvFilter::builder().parse(&self.log.filter).is_ok(),
                "levels such as `warn` or `warn,gristmill=debug`, 1 to 1024 bytes",
            ),
        ];
        rules.into_iter().find(|(_, holds, _)| !holds).map(|(key, _, rule)| (key, rule))
    }
}

impl Layers {
    fn merge(&self) -> Result<::config::Config, Error> {
        let defaults = ::config::Config::try_from(&Config::default())?;
        let mut builder = ::config::Config::builder().add_source(defaults);
        if let Some((source, _)) = &self.file {
            builder = builder.add_source(File::from_str(source.text(), FileFormat::Toml));
        }
        for (key, (_, value)) in &self.variables {
            builder = builder.set_override(key, value.as_str())?;
        }
        for (key, (_, value)) in &self.flags {
            builder = builder.set_override(key, value.as_str())?;
        }
        Ok(builder.build()?)
    }

    /// The highest layer that sets a key.
    fn origin(&self, key: &str) -> Origin {
        if let Some((flag, _)) = self.flags.get(key) {
            return Origin::Flag(flag);
        }
        if let Some((variable, _)) = self.variables.get(key) {
            return Origin::Variable(variable.clone());
        }
        match &self.file {
            Some((source, table)) if look_up(table, key).is_some() => {
                Origin::File(source.place_of(key))
            }
            _ => Origin::Default,
        }
    }
}

/// `http://` or `https://`, a host, and nothing behind it.
fn is_endpoint(text: &str) -> bool {
    text.parse().is_ok_and(|uri: hyper::Uri| {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let login = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
        scheme && !login && matches!(uri.path(), "" | "/") && uri.query().is_none()
    })
}

fn look_up<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (section, name) = key.split_once('.')?;
    table.get(section)?.get(name)
}

/// Keys and types of a file, against those of the defaults.
fn checked(source: Source, known: &Table) -> Result<(Source, Table), Error> {
    let table: Table = source.parse()?;
    for (section, content) in &table {
        let origin = || Origin::File(source.place_of(section));
        if !known.contains_key(section) {
            return Err(Error::Unknown { origin: origin(), key: section.clone() });
        }
        let Value::Table(content) = content else {
            let (key, kind) = (section.clone(), "a section");
            return Err(Error::Kind { origin: origin(), key, kind });
        };
        for (name, value) in content {
            let key = format!("{section}.{name}");
            let origin = || Origin::File(source.place_of(&key));
            match look_up(known, &key) {
                None => return Err(Error::Unknown { origin: origin(), key }),
                Some(default) if default.same_type(value) => {}
                Some(default) => {
                    return Err(Error::Kind { origin: origin(), key, kind: kind(default) });
                }
            }
        }
    }
    Ok((source, table))
}

/// The variables that are meant for the configuration, by key.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    known: &Table,
) -> Result<BTreeMap<String, (String, String)>, Error> {
    let mut variables = BTreeMap::new();
    for (name, value) in environment {
        // Names of other programs may hold anything.
        let Some(name) = name.to_str() else { continue };
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if !rest.contains(SEPARATOR) {
            continue;
        }
        let key = rest.to_lowercase().replace(SEPARATOR, ".");
        let origin = Origin::Variable(name.to_owned());
        let Some(default) = look_up(known, &key) else {
            return Err(Error::Unknown { origin, key });
        };
        let Some(value) = value.to_str() else {
            return Err(Error::NotUtf8 { name: name.to_owned() });
        };
        if matches!(default, Value::Integer(_)) && value.parse::<i64>().is_err() {
            return Err(Error::Kind { origin, key, kind: kind(default) });
        }
        variables.insert(key, (name.to_owned(), value.to_owned()));
    }
    Ok(variables)
}

type Flags = BTreeMap<&'static str, (&'static str, String)>;

fn flags(overrides: &Overrides) -> Result<Flags, Error> {
    let mut flags = Flags::new();
    if let Some(url) = &overrides.rail {
        flags.insert("rail.url", ("--rail", url.clone()));
    }
    if let Some(dir) = &overrides.programs {
        let name = || Error::NotUtf8 { name: "--programs".to_owned() };
        let dir = dir.to_str().ok_or_else(name)?.to_owned();
        flags.insert("programs.dir", ("--programs", dir));
    }
    Ok(flags)
}

fn kind(default: &Value) -> &'static str {
    match default {
        Value::Integer(_) => "a whole number",
        _ => "a text in quotes",
    }
}
