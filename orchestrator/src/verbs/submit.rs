//! `gristmill submit`: hands a manifest with its media to a running node, or to the data directory
//! of none.
//!
//! Lines go in calls of bounded size, in their order, the next when all of the one before are
//! durable. A call that breaks off is sent again as a whole: contributions and consents are
//! recognised, and a withdrawal said twice takes the same back, because a call ends before a consent
//! or an upload that follows a withdrawal, and before a withdrawal that follows an upload.

mod progress;

use super::{Stood, answer};
use crate::app::{Failure, configure};
use crate::cli::Submit;
use crate::client::{Call, Client, Error};
use crate::intake::{Intake, RejectedLine};
use crate::interrupts::Interrupts;
use crate::limits::{LINE_BYTES_MAX, SUBMIT_BYTES, SUBMIT_LINES, SUBMIT_ROUND, SUBMIT_ROUNDS};
use crate::manifest::{self, Code, TooLong};
use crate::media_root::MediaRoot;
use crate::run::say;
use crate::service::problem;
use crate::strict_json;
use gristmill_actors::stage::StageType;
use gristmill_workflows::id::{hex, unhex};
use hyper::body::Bytes;
use progress::Progress;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::BufReader;
use std::path::Path;

fn input(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure { text: format!("{}: {error}", path.display()), code: 2 }
}

fn media(args: &Submit, bytes_max: u64) -> Result<MediaRoot, Failure> {
    let folder = args.manifest.parent().filter(|folder| !folder.as_os_str().is_empty());
    let root = args.media_root.as_deref().or(folder).unwrap_or(Path::new("."));
    MediaRoot::new(root, bytes_max).map_err(input(root))
}

pub(super) async fn command(args: &Submit, own: &[StageType]) -> Result<u8, Failure> {
    let file = std::fs::File::open(&args.manifest).map_err(input(&args.manifest))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let Some(client) = Client::of(&args.node)? else {
        return here(args, &mut reader, own).await;
    };
    let place = args.node.place();
    let config = configure(place.config.as_deref(), place.programs.as_deref())?;
    let media = media(args, config.media.max_bytes)?;
    let vkey = client.text("/trace/vkey").await?;
    let progress = Progress::open(&args.manifest, args.progress.as_deref(), &vkey);
    let progress = progress.map_err(|error| Failure::new(2, &error))?;
    if progress.before() > 0 {
        say(&format!("{} lines went in earlier", progress.before()));
    }
    let outcome = Outcome { resumed_after: progress.before(), ..Outcome::default() };
    let batch = Batch::default();
    let mut sender = Sender { client: &client, media, batch, progress, outcome };
    let mut interrupts = Interrupts::listen().map_err(|error| Failure::new(4, &error))?;
    tokio::select! {
        biased;
        () = interrupts.next() => {
            let text = "interrupted; the same command goes on from here".to_owned();
            return Err(Failure { text, code: 130 });
        }
        sent = sender.send_all(&mut reader, &args.manifest) => sent?,
    }
    answer(args.output, &sender.outcome, &sender.outcome.lines())?;
    Ok(0)
}

/// In a data directory that no node runs on.
async fn here(
    args: &Submit,
    reader: &mut BufReader<std::fs::File>,
    own: &[StageType],
) -> Result<u8, Failure> {
    let stood = Stood::open(&args.node.place(), own)?;
    let media = media(args, stood.config.media.max_bytes)?;
    let (ports, world) = (&stood.prepared.ports, &stood.prepared.world);
    let intake = Intake::new(ports, world, Some(media), ports.clock.now(), false);
    let taken = intake.take(reader, |_| {}).await.map_err(crate::run::Error::from);
    let taken = taken.map_err(|error| Failure::new(error.exit_code(), &error))?;
    let (contributions, repeated) = (taken.journeys.len(), taken.repeated.len());
    let rejected = taken.rejected.into_iter().map(|RejectedLine { line, field, code, detail }| {
        Rejected::of(line, manifest::Problem { field, code, detail })
    });
    let rejected: Vec<Rejected> = rejected.collect();
    let mut lines: Vec<String> = rejected.iter().map(Rejected::line).collect();
    lines.push(format!(
        "{} lines: {contributions} contributions, {repeated} repeated, {} rejected; all durable, \
         the next node acts on them",
        taken.lines,
        rejected.len()
    ));
    let summary = json!({"lines": taken.lines, "contributions": contributions,
        "repeated": repeated, "rejected_lines": rejected});
    answer(args.output, &summary, &lines)?;
    Ok(0)
}

