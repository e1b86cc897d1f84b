//! The public log: verified tile by tile, then fed entry by entry, with what is sequenced and not
//! published yet behind it.

use super::{Error, Found, file};
use crate::limits::{AUDIT_BATCH_BYTES, AUDIT_BATCHES};
use crate::log_folder::LogFolder;
use crate::trace_verify::{CHECKPOINTS, Offence, fault};
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::hash::Hash;
use gristmill_trace::key::Verifier;
use gristmill_trace::limits::TILE_WIDTH;
use gristmill_trace::reader::{FetchError, fetch_hashes};
use gristmill_trace::tile::{Kind, Tile};
use gristmill_trace::verify::{self, CHECKPOINT_PATH, Fault, Report};
use gristmill_workflows::audit::{LogBook, Published};
use gristmill_workflows::codec::decode;
use gristmill_workflows::id::IdKey;
use gristmill_workflows::invariant::Invariant;
use gristmill_workflows::sequencer::Sequenced;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::thread;

/// The folder of sequenced batches.
const SEQUENCED: &str = "sequenced";

/// A log to be read.
pub(super) struct Log {
    pub(super) folder: LogFolder,
    pub(super) verifier: Verifier,
    pub(super) key: IdKey,
    /// The node did not end in order: the newest checkpoint may not be served yet.
    pub(super) interrupted: bool,
    /// Entries that the last report says were published.
    pub(super) reported_size: u64,
}

/// A log that was read.
pub(super) struct Read {
    pub(super) book: LogBook,
    pub(super) found: Vec<Found>,
    /// Entries whose bytes were changed, with the paths of their bundles.
    pub(super) altered: BTreeMap<u64, String>,
    pub(super) logged: Logged,
}

/// What was published, beside the invariants.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    /// How many contributions each program has, and their value in micro-units.
    pub(crate) programs: BTreeMap<String, (u64, u128)>,
    /// Entries read.
    pub(crate) entries: u64,
    /// What is not of the signed log.
    pub(crate) offences: Vec<Offence>,
}

/// Entries on their way to the thread that takes them in.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each ends, its index and its hash.
    entries: Vec<(usize, u64, Hash)>,
}

impl Batch {
    fn push(&mut self, entry: &verify::Entry<'_>) {
        self.bytes.extend_from_slice(entry.bytes);
        self.entries.push((self.bytes.len(), entry.index, entry.leaf));
    }

    fn take_in(&self, book: &mut LogBook) {
        let mut from = 0;
        for (end, index, hash) in &self.entries {
            book.hashed(*index, &self.bytes[from..*end], *hash, None);
            from = *end;
        }
    }
}

/// A checkpoint and the note that it was opened from.
type Noted = (Checkpoint, Vec<u8>);

/// Checkpoints that open.
#[derive(Default)]
struct Checkpoints {
    /// What is served.
    served: Option<Checkpoint>,
    /// What was published, by size.
    published: Vec<Checkpoint>,
    /// The note of the largest of all.
    newest: Option<Noted>,
}

/// What the sequenced batches say.
#[derive(Default)]
struct Batches {
    /// The first index that they still hold.
    first: Option<u64>,
    end: u64,
    /// One of them does not read, so the end is not known.
    damaged: bool,
    leaves: HashMap<u64, Hash>,
    /// Entries that no checkpoint covers.
    waiting: Vec<(u64, Vec<u8>)>,
}

