//! The auditor: at the end of every simulation, and whenever it is asked again, it holds what was
//! handed in against what a stopped node has. It reads the schedule a second time instead of trusting
//! what the driver counted, and every row, entry and line of the rail's book.

use super::breach::Breach;
use super::fingerprint::Fingerprint;
use super::limits::{BREACHES_MAX, IDS_PAGE};
use super::record::Record;
use super::scan::{self, Scan, Scanning, Sum, Tally};
use super::schedule::{Act, Schedule};
use super::scrape::Scrape;
use crate::audit::{self, RailSource, Sources, Verdict};
use crate::journeys;
use crate::opened::Opened;
use gristmill_actors::ports::{ShardStore, StoreError};
use gristmill_workflows::id::{ContributionId, IdKey, ShardId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A histogram.
    #[error(transparent)]
    Histogram(#[from] hdrhistogram::CreationError),
    /// The audit of the invariants.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// A thread ended.
    #[error("the auditor ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What the nodes of a store said before they stopped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeSaid {
    /// Journeys of the store that had settled, and that had been rejected or withdrawn, when they
    /// started.
    pub before: (u64, u64),
    /// The same when they stopped, where the node is in this process.
    pub after: Option<(u64, u64)>,
    /// Their metrics.
    pub counted: Scrape,
}

/// A program's accepted contributions by the store and by the public log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ProgramSums {
    /// By the journeys in the store.
    pub store: Sum,
    /// By the entries of the log.
    pub log: Sum,
}

/// How many things were looked at by sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Samples {
    /// Receipts verified against the log's key.
    pub receipts: u64,
    /// Statements that say what the listing says.
    pub statements: u64,
}

/// The verdict.
#[derive(Debug, Serialize)]
pub struct Audited {
    /// Nothing is broken.
    pub ok: bool,
    /// The simulation ended before it had noted what was taken: nobody knows how many must stand.
    pub cut_off: bool,
    /// Contributions that became durable.
    pub submitted: u64,
    /// Where they stand.
    pub tally: Tally,
    /// Why those that were rejected were.
    pub reasons: BTreeMap<String, u64>,
    /// Sums by program.
    pub programs: BTreeMap<String, ProgramSums>,
    /// Entries of the log, all of them verified.
    pub entries: u64,
    /// What is broken, beside the invariants.
    pub breaches: Vec<Breach>,
    /// The audit of the invariants; none of a node behind an address.
    pub invariants: Option<Verdict>,
    /// What was looked at by sample: receipts and statements of a node behind an address.
    pub samples: Samples,
    /// How long all of it took.
    pub seconds: f64,
}

/// What a data directory holds for an audit, with the book of a rail beside it or its own.
#[must_use]
pub fn sources(opened: &Opened, rail: Option<RailSource>) -> Sources<'_> {
    Sources {
        store: &*opened.store,
        id_key: opened.dir.id_key(),
        verifier: opened.dir.trace_key().verifier(),
        trace: opened.trace.clone(),
        rail: rail.unwrap_or_else(|| RailSource::Folder(opened.dir.rail())),
        report: Some(opened.dir.report()),
    }
}

/// Holds a record against what a node left that does not run. The times of settled contributions
/// come with it.
///
/// # Errors
/// [`Error`] when something cannot be read at all.
pub async fn audit(
    sources: &Sources<'_>,
    record: &Record,
    node: Option<NodeSaid>,
) -> Result<(Audited, scan::Times), Error> {
    let began = Instant::now();
    // The schedule is read beside the log.
    let scheduled = record.clone();
    let scheduled = tokio::task::spawn_blocking(move || taken(&scheduled));
    let looking = Scanning::new(record, sources.id_key)?;
    let (invariants, logged, looked) = audit::audit_seen(sources, looking).await?;
    let mut scan = looked.scan();
    let scheduled = scheduled.await?;
    let cut_off = record.driven.is_none();
    if !cut_off {
        accounts(sources, record, scheduled, &mut scan).await?;
    }
    if let Some(said) = node {
        metrics(&said, scan.finished, logged.entries, &mut scan.breaches);
    }
    let Scan { tally, reasons, programs, times, mut breaches, .. } = scan;
    let offences = logged.offences.into_iter().take(BREACHES_MAX);
    breaches.extend(offences.map(|one| Breach::new("log", one.path, one.detail)));
    let sum = |(count, micro)| Sum { count, micro };
    let public = logged.programs.into_iter().map(|(name, said)| (name, sum(said))).collect();
    let mut differ = Vec::new();
    let programs = compare(&programs, &public, &mut differ);
    if !cut_off {
        // What a killed node had accepted need not be published yet.
        breaches.append(&mut differ);
    }
    if let Some(driven) = &record.driven {
        breaches.extend(driven.breaches.iter().cloned());
    }
    let audited = Audited {
        ok: breaches.is_empty() && invariants.ok,
        cut_off,
        submitted: record.counts.submitted,
        tally,
        reasons,
        programs,
        entries: logged.entries,
        breaches,
        invariants: Some(invariants),
        samples: Samples::default(),
        seconds: began.elapsed().as_secs_f64(),
    };
    Ok((audited, times))
}

