//! Files under `--media-root`: read, never touched, and nothing that leads out of it.

use crate::manifest::{Code, Problem};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// The folder that manifests take media from.
#[derive(Debug, Clone)]
pub struct MediaRoot {
    root: PathBuf,
    bytes_max: u64,
}

/// Bytes of a file, and their hash.
#[derive(Debug)]
pub struct Bytes {
    /// All of them.
    pub bytes: Vec<u8>,
    /// SHA-256.
    pub sha256: [u8; 32],
}

impl MediaRoot {
    /// The folder, with every link in its own path resolved.
    pub fn new(root: &Path, bytes_max: u64) -> std::io::Result<Self> {
        Ok(Self { root: root.canonicalize()?, bytes_max })
    }

    /// Reads a file by its relative path, and checks its hash if one is given.
    pub fn read(&self, uri: &str, sha256: Option<[u8; 32]>) -> Result<Bytes, Problem> {
        let path = self.resolve(uri)?;
        let missing = |error: std::io::Error| {
            Problem::new("media.uri", Code::MediaMissing, format!("{uri}: {error}"))
        };
        let about = std::fs::metadata(&path).map_err(missing)?;
        if !about.is_file() {
            let detail = format!("{uri}: is no regular file");
            return Err(Problem::new("media.uri", Code::MediaPath, detail));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path).map_err(missing)?;
        file.take(self.bytes_max + 1).read_to_end(&mut bytes).map_err(missing)?;
        if bytes.len() as u64 > self.bytes_max {
            let detail = format!("{uri}: is over {} bytes", self.bytes_max);
            return Err(Problem::new("media.uri", Code::MediaTooLarge, detail));
        }
        let found: [u8; 32] = Sha256::digest(&bytes).into();
        if sha256.is_some_and(|wanted| wanted != found) {
            let detail = format!("{uri}: has another SHA-256");
            return Err(Problem::new("media.sha256", Code::MediaSha256, detail));
        }
        Ok(Bytes { bytes, sha256: found })
    }

    fn resolve(&self, uri: &str) -> Result<PathBuf, Problem> {
        let refused =
            |why: &str| Problem::new("media.uri", Code::MediaPath, format!("{uri}: {why}"));
        let path = Path::new(uri);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if uri.is_empty() || uri.contains('\0') || !plain {
            return Err(refused("must be a relative path without . and .."));
        }
        // A name may have been typed in one Unicode normal form and stored in another (macOS).
        let forms = [uri.to_owned(), uri.nfc().collect(), uri.nfd().collect::<String>()];
        for form in forms {
            match self.root.join(form).canonicalize() {
                Ok(found) if found.starts_with(&self.root) => return Ok(found),
                Ok(_) => return Err(refused("leads out of the media root")),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(refused(&error.to_string())),
            }
        }
        Err(Problem::new("media.uri", Code::MediaMissing, format!("{uri}: no such file")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, MediaRoot) {
        let folder = tempfile::tempdir().unwrap();
        let media = folder.path().join("media");
        std::fs::create_dir(&media).unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        std::fs::write(media.join("a b;$(x).wav"), "abc").unwrap();
        std::fs::write(media.join("\u{1112}\u{1161}\u{11ab}.wav"), "nfd").unwrap();
        std::os::unix::fs::symlink("../secret", media.join("link")).unwrap();
        std::os::unix::fs::symlink("a b;$(x).wav", media.join("inner")).unwrap();
        let root = MediaRoot::new(&media, 3).unwrap();
        (folder, root)
    }

    #[test]
    fn paths_that_lead_out_are_refused_and_links_that_stay_inside_are_fine() {
        let (_folder, root) = root();
        for uri in ["../secret", "/etc/passwd", "link", "", "./a", "x/../../secret", "a\0b"] {
            assert_eq!(root.read(uri, None).unwrap_err().code, Code::MediaPath, "{uri:?}");
        }
        assert_eq!(root.read("inner", None).unwrap().bytes, b"abc");
        assert_eq!(root.read("a b;$(x).wav", None).unwrap().bytes, b"abc");
        assert_eq!(root.read("한.wav", None).unwrap().bytes, b"nfd");
    }

    #[test]
    fn what_is_missing_too_large_or_another_file_is_told_apart() {
        let (folder, root) = root();
        assert_eq!(root.read("none.wav", None).unwrap_err().code, Code::MediaMissing);
        std::fs::write(folder.path().join("media/big"), "abcd").unwrap();
        assert_eq!(root.read("big", None).unwrap_err().code, Code::MediaTooLarge);
        let other = root.read("inner", Some([0; 32])).unwrap_err();
        assert_eq!((other.code, other.field.as_str()), (Code::MediaSha256, "media.sha256"));
        std::fs::create_dir(folder.path().join("media/folder")).unwrap();
        assert_eq!(root.read("folder", None).unwrap_err().code, Code::MediaPath);
    }
}
