//! Entries against journeys, outbox and sequenced rows: each where it should stand, once.

use super::facts::{Fact, Says};
use super::findings::Findings;
use super::log_book::{Known, LogBook, public_id};
use super::public_entry::{PublicEntry, PublicId, read};
use super::public_price::Priced;
use crate::commit::{OutboxRow, SequencedRow};
use crate::id::{ContributionId, IdKey, ShardId};
use crate::invariant::Invariant;
use crate::journey::{Journey, Logged, PayoutState};
use crate::limits;
use crate::money::Currency;
use crate::tombstone::Tombstone;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the log says of money in one currency: micro-units valued, minor units paid.
pub(super) type LogSums = BTreeMap<Currency, (u128, u128)>;

/// An entry that the store names and the log does not have.
#[derive(Debug)]
struct Absent {
    shard: ShardId,
    name: String,
    index: Option<u64>,
}

/// An entry that a journey must have.
struct Due<'a> {
    shard: ShardId,
    logged: Logged,
    public: PublicId,
    says: Says,
    /// The id to report.
    name: &'a str,
    /// The journey's own arithmetic holds, so a difference is the entry's fault.
    sound: bool,
}

#[derive(Debug)]
pub(super) struct Entries {
    log: LogBook,
    currencies: BTreeMap<String, Currency>,
    outbox: HashMap<(ShardId, u64), (PublicId, Says, bool)>,
    sequenced: BTreeMap<(ShardId, u64), SequencedRow>,
    absent: Vec<Absent>,
    /// Sums of entries that are in an outbox only.
    waiting: LogSums,
}

impl Entries {
    pub(super) fn new(mut log: LogBook) -> Self {
        log.close();
        Self {
            currencies: log.currencies(),
            log,
            outbox: HashMap::new(),
            sequenced: BTreeMap::new(),
            absent: Vec::new(),
            waiting: LogSums::new(),
        }
    }

    /// The currency of every program with a card in the log.
    pub(super) const fn currencies(&self) -> &BTreeMap<String, Currency> {
        &self.currencies
    }

    pub(super) fn outbox(
        &mut self,
        shard: ShardId,
        from: u64,
        row: &OutboxRow,
        findings: &mut Findings,
    ) {
        let (stands, entries) = row.clone().into_parts();
        if stands.is_some() {
            return;
        }
        for (position, bytes) in (from..).zip(&entries) {
            let (id, says) = match read(bytes) {
                Ok(PublicEntry::RateCard { .. }) => continue,
                Ok(PublicEntry::Contribution { id, entry }) => {
                    let (micro, units, score) = (entry.micro, entry.units, entry.score);
                    (id, Says::Contribution { micro, units, score, currency: entry.currency })
                }
                Ok(PublicEntry::Payout { id, currency, minor, of, .. }) => {
                    (id, Says::Payout { minor, of: of.first().copied().unwrap_or(0), currency })
                }
                Ok(PublicEntry::Withdrawal { id, of }) => {
                    (id, Says::Withdrawal { of: of.first().copied().unwrap_or(0) })
                }
                Err(sentence) => {
                    findings.damaged(Invariant::OneEntry, shard, outbox(shard, position), sentence);
                    continue;
                }
            };
            self.outbox.insert((shard, position), (id, says, false));
        }
    }

    pub(super) fn sequenced(&mut self, shard: ShardId, from: u64, row: SequencedRow) {
        self.sequenced.insert((shard, from), row);
    }

    /// Every journey of the shards whose sequenced rows came was seen.
    pub(super) fn shard_ends(&mut self) {
        self.sequenced.clear();
    }

    fn index_of(&self, shard: ShardId, position: u64) -> Option<u64> {
        let (key, row) = self.sequenced.range(..=(shard, position)).next_back()?;
        (key.0 == shard).then(|| row.index(position - key.1)).flatten()
    }

