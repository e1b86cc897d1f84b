//! What a process did to the files below one folder, from the output of
//! `strace -f -y -xx` (strace 6.1): creations, writes, names and syncs in their order.
//!
//! A call counts when it returned; strace lets a thread go on only after it noted that, so whatever
//! a thread did after it saw a result stands behind that result.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// The system calls that a recording needs, for `strace -e trace=`.
pub const TRACED: &str = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,\
    fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,\
    rmdir,ftruncate,truncate,fallocate,lseek,mmap,copy_file_range,sendfile,sync,syncfs";

/// One change below the folder, or a word of the process. Paths are relative to the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A folder was made.
    MakeFolder(PathBuf),
    /// A file was opened that may be new.
    Open(PathBuf),
    /// Bytes were written.
    Write {
        /// Which file.
        path: PathBuf,
        /// Where; none: at its end.
        at: Option<u64>,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file was cut or made longer.
    SetLength(PathBuf, u64),
    /// A file or folder got another name.
    Rename(PathBuf, PathBuf),
    /// A file got a further name.
    Link(PathBuf, PathBuf),
    /// A name was taken away.
    Remove(PathBuf),
    /// A file or folder is durable as it was when the call began.
    Sync {
        /// Which.
        path: PathBuf,
        /// How many changes stood before the call began.
        began: usize,
    },
    /// Something was written to standard output or standard error.
    Said(String),
}

/// Reads a recording.
///
/// # Panics
/// When it has a call that this module does not know how to follow.
pub fn changes(recording: &str, folder: &Path) -> Vec<Change> {
    let mut reader = Reader {
        folder: folder.to_owned(),
        changes: Vec::new(),
        begun: HashMap::new(),
        places: HashMap::new(),
    };
    recording.lines().for_each(|line| reader.line(line));
    reader.changes
}

