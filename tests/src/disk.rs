//! A disk that loses power: it keeps what a returned sync covers, and of the rest whatever it
//! likes: nothing, all, the first part with a torn end, or some sectors.
//!
//! Two kinds of file system: one that keeps names in the order they were given, whatever the folder
//! (as journaling ones do), and one that keeps that order in each folder only.

use crate::random::Random;
use crate::syscalls::Change;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;

/// In which order names reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// In the order they were given.
    Journaled,
    /// In that order within a folder; folders apart.
    Loose,
}

type Inode = usize;

/// Bytes that were written, by their place, and a length.
#[derive(Debug, Clone, Default)]
struct Content {
    length: u64,
    sectors: BTreeMap<u64, [u8; SECTOR as usize]>,
}

#[derive(Debug, Clone)]
enum DataChange {
    Write(u64, Vec<u8>),
    SetLength(u64),
}

/// A file: what is durable, what stands on top, and its whole length now.
#[derive(Debug, Clone, Default)]
struct File {
    durable: Content,
    pending: Vec<(usize, DataChange)>,
    length: u64,
}

#[derive(Debug, Clone)]
enum NameChange {
    Put((Inode, OsString), Inode),
    Take((Inode, OsString)),
    Move((Inode, OsString), (Inode, OsString), Inode),
}

impl NameChange {
    fn touches(&self, folder: Inode) -> bool {
        match self {
            Self::Put((at, _), _) | Self::Take((at, _)) => *at == folder,
            Self::Move((from, _), (to, _), _) => *from == folder || *to == folder,
        }
    }

    fn first_folder(&self) -> Inode {
        match self {
            Self::Put((at, _), _) | Self::Take((at, _)) | Self::Move(_, (at, _), _) => *at,
        }
    }
}

type Names_ = BTreeMap<(Inode, OsString), Inode>;

/// A disk with a history.
#[derive(Debug, Default)]
pub struct Disk {
    files: HashMap<Inode, File>,
    folders: BTreeSet<Inode>,
    /// Names as a process sees them.
    seen: Names_,
    /// Names before the first change.
    before: Names_,
    /// Changes of names in order: when, what, and whether a sync covers it.
    names: Vec<(usize, NameChange, bool)>,
    changes: usize,
}

const ROOT: Inode = 0;

impl Disk {
    /// A disk that holds a folder's content, durably. A folder that does not stand is empty.
    ///
    /// # Panics
    /// When the folder cannot be read.
    pub fn of(folder: &Path) -> Self {
        let mut disk = Self { folders: BTreeSet::from([ROOT]), ..Self::default() };
        if folder.exists() {
            disk.import(folder, ROOT);
        }
        disk.before = disk.seen.clone();
        disk
    }

    fn import(&mut self, folder: &Path, at: Inode) {
        for entry in fs::read_dir(folder).expect("a folder of the test is readable") {
            let entry = entry.expect("a folder of the test is readable");
            let inode = self.inode();
            self.seen.insert((at, entry.file_name()), inode);
            if entry.path().is_dir() {
                self.folders.insert(inode);
                self.import(&entry.path(), inode);
            } else {
                let bytes = fs::read(entry.path()).expect("a file of the test is readable");
                let mut durable = Content::default();
                durable.set_length(bytes.len() as u64);
                durable.write(0, &bytes);
                let length = durable.length;
                self.files.insert(inode, File { durable, length, ..File::default() });
            }
        }
    }

    fn inode(&self) -> Inode {
        self.files.len() + self.folders.len()
    }

