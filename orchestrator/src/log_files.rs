//! The log's objects as files: what is under the root is what a static web server may serve.

use crate::durable_files::limits::{
    FOLDERS_REMEMBERED, OBJECT_BYTES_MAX, OBJECT_PATH_BYTES_MAX, WRITERS,
};
use crate::durable_files::{Root, Staged, is_full, read, remove, sync_folder};
use gristmill_actors::ports::{LogError, LogStore, Object};
use gristmill_actors::rail::BoxFuture;
use gristmill_trace::checkpoint::is_behind;
use std::collections::{BTreeSet, HashSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, thread};

/// A folder of objects.
///
/// `create` makes all bytes durable, then gives the objects their names in the order given, then
/// makes each folder durable once. A process that dies in between leaves the first ones; on a loss
/// of power that rests on the file system keeping the order of names, as journaling ones do. After
/// a failed fsync, all further writes fail: what the kernel dropped is not known.
#[derive(Debug, Clone)]
pub struct LogFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: Root,
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    folders: HashSet<PathBuf>,
    failed: Option<LogError>,
}

impl LogFiles {
    /// Opens the folder of a log; makes it if its parent stands.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = Root::open(root)?;
        Ok(Self(Arc::new(Inner { root, writing: Mutex::default() })))
    }

    /// Opens the folder of a log that other processes write, too; `writer` is this one's own name.
    ///
    /// # Errors
    /// What the file system says.
    pub fn shared(root: &Path, writer: &str) -> io::Result<Self> {
        let root = Root::shared(root, format!("{writer}-"))?;
        Ok(Self(Arc::new(Inner { root, writing: Mutex::default() })))
    }

    fn run<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Inner) -> Result<T, LogError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, LogError>> {
        let (inner, path) = (Arc::clone(&self.0), path.to_owned());
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&inner)).await;
            done.unwrap_or_else(|_| Err(failed(&path, &io::Error::other("the writer ended"))))
        })
    }
}

fn failed(path: &str, error: &io::Error) -> LogError {
    LogError::Failed { path: path.to_owned(), detail: error.to_string(), full: is_full(error) }
}

/// Only names that mean the same everywhere, and none that leads out of the root or to the
/// temporary files.
pub(crate) fn is_object_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let ours = |name: &str| !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
    path.len() <= OBJECT_PATH_BYTES_MAX && path.split('/').all(ours)
}

fn check(path: &str) -> Result<(), LogError> {
    if is_object_path(path) {
        return Ok(());
    }
    Err(failed(path, &io::Error::new(ErrorKind::InvalidInput, "not a path of the log")))
}

impl Inner {
    /// Runs a write, one at a time; none after one that cannot be trusted.
    fn write(
        &self,
        write: impl FnOnce(&mut Writing) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match &writing.failed {
            Some(error) => Err(error.clone()),
            None => write(&mut writing),
        }
    }

    fn create(&self, objects: &[Object], writing: &mut Writing) -> Result<(), LogError> {
        let mut staged = Vec::with_capacity(objects.len());
        self.stage_all(objects, &mut staged)
            .inspect_err(|error| writing.failed = Some(error.clone()))?;
        let mut touched = BTreeSet::new();
        let linked = staged.iter().zip(objects).try_for_each(|(staged, object)| {
            self.link(staged.as_ref(), object, writing, &mut touched)
        });
        // What has its name already becomes durable even if a later one differs.
        self.sync(&touched, writing)?;
        linked
    }

