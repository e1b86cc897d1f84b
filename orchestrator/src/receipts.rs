//! Receipts (C2SP tlog-proof): made from the published log and the openings that only the holder
//! of a data key can give.

use crate::data_dir::DataDir;
use crate::journeys::{self, Found, Indices};
use crate::log_folder::LogFolder;
use crate::receipt_files;
use gristmill_actors::ports::{KeyStore, ShardStore, StoreError};
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::key::Verifier;
use gristmill_trace::limits::TILE_WIDTH;
use gristmill_trace::reader::{self, Bundle, TileReader, fetch_bundle};
use gristmill_trace::receipt::Receipt;
use gristmill_trace::tile::{Kind, Tile};
use gristmill_trace::verify::{self, CHECKPOINT_PATH};
use gristmill_workflows::entry::{DataKey, contribution_fields, openings, payout_fields};
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::journey::{Journey, PayoutState};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder of receipts in a data directory.
pub const FOLDER: &str = "receipts";

/// Why receipts could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Journeys.
    #[error(transparent)]
    Journeys(#[from] journeys::Error),
    /// Data keys.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The published checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] verify::Error),
    /// A tile.
    #[error(transparent)]
    Tile(#[from] reader::Error),
    /// The entry that stands there is not this contribution's: log and store disagree.
    #[error("entry {index} of the log is not the one that {id} names")]
    Foreign {
        /// The index.
        index: u64,
        /// Whose.
        id: String,
    },
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was met.
        source: io::Error,
    },
}

/// Why there is no receipt of a contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// It is not accepted (yet), so the log says nothing of it.
    #[error("it is not accepted, so the public log has no entry of it")]
    NotAccepted,
    /// The published checkpoint does not cover its entry.
    #[error("its entry is not published yet; the next run publishes it")]
    NotPublished,
    /// Its data key was destroyed.
    #[error("erased: its data key was destroyed, so nobody can open what the log commits to")]
    Erased,
    /// It expired, and its data key was destroyed with its row.
    #[error("it finished longer ago than finished journeys are kept: its data key was destroyed")]
    Expired,
}

/// What receipts are made with, apart from the store: a log's folder and two keys.
#[derive(Debug, Clone)]
pub struct Proofs {
    dir: PathBuf,
    log: LogFolder,
    id_key: gristmill_workflows::id::IdKey,
    verifier: Verifier,
}

impl Proofs {
    /// The key that checks the log.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Of one data directory, whose log may stand in a folder that nodes share.
    #[must_use]
    pub fn new(dir: &DataDir, log: LogFolder) -> Self {
        Self {
            dir: dir.path().to_owned(),
            log,
            id_key: dir.id_key().clone(),
            verifier: dir.trace_key().verifier().clone(),
        }
    }

    /// Of a node that keeps nothing on disk: it makes no receipts.
    #[must_use]
    pub fn nowhere(id_key: gristmill_workflows::id::IdKey, verifier: Verifier) -> Self {
        Self { dir: PathBuf::new(), log: LogFolder::in_memory(BTreeMap::new()), id_key, verifier }
    }
}

/// The receipts of one contribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Whose.
    pub id: ContributionId,
    /// Files, relative to the data directory: the contribution's, then the paid payout's; or why
    /// there are none.
    pub paths: Result<Vec<String>, Absent>,
}

/// Makes receipts against one published checkpoint.
pub struct Receipts<'a> {
    dir: PathBuf,
    key: gristmill_workflows::id::IdKey,
    store: &'a dyn ShardStore,
    keys: &'a dyn KeyStore,
    log: LogFolder,
    checkpoint: Option<(Checkpoint, String)>,
}

impl std::fmt::Debug for Receipts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipts").field("checkpoint", &self.checkpoint).finish_non_exhaustive()
    }
}

/// An entry that a receipt is wanted for.
struct Wanted {
    /// Place of its contribution in the batch.
    nth: usize,
    index: u64,
    file: String,
    public: String,
    what: What,
}

enum What {
    Contribution,
    Payout(usize),
}

impl<'a> Receipts<'a> {
    /// Against the checkpoint that the data directory publishes now.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it is not signed by the log's key.
    pub fn open(
        dir: &DataDir,
        store: &'a dyn ShardStore,
        keys: &'a dyn KeyStore,
    ) -> Result<Self, Error> {
        Self::over(&Proofs::new(dir, LogFolder::new(&dir.trace())), store, keys)
    }