/// What became of a manifest.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// Lines read.
    lines: u64,
    /// Lines that an earlier submit has handed in.
    resumed_after: u64,
    contributions: u64,
    consents: u64,
    withdrawals: u64,
    media_bytes: u64,
    rejected_lines: Vec<Rejected>,
}

/// A line that the node, or its client, does not take.
#[derive(Debug, Serialize)]
struct Rejected {
    line: u64,
    field: String,
    code: String,
    detail: String,
}

impl Outcome {
    fn count(&mut self, told: &Told) {
        let count = match told {
            Told { id: Some(_), .. } => &mut self.contributions,
            Told { grant: Some(_), .. } => &mut self.consents,
            Told { .. } => &mut self.withdrawals,
        };
        *count += 1;
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.rejected_lines.iter().map(Rejected::line).collect();
        let earlier = match self.resumed_after {
            0 => String::new(),
            after => format!(", the first {after} of them earlier"),
        };
        lines.push(format!(
            "{} lines{earlier}: {} contributions, {} consents, {} withdrawals, {} rejected; all \
             durable",
            self.lines,
            self.contributions,
            self.consents,
            self.withdrawals,
            self.rejected_lines.len()
        ));
        lines
    }
}

impl Rejected {
    fn of(line: u64, wrong: manifest::Problem) -> Self {
        let manifest::Problem { field, code, detail } = wrong;
        Self { line, field, code: problem::Code::from(code).word().to_owned(), detail }
    }

    fn line(&self) -> String {
        format!("line {}: {} {}: {}", self.line, self.code, self.field, self.detail)
    }
}

/// Lines that go in one call.
#[derive(Default)]
struct Batch {
    lines: Vec<(u64, Vec<u8>)>,
    bytes: usize,
    withdraws: bool,
    uploads: bool,
}

/// What a node answers to one line.
#[derive(Deserialize)]
struct Told {
    line: u64,
    id: Option<String>,
    grant: Option<String>,
    problem: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    code: String,
    detail: String,
    field: Option<String>,
    retryable: bool,
}

struct Sender<'a> {
    client: &'a Client,
    media: MediaRoot,
    batch: Batch,
    progress: Progress,
    outcome: Outcome,
}

