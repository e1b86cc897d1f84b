//! Everything that reads bytes of others, as functions over bytes. Each must take any bytes: an error
//! is an answer, a panic or a hang is a bug. What is read must come back as it was when it is
//! written again.
//!
//! `tests/mutations.rs` feeds them for seconds in every run of the tests; `libfuzzer/` has the same
//! functions for `cargo fuzz`, which needs a nightly compiler.
#![expect(clippy::panic, reason = "a target fails by panicking")]

use gristmill::config::Config;
use gristmill::http_rail::{asked, batch_answers, book_lines};
use gristmill::manifest;
use gristmill_actors::rail::PayoutRequest;
use gristmill_media::{Limits, Modality, measure, worker};
use gristmill_trace::bundle;
use gristmill_trace::checkpoint::Checkpoint;
use gristmill_trace::hash::Hash;
use gristmill_trace::key::{SigningKey, Verifier};
use gristmill_trace::note;
use gristmill_trace::proof::{verify_consistency, verify_inclusion};
use gristmill_trace::receipt::Receipt;
use gristmill_trace::tile::Tile;
use gristmill_workflows::codec::{Record, decode, encode};
use gristmill_workflows::commit::{Admitted, OutboxRow, SequencedRow, ShardState};
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::inbox::Item;
use gristmill_workflows::journey::Journey;
use gristmill_workflows::lease::Lease;
use gristmill_workflows::sequencer::Sequenced;
use gristmill_workflows::submission::Mark;
use gristmill_workflows::time::Timestamp;
use gristmill_workflows::tombstone::Tombstone;
use std::fmt::Debug;

/// A function over bytes that must not panic, and the folder of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("manifest", manifest_line),
    ("records", records),
    ("notes", notes),
    ("tiles", tiles),
    ("proofs", proofs),
    ("voice", voice),
    ("image", image),
    ("video", video),
    ("rail", rail),
    ("config", config),
];

/// One line of a manifest.
pub fn manifest_line(bytes: &[u8]) {
    if let Ok(line) = manifest::parse(bytes, Timestamp(1_700_000_000_000)) {
        assert!(bytes.len() <= manifest::LINE_BYTES_MAX, "{line:?}");
    }
}

/// Every durable record.
pub fn records(bytes: &[u8]) {
    fn one<R: Record + PartialEq + Debug>(bytes: &[u8]) {
        if let Ok(record) = decode::<R>(bytes) {
            assert_eq!(encode(&record).as_deref(), Ok(bytes), "{record:?}");
        }
    }
    one::<Item>(bytes);
    one::<Journey>(bytes);
    one::<Tombstone>(bytes);
    one::<OutboxRow>(bytes);
    one::<SequencedRow>(bytes);
    one::<Admitted>(bytes);
    one::<ShardState>(bytes);
    one::<Contributor>(bytes);
    one::<Mark>(bytes);
    one::<Lease>(bytes);
    one::<Sequenced>(bytes);
}

fn verifier() -> Verifier {
    let key = SigningKey::from_seed("gristmill.local/trace", &[7; 32]);
    key.unwrap_or_else(|error| panic!("{error}")).verifier().clone()
}

/// Signed notes, checkpoints, keys and receipts.
pub fn notes(bytes: &[u8]) {
    let verifier = verifier();
    let known = [verifier.clone()];
    drop(note::open(bytes, &known));
    drop(Checkpoint::open(bytes, &verifier));
    drop(gristmill::receipt_check::check(bytes, &verifier));
    if let Ok(receipt) = Receipt::parse(bytes) {
        assert_eq!(receipt.format().as_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Checkpoint::parse(text));
        drop(SigningKey::parse(text));
        if let Ok(key) = Verifier::parse(text) {
            assert_eq!(key.to_string(), text);
        }
    }
}

/// Paths of tiles, and entry bundles; the first byte is the width.
pub fn tiles(bytes: &[u8]) {
    if let Some(path) = std::str::from_utf8(bytes).ok()
        && let Ok(tile) = Tile::parse_path(path)
    {
        assert_eq!(tile.path(), path);
    }
    let Some((width, bytes)) = bytes.split_first() else { return };
    if let Ok(entries) = bundle::decode(bytes, usize::from(*width)) {
        assert_eq!(bundle::encode(&entries).as_deref(), Ok(bytes));
    }
}

/// Inclusion and consistency proofs: two numbers, two hashes, then the path.
pub fn proofs(bytes: &[u8]) {
    let Some((numbers, rest)) = bytes.split_first_chunk::<16>() else { return };
    let [first, second] = [&numbers[..8], &numbers[8..]]
        .map(|number| number.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)));
    let (hashes, _) = rest.as_chunks::<32>();
    let hashes: Vec<Hash> = hashes.iter().map(|bytes| Hash::new(*bytes)).collect();
    let [one, other, path @ ..] = hashes.as_slice() else { return };
    if verify_inclusion(*one, first, second, *other, path).is_ok() {
        assert!(first < second);
    }
    if verify_consistency(first, second, *one, *other, path).is_ok() {
        assert!(first <= second);
    }
}

fn media(bytes: &[u8], expected: Modality) {
    let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
    let measured = measure(bytes, expected, &limits);
    assert_eq!(measured, measure(bytes, expected, &limits), "the same bytes measure the same");
    if let Ok(head) = worker::request_head(expected, bytes.len(), &limits) {
        assert_eq!(head.len(), 5);
    }
    drop(worker::decode_answer(bytes));
}

/// Voice clips.
pub fn voice(bytes: &[u8]) {
    media(bytes, Modality::Voice);
}

/// Images.
pub fn image(bytes: &[u8]) {
    media(bytes, Modality::Image);
}

/// Videos.
pub fn video(bytes: &[u8]) {
    media(bytes, Modality::Video);
}

/// Answers of a rail.
pub fn rail(bytes: &[u8]) {
    let request = |key: &str| PayoutRequest {
        key: key.to_owned(),
        account: "a".to_owned(),
        currency: "KRW".to_owned(),
        minor: 1,
    };
    let batch = [request("p1"), request("p2")];
    if let Some(answers) = batch_answers(&batch, bytes) {
        assert_eq!(answers.len(), batch.len());
    }
    drop(asked(bytes));
    if let Some(lines) = book_lines(bytes, 0) {
        assert!(lines.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    }
}

/// Configuration files.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = Config::parse("fuzz.toml", text)
    {
        let printed = config.print();
        let again = Config::parse("printed.toml", &printed);
        assert!(again.is_ok_and(|again| again == config), "{printed}");
    }
}