impl Log {
    pub(super) fn read(&self) -> Result<Read, Error> {
        let log = &self.folder;
        let mut found = Vec::new();
        let checkpoints = self.checkpoints(log, &mut found)?;
        let size = checkpoints.newest.as_ref().map_or(0, |(newest, _)| newest.size);
        let batches = self.batches(log, size, &mut found)?;
        self.judge_sizes(&checkpoints, &batches, size, &mut found);
        let mut altered = BTreeMap::new();
        let mut book = self.book(&checkpoints);
        let mut logged = Logged::default();
        if let Some((_, note)) = &checkpoints.newest {
            let (mut differ, mut gaps, mut next) = (Vec::new(), Vec::new(), 0);
            let report = self.taken_in(log, note, &mut book, |entry| {
                if batches.leaves.get(&entry.index).is_some_and(|leaf| *leaf != entry.leaf) {
                    differ.push(entry.index);
                }
                if entry.index > next {
                    gaps.push(next..entry.index);
                }
                next = entry.index + 1;
            })?;
            gaps.push(next..size);
            logged.entries = report.entries;
            logged.offences = report.faults.iter().map(fault).collect();
            if !report.is_whole() {
                altered = faults(&report, &mut found);
                let spare = self.spare(log, &gaps)?;
                book = self.damaged_book(log, &checkpoints, &altered, &spare)?;
            }
            for index in differ.into_iter().filter(|index| !altered.contains_key(index)) {
                let sentence = "is not the entry that was sequenced here";
                found.push(Found::new(Invariant::AppendOnly, index.to_string(), sentence));
            }
        }
        let programs = book.programs().into_iter();
        logged.programs = programs.map(|(name, sum)| (name.to_owned(), sum)).collect();
        for (index, bytes) in &batches.waiting {
            book.entry(*index, bytes, None);
        }
        Ok(Read { book, found, altered, logged })
    }

