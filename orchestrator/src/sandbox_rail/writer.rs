//! Group commit: lines of many requests share one write and one fdatasync.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use gristmill_actors::rail::BookLine;
use tokio::sync::watch;

use super::book::{Book, Error, INDEX_STEP, failed};
use super::limits::{BOOK_PAGE, MAX_BOOK_WRITE};

/// What is durable of the book.
#[derive(Debug, Clone, Copy)]
struct Durable {
    last: u64,
    bytes: u64,
}

struct Buffer {
    lines: Vec<u8>,
    /// Sequence number of the last line appended.
    last: u64,
    /// Bytes of the book with everything appended.
    bytes: u64,
    index: Vec<u64>,
    closed: bool,
}

struct Shared {
    buffer: Mutex<Buffer>,
    work: Condvar,
}

/// The appending end of a book; its thread ends when this is dropped.
pub(super) struct Writer {
    shared: Arc<Shared>,
    durable: watch::Receiver<Durable>,
    path: PathBuf,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// The book took no more lines: nothing may be answered that is not durable yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the book is closed")]
pub(super) struct Closed;

impl Writer {
    /// Starts the thread that writes to `book`.
    pub(super) fn start(book: Book) -> Result<Self, Error> {
        let Book { file, path, bytes, last, index, lock } = book;
        let buffer = Buffer { lines: Vec::new(), last, bytes, index, closed: false };
        let shared = Arc::new(Shared { buffer: Mutex::new(buffer), work: Condvar::new() });
        let (sender, durable) = watch::channel(Durable { last, bytes });
        let writing = Arc::clone(&shared);
        let written = path.clone();
        let thread = std::thread::Builder::new()
            .name("sandbox-rail-book".to_owned())
            .spawn(move || {
                let result = write(&writing, file, &sender);
                drop(lock);
                result.map_err(failed("write", &written))
            })
            .map_err(failed("start a thread for", &path))?;
        Ok(Self { shared, durable, path, thread: Some(thread) })
    }

    /// Appends a line and returns its sequence number; `line.seq` is set here. Cheap; nothing is
    /// durable until `flushed`.
    pub(super) fn append(&self, line: &mut BookLine) -> u64 {
        let mut buffer = self.shared.lock();
        buffer.append(line);
        drop(buffer);
        self.shared.work.notify_one();
        line.seq
    }

    /// Sequence number of the last line appended.
    pub(super) fn last(&self) -> u64 {
        self.shared.lock().last
    }

    /// Waits until the lines up to `last` are durable.
    pub(super) async fn flushed(&self, last: u64) -> Result<(), Closed> {
        let mut durable = self.durable.clone();
        let reached = durable.wait_for(|durable| durable.last >= last).await;
        reached.map(drop).map_err(|_| Closed)
    }

    /// Ends when the book can take no more lines because a write failed.
    pub(super) async fn broken(&self) {
        let mut durable = self.durable.clone();
        while durable.changed().await.is_ok() {}
    }

    /// The durable lines above `after`, at most `BOOK_PAGE`, as the bytes of the file. Blocks.
    pub(super) fn page(&self, after: u64) -> Result<Vec<u8>, Error> {
        let durable = *self.durable.borrow();
        if after >= durable.last {
            return Ok(Vec::new());
        }
        let block = usize::try_from(after / INDEX_STEP).unwrap_or(usize::MAX);
        let Some(offset) = self.shared.lock().index.get(block).copied() else {
            return Ok(Vec::new());
        };
        self.read(offset, durable.bytes - offset, after % INDEX_STEP)
            .map_err(failed("read", &self.path))
    }

    fn read(&self, offset: u64, bytes: u64, skipped: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::with_capacity(64 * 1024, file).take(bytes);
        let mut page = Vec::new();
        for _ in 0..skipped {
            reader.read_until(b'\n', &mut page)?;
            page.clear();
        }
        for _ in 0..BOOK_PAGE {
            if reader.read_until(b'\n', &mut page)? == 0 {
                break;
            }
        }
        Ok(page)
    }

    /// Writes what is left and ends the thread. Blocks. `Ok` when it was ended before.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().expect("nobody panics while holding the buffer")
    }
}

impl Buffer {
    fn append(&mut self, line: &mut BookLine) {
        if self.last.is_multiple_of(INDEX_STEP) {
            self.index.push(self.bytes);
        }
        self.last += 1;
        line.seq = self.last;
        let before = self.lines.len();
        serde_json::to_writer(&mut self.lines, line)
            .expect("a book line has string keys and is written to memory");
        self.lines.push(b'\n');
        self.bytes += (self.lines.len() - before) as u64;
    }
}

/// Writes groups until the buffer is closed. After a failed write or sync nothing is written again:
/// dropping `sender` tells all who wait.
fn write(shared: &Shared, mut file: File, sender: &watch::Sender<Durable>) -> io::Result<()> {
    let mut lines = Vec::new();
    loop {
        let mut buffer = shared.lock();
        while buffer.lines.is_empty() {
            if buffer.closed {
                return Ok(());
            }
            buffer = shared.work.wait(buffer).expect("nobody panics while holding the buffer");
        }
        lines.clear();
        std::mem::swap(&mut lines, &mut buffer.lines);
        let durable = Durable { last: buffer.last, bytes: buffer.bytes };
        drop(buffer);
        for part in lines.chunks(MAX_BOOK_WRITE) {
            file.write_all(part)?;
            file.sync_data()?;
        }
        sender.send_replace(durable);
    }
}
