//! A read of a shard's inbox: both lanes, and what their reader needs with them.

use super::{Numbered, StoredContributor};
use gristmill_workflows::entry::DataKey;
use gristmill_workflows::id::{Arrival, ContributorKey, IdKey};
use gristmill_workflows::inbox::Item;

/// Rows that whoever reads an inbox item needs with it. A store may keep this beside the item, and
/// answer the rows with it ([`ShardStore::fetch`](super::ShardStore::fetch)); none is always right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reads {
    /// The contributor.
    pub contributor: Option<ContributorKey>,
    /// The slot of the data key.
    pub data_key: Option<u64>,
}

impl Reads {
    /// What a reader of this item needs.
    #[must_use]
    pub fn of(item: &Item, key: &IdKey) -> Self {
        let contributor = item.contributor().map(|name| key.contributor(name));
        Self { contributor, data_key: item.data_key() }
    }
}

/// A read of both lanes of a shard's inbox by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// The owner.
    pub owner: u128,
    /// The owner's epoch.
    pub epoch: u64,
    /// Intake items that are read are to be noted as let in.
    pub notes: bool,
    /// Control items above this arrival number are read, and how many at the most.
    pub control: (Option<Arrival>, usize),
    /// The same of intake items; where as many control items are found as may be read, none of
    /// these need be answered.
    pub intake: (Option<Arrival>, usize),
}

/// What a read of both lanes brought.
#[derive(Debug, Clone, Default)]
pub struct Lanes {
    /// Control items, oldest first.
    pub control: Vec<Numbered>,
    /// Intake items, oldest first. Every control item with a lower arrival number than any of these
    /// is among the others, unless there were as many as may be read.
    pub intake: Vec<Numbered>,
    /// The intake items are noted: [`Loaded::noted`](super::Loaded::noted) has them until they leave the inbox.
    pub noted: bool,
    /// Both lanes were read in one step, after this arrival number was given out.
    pub arrived: Option<Arrival>,
    /// Contributors that the items need; not more than the store had at hand.
    pub contributors: Vec<(ContributorKey, StoredContributor)>,
    /// Data keys that the items need, by slot, destroyed ones without a key; likewise.
    pub data_keys: Vec<(u64, Option<DataKey>)>,
}
