use super::limits::{MEDIA_BYTES_MAX, RANGES};
use super::*;
use std::ffi::OsString;
use toml::{Table, Value};

fn example() -> &'static str {
    include_str!("../../../config.example.toml")
}

fn flat(table: &Table) -> Vec<(String, Value)> {
    let sections = table.iter().flat_map(|(section, content)| {
        let content = content.as_table().unwrap();
        content.iter().map(move |(name, value)| (format!("{section}.{name}"), value.clone()))
    });
    sections.collect()
}

fn with(variables: &[(&str, &str)], text: &str, overrides: &Overrides) -> Result<Config, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(n, v)| (OsString::from(n), OsString::from(v)));
    Config::load(Some(&path), variables, overrides)
}

fn refusal(text: &str) -> String {
    Config::parse("c.toml", text).unwrap_err().to_string()
}

#[test]
fn the_example_names_every_key_with_its_default() {
    assert_eq!(Config::parse("example", example()).unwrap(), Config::default());
    let written: Table = example().parse().unwrap();
    let defaults = Table::try_from(Config::default()).unwrap();
    assert_eq!(flat(&written), flat(&defaults));
}

#[test]
fn what_is_printed_is_read_back_as_the_same() {
    let mut config = Config::default();
    assert_eq!(Config::parse("print", &config.print()).unwrap(), config);
    config.store.shards = 7;
    config.workflows.dir = "a \"b\"\\c".to_owned();
    assert_eq!(Config::parse("print", &config.print()).unwrap(), config);
}

#[test]
fn every_number_has_a_range_that_holds_its_default() {
    let defaults = Table::try_from(Config::default()).unwrap();
    let numbers = flat(&defaults).into_iter().filter(|(_, value)| value.is_integer());
    let mut count = 0;
    for (key, value) in numbers {
        let range = RANGES.iter().find(|(known, ..)| *known == key);
        let (_, low, high) = range.unwrap_or_else(|| panic!("{key} has no range"));
        assert!((*low..=*high).contains(&value.as_integer().unwrap()), "{key}");
        count += 1;
    }
    assert_eq!(count, RANGES.len());
    assert_eq!(MEDIA_BYTES_MAX as u64, crate::measuring::worker_bytes_max());
}

#[test]
fn flags_beat_variables_beat_the_file_beats_defaults() {
    let text = "[store]\nshards = 2\nhigh_water = 3\n[rail]\nurl = \"http://a:1\"\n";
    let variables = [
        ("GRISTMILL_STORE__SHARDS", "4"),
        ("GRISTMILL_RAIL__URL", "http://b:1"),
        ("GRISTMILL_URL", "not a key of the configuration"),
        ("OTHER__SHARDS", "9"),
    ];
    let flags = Overrides { rail: Some("http://c:1".to_owned()), programs: Some("p".into()) };
    let config = with(&variables, text, &flags).unwrap();
    assert_eq!((config.store.shards, config.store.high_water), (4, 3));
    assert_eq!(config.rail_url(), Some("http://c:1"));
    assert_eq!(config.programs_dir(), Some(Path::new("p")));
    assert_eq!(config.workflows_dir(), None);
    assert_eq!(config.node, Node::default());
}

#[test]
fn a_number_outside_its_range_names_key_and_range_and_origin() {
    let of_file = refusal("[trace]\n\n[store]\nshards = 0\n");
    assert_eq!(of_file, "c.toml:4: store.shards: 0 is outside 1 to 4096");
    let of_file = refusal("[store]\nshards = 70000\n");
    assert_eq!(of_file, "c.toml:2: store.shards: 70000 is outside 1 to 4096");
    let negative = refusal("[media]\nworkers = -1\n");
    assert_eq!(negative, "c.toml:2: media.workers: -1 is outside 1 to 256");
    let variables = [("GRISTMILL_RAIL__MAX_BATCH", "0")];
    let error = with(&variables, "", &Overrides::default()).unwrap_err().to_string();
    assert_eq!(error, "GRISTMILL_RAIL__MAX_BATCH: rail.max_batch: 0 is outside 1 to 1000");
}

#[test]
fn unknown_keys_and_wrong_types_name_the_key_and_the_line() {
    let cases = [
        ("\n[other]\n", "c.toml:2: other: there is no such key"),
        ("[store]\nshard = 1\n", "c.toml:2: store.shard: there is no such key"),
        ("store = 1\n", "c.toml:1: store: must be a section"),
        ("[store]\nshards = \"1\"\n", "c.toml:2: store.shards: must be a whole number"),
        ("[store]\nshards = 1.5\n", "c.toml:2: store.shards: must be a whole number"),
        ("[rail]\nname = 1\n", "c.toml:2: rail.name: must be a text in quotes"),
    ];
    for (text, message) in cases {
        assert_eq!(refusal(text), message);
    }
    let twice = refusal("[store]\nshards = 1\nshards = 2\n");
    assert!(twice.starts_with("c.toml:3: "), "{twice}");
    for (name, value, message) in [
        ("GRISTMILL_STORE__SHARD", "1", "store.shard: there is no such key"),
        ("GRISTMILL_STORE__SHARDS__X", "1", "store.shards.x: there is no such key"),
        ("GRISTMILL_STORE__SHARDS", "true", "store.shards: must be a whole number"),
        ("GRISTMILL_STORE__SHARDS", "", "store.shards: must be a whole number"),
    ] {
        let error = with(&[(name, value)], "", &Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("{name}: {message}"));
    }
}

#[test]
fn texts_that_mean_nothing_name_the_key() {
    for (section, name, value) in [
        ("trace", "origin", "\"a b\""),
        ("rail", "url", "\"https://a\""),
        ("rail", "name", "\"A\""),
        ("rail", "settle_time_ms", "86400000"),
        ("log", "filter", "\"\""),
        ("log", "filter", "\"gristmill=loud\""),
    ] {
        let error = refusal(&format!("[{section}]\n{name} = {value}\n"));
        assert!(error.starts_with(&format!("c.toml:2: {section}.{name}: must be ")), "{error}");
    }
    let flags = Overrides { rail: Some("nowhere".to_owned()), programs: None };
    let error = with(&[], "", &flags).unwrap_err().to_string();
    assert!(error.starts_with("--rail: rail.url: must be "), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/c.toml")), [], &Overrides::default());
    assert!(error.unwrap_err().to_string().starts_with("/nonexistent/c.toml: "));
}