    /// Writes what does not stand yet; none where an object stands.
    fn stage_all(
        &self,
        objects: &[Object],
        staged: &mut Vec<Option<Staged>>,
    ) -> Result<(), LogError> {
        let stage = |(path, bytes): &Object| {
            let stands = self.root.path().join(path).exists();
            let staged = || self.root.stage(&[bytes], 0o644);
            (!stands).then(staged).transpose().map_err(|error| failed(path, &error))
        };
        let share = objects.len().div_ceil(WRITERS).max(1);
        if objects.len() <= 1 {
            let done: Result<Vec<_>, _> = objects.iter().map(stage).collect();
            staged.extend(done?);
            return Ok(());
        }
        thread::scope(|scope| {
            let writers: Vec<_> = objects
                .chunks(share)
                .map(|share| {
                    scope.spawn(move || share.iter().map(stage).collect::<Result<Vec<_>, _>>())
                })
                .collect();
            for writer in writers {
                match writer.join() {
                    Ok(done) => staged.extend(done?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(())
        })
    }

    fn link(
        &self,
        staged: Option<&Staged>,
        (path, bytes): &Object,
        writing: &mut Writing,
        touched: &mut BTreeSet<PathBuf>,
    ) -> Result<(), LogError> {
        let target = self.root.path().join(path);
        let failed = |error: io::Error| failed(path, &error);
        let folder = target.parent().unwrap_or(self.root.path()).to_owned();
        if !writing.folders.contains(&folder) {
            let below = Path::new(path).parent().unwrap_or(Path::new(""));
            self.root.make_folders(below, touched).map_err(failed)?;
            if writing.folders.len() >= FOLDERS_REMEMBERED {
                writing.folders.clear();
            }
            writing.folders.insert(folder.clone());
        }
        touched.insert(folder);
        if let Some(staged) = staged
            && staged.link(&target).map_err(failed)?
        {
            return Ok(());
        }
        if read(&target, OBJECT_BYTES_MAX).map_err(failed)?.as_ref() == Some(bytes) {
            return Ok(());
        }
        Err(LogError::Differs { path: path.clone() })
    }

    fn replace(&self, (path, bytes): &Object, writing: &mut Writing) -> Result<(), LogError> {
        let target = self.root.path().join(path);
        let mut touched = BTreeSet::new();
        let below = Path::new(path).parent().unwrap_or(Path::new(""));
        let mut replace = || {
            self.root.make_folders(below, &mut touched)?;
            touched.insert(target.parent().unwrap_or(self.root.path()).to_owned());
            let staged = self.root.stage(&[bytes], 0o644)?;
            // Right before the rename: a writer that was stopped must not put an older one back.
            match read(&target, OBJECT_BYTES_MAX)? {
                Some(stands) if is_behind(bytes, &stands) => Ok(()),
                _ => staged.rename(&target),
            }
        };
        replace()
            .map_err(|error| failed(path, &error))
            .inspect_err(|error| writing.failed = Some(error.clone()))?;
        self.sync(&touched, writing)
    }

    fn sync(&self, folders: &BTreeSet<PathBuf>, writing: &mut Writing) -> Result<(), LogError> {
        let sync = |folder: &PathBuf| {
            let path = folder.strip_prefix(self.root.path()).unwrap_or(folder);
            sync_folder(folder).map_err(|error| failed(&path.to_string_lossy(), &error))
        };
        folders.iter().try_for_each(sync).inspect_err(|error| writing.failed = Some(error.clone()))
    }

    fn remove(&self, paths: &[String], writing: &mut Writing) -> Result<(), LogError> {
        let mut folders = BTreeSet::new();
        for path in paths {
            let target = self.root.path().join(path);
            remove(&target).map_err(|error| failed(path, &error))?;
            folders.extend(target.parent().map(Path::to_owned));
        }
        // Folders of partial tiles would pile up otherwise.
        for folder in folders.iter().filter(|folder| folder.extension().is_some_and(|p| p == "p")) {
            match fs::remove_dir(folder) {
                Ok(()) => drop(writing.folders.remove(folder)),
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&folder.to_string_lossy(), &error)),
            }
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, LogError> {
        let failed = |error: io::Error| failed(folder, &error);
        let entries = match fs::read_dir(self.root.path().join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                paths.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
            }
        }
        paths.sort_unstable();
        Ok(paths)
    }
}

impl LogStore for LogFiles {
    fn create(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), LogError>> {
        let first = objects.first().map_or_else(String::new, |(path, _)| path.clone());
        self.run(&first, move |inner| {
            objects.iter().try_for_each(|(path, _)| check(path))?;
            inner.write(|writing| inner.create(&objects, writing))
        })
    }

    fn replace(&self, object: Object) -> BoxFuture<'_, Result<(), LogError>> {
        self.run(&object.0.clone(), move |inner| {
            check(&object.0)?;
            inner.write(|writing| inner.replace(&object, writing))
        })
    }

    fn read(&self, path: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, LogError>> {
        self.run(&path.clone(), move |inner| {
            check(&path)?;
            let target = inner.root.path().join(&path);
            read(&target, OBJECT_BYTES_MAX).map_err(|error| failed(&path, &error))
        })
    }

    fn list(&self, folder: String) -> BoxFuture<'_, Result<Vec<String>, LogError>> {
        self.run(&folder.clone(), move |inner| {
            check(&folder)?;
            inner.list(&folder)
        })
    }

    fn remove(&self, paths: Vec<String>) -> BoxFuture<'_, Result<(), LogError>> {
        let first = paths.first().cloned().unwrap_or_default();
        self.run(&first, move |inner| {
            paths.iter().try_for_each(|path| check(path))?;
            inner.write(|writing| inner.remove(&paths, writing))
        })
    }
}