/// Holds what the store's rows come to against the schedule. Every row has an identity that is its
/// own, or the invariants say which has not: if the rows are those of the schedule, the store knows
/// each of it. Else it is asked for every single one, which takes long and names them.
async fn accounts(
    sources: &Sources<'_>,
    record: &Record,
    mut scheduled: Fingerprint,
    scan: &mut Scan,
) -> Result<(), StoreError> {
    let (store, key) = (sources.store, sources.id_key);
    let late = late(store, key, record).await?;
    late.iter().for_each(|(contributor, nth)| scheduled.add(*contributor, *nth));
    let found = match scheduled == scan.fingerprint {
        true => Found { known: scheduled.count, given_up: late.len() as u64 },
        false => replay(store, key, record, &mut scan.breaches).await?,
    };
    if !equation(record, &scan.tally, &found, &mut scan.breaches) {
        name_lost(store, key, record, &mut scan.breaches).await;
    }
    Ok(())
}

/// What the schedule's contributions are known as.
struct Found {
    /// Contributions of the schedule that the store knows.
    known: u64,
    /// Among them those that the driver gave up: their last answer was lost.
    given_up: u64,
}

/// What the driver gave up.
fn given_up(record: &Record) -> HashSet<(u64, u32)> {
    let driven = record.driven.as_ref();
    driven.map(|driven| driven.given_up.iter().copied().collect()).unwrap_or_default()
}

/// Of what the driver gave up, what became durable all the same.
async fn late(
    store: &dyn ShardStore,
    key: &IdKey,
    record: &Record,
) -> Result<Vec<(u64, u32)>, StoreError> {
    let mut late = Vec::new();
    for one in given_up(record) {
        let id = id(key, record, one);
        let shard = id.bucket.shard(store.shards());
        if store.find(shard, vec![id.mac]).await?.iter().any(Option::is_some) {
            late.push(one);
        }
    }
    Ok(late)
}

fn id(key: &IdKey, record: &Record, (contributor, nth): (u64, u32)) -> ContributionId {
    key.contribution(&record.plan.name(contributor), &nth.to_string())
}

/// The schedule's contributions that were handed in.
fn handed_in(record: &Record) -> impl Iterator<Item = (u64, u32)> {
    let events = record.driven.as_ref().map_or(0, |driven| driven.events);
    let events = usize::try_from(events).unwrap_or(usize::MAX);
    Schedule::new(&record.plan).take(events).filter_map(|event| match event.act {
        Act::Contribution(nth) => Some((event.contributor, nth)),
        _ => None,
    })
}

/// The schedule's contributions that the driver did not give up.
fn taken(record: &Record) -> Fingerprint {
    let (given_up, mut taken) = (given_up(record), Fingerprint::default());
    let all = handed_in(record).filter(|one| !given_up.contains(one));
    all.for_each(|(contributor, nth)| taken.add(contributor, nth));
    taken
}

/// Asks the store for every contribution of the schedule.
async fn replay(
    store: &dyn ShardStore,
    key: &IdKey,
    record: &Record,
    breaches: &mut Vec<Breach>,
) -> Result<Found, StoreError> {
    let mut found = Found { known: 0, given_up: 0 };
    let mut page = Vec::with_capacity(IDS_PAGE);
    let mut missing = Vec::new();
    let given_up = given_up(record);
    for one in handed_in(record) {
        page.push((id(key, record, one), given_up.contains(&one)));
        if page.len() == IDS_PAGE {
            ask(store, &page, &mut found, &mut missing).await?;
            page.clear();
        }
    }
    ask(store, &page, &mut found, &mut missing).await?;
    for id in missing.into_iter().take(BREACHES_MAX) {
        let sentence = "was handed in and taken, and the store does not know it";
        breaches.push(Breach::new("accounted", id.to_string(), sentence));
    }
    Ok(found)
}