    /// Holds a journey's price against its public card; true if nothing speaks against it.
    pub(super) fn price(
        &mut self,
        shard: ShardId,
        journey: &Journey,
        findings: &mut Findings,
    ) -> bool {
        let accepted = journey.accepted.as_ref().map(|accepted| accepted.card);
        let card = accepted.or(journey.reserved.as_ref().map(|reserved| reserved.card));
        let (Some(priced), Some(index)) = (Priced::of_journey(journey), card) else { return true };
        findings.checked(Invariant::Reproducible, 1);
        let verdict = match self.log.card(index) {
            Known::Card(program, _) if program != journey.submission.program => {
                Err(format!("the rate card at {index} is another program's"))
            }
            Known::Card(_, card) => card.judge(&priced),
            Known::Nothing => Err(format!("no rate card stands at {index}")),
            Known::Missing => {
                self.log.cardless.insert(index);
                Ok(())
            }
            Known::Flagged => Ok(()),
        };
        let Err(sentence) = verdict else { return true };
        let id = journey.submission.id.to_string();
        findings.damaged(Invariant::Reproducible, shard, id, sentence);
        false
    }

    /// Holds a journey against its entries.
    pub(super) fn journey(
        &mut self,
        shard: ShardId,
        key: &IdKey,
        journey: &Journey,
        sound: bool,
        findings: &mut Findings,
    ) {
        let name = journey.submission.id.to_string();
        let (Some(accepted), Some((currency, price))) = (&journey.accepted, &journey.price) else {
            return;
        };
        let (currency, score) = (*currency, u64::from(price.score));
        let due = Due {
            shard,
            logged: accepted.entry,
            public: public_id(key, "contribution", &name),
            says: Says::Contribution { micro: price.micro, units: price.units, score, currency },
            name: &name,
            sound,
        };
        let found = self.expect(&due, findings);
        let of = found.or(accepted.entry.index).unwrap_or(0);
        for payout in &journey.payouts {
            let public = public_id(key, "payout", &payout.id);
            let paid = payout.state == PayoutState::Paid;
            let says = Says::Payout { minor: payout.minor, of, currency };
            match payout.entry {
                Some(logged) if paid => {
                    let name = payout.id.as_str();
                    self.expect(&Due { shard, logged, public, says, name, sound }, findings);
                }
                None if !paid && self.log.facts.find(&public).is_none() => {}
                Some(_) | None => {
                    let sentence = format!("is {:?}, and its entry says otherwise", payout.state);
                    self.matched(&public);
                    findings.damaged(Invariant::OneEntry, shard, payout.id.clone(), sentence);
                }
            }
        }
        let Some(withdrawn) = &journey.withdrawn else { return };
        let public = public_id(key, "withdrawal", &name);
        let says = Says::Withdrawal { of };
        match withdrawn.entry {
            Some(logged) => {
                self.expect(&Due { shard, logged, public, says, name: &name, sound }, findings);
            }
            // What has ended has its index, and with that its entry goes into the outbox.
            None if journey.state.is_terminal() => {
                let sentence = "was withdrawn, and has no entry that says so".to_owned();
                self.matched(&public);
                findings.damaged(Invariant::OneEntry, shard, name, sentence);
            }
            None => {}
        }
    }

    /// Holds a tombstone against the entries of the journey that expired.
    pub(super) fn tombstone(
        &mut self,
        shard: ShardId,
        key: &IdKey,
        tombstone: &Tombstone,
        sound: bool,
        findings: &mut Findings,
    ) {
        let journey = tombstone.journey();
        self.journey(shard, key, &journey, sound, findings);
    }

    /// Looks for an entry where the store says it stands; its index, if the log has it.
    fn expect(&mut self, due: &Due<'_>, findings: &mut Findings) -> Option<u64> {
        findings.checked(Invariant::OneEntry, 1);
        let Due { shard, logged, public, says, .. } = *due;
        let at = (shard, logged.position);
        let sequenced = self.index_of(shard, logged.position);
        let waits = self.outbox.get_mut(&at).filter(|(id, ..)| *id == public);
        let waits = waits.map(|(_, says, matched)| {
            *matched = true;
            *says
        });
        let Some(fact) = self.log.facts.find(&public) else {
            match waits.filter(|_| logged.index.or(sequenced).is_none()) {
                Some(waiting) => self.waiting(due, waiting, findings),
                None => self.absent.push(Absent {
                    shard,
                    name: due.name.to_owned(),
                    index: logged.index.or(sequenced),
                }),
            }
            return None;
        };
        self.log.facts.matched(&fact);
        let Fact { index, says: said, .. } = fact;
        let mut known = [logged.index, sequenced].into_iter().flatten();
        if let Some(wrong) = known.clone().find(|known| *known != index) {
            let sentence = format!("its entry stands at {index}, and the store says {wrong}");
            findings.damaged(Invariant::OneEntry, shard, due.name.to_owned(), sentence);
        } else if known.next().is_none() && waits.is_none() {
            let sentence = format!("its entry stands at {index}, and the store does not know");
            findings.damaged(Invariant::OneEntry, shard, due.name.to_owned(), sentence);
        } else if said != says && due.sound && self.log.flagged.insert(index) {
            let sentence = format!("says {said:?}, and its journey {says:?}");
            findings.entry(Invariant::MoneyAddsUp, index, sentence);
        }
        Some(index)
    }