    /// Against the checkpoint that is published now.
    ///
    /// # Errors
    /// As [`Receipts::open`].
    pub fn over(
        proofs: &Proofs,
        store: &'a dyn ShardStore,
        keys: &'a dyn KeyStore,
    ) -> Result<Self, Error> {
        let log = proofs.log.clone();
        let failed = |source| Error::File { path: log.path(CHECKPOINT_PATH), source };
        let checkpoint = match log.object(CHECKPOINT_PATH).map_err(failed)? {
            None => None,
            Some(note) => {
                let checkpoint = verify::checkpoint(&mut log.fetch(), &proofs.verifier)?;
                // A note that opens is UTF-8.
                Some((checkpoint, String::from_utf8_lossy(&note).into_owned()))
            }
        };
        let (key, dir) = (proofs.id_key.clone(), proofs.dir.clone());
        Ok(Self { dir, key, store, keys, log, checkpoint })
    }

    /// The texts of one contribution's receipts: its own, then its paid payout's; or why there is
    /// none. Nothing is written.
    ///
    /// # Errors
    /// [`Error`] when rows, keys or tiles fail.
    pub async fn texts(&self, found: Found) -> Result<Result<Vec<String>, Absent>, Error> {
        let batch = [found];
        let (mut made, wanted, keys) = self.want(&batch).await?;
        let texts = self.prove(&batch, &keys, &wanted)?;
        let absent = made.pop().and_then(|made| made.paths.err());
        Ok(match absent {
            Some(absent) => Err(absent),
            None => Ok(texts.into_iter().map(|(_, text)| text).collect()),
        })
    }

    /// Writes the receipts of some contributions, one answer each, in their order. A larger batch
    /// reads each tile less often. Files are replaced whole, and can be made again at any time.
    ///
    /// # Errors
    /// [`Error`] when rows, keys, tiles or files fail.
    pub async fn write(&self, batch: &[Found]) -> Result<Vec<Made>, Error> {
        let (mut made, wanted, keys) = self.want(batch).await?;
        let files = self.prove(batch, &keys, &wanted)?;
        self.note(batch, &wanted)?;
        self.save(&files)?;
        for one in &wanted {
            if let Ok(paths) = &mut made[one.nth].paths {
                paths.push(one.file.clone());
                // The contribution's sorts before the payout's.
                paths.sort_unstable();
            }
        }
        Ok(made)
    }

    /// Which receipts can be made, in the order of their entries, and with which keys.
    async fn want(
        &self,
        batch: &[Found],
    ) -> Result<(Vec<Made>, Vec<Wanted>, Vec<Option<DataKey>>), Error> {
        let mut indices = Indices::new(self.store);
        let keys = self.keys_of(batch).await?;
        let mut made: Vec<Made> = batch
            .iter()
            .map(|found| Made { id: found.submission().id, paths: Err(Absent::NotAccepted) })
            .collect();
        let mut wanted = Vec::new();
        for (nth, found) in batch.iter().enumerate() {
            if let Found::Expired { journey, .. } = found
                && journey.accepted.is_some()
            {
                made[nth].paths = Err(Absent::Expired);
            }
            let Found::Journey { shard, journey } = found else { continue };
            let Some(accepted) = &journey.accepted else { continue };
            let index = indices.of(*shard, accepted.entry).await?;
            if keys.get(nth).is_none_or(Option::is_none) {
                made[nth].paths = Err(Absent::Erased);
                continue;
            }
            let Some(index) = index.filter(|index| self.covers(*index)) else {
                made[nth].paths = Err(Absent::NotPublished);
                continue;
            };
            made[nth].paths = Ok(Vec::new());
            wanted.push(self.contribution(nth, index, journey));
            let paid = journey.payouts.iter().position(|one| one.state == PayoutState::Paid);
            let Some(paid) = paid else { continue };
            let Some(entry) = journey.payouts[paid].entry else { continue };
            let index = indices.of(*shard, entry).await?.filter(|index| self.covers(*index));
            wanted.extend(index.map(|index| self.payout(nth, index, journey, paid)));
        }
        wanted.sort_by_key(|one| one.index);
        Ok((made, wanted, keys))
    }

    /// The keys of those that still have one, by their place in the batch.
    async fn keys_of(&self, batch: &[Found]) -> Result<Vec<Option<DataKey>>, Error> {
        let keyed = |found: &Found| !matches!(found, Found::Expired { .. });
        let stand = batch.iter().enumerate().filter(|(_, found)| keyed(found));
        let (places, slots): (Vec<usize>, Vec<u64>) =
            stand.map(|(nth, found)| (nth, found.submission().data_key)).unzip();
        let mut keys = vec![None; batch.len()];
        for (nth, key) in places.into_iter().zip(self.keys.keys(slots).await?) {
            keys[nth] = key;
        }
        Ok(keys)
    }

    fn covers(&self, index: u64) -> bool {
        self.checkpoint.as_ref().is_some_and(|(checkpoint, _)| index < checkpoint.size)
    }