    /// Makes one change.
    ///
    /// # Panics
    /// When it names what does not stand.
    pub fn apply(&mut self, change: &Change) {
        let now = self.changes;
        self.changes += 1;
        match change {
            // The folder itself: one that is lost is empty.
            Change::MakeFolder(path) if path.as_os_str().is_empty() => {}
            Change::MakeFolder(path) => {
                let inode = self.inode();
                self.folders.insert(inode);
                self.name(NameChange::Put(self.place(path), inode));
            }
            Change::Open(path) => {
                if self.find(path).is_none() {
                    let inode = self.inode();
                    self.files.insert(inode, File::default());
                    self.name(NameChange::Put(self.place(path), inode));
                }
            }
            Change::Write { path, at, bytes } => {
                let file = self.file(path);
                let at = at.unwrap_or(file.length);
                file.length = file.length.max(at + bytes.len() as u64);
                file.pending.push((now, DataChange::Write(at, bytes.clone())));
            }
            Change::SetLength(path, length) => {
                let file = self.file(path);
                file.length = *length;
                file.pending.push((now, DataChange::SetLength(*length)));
            }
            Change::Rename(from, to) => {
                let inode = self.find(from).expect("what is renamed stands");
                self.name(NameChange::Move(self.place(from), self.place(to), inode));
            }
            Change::Link(from, to) => {
                let inode = self.find(from).expect("what is linked stands");
                self.name(NameChange::Put(self.place(to), inode));
            }
            Change::Remove(path) => self.name(NameChange::Take(self.place(path))),
            Change::Sync { path, began } => self.sync(path, *began),
            Change::Said(_) => {}
        }
    }

    fn sync(&mut self, path: &Path, began: usize) {
        let Some(inode) = self.find(path) else { return };
        if self.folders.contains(&inode) {
            let covered = |when: usize, change: &NameChange| when < began && change.touches(inode);
            for (when, change, durable) in &mut self.names {
                *durable = *durable || covered(*when, change);
            }
            return;
        }
        if let Some(file) = self.files.get_mut(&inode) {
            let pending = std::mem::take(&mut file.pending);
            let (done, left) = pending.into_iter().partition(|(when, _)| *when < began);
            file.pending = left;
            let done: Vec<(usize, DataChange)> = done;
            done.iter().for_each(|(_, change)| file.durable.change(change));
        }
    }

    fn name(&mut self, change: NameChange) {
        rename(&mut self.seen, &change);
        // The change that is being made is the last one counted.
        self.names.push((self.changes - 1, change, false));
    }

    fn file(&mut self, path: &Path) -> &mut File {
        let inode = self.find(path);
        let file = inode.and_then(|inode| self.files.get_mut(&inode));
        file.unwrap_or_else(|| panic!("{} is no file of the disk", path.display()))
    }

    fn find(&self, path: &Path) -> Option<Inode> {
        let mut at = ROOT;
        for name in path.iter() {
            at = *self.seen.get(&(at, name.to_owned()))?;
        }
        Some(at)
    }

    fn place(&self, path: &Path) -> (Inode, OsString) {
        let folder = path.parent().and_then(|folder| self.find(folder));
        let name = path.file_name().map(OsString::from).unwrap_or_default();
        (folder.unwrap_or_else(|| panic!("{} has no folder", path.display())), name)
    }

    /// What a process read in a file at the moment of the cut.
    pub fn seen(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.files.get(&self.find(path)?)?;
        let mut content = file.durable.clone();
        file.pending.iter().for_each(|(_, change)| content.change(change));
        Some(content.bytes())
    }