    fn waiting(&mut self, due: &Due<'_>, waiting: Says, findings: &mut Findings) {
        if waiting != due.says && due.sound {
            let sentence = format!("its entry in the outbox says {waiting:?}, not {:?}", due.says);
            let name = due.name.to_owned();
            findings.damaged(Invariant::MoneyAddsUp, due.shard, name, sentence);
        }
        add(&mut self.waiting, waiting);
    }

    fn matched(&mut self, public: &PublicId) {
        if let Some(fact) = self.log.facts.find(public) {
            self.log.facts.matched(&fact);
        }
    }

    /// A lost journey's entries are no strangers.
    pub(super) fn explain(&mut self, key: &IdKey, id: ContributionId) {
        let name = id.to_string();
        let own = ["contribution", "withdrawal"].map(|kind| public_id(key, kind, &name));
        let payouts = (1..).take(limits::PAYOUTS_MAX).map(|number| {
            let payout = key.payout(id, "acceptance", number);
            public_id(key, "payout", &payout)
        });
        let ids: BTreeSet<PublicId> = own.into_iter().chain(payouts).collect();
        for public in &ids {
            self.matched(public);
        }
        for (public, _, matched) in self.outbox.values_mut() {
            *matched = *matched || ids.contains(public);
        }
    }

    /// Reports what is left over on either side.
    pub(super) fn finish(&mut self, findings: &mut Findings) {
        for index in self.log.facts.strangers() {
            if self.log.flagged.insert(index) {
                let sentence = "no journey has this entry".to_owned();
                findings.entry(Invariant::OneEntry, index, sentence);
            }
        }
        let mut claimed = std::mem::take(&mut self.log.cardless);
        for index in &claimed {
            let sentence = "a price was made by a rate card here, and there is none".to_owned();
            findings.entry(Invariant::Reproducible, *index, sentence);
        }
        for absent in std::mem::take(&mut self.absent) {
            if absent.index.is_some_and(|index| self.log.flagged.contains(&index)) {
                continue;
            }
            claimed.extend(absent.index);
            let sentence = match absent.index {
                Some(index) => format!("its entry is not in the log, where it stood at {index}"),
                None => "its entry is neither in the log nor in the outbox".to_owned(),
            };
            findings.damaged(Invariant::OneEntry, absent.shard, absent.name, sentence);
        }
        let holes = self.log.missing.iter().flat_map(Clone::clone);
        let bound = limits::AUDIT_VIOLATIONS_MAX + claimed.len();
        for index in holes.take(bound).filter(|index| !claimed.contains(index)) {
            findings.entry(Invariant::AppendOnly, index, "is missing from the log".to_owned());
        }
        for ((shard, position), _) in self.outbox.iter().filter(|(_, (.., matched))| !matched) {
            let sentence = "no journey has this entry".to_owned();
            findings.damaged(Invariant::OneEntry, *shard, outbox(*shard, *position), sentence);
        }
        self.log.report_roots(findings);
    }

    /// What log and outboxes say of money together.
    pub(super) fn sums(&self) -> LogSums {
        let mut sums = self.waiting.clone();
        self.log.facts.all().for_each(|says| add(&mut sums, says));
        sums
    }
}

fn add(sums: &mut LogSums, says: Says) {
    match says {
        Says::Contribution { micro, currency, .. } => {
            sums.entry(currency).or_default().0 += u128::from(micro);
        }
        Says::Payout { minor, currency, .. } => {
            sums.entry(currency).or_default().1 += u128::from(minor);
        }
        Says::Withdrawal { .. } => {}
    }
}

fn outbox(shard: ShardId, position: u64) -> String {
    format!("shard {shard} outbox {position}")
}
