//! The content index, in parts by the first byte of the hash.

use super::error::strange;
use super::{RedisStore, function, limits, value};
use futures_util::future::join_all;
use gristmill_actors::ports::{Claimed, ContentIndex, StoreError};
use gristmill_actors::rail::BoxFuture;
use gristmill_workflows::id::{Bucket, ContributionId};
use std::collections::BTreeMap;

/// A claim: the content, who may be holding it, and who is to hold it.
type Hold = ([u8; 32], ContributionId, ContributionId);

fn row(id: ContributionId) -> [u8; 18] {
    let mut row = [0; 18];
    row[..2].copy_from_slice(&id.bucket.0.to_be_bytes());
    row[2..].copy_from_slice(&id.mac);
    row
}

fn holder(row: &[u8]) -> Result<ContributionId, StoreError> {
    let (bucket, mac) = row.split_first_chunk().ok_or_else(|| strange("a claim"))?;
    let mac = mac.try_into().map_err(|_| strange("a claim"))?;
    Ok(ContributionId { bucket: Bucket(u16::from_be_bytes(*bucket)), mac })
}

impl RedisStore {
    async fn hold(&self, claims: &[Hold]) -> Result<Vec<Claimed>, StoreError> {
        let mut parts: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (nth, (content, ..)) in claims.iter().enumerate() {
            parts.entry(content[0] % limits::CONTENT_PARTS).or_default().push(nth);
        }
        let hold = |(part, nths): (u8, Vec<usize>)| async move {
            let mut call = function("gm2_hold", &format!("{{gm:c{part:02}}}:contents"));
            for (content, from, to) in nths.iter().map(|nth| &claims[*nth]) {
                call.arg(&content[..]).arg(&row(*from)[..]).arg(&row(*to)[..]);
            }
            let answers = value::array(self.write(&call).await?, "a claim")?;
            Ok::<_, StoreError>(nths.into_iter().zip(answers).collect::<Vec<_>>())
        };
        let answers = join_all(parts.into_iter().map(hold)).await;
        let mut claimed = vec![Claimed::First; claims.len()];
        for (nth, answer) in
            answers.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten()
        {
            let answer = value::bytes(answer, "a claim")?;
            if !answer.is_empty() {
                claimed[nth] = Claimed::Taken(holder(&answer)?);
            }
        }
        Ok(claimed)
    }
}

impl ContentIndex for RedisStore {
    fn claim(
        &self,
        claims: Vec<([u8; 32], ContributionId)>,
    ) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        Box::pin(async move {
            let claims: Vec<Hold> = claims.into_iter().map(|(it, id)| (it, id, id)).collect();
            self.hold(&claims).await
        })
    }

    fn take_over(
        &self,
        content: [u8; 32],
        from: ContributionId,
        to: ContributionId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        Box::pin(async move {
            let answers = self.hold(&[(content, from, to)]).await?;
            answers.first().copied().ok_or_else(|| strange("a claim"))
        })
    }
}