async fn ask(
    store: &dyn ShardStore,
    page: &[(ContributionId, bool)],
    found: &mut Found,
    missing: &mut Vec<ContributionId>,
) -> Result<(), StoreError> {
    let mut by_shard: BTreeMap<ShardId, Vec<&(ContributionId, bool)>> = BTreeMap::new();
    for one in page {
        by_shard.entry(one.0.bucket.shard(store.shards())).or_default().push(one);
    }
    for (shard, ids) in by_shard {
        let macs = ids.iter().map(|(id, _)| id.mac).collect();
        for ((id, given_up), known) in ids.into_iter().zip(store.find(shard, macs).await?) {
            match known {
                Some(_) => {
                    found.known += 1;
                    found.given_up += u64::from(*given_up);
                }
                None if !given_up && missing.len() < BREACHES_MAX => missing.push(*id),
                None => {}
            }
        }
    }
    Ok(())
}

/// Submitted = settled + rejected + withdrawn + quarantined + in flight, twice: by what the driver
/// was told, and by what the schedule says was handed in. False if it does not hold.
fn equation(record: &Record, tally: &Tally, found: &Found, breaches: &mut Vec<Breach>) -> bool {
    let (total, submitted) = (tally.total(), record.counts.submitted + found.given_up);
    if submitted != total {
        let sentence = format!("{submitted} were taken, and {total} stand in the store");
        breaches.push(Breach::new("accounted", record.plan.run.clone(), sentence));
    }
    if found.known != total {
        let sentence = format!(
            "{} of the schedule are known to the store, and {total} stand in it",
            found.known
        );
        breaches.push(Breach::new("accounted", record.plan.run.clone(), sentence));
    }
    (submitted, found.known) == (total, total)
}

/// Which contributions the store acknowledged and has no row of. Only asked when the sums differ,
/// since it reads every row by its id.
async fn name_lost(
    store: &dyn ShardStore,
    key: &IdKey,
    record: &Record,
    breaches: &mut Vec<Breach>,
) {
    let mut named = 0;
    let mut ids = handed_in(record).map(|one| id(key, record, one)).peekable();
    while ids.peek().is_some() && named < BREACHES_MAX {
        let page: Vec<ContributionId> = ids.by_ref().take(IDS_PAGE).collect();
        let found = match journeys::find(store, &page).await {
            Ok(found) => found,
            Err(error) => {
                breaches.push(Breach::new("accounted", record.plan.run.clone(), error.to_string()));
                continue;
            }
        };
        for (id, _) in page.iter().zip(found).filter(|(_, found)| found.is_none()) {
            let sentence = "was handed in and taken, and is neither queued nor a journey";
            breaches.push(Breach::new("accounted", id.to_string(), sentence));
            named += 1;
        }
    }
}

/// What the nodes said of themselves equals what their store and log hold.
fn metrics(said: &NodeSaid, finished: (u64, u64), entries: u64, breaches: &mut Vec<Breach>) {
    let NodeSaid { before, after, counted } = said;
    let mut broken = |id: &str, said: u64, what: &str, is: u64| {
        breaches.push(Breach::new("metrics", id, format!("says {said}, and {what} {is}")));
    };
    let settled = ("journeys_finished_total settled", before.0 + counted.settled, finished.0);
    let refused = ("journeys_finished_total others", before.1 + counted.refused, finished.1);
    let glance = after.map(|after| {
        [("settled", after.0, finished.0), ("rejected or withdrawn", after.1, finished.1)]
    });
    for (id, said, is) in glance.into_iter().flatten() {
        if said != is {
            broken(id, said, "the store holds", is);
        }
    }
    // Of processes of their own nobody knows that nothing ended after they were asked; and what a shard
    // had under way when it was loaded again is counted nowhere.
    let exact = after.is_some() && counted.reloads == 0;
    for (id, said, is) in [settled, refused] {
        if said > is || (exact && said < is) {
            broken(id, said, "the store holds", is);
        }
    }
    // Stopping nodes may sequence what still waited.
    for (id, said) in [
        ("trace_entries sequenced", counted.sequenced),
        ("trace_entries published", counted.published),
    ] {
        if said > entries {
            broken(id, said, "the log has no more than", entries);
        }
    }
    if counted.violations > 0 {
        broken("invariant_violations_total", counted.violations, "it should be", 0);
    }
}

/// Entries that the log has not published yet stand in the store first: with a node at rest there
/// are none.
pub(super) fn compare(
    store: &BTreeMap<String, Sum>,
    log: &BTreeMap<String, Sum>,
    breaches: &mut Vec<Breach>,
) -> BTreeMap<String, ProgramSums> {
    let names: BTreeSet<&String> = store.keys().chain(log.keys()).collect();
    let mut programs = BTreeMap::new();
    for name in names {
        let of = |sums: &BTreeMap<String, Sum>| sums.get(name).copied().unwrap_or_default();
        let sums = ProgramSums { store: of(store), log: of(log) };
        if sums.store != sums.log {
            let sentence = format!(
                "{} accepted for {} by the store, {} for {} by the log",
                sums.store.count, sums.store.micro, sums.log.count, sums.log.micro
            );
            breaches.push(Breach::new("programs", name.clone(), sentence));
        }
        programs.insert(name.clone(), sums);
    }
    programs
}