struct Reader {
    folder: PathBuf,
    changes: Vec<Change>,
    /// Calls that did not return yet, by thread: their text, and how many changes stood.
    begun: HashMap<String, (String, usize)>,
    /// Where the next write of a file descriptor goes; none: at the end.
    places: HashMap<String, Option<u64>>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let Some((thread, call)) = line.split_once(' ') else { return };
        let call = call.trim_start();
        let now = self.changes.len();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            self.begun.insert(thread.to_owned(), (begun.to_owned(), now));
        } else if call.starts_with("<... ") {
            let Some((_, rest)) = call.split_once(" resumed>") else { return };
            let begun = self.begun.remove(thread).unwrap_or_default();
            self.call(&format!("{}{rest}", begun.0), begun.1);
        } else if !call.starts_with(['+', '-']) {
            self.call(call, now);
        }
    }

    fn call(&mut self, call: &str, began: usize) {
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
        let result = result.trim();
        if result.starts_with(['-', '?']) {
            return;
        }
        let arguments = split(arguments);
        self.followed(name, &arguments, result, began);
    }

    fn followed(&mut self, name: &str, arguments: &[&str], result: &str, began: usize) {
        let argument = |n: usize| arguments.get(n).copied().unwrap_or_default();
        match name {
            "openat" => self.open(self.below(argument(0), argument(1)), argument(2), result),
            "write" => self.write(argument(0), &[argument(1)], result),
            "writev" => {
                let parts = strings(argument(1));
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                self.write(argument(0), &parts, result);
            }
            "pwrite64" => {
                if let Some(path) = self.of(argument(0)) {
                    let at = argument(3).parse().ok();
                    self.changes.push(Change::Write { path, at, bytes: text(argument(1)) });
                }
            }
            "lseek" => drop(self.places.insert(number(argument(0)), result.parse().ok())),
            "fsync" | "fdatasync" => {
                if let Some(path) = self.of(argument(0)) {
                    self.changes.push(Change::Sync { path, began });
                }
            }
            "ftruncate" => {
                if let (Some(path), Ok(length)) = (self.of(argument(0)), argument(1).parse()) {
                    self.changes.push(Change::SetLength(path, length));
                }
            }
            "mkdir" | "rmdir" | "unlink" => self.named(name, self.below("", argument(0))),
            "mkdirat" | "unlinkat" => self.named(name, self.below(argument(0), argument(1))),
            "rename" | "link" => {
                self.two(name, self.below("", argument(0)), self.below("", argument(1)));
            }
            "renameat" | "renameat2" | "linkat" => {
                let from = self.below(argument(0), argument(1));
                self.two(name, from, self.below(argument(2), argument(3)));
            }
            "mmap" => {
                let writes = argument(2).contains("WRITE") && argument(3).contains("SHARED");
                assert!(
                    !writes || self.of(argument(4)).is_none(),
                    "a file is mapped to be written"
                );
            }
            other => {
                let touched = arguments.iter().any(|argument| self.of(argument).is_some());
                assert!(!touched, "{other} is not followed: {arguments:?}");
            }
        }
    }

    fn open(&mut self, path: Option<PathBuf>, flags: &str, result: &str) {
        let at = (!flags.contains("O_APPEND")).then_some(0);
        self.places.insert(number(result), at);
        let Some(path) = path else { return };
        if flags.contains("O_CREAT") {
            self.changes.push(Change::Open(path.clone()));
        }
        if flags.contains("O_TRUNC") {
            self.changes.push(Change::SetLength(path, 0));
        }
    }

    fn write(&mut self, file: &str, parts: &[&str], result: &str) {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| text(part)).collect();
        bytes.truncate(result.parse().unwrap_or(0));
        if let Some(path) = self.of(file) {
            let place = self.places.entry(number(file)).or_insert(Some(0));
            let at = *place;
            *place = at.map(|at| at + bytes.len() as u64);
            self.changes.push(Change::Write { path, at, bytes });
        } else if matches!(number(file).as_str(), "1" | "2") {
            self.changes.push(Change::Said(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }

    fn named(&mut self, call: &str, path: Option<PathBuf>) {
        let Some(path) = path else { return };
        let made = call.starts_with("mkdir");
        self.changes.push(if made { Change::MakeFolder(path) } else { Change::Remove(path) });
    }

    fn two(&mut self, call: &str, from: Option<PathBuf>, to: Option<PathBuf>) {
        match (from, to) {
            (Some(from), Some(to)) if call.starts_with("link") => {
                self.changes.push(Change::Link(from, to));
            }
            (Some(from), Some(to)) => self.changes.push(Change::Rename(from, to)),
            (None, None) => {}
            (from, to) => panic!("a name crosses the folder's border: {from:?} {to:?}"),
        }
    }

    /// The path of an open file below the folder: `7<path>`.
    fn of(&self, file: &str) -> Option<PathBuf> {
        let (number, path) = file.split_once('<')?;
        number.parse::<u32>().ok()?;
        self.inside(&unescaped(path.strip_suffix('>')?))
    }

    /// A path that a call names, from a folder's descriptor and a string.
    fn below(&self, folder: &str, path: &str) -> Option<PathBuf> {
        let path = PathBuf::from(OsString::from_vec(text(path)));
        let from = folder.split_once('<').and_then(|(_, path)| path.strip_suffix('>'));
        let from = PathBuf::from(OsString::from_vec(unescaped(from.unwrap_or_default())));
        self.inside(from.join(path).into_os_string().as_encoded_bytes())
    }

    fn inside(&self, path: &[u8]) -> Option<PathBuf> {
        let path = PathBuf::from(OsString::from_vec(path.to_vec()));
        let path = path.strip_prefix(&self.folder).ok()?;
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        (plain && !path.to_string_lossy().ends_with(" (deleted)")).then(|| path.to_owned())
    }
}

/// The number of a descriptor: `7` of `7<path>`.
fn number(file: &str) -> String {
    file.split('<').next().unwrap_or_default().to_owned()
}

/// Arguments, split at commas outside of strings, brackets and paths.
fn split(arguments: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth, mut quoted) = (Vec::new(), 0, 0_u32, false);
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' | b'<' => depth += 1,
            b']' | b'}' | b'>' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(arguments[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(arguments[from..].trim());
    parts
}

/// Every string of a list of parts, with its quotes.
fn strings(list: &str) -> Vec<String> {
    list.split('"').skip(1).step_by(2).map(|part| format!("\"{part}\"")).collect()
}

/// The bytes of a quoted string.
fn text(quoted: &str) -> Vec<u8> {
    assert!(!quoted.ends_with("\"..."), "the recording cuts a string off");
    unescaped(quoted.trim_matches('"'))
}

/// The bytes of `\xNN` escapes; other characters stand for themselves.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn digit(byte: u8) -> u8 {
    char::from(byte).to_digit(16).map_or(0, |digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_below_the_folder_are_followed_and_others_left_out() {
        let recording = r#"7 mkdir("/d/a", 0700) = 0
7 openat(AT_FDCWD</w>, "/d/a/f", O_WRONLY|O_CREAT|O_TRUNC, 0600) = 5</d/a/f>
8 fdatasync(5</d/a/f> <unfinished ...>
7 write(5</d/a/f>, "\x68\x69", 2) = 2
7 write(5</d/a/f>, "\x21", 1) = 1
8 <... fdatasync resumed>) = 0
7 openat(AT_FDCWD</w>, "/x/f", O_RDONLY) = -1 ENOENT (No such file or directory)
7 write(2<pipe:[1]>, "\x6f\x6b", 2) = 2
7 rename("/d/a/f", "/d/g") = 0
7 +++ exited with 0 +++
"#;
        let path = PathBuf::from;
        let write = |at, bytes: &[u8]| Change::Write {
            path: path("a/f"),
            at: Some(at),
            bytes: bytes.to_vec(),
        };
        let expected = [
            Change::MakeFolder(path("a")),
            Change::Open(path("a/f")),
            Change::SetLength(path("a/f"), 0),
            write(0, b"hi"),
            write(2, b"!"),
            Change::Sync { path: path("a/f"), began: 3 },
            Change::Said("ok".into()),
            Change::Rename(path("a/f"), path("g")),
        ];
        assert_eq!(changes(recording, Path::new("/d")), expected);
    }

    #[test]
    #[should_panic(expected = "is not followed")]
    fn a_call_that_is_not_followed_is_told() {
        changes("7 fallocate(5</d/f>, 0, 0, 9) = 0\n", Path::new("/d"));
    }
}
