//! The auditor of a node behind an address: everything that the API shows of a run. The listing is read
//! whole, the public log is verified whole, receipts and statements are looked at by sample.

use super::auditor::{Audited, Samples, compare};
use super::breach::Breach;
use super::driver::Driven;
use super::embedded::Error;
use super::fingerprint::Fingerprint;
use super::habits::{Stands, odd, odd_media};
use super::limits::{BREACHES_MAX, LISTED, PUBLISH_PATIENCE, REST_LOOK, SAMPLES};
use super::measured::Counts;
use super::plan::Plan;
use super::population::Population;
use super::public_sums::{self, PublicSums};
use super::scan::{Sum, Tally};
use super::schedule::{Act, Schedule};
use crate::client::Client;
use crate::log_folder;
use crate::log_http::LogHttp;
use crate::receipt_check;
use gristmill_trace::key::Verifier;
use gristmill_trace::reader::FetchError;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

/// A contribution as a listing shows it.
#[derive(Deserialize)]
struct Item {
    id: String,
    contributor: String,
    idempotency_key: String,
    program: String,
    state: String,
    reason: Option<String>,
    cause: Option<String>,
    amount: Option<Amount>,
    trace_index: Option<u64>,
    payouts: Vec<Payout>,
}

#[derive(Deserialize)]
struct Amount {
    micro: u64,
}

#[derive(Deserialize)]
struct Payout {
    state: String,
    trace_index: Option<u64>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Statement {
    totals: Vec<Total>,
    complete: bool,
}

#[derive(Deserialize)]
struct Total {
    counted: u64,
    valued_micro: u128,
}

/// What the listing says.
struct Listing<'a> {
    plan: &'a Plan,
    driven: &'a Driven,
    population: Population,
    tally: Tally,
    reasons: BTreeMap<String, u64>,
    programs: BTreeMap<String, Sum>,
    fingerprint: Fingerprint,
    /// Accepted contributions of the first contributors, by index.
    people: BTreeMap<u64, Sum>,
    /// Some that settled, with their contributors.
    settled: Vec<(String, String)>,
    /// Those that settled, and whose entries are not all in the log.
    unsequenced: u64,
    breaches: Vec<Breach>,
}

/// Audits a node at rest.
///
/// # Errors
/// [`Error`] when something cannot be read at all.
pub(crate) async fn audit(
    client: &Client,
    vkey: &str,
    plan: &Plan,
    driven: &Driven,
    counts: &Counts,
) -> Result<Audited, Error> {
    let began = Instant::now();
    let listing = list(client, plan, driven).await?;
    let Listing { tally, reasons, programs, fingerprint, people, settled, mut breaches, .. } =
        listing;
    breaches.extend(driven.breaches.iter().cloned());
    accounted(client, plan, driven, counts, &tally, fingerprint, &mut breaches).await?;
    let verifier = log_folder::verifier(vkey.trim()).map_err(Error::Key)?;
    let public = published(client, &verifier, &programs).await?;
    breaches.extend(public.breaches.iter().cloned());
    let programs = compare(&programs, &public.programs, &mut breaches);
    let samples = Samples {
        receipts: receipts(client, &verifier, &settled, &mut breaches).await?,
        statements: statements(client, plan, &people, &mut breaches).await?,
    };
    Ok(Audited {
        ok: breaches.is_empty(),
        cut_off: false,
        submitted: counts.submitted,
        tally,
        reasons,
        programs,
        entries: public.entries,
        breaches,
        invariants: None,
        samples,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Every page of the listing of everything.
async fn each(client: &Client, mut visit: impl FnMut(&Item)) -> Result<(), Error> {
    let mut token = String::new();
    loop {
        let path = format!("/v1/contributions?page_size={LISTED}{token}");
        let page: Page = client.get(&path).await?;
        page.items.iter().for_each(&mut visit);
        let Some(next) = page.next_page_token else { return Ok(()) };
        token = format!("&page_token={next}");
    }
}

/// Reads the listing; again, as long as something settled whose entries are on their way into the
/// log: their indices are known a moment later.
async fn list<'a>(
    client: &Client,
    plan: &'a Plan,
    driven: &'a Driven,
) -> Result<Listing<'a>, Error> {
    let began = Instant::now();
    loop {
        let listing = list_once(client, plan, driven).await?;
        if listing.unsequenced == 0 || began.elapsed() > PUBLISH_PATIENCE {
            return Ok(listing);
        }
        tokio::time::sleep(REST_LOOK).await;
    }
}

async fn list_once<'a>(
    client: &Client,
    plan: &'a Plan,
    driven: &'a Driven,
) -> Result<Listing<'a>, Error> {
    let mut listing = Listing {
        plan,
        driven,
        population: plan.population(),
        tally: Tally::default(),
        reasons: BTreeMap::new(),
        programs: BTreeMap::new(),
        fingerprint: Fingerprint::default(),
        people: BTreeMap::new(),
        settled: Vec::new(),
        unsequenced: 0,
        breaches: Vec::new(),
    };
    each(client, |item| listing.item(item)).await?;
    Ok(listing)
}

