//! A running service as a scraper sees it: its address, and what `/metrics` says.

use gristmill_tests::{DataDir, Gristmill, Output, Process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(120);

/// One request over a connection of its own; the status and the body.
pub fn request(method: &str, address: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // HTTP/1.0: the body ends with the connection.
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap();
    (status, body.to_owned())
}

/// `GET`, which must succeed.
pub fn get(address: &str, path: &str) -> String {
    let (status, body) = request("GET", address, path, "text/plain", b"");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// A running `gristmill serve`.
pub struct Served {
    process: Process,
    pub address: String,
}

impl Served {
    pub fn start(dir: &DataDir) -> Self {
        Self::start_with(dir, &[])
    }

    pub fn start_with(dir: &DataDir, more: &[&str]) -> Self {
        let flag = dir.flag();
        let mut arguments = vec!["serve", &flag, "--listen=127.0.0.1:0"];
        arguments.extend_from_slice(more);
        let mut process = Gristmill::command().spawn(arguments);
        let line: Value = serde_json::from_str(&process.first_line(PATIENCE)).unwrap();
        let address = line["listening"].as_str().unwrap().trim_start_matches("http://").to_owned();
        Self { process, address }
    }

    /// Hands manifest lines in.
    pub fn hand_in(&self, lines: &[u8]) {
        let path = "/v1/contributions:batch";
        let (status, body) = request("POST", &self.address, path, "application/x-ndjson", lines);
        assert_eq!(status, 200, "{body}");
        let refused = body.lines().find(|line| line.contains("\"problem\""));
        assert_eq!(refused, None);
    }

    pub fn scrape(&self) -> Scrape {
        Scrape::parse(&get(&self.address, "/metrics"))
    }

    pub fn stop(mut self) -> Output {
        self.process.terminate();
        self.process.wait(PATIENCE)
    }
}

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
