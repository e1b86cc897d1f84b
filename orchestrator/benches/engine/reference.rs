//! What the machine can do at all, in the same run, and what the run left on disk.

use sha2::{Digest, Sha256};
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const FOR: Duration = Duration::from_secs(1);
const RECORD: [u8; 1024] = [7; 1024];
/// Records under one fsync: about what a group commit holds.
const GROUP: usize = 100;

/// Prints the rates of bare appends and of SHA-256.
pub(crate) fn rates(folder: &Path) -> Result<(), Box<dyn Error>> {
    for records in [1, GROUP] {
        let mut file = File::create(folder.join("appended"))?;
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < FOR {
            for _ in 0..records {
                file.write_all(&RECORD)?;
            }
            file.sync_data()?;
            count += records as u64;
        }
        super::rate(&format!("bare appends of 1 KiB, {records} a fsync"), count, start.elapsed());
    }
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < FOR {
        for _ in 0..GROUP {
            black_box(Sha256::digest(black_box(RECORD)));
        }
        count += GROUP as u64;
    }
    super::rate("SHA-256 of 1 KiB on one core", count, start.elapsed());
    Ok(())
}

/// Prints the bytes under each part of a data directory.
pub(crate) fn sizes(data: &Path) -> Result<(), Box<dyn Error>> {
    for part in ["store", "trace", "rail", "keys", "media"] {
        println!("bytes in {part}: {}", bytes(&data.join(part))?);
    }
    Ok(())
}

fn bytes(path: &Path) -> Result<u64, std::io::Error> {
    let meta = match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    if meta.is_file() {
        return Ok(meta.len());
    }
    fs::read_dir(path)?.map(|entry| bytes(&entry?.path())).sum()
}
