//! Lines as the items that inboxes hold.

use crate::manifest::{Consent, Contribution};
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::submission::{self, Media, Submission};
use gristmill_workflows::time::Timestamp;

pub(crate) fn submission(
    id: ContributionId,
    contribution: Contribution,
    media: Option<Media>,
    data_key: u64,
    at: Timestamp,
) -> Submission {
    Submission {
        id,
        contributor: contribution.contributor,
        idempotency_key: contribution.idempotency_key,
        program: contribution.program,
        task: contribution.task,
        modality: contribution.modality,
        language: contribution.language,
        media,
        transcript: contribution.transcript,
        captured_at: contribution.captured_at,
        data_key,
        at,
    }
}

pub(crate) fn consent(consent: Consent, at: Timestamp) -> submission::Consent {
    submission::Consent {
        contributor: consent.contributor,
        grant: consent.grant,
        program: consent.program,
        purposes: consent.purposes,
        modalities: consent.modalities,
        terms: consent.terms.into(),
        expires_at: consent.expires_at,
        at,
    }
}