impl Sender<'_> {
    async fn send_all(
        &mut self,
        reader: &mut BufReader<std::fs::File>,
        path: &Path,
    ) -> Result<(), Failure> {
        while let Some(line) = manifest::next_line(reader).map_err(input(path))? {
            self.outcome.lines += 1;
            let number = self.outcome.lines;
            let known = self.progress.read(line.as_deref().ok());
            match line {
                _ if known => {}
                Err(TooLong) => {
                    let detail = format!("a line is at most {LINE_BYTES_MAX} bytes");
                    let problem = manifest::Problem::new("", Code::LineTooLong, detail);
                    self.rejected(Rejected::of(number, problem));
                }
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => self.line(number, line).await?,
            }
            self.progress.handled();
            if self.batch.lines.len() >= SUBMIT_LINES || self.batch.bytes >= SUBMIT_BYTES {
                self.send().await?;
            }
        }
        self.send().await
    }

    fn rejected(&mut self, one: Rejected) {
        self.progress.rejected(one.line);
        self.outcome.rejected_lines.push(one);
    }

    async fn line(&mut self, number: u64, line: Vec<u8>) -> Result<(), Failure> {
        // What is wrong with a line that is not read here, the node says.
        let text = std::str::from_utf8(&line).ok();
        let object = text.and_then(|text| strict_json::parse(text).ok()).unwrap_or(Value::Null);
        let withdraws = object.get("withdraw").is_some();
        let person = object["contributor"].as_str().map(str::to_owned);
        let uri = object["media"]["uri"].as_str().map(str::to_owned).zip(person);
        let after = uri.is_some() || object.get("consent").is_some();
        if (self.batch.withdraws && after) || (self.batch.uploads && withdraws) {
            self.send().await?;
        }
        let line = match uri {
            None => line,
            Some((uri, person)) => match self.upload(number, (&uri, &person), object).await? {
                Ok(line) => line,
                Err(problem) => {
                    self.rejected(problem);
                    return Ok(());
                }
            },
        };
        let batch = &mut self.batch;
        batch.withdraws |= withdraws;
        batch.bytes += line.len();
        batch.lines.push((number, line));
        Ok(())
    }

    /// Uploads a line's media; the line then names its hash alone.
    async fn upload(
        &mut self,
        number: u64,
        (uri, person): (&str, &str),
        mut line: Value,
    ) -> Result<Result<Vec<u8>, Rejected>, Failure> {
        let wanted = line["media"]["sha256"].as_str().and_then(unhex);
        let media = match self.media.read(uri, wanted) {
            Ok(media) => media,
            Err(problem) => return Ok(Err(Rejected::of(number, problem))),
        };
        let path = format!("/v1/media?contributor={}", Client::escaped(person));
        let kind = ("application/json", "application/octet-stream");
        let (sha256, count) = (hex(&media.sha256), media.bytes.len() as u64);
        let call = Call::repeatable(&path, kind, Bytes::from(media.bytes));
        match self.client.call(call).await {
            Ok(_) => {}
            Err(Error::Problem { status: 400 | 413 | 422, code, detail, field }) => {
                let field = field.unwrap_or_else(|| "media.uri".to_owned());
                return Ok(Err(Rejected { line: number, field, code, detail }));
            }
            Err(error) => return Err(error.into()),
        }
        self.outcome.media_bytes += count;
        self.batch.uploads = true;
        line["media"] = json!({ "sha256": sha256 });
        Ok(Ok(line.to_string().into_bytes()))
    }

    /// Sends what is gathered, and lines that may do better later again, until all are durable.
    async fn send(&mut self) -> Result<(), Failure> {
        let mut lines = std::mem::take(&mut self.batch).lines;
        let mut idle = 0;
        while !lines.is_empty() {
            let sent = lines.len();
            lines = self.round(lines).await?;
            if lines.is_empty() {
                break;
            }
            idle = if lines.len() < sent { 0 } else { idle + 1 };
            if idle >= SUBMIT_ROUNDS {
                let text = format!("line {}: the node has no room for it", lines[0].0);
                return Err(Failure { text, code: 4 });
            }
            say(&format!("{} lines wait for room", lines.len()));
            tokio::time::sleep(SUBMIT_ROUND).await;
        }
        self.progress.durable().map_err(|error| Failure::new(4, &error))?;
        let Outcome { lines, media_bytes, .. } = &self.outcome;
        say(&format!("{lines} lines sent, {media_bytes} bytes of media"));
        Ok(())
    }

    /// Hands lines in once; those that may do better later come back, in their order.
    async fn round(&mut self, lines: Vec<(u64, Vec<u8>)>) -> Result<Vec<(u64, Vec<u8>)>, Failure> {
        let mut body = Vec::with_capacity(lines.iter().map(|(_, line)| line.len() + 1).sum());
        for (_, line) in &lines {
            body.extend_from_slice(line);
            body.push(b'\n');
        }
        let kind = ("application/x-ndjson", "application/x-ndjson");
        let call = Call::repeatable("/v1/contributions:batch", kind, Bytes::from(body));
        let answer = self.client.call(call).await?;
        let told = answer.split(|byte| *byte == b'\n').filter(|told| !told.is_empty());
        let told = told.map(|told| self.client.json::<Told>(told));
        let told = told.collect::<Result<Vec<_>, _>>()?;
        let in_order = told.iter().zip(1..).all(|(told, nth)| told.line == nth);
        if !in_order || told.len() != lines.len() {
            return Err(self.client.other_lines(told.len(), lines.len()).into());
        }
        let mut later = Vec::new();
        for ((number, line), told) in lines.into_iter().zip(told) {
            match &told.problem {
                Some(problem) if problem.retryable => later.push((number, line)),
                Some(Refused { code, detail, field, .. }) => {
                    let (code, detail) = (code.clone(), detail.clone());
                    let field = field.clone().unwrap_or_default();
                    self.rejected(Rejected { line: number, field, code, detail });
                }
                None => {
                    self.progress.taken(number);
                    self.outcome.count(&told);
                }
            }
        }
        Ok(later)
    }
}
