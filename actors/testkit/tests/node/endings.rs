//! An orderly end leaves nothing half said.

use crate::town::Town;

#[tokio::test(start_paused = true)]
async fn what_has_an_index_is_published_before_a_node_ends() {
    for shares in [false, true] {
        let mut town = if shares { Town::among_others() } else { Town::new() };
        town.start().await;
        town.consent().await;
        town.rest().await;
        town.hand_in("a").await;
        town.settled(1).await;
        town.stop().await;
        let (published, sequenced) = town.published().await;
        assert_eq!(published, sequenced, "shares: {shares}");
        assert!(published >= 2, "its entry and its payout: {published}");
    }
}
