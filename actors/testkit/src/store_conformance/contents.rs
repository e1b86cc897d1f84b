//! Claims of content.

use super::*;
use gristmill_actors::ports::Claimed;
use gristmill_workflows::id::{Bucket, ContributionId};

const CLIP: [u8; 32] = [0xc1; 32];

const fn id(n: u8) -> ContributionId {
    ContributionId { bucket: Bucket(n as u16 * 256), mac: [n; 16] }
}

async fn claim<S: ContentIndex>(index: &S, content: [u8; 32], id: ContributionId) -> Claimed {
    let answers = index.claim(vec![(content, id)]).await.expect("a claim is answered");
    assert_eq!(answers.len(), 1, "one answer a claim");
    answers[0]
}

pub(super) async fn the_first_claim_of_a_content_wins<S: ContentIndex>(index: S) {
    assert_eq!(claim(&index, CLIP, id(1)).await, Claimed::First);
    assert_eq!(claim(&index, CLIP, id(2)).await, Claimed::Taken(id(1)));
    assert_eq!(claim(&index, CLIP, id(1)).await, Claimed::First, "a claim is repeatable");
    assert_eq!(claim(&index, [0; 32], id(2)).await, Claimed::First);
    assert_eq!(index.claim(Vec::new()).await, Ok(vec![]));
}

pub(super) async fn claims_of_one_call_are_taken_in_order<S: ContentIndex>(index: S) {
    let claims = vec![(CLIP, id(2)), (CLIP, id(1)), ([0; 32], id(1)), (CLIP, id(2))];
    let expected = vec![Claimed::First, Claimed::Taken(id(2)), Claimed::First, Claimed::First];
    assert_eq!(index.claim(claims).await, Ok(expected));
}

pub(super) async fn a_claim_moves_only_from_its_holder<S: ContentIndex>(index: S) {
    claim(&index, CLIP, id(1)).await;
    assert_eq!(index.take_over(CLIP, id(2), id(3)).await, Ok(Claimed::Taken(id(1))));
    assert_eq!(index.take_over(CLIP, id(1), id(2)).await, Ok(Claimed::First));
    assert_eq!(index.take_over(CLIP, id(1), id(2)).await, Ok(Claimed::First), "repeatable");
    assert_eq!(index.take_over(CLIP, id(1), id(3)).await, Ok(Claimed::Taken(id(2))));
    assert_eq!(claim(&index, CLIP, id(1)).await, Claimed::Taken(id(2)));
}

pub(super) async fn reopening_keeps_claims<S: ContentIndex>(maker: &impl Maker<S>) {
    let index = maker.make(Shape::default()).await;
    claim(&index, CLIP, id(1)).await;
    claim(&index, [0; 32], id(1)).await;
    index.take_over(CLIP, id(1), id(2)).await.expect("a claim is moved");
    let Some(index) = maker.reopen(index).await else { return };
    assert_eq!(claim(&index, CLIP, id(1)).await, Claimed::Taken(id(2)));
    assert_eq!(claim(&index, [0; 32], id(2)).await, Claimed::Taken(id(1)));
}