impl Audited {
    /// The verdict for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Tally { settled, rejected, withdrawn, quarantined, in_flight } = self.tally;
        let submitted = match self.cut_off {
            true => "cut off before it was noted what was taken; there stand".to_owned(),
            false => format!("submitted {} =", self.submitted),
        };
        let mut lines = vec![format!(
            "{submitted} settled {settled} + rejected {rejected} + withdrawn {withdrawn} + \
             quarantined {quarantined} + in flight {in_flight}"
        )];
        lines.extend(self.reasons.iter().map(|(reason, count)| format!("  {reason} {count}")));
        for (program, sums) in &self.programs {
            let (whole, rest) = (sums.log.micro / 1_000_000, sums.log.micro % 1_000_000);
            lines.push(format!(
                "program {program}: {} accepted, {whole}.{rest:06} by the log, {} entries in all",
                sums.log.count, self.entries
            ));
        }
        let Samples { receipts, statements } = self.samples;
        match &self.invariants {
            Some(verdict) => lines.extend(verdict.lines()),
            None => lines.push(format!(
                "{receipts} receipts and {statements} statements hold; store and rail book are \
                 not seen over HTTP: `gristmill audit` where they stand"
            )),
        }
        for Breach { check, id, sentence } in &self.breaches {
            lines.push(format!("BREACH {check}: {id} {sentence}"));
        }
        let word = if self.ok { "everything is accounted for" } else { "NOT accounted for" };
        lines.push(format!("auditor: {word}, in {:.1} s", self.seconds));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::Driven;
    use super::super::measured::Counts;
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn what_was_taken_and_does_not_stand_breaks_the_equation() {
        let counts = Counts { submitted: 5, ..Counts::default() };
        let driven = Some(Driven::default());
        let record = Record { plan: plan(5, 1.0), driven, counts };
        let tally = Tally { settled: 3, rejected: 1, withdrawn: 1, ..Tally::default() };
        let holds = |tally: &Tally, known, given_up| {
            let mut breaches = Vec::new();
            let held = equation(&record, tally, &Found { known, given_up }, &mut breaches);
            assert_eq!(held, breaches.is_empty());
            held
        };
        assert!(holds(&tally, 5, 0));
        assert!(!holds(&Tally { settled: 2, ..tally }, 5, 0));
        assert!(!holds(&tally, 4, 0));
        // One was given up, and had become durable all the same.
        assert!(holds(&Tally { in_flight: 1, ..tally }, 6, 1));
    }

    #[test]
    fn metrics_and_sums_that_differ_are_told_by_name() {
        let mut breaches = Vec::new();
        let said = |settled: u64, violations: u64, more: &str| {
            let text = format!(
                "gristmill_journeys_finished_total{{outcome=\"settled\"}} {settled}\n\
                 gristmill_journeys_finished_total{{outcome=\"rejected\"}} 1\n\
                 gristmill_trace_entries{{which=\"sequenced\"}} 8\n\
                 gristmill_invariant_violations_total {violations}{more}"
            );
            let counted = Scrape::parse(&text).unwrap();
            NodeSaid { before: (1, 0), after: Some((3, 1)), counted }
        };
        metrics(&said(2, 0, ""), (3, 1), 8, &mut breaches);
        let loaded = "\ngristmill_actor_restarts_total{kind=\"shard\",reason=\"store\"} 1";
        metrics(&said(1, 0, loaded), (3, 1), 8, &mut breaches);
        metrics(&NodeSaid { after: None, ..said(1, 0, "") }, (3, 1), 8, &mut breaches);
        assert_eq!(breaches, []);
        metrics(&NodeSaid { after: None, ..said(3, 0, "") }, (3, 1), 8, &mut breaches);
        assert_eq!(breaches.drain(..).count(), 1);
        metrics(&said(1, 1, ""), (3, 1), 7, &mut breaches);
        let told: Vec<&str> = breaches.iter().map(|breach| breach.id.as_str()).collect();
        let [settled, sequenced] = ["journeys_finished_total settled", "trace_entries sequenced"];
        assert_eq!(told, [settled, sequenced, "invariant_violations_total"]);
        let sums = |count| [("a".to_owned(), Sum { count, micro: 10 })].into();
        breaches.clear();
        compare(&sums(1), &sums(1), &mut breaches);
        assert_eq!(breaches, []);
        compare(&sums(1), &BTreeMap::new(), &mut breaches);
        assert_eq!((breaches[0].check.as_str(), breaches[0].id.as_str()), ("programs", "a"));
    }
}
