//! What `/metrics` of a running service says.

use gristmill_tests::Service;
use std::collections::BTreeMap;
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(120);

/// One family: its type, and its samples by full name and labels.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// What `/metrics` said.
#[derive(Debug, Default)]
pub struct Scrape {
    pub families: BTreeMap<String, Family>,
}

impl Scrape {
    /// What a service shows now.
    pub fn of(service: &Service) -> Self {
        Self::parse(&service.get("/metrics").expect(200).text())
    }

    /// Reads the text format 0.0.4, strictly.
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                name.clone_into(&mut family);
                let fresh = Family { help: help.to_owned(), ..Family::default() };
                assert!(scrape.families.insert(family.clone(), fresh).is_none(), "twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, family);
                kind.clone_into(&mut scrape.families.get_mut(name).unwrap().kind);
            } else {
                let sample = Sample::parse(line);
                assert!(sample.name.starts_with(&family), "{line} under {family}");
                scrape.families.get_mut(&family).unwrap().samples.push(sample);
            }
        }
        scrape
    }

    /// The sum over the samples of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.families.values().flat_map(|family| &family.samples);
        let has = |sample: &&Sample| {
            let has =
                |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|v| v == value);
            sample.name == name && labels.iter().all(has)
        };
        let mut found = samples.filter(has).peekable();
        assert!(found.peek().is_some(), "no sample of {name} has {labels:?}");
        found.map(|sample| sample.value).sum()
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.families.values().map(|family| family.samples.len()).sum()
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
        let Some((name, labels)) = series.split_once('{') else {
            return Self { name: series.to_owned(), labels: BTreeMap::new(), value };
        };
        let label = |pair: &str| {
            let (name, value) = pair.split_once("=\"").unwrap();
            (name.to_owned(), value.to_owned())
        };
        let labels = labels.strip_suffix("\"}").unwrap().split("\",").map(label).collect();
        Self { name: name.to_owned(), labels, value }
    }
}
