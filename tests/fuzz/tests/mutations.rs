//! Mutates the corpus by seed and feeds every target for `GRISTMILL_TEST_FUZZ_SECONDS` seconds in all
//! (10), from `GRISTMILL_TEST_SEED` (1) on. A failure names target, seed and bytes.

#![cfg(test)]

use gristmill_fuzz::{TARGETS, Target};
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

/// One call may take this long, unoptimised and beside other tests.
const SLOWEST: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 1 << 16;

fn number(name: &str, default: u64) -> u64 {
    let number = std::env::var(name);
    number.map_or(default, |number| number.parse().unwrap_or_else(|_| panic!("{name}: {number}")))
}

/// Xorshift64* (Vigna, 2016), as in the other tests.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end.max(1)
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

const TELLING: [u8; 10] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\\', b'\n', b'-'];

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, TELLING[random.below(TELLING.len())]),
            2 => {
                let end = (at + 1 + random.below(8)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let end = (from + random.below(64)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
            4 => {
                let end = (at + random.below(32)).min(bytes.len());
                let part = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, part);
            }
            kind => {
                if let Some(byte) = bytes.get_mut(at) {
                    let flip = 1 << random.below(8);
                    *byte = if kind == 5 { *byte ^ flip } else { TELLING[random.below(10)] };
                }
            }
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn feed((name, target): Target, seed: u64, bytes: &[u8]) {
    let began = Instant::now();
    let done = catch_unwind(|| target(bytes));
    let took = began.elapsed();
    let input = || String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned();
    assert!(done.is_ok(), "{name} panics with seed {seed}, {} bytes: {}", bytes.len(), input());
    assert!(took < SLOWEST, "{name} takes {took:?} with seed {seed}: {}", input());
}

#[test]
fn every_corpus_is_taken_as_it_is() {
    for target in TARGETS {
        let corpus = corpus(target.0);
        assert!(corpus.len() > 1, "{} has next to no corpus", target.0);
        corpus.iter().for_each(|bytes| feed(target, 0, bytes));
    }
}

#[test]
fn no_mutation_of_a_corpus_makes_a_reader_panic_or_hang() {
    let seconds = number("GRISTMILL_TEST_FUZZ_SECONDS", 10);
    let share = Duration::from_millis(seconds * 1000 / TARGETS.len() as u64);
    for target in TARGETS {
        let corpus = corpus(target.0);
        let (began, mut seed) = (Instant::now(), number("GRISTMILL_TEST_SEED", 1));
        let first = seed;
        while began.elapsed() < share {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
            (0..4).for_each(|_| {
                random.below(2);
            });
            feed(target, seed, &mutated(&corpus, &mut random));
            seed += 1;
        }
        eprintln!("{}: {} inputs", target.0, seed - first);
    }
}
