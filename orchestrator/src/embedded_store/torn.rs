//! The torn end of the engine's journal. A group that was being written when the power failed may be
//! there in parts; the engine takes an end that is cut off for unfinished, but refuses one with a
//! hole in it. At most one group is ever unsynced, so the last one is cut off, once; whether it had
//! been acknowledged is told by our own file, and then everything is put back as it was.

use super::limits::JOURNAL_BYTES_MAX;
use fjall::JournalRecoveryError;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What the engine ends a group with (version 3 of its format).
const TRAILER: &[u8] = b"FJL\x03";
const ENDING: &str = "jnl";

/// Whether the engine refused a journal that may have a hole at its end.
pub(super) fn is_torn(error: &fjall::Error) -> bool {
    use JournalRecoveryError::{ChecksumMismatch, InsufficientLength, TooManyItems};
    matches!(
        error,
        fjall::Error::JournalRecovery(ChecksumMismatch | InsufficientLength | TooManyItems)
    )
}

/// A journal as it was before its last group was cut off.
pub(super) struct Torn {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Cuts the last group off the newest journal; none if there is no journal or group.
pub(super) fn cut(engine: &Path) -> io::Result<Option<Torn>> {
    let Some(path) = newest(engine)? else { return Ok(None) };
    let mut bytes = Vec::new();
    fs::File::open(&path)?.take(JOURNAL_BYTES_MAX).read_to_end(&mut bytes)?;
    let ends = bytes.windows(TRAILER.len()).enumerate().filter(|(_, part)| *part == TRAILER);
    let ends: Vec<usize> = ends.map(|(at, _)| at + TRAILER.len()).collect();
    let Some((_, earlier)) = ends.split_last() else { return Ok(None) };
    let end = earlier.last().copied().unwrap_or(0);
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(end as u64)?;
    file.sync_all()?;
    Ok(Some(Torn { path, bytes }))
}

fn newest(engine: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(engine)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|ending| ending == ENDING);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| is_journal)
            && newest.as_ref().is_none_or(|(known, _)| *known < number)
        {
            newest = Some((number, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

impl Torn {
    /// Puts the journal back as it was.
    pub(super) fn restore(&self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.write_all_at(&self.bytes, 0)?;
        file.set_len(self.bytes.len() as u64)?;
        file.sync_all()
    }
}
