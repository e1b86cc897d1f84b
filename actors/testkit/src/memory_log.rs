//! The log's objects in memory, with faults by write number.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_actors::ports::{LogError, LogStore, Object};
use gristmill_actors::rail::BoxFuture;
use gristmill_trace::checkpoint::is_behind;

/// What becomes of one write. The call that it belongs to fails; its earlier objects stand, its
/// later ones do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFault {
    /// It is not applied.
    Failed,
    /// It is applied all the same.
    Persisted,
    /// It is applied when [`MemoryLog::apply_late`] says so.
    Late,
    /// It is not applied, since the disk is full.
    Full,
}

/// Objects by path. A clone is a handle to the same objects.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, Vec<u8>>,
    writes: Vec<String>,
    fault: Option<(usize, LogFault)>,
    late: Vec<Write>,
    /// What the next read of a path answers.
    shown: BTreeMap<String, Option<Vec<u8>>>,
}

#[derive(Debug, Clone)]
enum Write {
    Create(String, Vec<u8>),
    Replace(String, Vec<u8>),
    Remove(String),
}

impl Write {
    fn path(&self) -> &String {
        match self {
            Self::Create(path, _) | Self::Replace(path, _) | Self::Remove(path) => path,
        }
    }
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the `nth` write from now (0 is the next object created, replaced or removed) fail.
    pub fn fail(&self, nth: usize, fault: LogFault) {
        let mut inner = self.lock();
        let number = inner.writes.len() + nth;
        inner.fault = Some((number, fault));
    }

    /// Whether the fault is still to come.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.lock().fault.is_some()
    }

    /// Applies what was left for later. Creations of what stands by now are void.
    pub fn apply_late(&self) {
        let mut inner = self.lock();
        for write in std::mem::take(&mut inner.late) {
            // Nobody waits for the answer any more.
            drop(inner.apply(write));
        }
    }

    /// Paths written so far, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    /// Whether an object stands with these bytes.
    #[must_use]
    pub fn holds(&self, path: &str, bytes: &[u8]) -> bool {
        self.lock().objects.get(path).is_some_and(|stands| stands == bytes)
    }

    /// All objects.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().objects.clone()
    }

    /// A log of its own with the same objects and no faults.
    #[must_use]
    pub fn copy(&self) -> Self {
        let objects = self.objects();
        Self(Arc::new(Mutex::new(Inner { objects, ..Inner::default() })))
    }

    /// Lets the next read of an object answer what stood there at an earlier time.
    pub fn show_once(&self, path: &str, bytes: Option<Vec<u8>>) {
        self.lock().shown.insert(path.to_owned(), bytes);
    }

    /// Puts, changes or takes away one object behind the writer's back.
    pub fn damage(&self, path: &str, bytes: Option<Vec<u8>>) {
        let mut inner = self.lock();
        match bytes {
            Some(bytes) => drop(inner.objects.insert(path.to_owned(), bytes)),
            None => drop(inner.objects.remove(path)),
        }
    }
}

impl Inner {
    fn write(&mut self, write: Write) -> Result<(), LogError> {
        let number = self.writes.len();
        let path = write.path().clone();
        self.writes.push(path.clone());
        let Some((_, fault)) = self.fault.filter(|(nth, _)| *nth == number) else {
            return self.apply(write);
        };
        self.fault = None;
        match fault {
            LogFault::Failed | LogFault::Full => {}
            LogFault::Persisted => self.apply(write)?,
            LogFault::Late => self.late.push(write),
        }
        let detail = format!("write {number} is to end as {fault:?}");
        Err(LogError::Failed { path, detail, full: fault == LogFault::Full })
    }

    fn apply(&mut self, write: Write) -> Result<(), LogError> {
        match write {
            Write::Create(path, bytes) => {
                let stands = self.objects.entry(path.clone()).or_insert_with(|| bytes.clone());
                if *stands != bytes {
                    return Err(LogError::Differs { path });
                }
            }
            Write::Replace(path, bytes) => {
                let stands = self.objects.get(&path);
                if !stands.is_some_and(|stands| is_behind(&bytes, stands)) {
                    self.objects.insert(path, bytes);
                }
            }
            Write::Remove(path) => {
                self.objects.remove(&path);
            }
        }
        Ok(())
    }
}

impl LogStore for MemoryLog {
    fn create(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let mut inner = self.lock();
            let mut writes = objects.into_iter().map(|(path, bytes)| Write::Create(path, bytes));
            writes.try_for_each(|write| inner.write(write))
        })
    }

    fn replace(&self, (path, bytes): Object) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move { self.lock().write(Write::Replace(path, bytes)) })
    }

    fn read(&self, path: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, LogError>> {
        Box::pin(async move {
            let mut inner = self.lock();
            let earlier = inner.shown.remove(&path);
            Ok(earlier.unwrap_or_else(|| inner.objects.get(&path).cloned()))
        })
    }

    fn list(&self, folder: String) -> BoxFuture<'_, Result<Vec<String>, LogError>> {
        Box::pin(async move {
            let prefix = format!("{folder}/");
            let inner = self.lock();
            let below = inner.objects.range(prefix.clone()..);
            let below = below.map(|(path, _)| path).take_while(|path| path.starts_with(&prefix));
            Ok(below.filter(|path| !path[prefix.len()..].contains('/')).cloned().collect())
        })
    }

    fn remove(&self, paths: Vec<String>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let mut inner = self.lock();
            paths.into_iter().map(Write::Remove).try_for_each(|write| inner.write(write))
        })
    }
}