    /// Walks the log, and takes its entries into a book on a thread of its own: verifying the one
    /// and reading the other take about as long.
    fn taken_in(
        &self,
        log: &LogFolder,
        note: &[u8],
        book: &mut LogBook,
        mut visit: impl FnMut(verify::Entry<'_>),
    ) -> Result<Report, Error> {
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Batch>(AUDIT_BATCHES);
            scope.spawn(move || receiver.into_iter().for_each(|batch| batch.take_in(book)));
            let mut batch = Batch::default();
            let report = pass(log, note, &self.verifier, |entry| {
                visit(entry);
                batch.push(&entry);
                if batch.bytes.len() >= AUDIT_BATCH_BYTES {
                    // It is received until the sender is gone, or the scope passes a panic on.
                    drop(sender.send(std::mem::take(&mut batch)));
                }
            });
            drop(sender.send(batch));
            report
        })
    }

    fn book(&self, checkpoints: &Checkpoints) -> LogBook {
        let published = |one: &Checkpoint| Published { size: one.size, root: one.root };
        let all: Vec<Published> = checkpoints.published.iter().map(published).collect();
        let served = checkpoints.served.as_ref().map(published);
        let larger = |served: &Published| all.iter().filter(|one| one.size > served.size).count();
        // The newest is written before it is served; a node that was killed in between does no
        // more than that.
        let current = match served {
            Some(served) if self.interrupted && larger(&served) == 1 => all.last().copied(),
            other => other,
        };
        LogBook::new(self.key.clone(), &all, current)
    }

    /// Reads a damaged log again, with what is known of its damage: changed entries stand in the
    /// tree by the hash that their tile has, unreadable ones come from their batch.
    fn damaged_book(
        &self,
        log: &LogFolder,
        checkpoints: &Checkpoints,
        altered: &BTreeMap<u64, String>,
        spare: &BTreeMap<u64, Vec<u8>>,
    ) -> Result<LogBook, Error> {
        let mut book = self.book(checkpoints);
        let Some((Checkpoint { size, .. }, note)) = &checkpoints.newest else { return Ok(book) };
        let mut next = 0;
        let fill = |book: &mut LogBook, gap: Range<u64>| {
            spare.range(gap).for_each(|(index, bytes)| book.entry(*index, bytes, None));
        };
        pass(log, note, &self.verifier, |entry| {
            fill(&mut book, next..entry.index);
            next = entry.index + 1;
            let wrong = altered.contains_key(&entry.index);
            let leaf = if wrong { stored_leaf(log, entry.index, *size) } else { None };
            book.entry(entry.index, entry.bytes, leaf);
        })?;
        fill(&mut book, next..*size);
        Ok(book)
    }

    /// Entries of unreadable bundles, as far as their sequenced batches still stand.
    fn spare(&self, log: &LogFolder, gaps: &[Range<u64>]) -> Result<BTreeMap<u64, Vec<u8>>, Error> {
        let mut spare = BTreeMap::new();
        if gaps.iter().all(Range::is_empty) {
            return Ok(spare);
        }
        let numbered = log.numbered(SEQUENCED).map_err(file(&self.folder.path(SEQUENCED)))?;
        for (first, path) in numbered {
            let bytes = log.object(&path).map_err(file(&self.folder.path(&path)))?;
            // A batch that does not read was told already.
            let Some(Ok(object)) = bytes.map(|bytes| decode::<Sequenced>(&bytes)) else { continue };
            let entries = object.offers.into_iter().flat_map(|offer| offer.entries);
            let missing = (first..).zip(entries);
            spare.extend(missing.filter(|(index, _)| gaps.iter().any(|gap| gap.contains(index))));
        }
        Ok(spare)
    }

    fn checkpoints(&self, log: &LogFolder, found: &mut Vec<Found>) -> Result<Checkpoints, Error> {
        let mut checkpoints = Checkpoints::default();
        let numbered = log.numbered(CHECKPOINTS).map_err(file(&self.folder.path(CHECKPOINTS)))?;
        for (size, path) in numbered {
            match self.open(log, &path)? {
                Ok(Some((checkpoint, note))) if checkpoint.size == size => {
                    checkpoints.published.push(checkpoint.clone());
                    checkpoints.newest = Some((checkpoint, note));
                }
                Ok(other) => {
                    let sentence = match other {
                        Some((checkpoint, _)) => format!("is of size {}", checkpoint.size),
                        None => "is missing".to_owned(),
                    };
                    found.push(Found::new(Invariant::AppendOnly, path, sentence));
                }
                Err(sentence) => found.push(Found::new(Invariant::AppendOnly, path, sentence)),
            }
        }
        match self.open(log, CHECKPOINT_PATH)? {
            Ok(Some((served, note))) => {
                let newest = checkpoints.newest.as_ref().map(|(newest, _)| newest.size);
                if newest.is_none_or(|newest| newest < served.size) {
                    checkpoints.newest = Some((served.clone(), note));
                }
                checkpoints.served = Some(served);
            }
            Ok(None) => {
                // The empty log's checkpoint is served a moment after it is written, and a node that
                // dies in between on its first start leaves no other trace of having begun.
                let all = &checkpoints.published;
                let begins = all.len() <= usize::from(self.interrupted)
                    || all.iter().all(|checkpoint| checkpoint.size == 0);
                if !begins {
                    let sentence = "is missing, and checkpoints were published";
                    found.push(Found::new(Invariant::AppendOnly, CHECKPOINT_PATH, sentence));
                }
            }
            Err(sentence) => {
                found.push(Found::new(Invariant::AppendOnly, CHECKPOINT_PATH, sentence));
            }
        }
        Ok(checkpoints)
    }

    /// A checkpoint with its note, or what is wrong with it.
    fn open(&self, log: &LogFolder, path: &str) -> Result<Result<Option<Noted>, String>, Error> {
        let Some(note) = log.object(path).map_err(file(&self.folder.path(path)))? else {
            return Ok(Ok(None));
        };
        let opened = Checkpoint::open(&note, &self.verifier);
        Ok(opened.map(|opened| Some((opened, note))).map_err(|error| error.to_string()))
    }

    /// Reads the sequenced batches that still stand; each must follow the one before, unless both
    /// are published.
    fn batches(
        &self,
        log: &LogFolder,
        published: u64,
        found: &mut Vec<Found>,
    ) -> Result<Batches, Error> {
        let mut batches = Batches::default();
        let mut before: Option<[u8; 32]> = None;
        let numbered = log.numbered(SEQUENCED).map_err(file(&self.folder.path(SEQUENCED)))?;
        for (first, path) in numbered {
            let bytes = log.object(&path).map_err(file(&self.folder.path(&path)))?;
            let object = bytes.as_ref().map(|bytes| decode::<Sequenced>(bytes));
            let object = match object {
                Some(Ok(object)) if object.first == first => object,
                other => {
                    let sentence = match other {
                        Some(Err(error)) => error.to_string(),
                        _ => "is not the batch of its name".to_owned(),
                    };
                    found.push(Found::new(Invariant::AppendOnly, path, sentence));
                    before = None;
                    batches.damaged = true;
                    continue;
                }
            };
            let follows = before.is_none_or(|before| object.before == before)
                && (batches.first.is_none() || first == batches.end || batches.damaged);
            if !follows && first > published {
                let sentence = "does not follow the batch before it";
                found.push(Found::new(Invariant::AppendOnly, path, sentence));
            }
            before = bytes.as_ref().map(|bytes| Sha256::digest(bytes).into());
            batches.first = Some(batches.first.unwrap_or(first).min(first));
            batches.end = object.end();
            let entries = object.offers.into_iter().flat_map(|offer| offer.entries);
            for (index, entry) in (first..).zip(entries) {
                if index < published {
                    batches.leaves.insert(index, Hash::leaf(&entry));
                } else {
                    batches.waiting.push((index, entry));
                }
            }
        }
        Ok(batches)
    }

    fn judge_sizes(
        &self,
        checkpoints: &Checkpoints,
        batches: &Batches,
        size: u64,
        found: &mut Vec<Found>,
    ) {
        let mut shrank = |sentence: String| {
            let served = checkpoints.served.as_ref().map_or(0, |served| served.size);
            found.push(Found::new(Invariant::AppendOnly, served.to_string(), sentence));
        };
        if size < self.reported_size {
            shrank(format!(
                "the checkpoint shrank: one of size {} was reported",
                self.reported_size
            ));
        } else if let Some(first) = batches.first.filter(|first| *first > size) {
            shrank(format!("the checkpoint shrank: batches are kept from {first} on only"));
        }
        if size > batches.end && !batches.damaged {
            let sentence = format!("covers more than the {} entries sequenced", batches.end);
            found.push(Found::new(Invariant::AppendOnly, size.to_string(), sentence));
        }
    }
}

