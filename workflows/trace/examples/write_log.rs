//! Writes a published log with entries `e0`, `e1`, … in steps, and a receipt, for checks by other
//! programs: `cargo run -p gristmill-trace --example write_log -- DIR SIZE...`.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::key::SigningKey;
use gristmill_trace::publisher::Publisher;
use gristmill_trace::reader::{FetchError, TileReader};
use gristmill_trace::receipt::Receipt;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let directory = arguments.next().ok_or("usage: write_log DIR SIZE...")?;
    let directory = Path::new(&directory);
    // A published seed: nothing that this key signs is to be trusted.
    let key = SigningKey::from_seed("example.com/log", &[7; 32])?;
    let mut publisher = Publisher::new();
    for size in arguments {
        let size: u64 = size.parse()?;
        let entries: Vec<String> =
            (publisher.size()..size).map(|index| format!("e{index}")).collect();
        for object in publisher.publish(&entries)? {
            write(directory, &object.tile.path(), &object.bytes)?;
        }
        let (size, root) = (publisher.size(), publisher.root());
        let note = Checkpoint { origin: key.name().to_owned(), size, root }.sign(&key)?;
        write(directory, &format!("checkpoints/{size}"), note.as_bytes())?;
        write(directory, "checkpoint", note.as_bytes())?;
        if size > 0 {
            let mut fetch =
                |path: &str| fs::read(directory.join(path)).map(Some).map_err(FetchError::from);
            let index = size / 2;
            let path = TileReader::new(size, &mut fetch).inclusion(index)?;
            let entry = STANDARD.encode(format!("e{index}"));
            let extra = format!("{{\"entry\":\"{entry}\"}}").into_bytes();
            let receipt = Receipt { extra, index, path, checkpoint: note };
            write(directory, &format!("{size}.tlog-proof"), receipt.format().as_bytes())?;
        }
    }
    write(directory, "vkey", format!("{}\n", key.verifier()).as_bytes())?;
    println!("{}", key.verifier());
    Ok(())
}

fn write(directory: &Path, path: &str, bytes: &[u8]) -> Result<(), std::io::Error> {
    let path = directory.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}
