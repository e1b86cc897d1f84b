//! What the handlers share. All of it is ports and handles: it does not matter which store is
//! behind them, nor which node runs the journeys.

use crate::receipts::Proofs;
use crate::service::api_keys::ApiKeys;
use crate::service::changes::Changes;
use crate::service::limits::{BATCHES_MAX, REQUESTS_MAX, UPLOADS_BYTES_MAX};
use crate::service::problem::{Code, Problem};
use crate::service::role::Caller;
use crate::service::singles::{Single, Singles};
use crate::service::slots::Slots;
use crate::service::uploads::Uploads;
use crate::show::Known;
use gristmill_actors::engine::{Engine, Ports};
use gristmill_actors::ports::{LogStore, StoreError};
use gristmill_actors::register::Register;
use gristmill_workflows::shard::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

/// The service of one node.
pub struct Service {
    /// Programs, workflows and the key for ids.
    pub world: Arc<World>,
    /// Stores and clock.
    pub ports: Ports,
    /// The public log's objects.
    pub log: Arc<dyn LogStore>,
    /// The node's actors.
    pub engine: Arc<Engine>,
    /// Small rows: pauses, keys, uploads, changes.
    pub register: Arc<dyn Register>,
    /// API keys.
    pub keys: ApiKeys,
    /// What operators changed.
    pub changes: Changes,
    /// Media that waits for its contribution.
    pub uploads: Uploads,
    /// The log's verifier, for receipts.
    pub proofs: Proofs,
    /// Largest upload, in bytes.
    pub media_max: u64,
    /// Data keys that are not given out yet.
    pub(super) slots: Slots,
    /// Lines that came one a request.
    pub(super) singles: Singles,
    /// Requests under way.
    pub(super) requests: Semaphore,
    /// Bytes of uploads under way.
    pub(super) upload_bytes: Semaphore,
    /// Batches under way.
    pub(super) batches: Arc<Semaphore>,
    draining: AtomicBool,
    failed: AtomicBool,
}

/// What a service is made of.
pub struct Parts {
    /// Programs, workflows and the key for ids.
    pub world: Arc<World>,
    /// Stores and clock.
    pub ports: Ports,
    /// The public log's objects.
    pub log: Arc<dyn LogStore>,
    /// The node's actors.
    pub engine: Arc<Engine>,
    /// Small rows.
    pub register: Arc<dyn Register>,
    /// API keys.
    pub keys: ApiKeys,
    /// What receipts are made with.
    pub proofs: Proofs,
    /// Largest upload, in bytes.
    pub media_max: u64,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("draining", &self.draining).finish_non_exhaustive()
    }
}

impl Service {
    /// A service over a node that runs, and the lines that come to it one a request.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, mpsc::Receiver<Single>) {
        let Parts { world, ports, log, engine, register, keys, proofs, media_max } = parts;
        let (singles, waiting) = Singles::channel();
        let service = Self {
            singles,
            slots: Slots::new(ports.keys.clone()),
            changes: Changes::new(register.clone(), ports.clock.clone()),
            uploads: Uploads::new(register.clone(), ports.clone()),
            world,
            ports,
            log,
            engine,
            register,
            keys,
            proofs,
            media_max,
            requests: Semaphore::new(REQUESTS_MAX),
            upload_bytes: Semaphore::new(UPLOADS_BYTES_MAX),
            batches: Arc::new(Semaphore::new(BATCHES_MAX)),
            draining: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        };
        (service, waiting)
    }

    /// What sentences on journeys rest on.
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        let shared = self.engine.shares.then(|| self.ports.clock.now());
        let paused = self.engine.pauses.stages();
        Known { paused, runs: true, shared, ..Known::of(&self.world) }
    }

    /// Who calls, by the key given.
    ///
    /// # Errors
    /// The [`Problem`] to answer with when a key is needed and this is none.
    pub fn caller(&self, given: Option<&str>) -> Result<Caller, Problem> {
        self.keys.caller(given, self.ports.clock.now())
    }

    /// From now on nothing is taken in.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The node has ended by itself: nothing is acknowledged any more.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Whether new work is taken in.
    ///
    /// # Errors
    /// The [`Problem`] to answer with if not.
    pub fn takes_in(&self) -> Result<(), Problem> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Problem::new(Code::Draining, "this node is being stopped"));
        }
        self.stands()
    }

    /// Whether what is written can still be acknowledged.
    ///
    /// # Errors
    /// The [`Problem`] to answer with if not.
    pub fn stands(&self) -> Result<(), Problem> {
        if self.failed.load(Ordering::Acquire) {
            let detail = "the node had to end and waits for its restart";
            return Err(Problem::new(Code::StoreUnavailable, detail));
        }
        Ok(())
    }

    /// A permit of one of the bounds.
    ///
    /// # Errors
    /// The [`Problem`] to answer with when there is none.
    pub(super) fn permit<'a>(
        bound: &'a Semaphore,
        count: u32,
        what: &str,
    ) -> Result<SemaphorePermit<'a>, Problem> {
        let busy = |_| Problem::new(Code::Busy, format!("too many {what} are under way"));
        bound.try_acquire_many(count).map_err(busy)
    }

    /// The store answers.
    ///
    /// # Errors
    /// What it says instead.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let shard = gristmill_workflows::id::ShardId(0);
        self.ports.store.find(shard, vec![[0; 16]]).await.map(|_| ())
    }
}