/// Walks the whole log up to a checkpoint's size.
fn pass(
    log: &LogFolder,
    note: &[u8],
    verifier: &Verifier,
    visit: impl FnMut(verify::Entry<'_>),
) -> Result<Report, Error> {
    let mut fetch = |path: &str| match path {
        CHECKPOINT_PATH => Ok(Some(note.to_vec())),
        path => log.object(path).map_err(FetchError::from),
    };
    Ok(verify::log(&mut fetch, verifier, visit)?)
}

/// Notes what is wrong with tiles; entries that were changed are the book's to tell, and come back
/// by index.
fn faults(report: &Report, found: &mut Vec<Found>) -> BTreeMap<u64, String> {
    let mut altered = BTreeMap::new();
    for one in &report.faults {
        match one {
            Fault::Entry { path, index } => drop(altered.insert(*index, path.clone())),
            // The book compares roots itself.
            Fault::Root { .. } => {}
            Fault::Stored(_) | Fault::Tile { .. } | Fault::Entries { .. } => {
                let offence = fault(one);
                found.push(Found::new(Invariant::AppendOnly, offence.path, offence.detail));
            }
        }
    }
    altered
}

/// The leaf hash that the log's own tile has of an entry.
fn stored_leaf(log: &LogFolder, index: u64, size: u64) -> Option<Hash> {
    let tile = Tile::in_log(Kind::Hashes { level: 0 }, index / TILE_WIDTH as u64, size)?;
    let hashes = fetch_hashes(&mut log.fetch(), tile).ok()?;
    hashes.get((index % TILE_WIDTH as u64) as usize).copied()
}
