//! One shard of the engine program and what is around it: the log that answers its offers, the home
//! of its budget, actors that propose what the stages come to.

use gristmill::definitions::{load_programs, load_workflows};
use gristmill_actors::registry::Registry;
use gristmill_actors::stages::unattached;
use gristmill_workflows::commit::{Commit, ShardState};
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{Arrival, IdKey, ShardId};
use gristmill_workflows::inbox::Item;
use gristmill_workflows::request::Request;
use gristmill_workflows::shard::{Effect, Proposal, Sealed, Shard, World};
use gristmill_workflows::submission::{Consent, Modality, Submission};
use gristmill_workflows::time::Timestamp;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_795_000_000_000);
const PROGRAM: &str = "engine";

pub(crate) struct Town {
    world: Arc<World>,
    shard: Shard,
    arrivals: Arrival,
    entries: u64,
}

impl Town {
    /// A shard whose rate card is in the log.
    pub(crate) fn new(key: IdKey) -> Result<Self, Box<dyn Error>> {
        let programs: BTreeMap<_, _> =
            load_programs(None)?.into_iter().filter(|(id, _)| id == PROGRAM).collect();
        let files = load_workflows(None)?.into_iter().map(|one| one.file);
        let registry = Registry::new(&unattached(), files.collect())?;
        let world = World { shards: 1, key, programs, workflows: registry.definitions() };
        let world = Arc::new(world);
        let shard = Shard::new(ShardId(0), world.clone(), ShardState::default());
        let mut town = Self { world, shard, arrivals: 0, entries: 0 };
        town.shard.open_programs();
        town.quiet()?;
        Ok(town)
    }

    /// People with consent, and an item of each.
    pub(crate) fn arrive(&mut self, count: u64) -> Vec<Arrival> {
        let program = &self.world.programs[PROGRAM];
        let terms = Arc::new(program.terms.clone());
        let mut arrivals = Vec::new();
        for _ in 0..count {
            let contributor = format!("p{}", self.arrivals);
            let key = self.world.key.contributor(&contributor);
            self.shard.retain(key, Contributor::default);
            let consent = Consent {
                contributor: contributor.clone(),
                grant: "g".to_owned(),
                program: PROGRAM.to_owned(),
                purposes: vec![program.purpose.clone()],
                modalities: vec![Modality::None],
                terms: terms.clone(),
                expires_at: None,
                at: NOW,
            };
            self.arrivals += 1;
            self.shard.consent(key, consent, self.arrivals);
            self.arrivals += 1;
            let submission = Submission {
                id: self.world.key.contribution(&contributor, "1"),
                contributor,
                idempotency_key: "1".to_owned(),
                program: PROGRAM.to_owned(),
                task: "none".to_owned(),
                modality: Modality::None,
                language: None,
                media: None,
                transcript: None,
                captured_at: None,
                data_key: self.arrivals,
                at: NOW,
            };
            self.shard.admit(self.arrivals, key, submission, DataKey([7; 32]));
            arrivals.push(self.arrivals);
        }
        arrivals
    }

    /// From where the items were let in to their end; the commits on the way.
    pub(crate) fn settle(&mut self, arrivals: &[Arrival]) -> Result<Vec<Commit>, Box<dyn Error>> {
        let scorer = || "fixed/1".to_owned();
        for arrival in arrivals {
            let output = br#"{"score":8000,"scorer":"fixed/1","units":1}"#.to_vec();
            let requests = vec![
                (0, Request::Hold),
                (2, Request::Reserve { units: 1, score: 8000 }),
                (3, Request::LogContribution { scorer: scorer() }),
                (4, Request::Pay),
            ];
            let advance = Proposal::Advance { outputs: vec![(1, output)], requests, next: 4 };
            self.shard.propose(*arrival, advance, NOW, 7);
        }
        let mut commits = self.quiet()?;
        for arrival in arrivals {
            let requests = vec![(4, Request::LogPayout { rail: "sandbox".to_owned() })];
            let advance = Proposal::Advance { outputs: Vec::new(), requests, next: 5 };
            self.shard.propose(*arrival, advance, NOW, 7);
        }
        commits.extend(self.quiet()?);
        self.shard.evict(self.shard.seals(), 0);
        let settled = self.shard.state().finished.get("settled").copied().unwrap_or(0);
        if self.shard.moving() > 0 || settled == 0 {
            return Err(format!("{} move, {settled} settled", self.shard.moving()).into());
        }
        Ok(commits)
    }

    /// Seals and answers until nothing is left to say.
    fn quiet(&mut self) -> Result<Vec<Commit>, Box<dyn Error>> {
        let mut commits = Vec::new();
        while let Some(Sealed { commit, effects, .. }) = self.shard.seal()? {
            commits.push(commit);
            for effect in effects {
                match effect {
                    Effect::Offer { from, entries } => {
                        let first = self.entries;
                        self.entries += entries.len() as u64;
                        let indices: Vec<u64> = (first..self.entries).collect();
                        self.shard.sequenced(from, &indices, NOW)?;
                    }
                    Effect::Post { item: Item::Transfer(transfer), .. } => {
                        self.shard.transfer(&transfer, NOW, 7);
                    }
                    Effect::Post { .. }
                    | Effect::Run { .. }
                    | Effect::Finished { .. }
                    | Effect::Stands { .. }
                    | Effect::Erase { .. } => {}
                }
            }
        }
        Ok(commits)
    }
}