    /// Cuts the power, and writes what is left into a folder, which is made.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn cut(&self, names: Names, random: &mut Random, into: &Path) {
        let kept = self.kept_names(names, random);
        let mut folders: BTreeMap<Inode, Vec<(&OsString, Inode)>> = BTreeMap::new();
        for ((folder, name), inode) in &kept {
            folders.entry(*folder).or_default().push((name, *inode));
        }
        let mut waiting = vec![(into.to_owned(), ROOT)];
        let mut written: HashMap<Inode, PathBuf> = HashMap::new();
        while let Some((path, folder)) = waiting.pop() {
            fs::create_dir(&path).expect("a folder of the test is writable");
            for (name, inode) in folders.remove(&folder).unwrap_or_default() {
                let path = path.join(name);
                match (self.files.get(&inode), written.get(&inode)) {
                    (None, _) => waiting.push((path, inode)),
                    (Some(_), Some(first)) => {
                        fs::hard_link(first, &path).expect("a folder of the test is writable");
                    }
                    (Some(file), None) => {
                        file.left(random).write_to(&path);
                        written.insert(inode, path);
                    }
                }
            }
        }
    }

    fn kept_names(&self, names: Names, random: &mut Random) -> Names_ {
        let mut kept = self.before.clone();
        // How many of the changes that no sync covers are kept, for each folder or for all.
        let group = |change: &NameChange| match names {
            Names::Journaled => ROOT,
            Names::Loose => change.first_folder(),
        };
        let mut last: HashMap<Inode, usize> = HashMap::new();
        let mut end: HashMap<Inode, usize> = HashMap::new();
        for (n, (_, change, durable)) in self.names.iter().enumerate() {
            end.insert(group(change), n);
            if *durable {
                last.insert(group(change), n);
            }
        }
        let mut until: HashMap<Inode, usize> = HashMap::new();
        let mut groups: Vec<(Inode, usize)> = end.into_iter().collect();
        groups.sort_unstable();
        for (group, end) in groups {
            let least = last.get(&group).map_or(0, |last| last + 1);
            let most = end + 1;
            let span = most.saturating_sub(least);
            let more = match random.below(3) {
                0 => 0,
                1 => span,
                _ => random.below(span as u64 + 1) as usize,
            };
            until.insert(group, least + more);
        }
        for (n, (_, change, durable)) in self.names.iter().enumerate() {
            if *durable || until.get(&group(change)).is_some_and(|until| n < *until) {
                rename(&mut kept, change);
            }
        }
        kept
    }
}

fn rename(names: &mut Names_, change: &NameChange) {
    match change {
        NameChange::Put(at, inode) => drop(names.insert(at.clone(), *inode)),
        NameChange::Take(at) => drop(names.remove(at)),
        NameChange::Move(from, to, inode) => {
            if names.get(from) == Some(inode) {
                names.remove(from);
            }
            names.insert(to.clone(), *inode);
        }
    }
}

impl File {
    /// What the disk kept.
    fn left(&self, random: &mut Random) -> Content {
        let mut left = self.durable.clone();
        let kind = random.below(4);
        let whole = random.below(self.pending.len() as u64 + 1) as usize;
        for (n, (_, change)) in self.pending.iter().enumerate() {
            match kind {
                0 => {}
                1 => left.change(change),
                2 if n < whole => left.change(change),
                2 if n == whole => left.torn(change, random),
                2 => {}
                _ => left.torn(change, random),
            }
        }
        left
    }
}

impl Content {
    fn change(&mut self, change: &DataChange) {
        match change {
            DataChange::Write(at, bytes) => self.write(*at, bytes),
            DataChange::SetLength(length) => self.set_length(*length),
        }
    }

