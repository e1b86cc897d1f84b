//! Writes that survive the loss of power: temporary file, fdatasync, rename or link, fsync of the
//! folder.

pub mod limits;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Name of the folder, in the root of what is written, that temporary files are made in.
pub(crate) const TEMPORARY: &str = ".tmp";

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Whether an error says that there is no room left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Makes a folder with the access of what the node keeps (owner only), if it does not stand.
pub(crate) fn make_folder(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Reads a file of at most `limit` bytes; none if it does not stand.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let too_long = || io::Error::new(ErrorKind::FileTooLarge, format!("longer than {limit} bytes"));
    if length > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| too_long())?);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Takes a file away; true if it stood.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A root with its folder for temporary files.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    temporary: PathBuf,
    /// What tells the temporary files of this process from those of others.
    writer: String,
}

impl Root {
    /// Makes the root if it does not stand, and takes away what a crash left half written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = Self::shared(path, String::new())?;
        for left in fs::read_dir(&root.temporary)? {
            remove(&left?.path())?;
        }
        Ok(root)
    }

    /// Makes the root if it does not stand. Other processes write there, too: `writer` is this one's
    /// own name, and nothing is taken away.
    pub(crate) fn shared(path: &Path, writer: String) -> io::Result<Self> {
        if make_folder(path)? {
            sync_folder(
                path.parent().filter(|parent| *parent != OsStr::new("")).unwrap_or(Path::new(".")),
            )?;
        }
        let temporary = path.join(TEMPORARY);
        make_folder(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary, writer })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes bytes into a temporary file and makes them durable there.
    pub(crate) fn stage(&self, parts: &[&[u8]], mode: u32) -> io::Result<Staged> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.temporary.join(format!("{}{number}", self.writer));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&path)?;
        let staged = Staged(path);
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_data()?;
        Ok(staged)
    }

    /// Makes the folders of a path below the root; adds those with a new name in them to `touched`.
    pub(crate) fn make_folders(
        &self,
        folder: &Path,
        touched: &mut BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        let mut path = self.path.clone();
        for component in folder.components() {
            let parent = path.clone();
            path.push(component);
            if make_folder(&path)? {
                touched.insert(parent);
            }
        }
        Ok(())
    }
}

/// A durable temporary file, taken away when dropped.
#[derive(Debug)]
pub(crate) struct Staged(PathBuf);

impl Staged {
    /// Gives it a name that is free; false if it is not. The folder is not synced yet.
    pub(crate) fn link(&self, to: &Path) -> io::Result<bool> {
        match fs::hard_link(&self.0, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts it in the place of what has the name. The folder is not synced yet.
    pub(crate) fn rename(self, to: &Path) -> io::Result<()> {
        fs::rename(&self.0, to)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Renamed, or linked, or of no use: the next start takes away what stays behind.
        fs::remove_file(&self.0).unwrap_or_default();
    }
}