    fn contribution(&self, nth: usize, index: u64, journey: &Journey) -> Wanted {
        let id = journey.submission.id.to_string();
        let file = format!("{FOLDER}/{id}.{}", receipt_files::ENDINGS[0]);
        let public = self.key.public("contribution", &id);
        Wanted { nth, index, file, public, what: What::Contribution }
    }

    fn payout(&self, nth: usize, index: u64, journey: &Journey, paid: usize) -> Wanted {
        let id = journey.submission.id.to_string();
        let file = format!("{FOLDER}/{id}.{}", receipt_files::ENDINGS[1]);
        let public = self.key.public("payout", &journey.payouts[paid].id);
        Wanted { nth, index, file, public, what: What::Payout(paid) }
    }

    /// Proofs in index order, so that neighbours share their tiles.
    fn prove<'w>(
        &self,
        batch: &[Found],
        keys: &[Option<DataKey>],
        wanted: &'w [Wanted],
    ) -> Result<Vec<(&'w str, String)>, Error> {
        let Some((checkpoint, note)) = &self.checkpoint else { return Ok(Vec::new()) };
        let (mut fetch, mut fetch_entries) = (self.log.fetch(), self.log.fetch());
        let mut tiles = TileReader::new(checkpoint.size, &mut fetch);
        let mut bundle: Option<(u64, Bundle)> = None;
        let mut files = Vec::with_capacity(wanted.len());
        for one in wanted {
            let number = one.index / TILE_WIDTH as u64;
            if bundle.as_ref().is_none_or(|(known, _)| *known != number) {
                let tile = Tile::in_log(Kind::Entries, number, checkpoint.size);
                bundle = tile
                    .map(|tile| fetch_bundle(&mut fetch_entries, tile))
                    .transpose()?
                    .map(|bundle| (number, bundle));
            }
            let place = (one.index % TILE_WIDTH as u64) as usize;
            let entries = bundle.as_ref().map(|(_, bundle)| bundle.entries()).unwrap_or_default();
            let entry = entries.get(place).copied().unwrap_or_default();
            let (Found::Journey { journey, .. }, Some(Some(key))) =
                (&batch[one.nth], keys.get(one.nth))
            else {
                continue;
            };
            if !is_of(entry, &one.public) {
                let id = journey.submission.id.to_string();
                return Err(Error::Foreign { index: one.index, id });
            }
            let Some(extra) = extra(journey, &one.what, entry, key) else { continue };
            let path = tiles.inclusion(one.index)?;
            let receipt = Receipt { extra, index: one.index, path, checkpoint: note.clone() };
            files.push((one.file.as_str(), receipt.format()));
        }
        Ok(files)
    }

    /// Notes which slots open what is about to be written for the first time.
    fn note(&self, batch: &[Found], wanted: &[Wanted]) -> Result<(), Error> {
        let fresh = wanted.iter().filter(|one| !self.dir.join(&one.file).exists());
        let written: Vec<(u64, ContributionId)> = fresh
            .map(|one| batch[one.nth].submission())
            .map(|submission| (submission.data_key, submission.id))
            .collect();
        let folder = self.dir.join(FOLDER);
        receipt_files::note(&folder, &written)
            .map_err(|source| Error::File { path: folder, source })
    }

    fn save(&self, files: &[(&str, String)]) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let folder = self.dir.join(FOLDER);
        for (name, text) in files {
            let path = self.dir.join(name);
            // A further run over a log that did not grow would write the same bytes again.
            if fs::read(&path).is_ok_and(|stands| stands == text.as_bytes()) {
                continue;
            }
            replace(&folder, &path, text.as_bytes())
                .map_err(|source| Error::File { path, source })?;
        }
        let sync = || File::open(&folder)?.sync_all();
        sync().map_err(|source| Error::File { path: folder.clone(), source })
    }
}

/// Whether an entry has this public id.
fn is_of(entry: &[u8], public: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(entry).is_ok_and(|entry| entry.id == public)
}

fn extra(journey: &Journey, what: &What, entry: &[u8], key: &DataKey) -> Option<Vec<u8>> {
    match what {
        What::Contribution => {
            let held = journey.held.as_ref()?;
            let fields = contribution_fields(&journey.submission, &held.grant, &held.terms);
            Some(openings(entry, "contribution", key, &fields))
        }
        What::Payout(nth) => {
            let payout = journey.payouts.get(*nth)?;
            let fields = payout_fields(&payout.account, payout.carry, &payout.id);
            Some(openings(entry, &payout.id, key, &fields))
        }
    }
}

/// One file, whole or not at all.
fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(receipt_files::TEMPORARY);
    File::create(&temporary)?.write_all(bytes)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
pub(crate) mod tests;
