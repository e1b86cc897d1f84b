//! What each program's accepted contributions come to by the public log alone, in one pass over the
//! whole of it.

use super::breach::Breach;
use super::limits::BREACHES_MAX;
use super::scan::Sum;
use crate::trace_verify::fault;
use gristmill_trace::key::Verifier;
use gristmill_trace::reader::Fetch;
use gristmill_trace::verify::{self, Error};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, HashMap};

/// What is read of an entry.
#[derive(Deserialize)]
struct Entry<'a> {
    kind: &'a str,
    /// The program of a rate card.
    #[serde(borrow)]
    program: Option<&'a str>,
    card: Option<Card>,
    micro: Option<u64>,
}

/// What `card` is in entries.
#[derive(Deserialize)]
#[serde(untagged)]
enum Card {
    /// The index of a contribution's rate card.
    Index(u64),
    /// The card itself.
    Whole(IgnoredAny),
}

/// What the log says.
#[derive(Debug, Default)]
pub struct PublicSums {
    /// By program.
    pub programs: BTreeMap<String, Sum>,
    /// Entries read.
    pub entries: u64,
    /// What is wrong with the log.
    pub breaches: Vec<Breach>,
}

/// Verifies a log whole, and sums. Blocks.
///
/// # Errors
/// [`Error`] when there is no checkpoint, or an object cannot be fetched.
pub fn read(fetch: &mut Fetch<'_>, verifier: &Verifier) -> Result<PublicSums, Error> {
    let mut sums = PublicSums::default();
    let mut cards: HashMap<u64, String> = HashMap::new();
    let report = verify::log(fetch, verifier, |entry| {
        sums.entries += 1;
        let id = || format!("entry {}", entry.index);
        let Ok(read) = serde_json::from_slice::<Entry<'_>>(entry.bytes) else {
            sums.breach(id(), "does not read");
            return;
        };
        match (read.kind, read.program, read.card) {
            ("rate_card", Some(program), _) => drop(cards.insert(entry.index, program.to_owned())),
            ("contribution", _, card) => {
                let program = match card {
                    Some(Card::Index(card)) => cards.get(&card),
                    Some(Card::Whole(_)) | None => None,
                };
                let (Some(program), Some(micro)) = (program, read.micro) else {
                    sums.breach(id(), "names no rate card before it, or no value");
                    return;
                };
                let sum = match sums.programs.get_mut(program) {
                    Some(sum) => sum,
                    None => sums.programs.entry(program.clone()).or_default(),
                };
                sum.count += 1;
                sum.micro += u128::from(micro);
            }
            _ => {}
        }
    })?;
    for one in &report.faults {
        let offence = fault(one);
        sums.breach(offence.path, &offence.detail);
    }
    Ok(sums)
}

impl PublicSums {
    fn breach(&mut self, id: String, sentence: &str) {
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(Breach::new("log", id, sentence));
        }
    }
}