impl Listing<'_> {
    fn item(&mut self, item: &Item) {
        let micro = item.amount.as_ref().map_or(0, |amount| u128::from(amount.micro));
        if item.trace_index.is_some() {
            let sum = self.programs.entry(item.program.clone()).or_default();
            sum.count += 1;
            sum.micro += micro;
        }
        let Some(index) = self.plan.index(&item.contributor) else { return };
        let nth: Option<u32> = item.idempotency_key.parse().ok();
        if let Some(nth) = nth {
            self.fingerprint.add(index, nth);
        }
        self.count(item);
        if index < SAMPLES as u64 {
            let sum = self.people.entry(index).or_default();
            sum.count += u64::from(item.trace_index.is_some());
            sum.micro += if item.trace_index.is_some() { micro } else { 0 };
        }
        let ended = matches!(item.state.as_str(), "settled" | "rejected" | "withdrawn");
        let accepted = item.trace_index.is_some();
        let reason = item.reason.as_deref();
        let stands = Stands { nth, second_body: false, accepted, ended, reason };
        let who = self.population.contributor(index);
        let media = || {
            let carries = self.population.carries(index, nth?);
            let copied = carries.of.0 != index || self.population.may_be_copied(nth?);
            odd_media(&carries, copied, &stands)
        };
        let heard = !self.driven.unheard.contains(&index);
        if let Some(sentence) = odd(&who, &stands).or_else(media).filter(|_| heard) {
            self.breach("habits", &item.id, sentence);
        }
        if item.state == "settled" {
            let paid = |payout: &Payout| payout.state == "paid" && payout.trace_index.is_some();
            if !accepted || !item.payouts.iter().all(paid) {
                self.unsequenced += 1;
                self.breach("settled", &item.id, "is settled without its entry or its payout");
            }
            if self.settled.len() < SAMPLES {
                self.settled.push((item.id.clone(), item.contributor.clone()));
            }
        }
    }

    fn count(&mut self, item: &Item) {
        let tally = &mut self.tally;
        match item.state.as_str() {
            "settled" => tally.settled += 1,
            "rejected" => {
                tally.rejected += 1;
                let reason = item.reason.clone().unwrap_or_default();
                *self.reasons.entry(reason).or_default() += 1;
            }
            "withdrawn" => tally.withdrawn += 1,
            "paused" if item.cause.as_deref() != Some("operator") => tally.quarantined += 1,
            _ => tally.in_flight += 1,
        }
    }

    fn breach(&mut self, check: &str, id: &str, sentence: &str) {
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(Breach::new(check, id, sentence));
        }
    }
}

fn handed_in(plan: &Plan, driven: &Driven) -> impl Iterator<Item = (u64, u32)> {
    let events = usize::try_from(driven.events).unwrap_or(usize::MAX);
    Schedule::new(plan).take(events).filter_map(|event| match event.act {
        Act::Contribution(nth) => Some((event.contributor, nth)),
        _ => None,
    })
}

