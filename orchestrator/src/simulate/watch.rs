//! Looks at what nodes behind addresses have finished while they are driven.

use super::limits::{WATCH_EVERY, WATCH_PATIENCE};
use super::progress::Standing;
use super::scrape::Scrape;
use crate::client::Client;
use crate::run::say;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What one node has counted: by processes of before, and by the one that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    before: u64,
    now: u64,
}

impl Counted {
    /// A counter that went back began anew with its process.
    fn saw(&mut self, count: u64) {
        if count < self.now {
            self.before += self.now;
        }
        self.now = count;
    }
}

/// What a node has finished: settled, and rejected or withdrawn.
type Finished = [Counted; 2];

/// A task that looks; it ends with this.
#[derive(Debug)]
pub(super) struct Watch {
    latest: Arc<Mutex<Option<Standing>>>,
    looking: JoinHandle<()>,
}

impl Watch {
    /// Begins to look. What nodes do not show is not watched.
    pub(super) async fn begin(clients: &[Client]) -> Self {
        let latest = Arc::new(Mutex::new(None));
        let mut nodes = Vec::with_capacity(clients.len());
        for client in clients {
            let scrape = match timeout(WATCH_PATIENCE, Scrape::of_node(client)).await {
                Ok(Ok(scrape)) => scrape,
                Ok(Err(error)) => return Self::of_nothing(latest, &error.to_string()),
                Err(late) => return Self::of_nothing(latest, &late.to_string()),
            };
            let at_first = |now| Counted { before: 0, now };
            nodes.push([scrape.settled, scrape.refused].map(at_first));
        }
        let looking = look(clients.to_vec(), nodes, Arc::clone(&latest));
        Self { latest, looking: tokio::spawn(looking) }
    }

    fn of_nothing(latest: Arc<Mutex<Option<Standing>>>, why: &str) -> Self {
        say(&format!("how far the nodes are is not shown: {why}"));
        Self { latest, looking: tokio::spawn(async {}) }
    }

    /// How far they are; none before the first look.
    pub(super) fn standing(&self) -> Option<Standing> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

async fn look(clients: Vec<Client>, first: Vec<Finished>, latest: Arc<Mutex<Option<Standing>>>) {
    let mut nodes = first.clone();
    loop {
        for (client, node) in clients.iter().zip(&mut nodes) {
            // One that is away now says it later.
            if let Ok(Ok(scrape)) = timeout(WATCH_PATIENCE, Scrape::of_node(client)).await {
                node[0].saw(scrape.settled);
                node[1].saw(scrape.refused);
            }
        }
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(since(&first, &nodes));
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn since(first: &[Finished], nodes: &[Finished]) -> Standing {
    let sum = |of: usize| {
        let counted = |(first, node): (&Finished, &Finished)| {
            (node[of].before + node[of].now).saturating_sub(first[of].now)
        };
        first.iter().zip(nodes).map(counted).sum()
    };
    Standing { settled: sum(0), refused: sum(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_began_anew_adds_to_what_was_counted_before() {
        let at_first = |now| Counted { before: 0, now };
        let first = [[at_first(100), at_first(7)], [at_first(0), at_first(0)]];
        let mut nodes = first;
        nodes[0][0].saw(130);
        nodes[0][0].saw(20);
        nodes[0][0].saw(25);
        nodes[1][1].saw(3);
        let Standing { settled, refused } = since(&first, &nodes);
        assert_eq!((settled, refused), (55, 3));
    }
}
