//! The log of the model: objects that are created if absent, two holders of the role with the real
//! sequencer, and what they published.

use gristmill_workflows::id::ShardId;
use gristmill_workflows::sequencer::{Answer, Cursor, Offer, Sequenced, Sequencer};

/// The shard whose lease is modelled.
pub const SHARD: ShardId = ShardId(0);
/// Another shard, with a right to one entry that nobody contests.
pub const OTHER: ShardId = ShardId(1);

/// An object, in a form that can be hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Object {
    first: u64,
    before: [u8; 32],
    cursors: Vec<(u16, u64, u64)>,
    offers: Vec<(u16, u64, u64, Vec<u8>)>,
}

impl Object {
    fn of(object: &Sequenced) -> Self {
        let cursors = object.cursors.iter();
        let cursors = cursors.map(|(shard, at)| (shard.0, at.epoch, at.next)).collect();
        let offers = object.offers.iter();
        let offers =
            offers.map(|one| (one.shard.0, one.epoch, one.from, one.entries.concat())).collect();
        Self { first: object.first, before: object.before, cursors, offers }
    }

    fn sequenced(&self) -> Sequenced {
        let offer = |(shard, epoch, from, entries): &(u16, u64, u64, Vec<u8>)| {
            let entries = entries.iter().map(|byte| vec![*byte]).collect();
            Offer { shard: ShardId(*shard), epoch: *epoch, from: *from, entries }
        };
        let cursors = self.cursors.iter();
        let cursors = cursors
            .map(|(shard, epoch, next)| (ShardId(*shard), Cursor { epoch: *epoch, next: *next }));
        Sequenced {
            first: self.first,
            before: self.before,
            cursors: cursors.collect(),
            offers: self.offers.iter().map(offer).collect(),
        }
    }

    fn entries(&self) -> impl Iterator<Item = u8> + '_ {
        self.offers.iter().flat_map(|(.., entries)| entries.iter().copied())
    }

    /// Stands for the hash of its bytes: different for different content.
    fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.first.to_be_bytes());
        for (place, byte) in (8..32).zip(self.entries()) {
            hash[place] = byte;
        }
        hash
    }
}

/// One holder of the role: what it took up, and below which position the shard forgot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Role {
    objects: Vec<Object>,
    forgot: u64,
}

impl Role {
    fn machine(&self) -> Sequencer {
        let mut machine = Sequencer::default();
        for object in &self.objects {
            assert!(machine.replay(&object.sequenced(), object.hash()), "an object follows");
        }
        machine.forget(SHARD, self.forgot);
        machine
    }
}

/// An offer of one entry: shard, epoch, outbox position, entry.
pub type Due = (ShardId, u64, u64, u8);

/// What an offer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// Sequenced now, or before.
    At(u64, bool),
    /// A newer epoch is known.
    Fenced,
    /// Another holder was faster: the role took up its objects.
    Collided,
    /// Neither: the owner of the shard must never hear it.
    Refused,
}

/// Objects, role holders and checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Log {
    objects: Vec<Object>,
    roles: [Role; 2],
    /// The entries of the longest checkpoint that anybody could read.
    published: Vec<u8>,
    /// Two checkpoints were published of which none extends the other.
    forked: bool,
}

impl Log {
    /// A shard offers one entry to one holder of the role.
    pub fn offer(
        &mut self,
        role: usize,
        (shard, epoch, from, entry): Due,
        cursor_ignored: bool,
    ) -> Offered {
        let mut machine = self.roles[role].machine();
        let from = if cursor_ignored { machine.cursor(shard).next } else { from };
        let offer = Offer { shard, epoch, from, entries: vec![vec![entry]] };
        let cursors = machine.cursors().clone();
        let (object, answers) = machine.sequence(vec![offer]);
        let fresh = object.is_some();
        if let Some(object) = object {
            let known = self.roles[role].objects.len();
            if self.objects.len() != known {
                machine.take_back(&object, cursors);
                for other in &self.objects[known..] {
                    assert!(machine.replay(&other.sequenced(), other.hash()), "an object follows");
                }
                self.roles[role].objects.clone_from(&self.objects);
                return Offered::Collided;
            }
            let object = Object::of(&object);
            self.objects.push(object.clone());
            self.roles[role].objects.push(object);
        }
        let is_behind = self.objects.len() != self.roles[role].objects.len();
        match answers.first() {
            // A holder that was left behind does not know better; it takes the objects up.
            Some(Answer::Gap { .. } | Answer::Forgotten) if is_behind => {
                self.restart(role);
                Offered::Collided
            }
            Some(Answer::At(index)) => Offered::At(*index, fresh),
            Some(Answer::Fenced) => Offered::Fenced,
            Some(Answer::Gap { .. } | Answer::Forgotten) | None => Offered::Refused,
        }
    }

    /// The bug: a holder publishes an entry whose object it could not create yet.
    pub fn publish_early(&mut self, role: usize, (shard, epoch, from, entry): Due) {
        let mut machine = self.roles[role].machine();
        let offer = Offer { shard, epoch, from, entries: vec![vec![entry]] };
        if let (Some(object), _) = machine.sequence(vec![offer]) {
            let mut entries = covered(&self.roles[role].objects);
            entries.extend(Object::of(&object).entries());
            self.note(entries);
        }
    }

    /// A holder publishes what it took up.
    pub fn publish(&mut self, role: usize) -> bool {
        let entries = covered(&self.roles[role].objects);
        self.note(entries)
    }

    /// What extends the longest extends all that the longest extends.
    fn note(&mut self, entries: Vec<u8>) -> bool {
        let before = (self.published.len(), self.forked);
        self.forked |= !follows(&entries, &self.published);
        if entries.len() > self.published.len() {
            self.published = entries;
        }
        before != (self.published.len(), self.forked)
    }

    /// The shard has committed the indices of everything below.
    pub fn forget(&mut self, role: usize, below: u64) {
        self.roles[role].forgot = self.roles[role].forgot.max(below);
    }

    /// A holder starts anew from the objects.
    pub fn restart(&mut self, role: usize) -> bool {
        let fresh = Role { objects: self.objects.clone(), forgot: 0 };
        let changes = self.roles[role] != fresh;
        self.roles[role] = fresh;
        changes
    }

    /// Entries in their order.
    pub fn entries(&self) -> Vec<u8> {
        covered(&self.objects)
    }

    /// Every entry stands once.
    pub fn is_without_doubles(&self) -> bool {
        let mut entries = self.entries();
        let count = entries.len();
        entries.sort_unstable();
        entries.dedup();
        entries.len() == count
    }

    /// Of any two checkpoints one extends the other, and the log extends all.
    pub fn is_append_only(&self) -> bool {
        !self.forked && follows(&self.entries(), &self.published)
    }
}

fn follows(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn covered(objects: &[Object]) -> Vec<u8> {
    objects.iter().flat_map(Object::entries).collect()
}
