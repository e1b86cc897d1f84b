//! Data directories that live as long as a test.

use crate::report::Report;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The root of the repository's work tree.
pub fn repository() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().map_or_else(|| crate_dir.to_owned(), Path::to_owned)
}

/// A data directory of its own, below a temporary folder that goes with the value.
#[derive(Debug)]
pub struct DataDir {
    root: TempDir,
}

impl Default for DataDir {
    fn default() -> Self {
        Self::new()
    }
}

impl DataDir {
    /// A data directory that does not exist yet: the first start makes it.
    pub fn new() -> Self {
        let root = TempDir::with_prefix("gristmill-").expect("the temporary folder is writable");
        Self { root }
    }

    /// The data directory.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The folder around it, for manifests and other files of the test.
    pub fn outside(&self) -> &Path {
        self.root.path()
    }

    /// The data directory as an argument: `--data-dir=…`.
    pub fn flag(&self) -> String {
        format!("--data-dir={}", self.path().display())
    }

    /// A copy of all of it, to be damaged or continued apart from the first.
    pub fn copied(&self) -> Self {
        let copy = Self::new();
        copy_tree(&self.path(), &copy.path());
        copy
    }

    /// A copy as [`Self::copied`]; one that does not exist yet stays so.
    pub fn copied_or_new(&self) -> Self {
        if self.path().exists() { self.copied() } else { Self::new() }
    }

    /// The report that the last `run` left.
    pub fn report(&self) -> Report {
        Report::read(&self.path().join("report.json"))
    }

    /// A file written beside the data directory.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

/// Copies a folder with everything in it, modes included; symbolic links are copied as links.
///
/// # Panics
/// When a file cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) {
    let failed = |error: std::io::Error| -> ! {
        panic!("copy {} to {}: {error}", from.display(), to.display())
    };
    fs::create_dir_all(to).unwrap_or_else(|error| failed(error));
    for entry in fs::read_dir(from).unwrap_or_else(|error| failed(error)) {
        let entry = entry.unwrap_or_else(|error| failed(error));
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap_or_else(|error| failed(error));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else if kind.is_symlink() {
            fs::read_link(entry.path())
                .and_then(|link| std::os::unix::fs::symlink(link, &target))
                .unwrap_or_else(|error| failed(error));
        } else {
            fs::copy(entry.path(), &target).unwrap_or_else(|error| failed(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_every_file_and_stands_apart() {
        let dir = DataDir::new();
        dir.write("data/trace/tile/0/000", b"tile");
        dir.write("data/VERSION", b"1\n");
        let copy = dir.copied();
        fs::write(copy.path().join("VERSION"), b"9\n").unwrap();
        assert_eq!(fs::read(dir.path().join("VERSION")).unwrap(), b"1\n");
        assert_eq!(fs::read(copy.path().join("trace/tile/0/000")).unwrap(), b"tile");
    }

    #[test]
    fn the_repository_is_found() {
        assert!(repository().join("Cargo.lock").is_file());
    }
}
