//! What people hand in, take back and ask for; and what they see of it.

use super::super::Effect;
use super::programs::terms;
use super::town::Town;
use crate::id::{Arrival, ContributorKey};
use crate::inbox::{Item, Verb};
use crate::journey::{Journey, State};
use crate::submission::{Consent, Mark, Media, Modality, Scope, Submission, Withdrawal};
use crate::time::Timestamp;

impl Town {
    pub(super) fn shard_of(&self, contributor: &str) -> u16 {
        self.world.key.bucket(contributor).shard(self.world.shards).0
    }

    pub(super) fn key(&self, contributor: &str) -> ContributorKey {
        self.world.key.contributor(contributor)
    }

    pub(super) fn consent(&mut self, contributor: &str, program: &str, grant: &str) -> Arrival {
        self.consent_until(contributor, program, grant, Timestamp(u64::MAX))
    }

    pub(super) fn consent_until(
        &mut self,
        contributor: &str,
        program: &str,
        grant: &str,
        end: Timestamp,
    ) -> Arrival {
        let consent = Consent {
            contributor: contributor.to_owned(),
            grant: grant.to_owned(),
            program: program.to_owned(),
            purposes: vec!["training".into()],
            modalities: vec![Modality::Voice],
            terms: terms().into(),
            expires_at: Some(end),
            at: self.now,
        };
        let shard = self.shard_of(contributor);
        self.node(shard).store.submit(Item::Consent(consent))
    }

    pub(super) fn hand_in(&mut self, contributor: &str, program: &str, name: &str) -> Arrival {
        let shard = self.shard_of(contributor);
        let at = self.now;
        let id = self.world.key.contribution(contributor, name);
        let data_key = u64::from(shard) << 48 | (self.node(shard).store.arrivals + 1);
        self.node(shard).store.submit(Item::Contribution(Submission {
            id,
            contributor: contributor.to_owned(),
            idempotency_key: name.to_owned(),
            program: program.to_owned(),
            task: "read".into(),
            modality: Modality::Voice,
            language: None,
            media: Some(Media { sha256: [1; 32], bytes: 1 }),
            transcript: None,
            captured_at: None,
            data_key,
            at,
        }))
    }

    pub(super) fn withdraw(&mut self, contributor: &str, scope: Scope) -> Arrival {
        let (shard, key, at) = (self.shard_of(contributor), self.key(contributor), self.now);
        let contributor = contributor.to_owned();
        let withdrawal = Withdrawal { contributor, scope: scope.clone(), at };
        let store = &mut self.node(shard).store;
        let position = store.submit(Item::Withdrawal(withdrawal));
        store.marks.push((key, Mark { scope, position, at }));
        position
    }

    pub(super) fn say(&mut self, contributor: &str, name: &str, verb: Verb) {
        let shard = self.shard_of(contributor);
        let id = self.world.key.contribution(contributor, name);
        self.node(shard).store.submit(Item::Command { id, verb });
    }

    /// The journey of a hand-in, as the store has it.
    pub(super) fn journey(&self, contributor: &str, name: &str) -> &Journey {
        let id = self.world.key.contribution(contributor, name);
        let mut all = self.nodes.iter().flat_map(|node| node.store.journeys());
        all.find(|journey| journey.submission.id == id).expect("the journey has a row")
    }

    pub(super) fn state(&self, contributor: &str, name: &str) -> String {
        match &self.journey(contributor, name).state {
            State::Rejected(reason) => reason.as_str().to_owned(),
            state => state.as_str().to_owned(),
        }
    }

    /// Whether a data key was told to be destroyed, and was.
    pub(super) fn erased(&self, data_key: u64) -> bool {
        let effect = Effect::Erase { data_key };
        self.nodes.iter().any(|node| node.effects.contains(&effect))
    }

    /// Contributor and idempotency key of every journey that stands.
    pub(super) fn standing(&self) -> Vec<(String, String)> {
        let rows = self.nodes.iter().flat_map(|node| node.store.active.values());
        let standing = rows.filter(|journey| journey.state != State::Moving);
        let names = standing.map(|journey| &journey.submission);
        names.map(|s| (s.contributor.clone(), s.idempotency_key.clone())).collect()
    }
}