    /// Some sectors of a write, or a change of length that may be lost.
    fn torn(&mut self, change: &DataChange, random: &mut Random) {
        let DataChange::Write(at, bytes) = change else {
            if random.below(2) == 0 {
                self.change(change);
            }
            return;
        };
        let (mut from, end) = (*at, at + bytes.len() as u64);
        while from < end {
            let until = ((from / SECTOR + 1) * SECTOR).min(end);
            if random.below(2) == 0 {
                self.write(from, &bytes[(from - at) as usize..(until - at) as usize]);
            }
            from = until;
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        for (place, byte) in (at..).zip(bytes) {
            let sector = self.sectors.entry(place / SECTOR).or_insert([0; SECTOR as usize]);
            sector[(place % SECTOR) as usize] = *byte;
        }
        self.length = self.length.max(at + bytes.len() as u64);
    }

    fn set_length(&mut self, length: u64) {
        self.length = length;
        self.sectors.retain(|sector, _| sector * SECTOR < length);
        if let Some(last) = self.sectors.get_mut(&(length / SECTOR)) {
            last[(length % SECTOR) as usize..].fill(0);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        for (sector, part) in &self.sectors {
            let at = (sector * SECTOR) as usize;
            let end = bytes.len().min(at + part.len());
            bytes[at..end].copy_from_slice(&part[..end - at]);
        }
        bytes
    }

    fn write_to(&self, path: &Path) {
        let file = fs::File::create(path).expect("a folder of the test is writable");
        file.set_len(self.length).expect("a folder of the test has room");
        for (sector, part) in self.sectors.iter().filter(|(_, part)| **part != [0; 512]) {
            let at = sector * SECTOR;
            let length = SECTOR.min(self.length - at) as usize;
            file.write_all_at(&part[..length], at).expect("a folder of the test has room");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &str, bytes: &[u8]) -> [Change; 2] {
        let path = PathBuf::from(path);
        let write = Change::Write { path: path.clone(), at: None, bytes: bytes.to_vec() };
        [Change::Open(path), write]
    }

    fn after(changes: &[Change], names: Names, seed: u64) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut disk = Disk::of(Path::new("/no/such/folder"));
        changes.iter().for_each(|change| disk.apply(change));
        let root = tempfile::tempdir().unwrap();
        let into = root.path().join("left");
        disk.cut(names, &mut Random::of(seed), &into);
        let mut left = BTreeMap::new();
        for entry in fs::read_dir(&into).unwrap() {
            let path = entry.unwrap().path();
            let name = PathBuf::from(path.file_name().unwrap());
            let bytes = if path.is_dir() { Vec::new() } else { fs::read(path).unwrap() };
            left.insert(name, bytes);
        }
        left
    }

    #[test]
    fn what_was_synced_stands_and_what_was_not_may_be_gone_or_torn() {
        let bytes = vec![7; 2000];
        let mut changes = written("kept", b"kept").to_vec();
        changes.push(Change::Sync { path: "kept".into(), began: 2 });
        changes.push(Change::Sync { path: "".into(), began: 3 });
        changes.extend(written("loose", &bytes));
        let (mut gone, mut torn, mut whole) = (0, 0, 0);
        for seed in 1..200 {
            let left = after(&changes, Names::Loose, seed);
            assert_eq!(left[Path::new("kept")], b"kept");
            match left.get(Path::new("loose")) {
                None => gone += 1,
                Some(left) if *left == bytes => whole += 1,
                Some(_) => torn += 1,
            }
        }
        assert!(gone > 10 && torn > 10 && whole > 10, "{gone} {torn} {whole}");
    }

    #[test]
    fn a_sync_covers_what_stood_when_it_began() {
        let mut changes = written("file", b"one").to_vec();
        changes.push(Change::Sync { path: "".into(), began: 1 });
        let more = Change::Write { path: "file".into(), at: None, bytes: b"two".to_vec() };
        changes.push(more);
        changes.push(Change::Sync { path: "file".into(), began: 3 });
        let lengths: BTreeSet<usize> = (1..60)
            .map(|seed| after(&changes, Names::Loose, seed)[Path::new("file")].len())
            .collect();
        assert_eq!(lengths, BTreeSet::from([3, 6]));
    }

    #[test]
    fn a_journal_keeps_the_order_of_names_over_folders() {
        let mut changes = vec![Change::MakeFolder("a".into())];
        changes.extend(written("first", b""));
        changes.extend(written("second", b""));
        changes.push(Change::Rename("second".into(), "third".into()));
        for seed in 1..100 {
            let left = after(&changes, Names::Journaled, seed);
            let later = left.contains_key(Path::new("third"));
            assert!(!later || left.contains_key(Path::new("first")), "{left:?}");
            assert!(!later || !left.contains_key(Path::new("second")), "{left:?}");
        }
    }
}