/// Submitted = where they stand, by the driver and by the schedule. Only what differs is named, from
/// a second listing.
async fn accounted(
    client: &Client,
    plan: &Plan,
    driven: &Driven,
    counts: &Counts,
    tally: &Tally,
    listed: Fingerprint,
    breaches: &mut Vec<Breach>,
) -> Result<(), Error> {
    let mut scheduled = Fingerprint::default();
    handed_in(plan, driven).for_each(|(index, nth)| scheduled.add(index, nth));
    let total = tally.total();
    if driven.given_up.is_empty() && scheduled == listed && counts.submitted == total {
        return Ok(());
    }
    let mut stand = HashSet::new();
    each(client, |item| {
        if let (Some(index), Ok(nth)) =
            (plan.index(&item.contributor), item.idempotency_key.parse())
        {
            stand.insert((index, nth));
        }
    })
    .await?;
    let given_up: HashSet<(u64, u32)> = driven.given_up.iter().copied().collect();
    let late = given_up.iter().filter(|one| stand.contains(one)).count() as u64;
    if counts.submitted + late != total {
        let sentence = format!("{} were taken, and {total} stand", counts.submitted + late);
        breaches.push(Breach::new("accounted", plan.run.clone(), sentence));
    }
    let missing = handed_in(plan, driven)
        .filter(|one| !stand.contains(one) && !given_up.contains(one))
        .take(BREACHES_MAX);
    for (index, nth) in missing {
        let sentence = "was handed in and taken, and the node does not list it";
        let id = format!("{}/{nth}", plan.name(index));
        breaches.push(Breach::new("accounted", id, sentence));
    }
    Ok(())
}

/// The log, verified whole: read again until it has published what the listing says, or for a while.
async fn published(
    client: &Client,
    verifier: &Verifier,
    programs: &BTreeMap<String, Sum>,
) -> Result<PublicSums, Error> {
    let began = Instant::now();
    loop {
        let http = LogHttp::new(&format!("{}/trace", client.base())).map_err(Error::Address)?;
        let (verifier, runtime) = (verifier.clone(), tokio::runtime::Handle::current());
        let read = tokio::task::spawn_blocking(move || {
            let mut fetch = |path: &str| {
                let object = runtime.block_on(http.object(path));
                object.map(|bytes| bytes.map(|b| b.to_vec())).map_err(FetchError::from)
            };
            public_sums::read(&mut fetch, &verifier)
        });
        let sums = read.await.map_err(Error::Task)?.map_err(Error::Log)?;
        if sums.programs == *programs || began.elapsed() > PUBLISH_PATIENCE {
            return Ok(sums);
        }
        tokio::time::sleep(REST_LOOK).await;
    }
}

/// Receipts verify with the log's key, and open for their contributor.
async fn receipts(
    client: &Client,
    verifier: &Verifier,
    settled: &[(String, String)],
    breaches: &mut Vec<Breach>,
) -> Result<u64, Error> {
    let mut verified = 0;
    for (id, contributor) in settled {
        let path = format!("/v1/contributions/{id}/receipt?entry=contribution");
        let receipt = match client.text(&path).await {
            Ok(receipt) => receipt,
            // Consent was taken back since.
            Err(crate::client::Error::Problem { status: 410, .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        match receipt_check::check(receipt.as_bytes(), verifier) {
            Ok(proven) if proven.opened.get("contributor").is_some_and(|it| it == contributor) => {
                verified += 1;
            }
            Ok(_) => {
                breaches.push(Breach::new("receipts", id, "its receipt opens for another person"));
            }
            Err(error) => breaches.push(Breach::new("receipts", id, error.to_string())),
        }
    }
    Ok(verified)
}

/// Statements count and value what the listing does.
async fn statements(
    client: &Client,
    plan: &Plan,
    people: &BTreeMap<u64, Sum>,
    breaches: &mut Vec<Breach>,
) -> Result<u64, Error> {
    let mut held = 0;
    for (index, sum) in people {
        let name = plan.name(*index);
        let path = format!("/v1/contributors/{}/statement?page_size=1", Client::escaped(&name));
        let statement: Statement = client.get(&path).await?;
        if !statement.complete {
            continue;
        }
        let counted: u64 = statement.totals.iter().map(|total| total.counted).sum();
        let micro: u128 = statement.totals.iter().map(|total| total.valued_micro).sum();
        if (counted, micro) == (sum.count, sum.micro) {
            held += 1;
            continue;
        }
        let sentence = format!(
            "its statement counts {counted} for {micro}, the listing {} for {}",
            sum.count, sum.micro
        );
        breaches.push(Breach::new("statements", name, sentence));
    }
    Ok(held)
}
