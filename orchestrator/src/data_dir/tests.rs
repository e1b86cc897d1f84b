use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const ORIGIN: &str = "gristmill.local/trace";

fn open(path: &Path) -> Result<DataDir, Error> {
    DataDir::open(path, ORIGIN)
}

/// Every file below a folder with its bytes, but for the lock.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if !path.ends_with(LOCK) {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_first_start_makes_all_and_the_second_finds_the_same() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new/data");
    let first = open(&path).unwrap();
    for key in [TRACE_KEY, ID_KEY] {
        let mode = fs::metadata(path.join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    assert_eq!(fs::read_to_string(path.join(VERSION_FILE)).unwrap(), "gristmill 1\n");
    let vkey = fs::read_to_string(path.join(VKEY)).unwrap();
    assert_eq!(vkey, format!("{}\n", first.trace_key().verifier()));
    let id = first.id_key().contributor("someone");
    drop(first);
    let before = files(&path);
    let second = open(&path).unwrap();
    assert_eq!(second.id_key().contributor("someone"), id);
    assert_eq!(second.trace_key().verifier().to_string(), vkey.trim_end());
    assert_eq!(files(&path), before);
}

#[test]
fn a_second_process_is_told_who_holds_it() {
    let folder = TempDir::new().unwrap();
    let held = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(error.to_string().ends_with(&format!("is held by process {}", std::process::id())));
    assert_eq!(error.exit_code(), 4);
    drop(held);
    open(folder.path()).unwrap();
}

#[test]
fn an_interrupted_first_start_is_completed_with_the_keys_it_made() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).unwrap());
    let keys = fs::read(folder.path().join(TRACE_KEY)).unwrap();
    for gone in [VERSION_FILE, VKEY, ID_KEY, "store"] {
        let path = folder.path().join(gone);
        if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }.unwrap();
        if gone != VERSION_FILE {
            fs::remove_file(folder.path().join(VERSION_FILE)).unwrap();
        }
        drop(open(folder.path()).unwrap());
        assert_eq!(fs::read(folder.path().join(TRACE_KEY)).unwrap(), keys);
    }
}

fn refused(damage: impl FnOnce(&Path)) -> Error {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).unwrap());
    damage(folder.path());
    let before = files(folder.path());
    let error = open(folder.path()).unwrap_err();
    assert_eq!(files(folder.path()), before);
    assert_eq!(error.exit_code(), 4, "{error}");
    error
}

#[test]
fn what_is_damaged_or_not_ours_is_refused_and_left_alone() {
    let write = |name: &'static str, text: &'static str| {
        move |path: &Path| fs::write(path.join(name), text).unwrap()
    };
    let remove = |name: &'static str| move |path: &Path| fs::remove_file(path.join(name)).unwrap();
    let version = refused(write(VERSION_FILE, "gristmill 2\n"));
    assert!(matches!(version, Error::WrongVersion { found, .. } if found == "gristmill 2"));
    let empty = refused(write(VERSION_FILE, ""));
    assert!(matches!(empty, Error::WrongVersion { found, .. } if found.is_empty()));
    for name in [TRACE_KEY, ID_KEY, VKEY] {
        for damage in [refused(remove(name)), refused(write(name, "x\n"))] {
            let corrupt = matches!(&damage, Error::Corrupt { path, .. } if path.ends_with(name));
            assert!(corrupt, "{damage}");
        }
    }
    let store = refused(|path| fs::remove_dir(path.join("store")).unwrap());
    assert!(matches!(store, Error::Corrupt { .. }), "{store}");
    let lost = refused(|path| {
        fs::remove_file(path.join(VERSION_FILE)).unwrap();
        fs::write(path.join("trace/checkpoint"), "x").unwrap();
    });
    assert!(matches!(lost, Error::NotOurs { .. }), "{lost}");
}

#[test]
fn a_folder_of_somebody_else_is_refused_and_nothing_is_put_into_it() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotOurs { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let file = folder.path().join("thesis.txt");
    let error = open(&file).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
}

#[test]
fn another_origin_is_the_callers_error() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).unwrap());
    let error = DataDir::open(folder.path(), "example.com/log").unwrap_err();
    assert!(matches!(error, Error::Origin { .. }), "{error}");
    assert_eq!(error.exit_code(), 2);
    let error = DataDir::open(folder.path(), "two words").unwrap_err();
    assert_eq!(error.to_string(), "trace.origin \"two words\" is not a key name");
}

#[test]
fn a_directory_that_is_not_there_is_not_made_by_those_who_only_look() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    let error = DataDir::open_existing(&path, ORIGIN).unwrap_err();
    assert!(matches!(error, Error::Absent { .. }), "{error}");
    assert!(!path.exists());
    drop(open(&path).unwrap());
    DataDir::open_existing(&path, ORIGIN).unwrap();
}
