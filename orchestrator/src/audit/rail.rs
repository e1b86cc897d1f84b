//! The rail's book, line by line.

use super::{Error, Found};
use crate::http_rail::{HttpRail, sandbox_profile};
use crate::limits::{BOOK_LINE_USUAL, UNREADABLE_MAX};
use crate::sandbox_rail::book::{self, BOOK_FILE, Lines};
use gristmill_actors::rail::{BookLine, BookState, Rail};
use gristmill_workflows::audit::{RailBook, RailLine};
use gristmill_workflows::invariant::Invariant;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The lock of a sandbox rail.
const LOCK_FILE: &str = "lock";

/// Where the rail's book is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RailSource {
    /// The folder of a sandbox rail's book; one without a book is of a node that uses another
    /// rail, and is not held against anything.
    Folder(PathBuf),
    /// The address of a running rail.
    Url(String),
    /// All its lines, of a rail in memory.
    Lines(Arc<[BookLine]>),
}

/// Reads the whole book; none if there is none.
pub(super) async fn read(
    source: &RailSource,
    found: &mut Vec<Found>,
) -> Result<Option<RailBook>, Error> {
    match source {
        RailSource::Folder(folder) => {
            let folder = folder.clone();
            let read = tokio::task::spawn_blocking(move || read_folder(&folder)).await??;
            let Some((book, unreadable)) = read else { return Ok(None) };
            found.extend(unreadable);
            Ok(Some(book))
        }
        RailSource::Lines(lines) => {
            let mut book = RailBook::default();
            lines.iter().for_each(|line| take(&mut book, line));
            Ok(Some(book))
        }
        RailSource::Url(url) => {
            let rail = HttpRail::new(url, sandbox_profile())?;
            let (mut book, mut after) = (RailBook::default(), 0);
            loop {
                let page = rail.book(after).await?;
                let Some(last) = page.last().map(|line| line.seq).filter(|last| *last > after)
                else {
                    return Ok(Some(book));
                };
                page.iter().for_each(|line| take(&mut book, line));
                after = last;
            }
        }
    }
}

fn read_folder(folder: &Path) -> Result<Option<(RailBook, Vec<Found>)>, Error> {
    if !folder.join(BOOK_FILE).exists() {
        // A rail that ran here leaves its lock, so its book is gone.
        let ran = folder.join(LOCK_FILE).exists();
        return Ok(ran.then(Default::default));
    }
    let lines = Lines::open(folder)?;
    let room = lines.length() / BOOK_LINE_USUAL;
    let (mut book, mut unreadable) = (RailBook::with_room(room), Vec::new());
    for line in lines {
        match line {
            Ok(line) => take(&mut book, &line),
            Err(book::Error::Corrupt { line, corruption, .. }) => {
                if unreadable.len() == UNREADABLE_MAX {
                    break;
                }
                let id = format!("rail/{BOOK_FILE} line {line}");
                let sentence = format!("does not read: {corruption}");
                unreadable.push(Found::new(Invariant::OnePayment, id, sentence));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some((book, unreadable)))
}

fn take(book: &mut RailBook, line: &BookLine) {
    book.line(&RailLine {
        key: &line.key,
        account: &line.account,
        currency: &line.currency,
        minor: line.minor,
        paid: line.state == BookState::Paid,
    });
}
