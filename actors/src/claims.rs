//! Claims of content: who handed the same bytes in first.
//!
//! The index says who holds a content; whether the holder was accepted is the holder's journey to
//! tell, in whichever shard it lives. An accepted holder makes the claimer a duplicate; a holder
//! that ended unaccepted gives way; a holder that is not decided makes the claimer wait: shortly
//! while the holder moves, and until somebody decides it when the holder stands.

use crate::engine::Engine;
use crate::limits;
use crate::ports::{Claimed, StoreError};
use crate::stage::Context;
use gristmill_workflows::commit::Place;
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::journey::State;
use gristmill_workflows::request::{Failure, Outcome, Reason, Wait};
use gristmill_workflows::time::Timestamp;
use gristmill_workflows::tombstone::Finished;
use std::sync::atomic::Ordering;

/// Where a claim's holder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Accepted,
    Moves,
    /// Parked or paused; until then, if time alone brings it back.
    Stands(Option<Timestamp>),
    Gone,
}

/// Settles the claim of one contribution.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    engine: &'a Engine,
}

impl<'a> Claims<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        Self { engine }
    }

    /// None if the content is this contribution's own; else what becomes of the attempt.
    pub(crate) async fn settle(&self, cx: &Context) -> Option<Outcome> {
        let submission = cx.submission();
        let media = submission.media.as_ref()?;
        match self.claim(media.sha256, submission.id).await {
            Ok(Some(Holder::Accepted)) => Some(Outcome::Reject(Reason::known("duplicate"))),
            Ok(Some(Holder::Moves | Holder::Gone)) => Some(self.wait(None)),
            Ok(Some(Holder::Stands(until))) => {
                self.engine.claims_wait.store(true, Ordering::Release);
                Some(self.wait(Some(until)))
            }
            Ok(None) => None,
            Err(error) => {
                let detail = error.to_string();
                Some(Outcome::Failed(Failure::Retryable { detail, after_ms: None }))
            }
        }
    }

    fn wait(&self, stands: Option<Option<Timestamp>>) -> Outcome {
        let now = self.engine.ports.clock.now();
        let soon = now.plus_ms(limits::CLAIM_PARK_MS);
        let latest = now.plus_ms(limits::CLAIM_PARK_STANDING_MS);
        let until = match stands {
            None => soon,
            Some(until) => until.map_or(latest, |until| until.max(soon).min(latest)),
        };
        Outcome::Wait(Wait::ContentClaim, until)
    }

    async fn claim(
        &self,
        content: [u8; 32],
        id: ContributionId,
    ) -> Result<Option<Holder>, StoreError> {
        let index = &self.engine.ports.content;
        let claimed = index.claim(vec![(content, id)]).await?;
        let Some(Claimed::Taken(holder)) = claimed.first().copied() else { return Ok(None) };
        let stands = self.holder(holder).await?;
        if stands != Holder::Gone {
            return Ok(Some(stands));
        }
        match index.take_over(content, holder, id).await? {
            Claimed::First => Ok(None),
            Claimed::Taken(_) => Ok(Some(Holder::Moves)),
        }
    }

    async fn holder(&self, id: ContributionId) -> Result<Holder, StoreError> {
        let store = &self.engine.ports.store;
        let shard = id.bucket.shard(store.shards());
        let found = store.find(shard, vec![id.mac]).await?;
        // Claimed, and never made durable: whoever claimed died before its submission.
        let Some((arrival, _)) = found.into_iter().next().flatten() else {
            return Ok(Holder::Gone);
        };
        let stored = store.journeys(shard, vec![arrival]).await?;
        let Some(stored) = stored.into_iter().next().flatten() else {
            return Ok(Holder::Moves);
        };
        let journey = match Finished::read(&stored.row)
            .map_err(|error| StoreError::Damaged { detail: error.to_string() })?
        {
            Finished::Journey(journey) => journey,
            Finished::Expired(tombstone) if tombstone.accepted.is_some() => {
                return Ok(Holder::Accepted);
            }
            Finished::Expired(_) => return Ok(Holder::Gone),
        };
        Ok(match (journey.accepted.is_some(), stored.place, journey.state) {
            (true, _, _) => Holder::Accepted,
            (false, Place::Finished, _) => Holder::Gone,
            (false, Place::Active, State::Parked { until, .. }) => Holder::Stands(until),
            (false, Place::Active, State::Paused { .. }) => Holder::Stands(None),
            (false, Place::Active, _) => Holder::Moves,
        })
    }
}
