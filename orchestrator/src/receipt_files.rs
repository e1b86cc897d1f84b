//! Receipts hold openings, so they go where their data key goes: a list in their folder says which
//! slot each contribution's receipts open. A line is durable before its receipts are written.

use crate::durable_files::{is_full, sync_folder};
use gristmill_actors::ports::{MediaError, MediaStore};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::ContributionId;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One line a contribution: its slot as 16 hex digits, a space, its id.
const LIST: &str = ".slots";
/// A receipt that is being written.
pub(crate) const TEMPORARY: &str = ".tmp";
/// What receipt files are called behind the contribution's id.
pub(crate) const ENDINGS: [&str; 2] = ["contribution.tlog-proof", "payout.tlog-proof"];

/// Notes whose receipts are about to be written, durably.
pub(crate) fn note(folder: &Path, written: &[(u64, ContributionId)]) -> io::Result<()> {
    if written.is_empty() {
        return Ok(());
    }
    let path = folder.join(LIST);
    let is_new = !path.try_exists()?;
    // A torn last line of before must not swallow the first new one.
    let mut text = String::from("\n");
    for (slot, id) in written {
        text += &format!("{slot:016x} {id}\n");
    }
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    if is_new { sync_folder(folder) } else { Ok(()) }
}

/// Overwrites and takes away the receipts that open under these slots.
fn erase(folder: &Path, slots: &[u64]) -> io::Result<()> {
    let list = match File::open(folder.join(LIST)) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let slots: HashSet<String> = slots.iter().map(|slot| format!("{slot:016x}")).collect();
    let mut ids = HashSet::new();
    for line in list.lines() {
        let line = line?;
        // What does not read is the end of a line whose receipts were never written.
        if let Some((slot, id)) = line.split_once(' ')
            && slots.contains(slot)
        {
            ids.extend(ContributionId::parse(id));
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let mut paths = vec![folder.join(TEMPORARY)];
    for id in ids {
        paths.extend(ENDINGS.map(|ending| folder.join(format!("{id}.{ending}"))));
    }
    paths.iter().try_for_each(|path| overwrite(path))?;
    sync_folder(folder)
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    file.write_all(&vec![0; length])?;
    file.sync_data()?;
    fs::remove_file(path)
}

/// Blobs and receipts, which are taken away together.
pub(crate) struct MediaAndReceipts {
    /// The blobs.
    pub(crate) media: Arc<dyn MediaStore>,
    /// The folder of the receipts.
    pub(crate) receipts: PathBuf,
}

impl MediaStore for MediaAndReceipts {
    fn put(
        &self,
        slot: u64,
        key: DataKey,
        bytes: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), MediaError>> {
        self.media.put(slot, key, bytes)
    }

    fn get(&self, slot: u64, key: DataKey) -> BoxFuture<'_, Result<Option<Vec<u8>>, MediaError>> {
        self.media.get(slot, key)
    }

    fn remove(&self, slots: Vec<u64>) -> BoxFuture<'_, Result<(), MediaError>> {
        Box::pin(async move {
            let slot = slots.first().copied().unwrap_or(0);
            let failed = move |error: io::Error| MediaError::Failed {
                slot,
                detail: format!("receipts: {error}"),
                full: is_full(&error),
            };
            let (folder, erased) = (self.receipts.clone(), slots.clone());
            let done = tokio::task::spawn_blocking(move || erase(&folder, &erased)).await;
            done.map_err(io::Error::other).flatten().map_err(failed)?;
            self.media.remove(slots).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_workflows::id::Bucket;

    fn id(n: u8) -> ContributionId {
        ContributionId { bucket: Bucket(7), mac: [n; 16] }
    }

    #[test]
    fn receipts_go_with_their_slot_and_others_stay() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        note(folder, &[(1, id(1)), (2, id(2))]).unwrap();
        let mut torn = OpenOptions::new().append(true).open(folder.join(LIST)).unwrap();
        torn.write_all(b"00000000").unwrap();
        note(folder, &[(3, id(3))]).unwrap();
        let path = |n, ending: &str| folder.join(format!("{}.{ending}", id(n)));
        for n in 1..=3 {
            ENDINGS.iter().for_each(|ending| fs::write(path(n, ending), b"openings").unwrap());
        }
        fs::write(folder.join(TEMPORARY), b"openings").unwrap();
        erase(folder, &[1, 3, 9]).unwrap();
        erase(folder, &[1, 3]).unwrap();
        for ending in ENDINGS {
            assert!(!path(1, ending).exists() && !path(3, ending).exists());
            assert_eq!(fs::read(path(2, ending)).unwrap(), b"openings");
        }
        assert!(!folder.join(TEMPORARY).exists());
    }

    #[test]
    fn without_a_list_there_is_nothing_to_erase() {
        let root = tempfile::tempdir().unwrap();
        erase(root.path(), &[1]).unwrap();
    }
}
