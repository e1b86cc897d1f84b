//! A node on a paused clock, with everything around it in memory: the testkit's store, log, rail,
//! keys and media, whose calls last as long as a seed says.

use super::draws::Draws;
use super::embedded::{Error, Place};
use super::plan::Plan;
use super::report::CallTimes;
use crate::audit::{RailSource, Sources};
use crate::definitions;
use crate::embedded_node::{self, profile, stage_types};
use crate::log_folder::LogFolder;
use crate::measuring::InProcess;
use crate::receipts::Proofs;
use crate::service::api_keys::ApiKeys;
use crate::service::state::{Parts as ServiceParts, Service};
use gristmill_actors::engine::{PayoutSlot, Ports};
use gristmill_actors::node::{Node, Parts};
use gristmill_actors::pauses::Pauses;
use gristmill_actors::stages::Needs;
use gristmill_actors::trace_log::TraceLog;
use gristmill_testkit::memory_keys::MemoryKeys;
use gristmill_testkit::memory_log::MemoryLog;
use gristmill_testkit::memory_media::MemoryMedia;
use gristmill_testkit::memory_register::MemoryRegister;
use gristmill_testkit::memory_store::{MemoryStore, Shape};
use gristmill_testkit::model_rail::ModelRail;
use gristmill_testkit::slow::Slow;
use gristmill_testkit::virtual_clock::VirtualClock;
use gristmill_trace::key::{SigningKey, Verifier};
use gristmill_workflows::id::IdKey;
use gristmill_workflows::program::Program;
use gristmill_workflows::shard::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// Streams of draws: secrets, and how long calls last.
const SECRETS: u64 = 1 << 43;
const CALLS: u64 = 1 << 44;
/// The owner of its leases.
const OWNER: u128 = 1;

/// A node that runs in virtual time, and what it leaves when it stops.
pub(super) struct VirtualNode {
    pub(super) node: Node,
    pub(super) service: Arc<Service>,
    pub(super) rail: Arc<Slow<ModelRail>>,
    pub(super) left: Left,
}

/// What a stopped node leaves for the auditor.
pub(super) struct Left {
    store: MemoryStore,
    log: MemoryLog,
    id_key: IdKey,
    verifier: Verifier,
}

/// 32 bytes that follow from the seed.
fn secret(seed: u64, nth: u64) -> [u8; 32] {
    let mut draws = Draws::of(seed, SECRETS, nth);
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&draws.bits().to_be_bytes()));
    bytes
}

impl VirtualNode {
    /// Starts it. Needs a runtime whose clock is paused, and that has one thread.
    pub(super) async fn start(
        place: &Place<'_>,
        programs: BTreeMap<String, Program>,
        plan: &Plan,
        calls: CallTimes,
    ) -> Result<Self, Error> {
        let (config, seed) = (place.config, plan.seed);
        let workflows = definitions::load_workflows(config.workflows_dir())?;
        let id_key = IdKey::new(secret(seed, 0));
        let signing = SigningKey::from_seed(&config.trace.origin, &secret(seed, 1))?;
        let verifier = signing.verifier().clone();
        let high_water = usize::try_from(config.store.high_water).unwrap_or(usize::MAX);
        let shards = config.store.shards;
        let store =
            MemoryStore::new(Shape { shards, intake_high_water: high_water, lease_ttl_ms: 0 });
        let log = MemoryLog::new();
        let draw = |nth| Draws::of(seed, CALLS, nth).bits();
        let slow_store = Arc::new(Slow::new(store.clone(), calls.store_ms, draw(0)));
        let slow_log = Arc::new(Slow::new(log.clone(), calls.log_ms, draw(1)));
        let rail = Slow::new(ModelRail::new(profile(config)), calls.rail_ms, draw(2));
        let rail = Arc::new(rail);
        let ports = Ports {
            store: slow_store.clone(),
            content: slow_store,
            keys: Arc::new(MemoryKeys::new(secret(seed, 2))),
            media: Arc::new(MemoryMedia::new()),
            clock: Arc::new(VirtualClock::new(draw(3))),
            readers: None,
        };
        let payouts: PayoutSlot = Arc::new(OnceLock::new());
        let measurer = Arc::new(Slow::new(InProcess, calls.measure_ms, draw(4)));
        let rail_name = config.rail.name.clone();
        let needs =
            Needs { ports: ports.clone(), measurer, payouts: payouts.clone(), rail: rail_name };
        let registry = definitions::check(&stage_types(&needs, place.own), &workflows, &programs)?;
        let workflows = registry.definitions();
        let world = Arc::new(World { shards, key: id_key.clone(), programs, workflows });
        let opened = TraceLog::open(slow_log.clone(), signing).await;
        let parts = Parts {
            world: world.clone(),
            registry,
            ports: ports.clone(),
            log: opened.map_err(embedded_node::Error::Log)?,
            payouts,
            owner: OWNER,
            window: config.node.window,
            retention: config.retention.finished(),
            pauses: Arc::new(Pauses::new(BTreeSet::new(), false)),
            place: None,
        };
        let node = Node::start(parts, rail.clone()).await.map_err(embedded_node::Error::Fatal)?;
        let register = Arc::new(MemoryRegister::default());
        let (service, _singles) = Service::new(ServiceParts {
            world,
            ports,
            log: slow_log,
            engine: node.engine().clone(),
            keys: ApiKeys::open(register.clone()).await?,
            register,
            proofs: Proofs::nowhere(id_key.clone(), verifier.clone()),
            media_max: config.media.max_bytes,
        });
        let left = Left { store, log, id_key, verifier };
        Ok(Self { node, service: Arc::new(service), rail, left })
    }
}

impl Left {
    /// What the auditor reads, with the book of the rail that paid.
    pub(super) fn sources(&self, rail: &ModelRail) -> Sources<'_> {
        Sources {
            store: &self.store,
            id_key: &self.id_key,
            verifier: &self.verifier,
            trace: LogFolder::in_memory(self.log.objects()),
            rail: RailSource::Lines(rail.lines().into()),
            report: None,
        }
    }
}
