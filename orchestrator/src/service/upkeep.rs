//! What a service does by itself: it reads what other nodes wrote into the register, and destroys
//! uploads that nobody named.

use crate::service::limits::{REFRESH_EVERY, UPLOADS_SWEEP_EVERY};
use crate::service::stages;
use crate::service::state::Service;
use gristmill_workflows::time::Timestamp;
use std::sync::Arc;
use tokio::time::{Instant, MissedTickBehavior, interval};

const HOUR_MS: u64 = 3_600_000;

/// Runs until it is aborted.
pub(super) async fn run(service: Arc<Service>, upload_hours: u64) {
    let mut tick = interval(REFRESH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept: Option<Instant> = None;
    loop {
        tick.tick().await;
        if let Err(error) = service.keys.refresh().await {
            tracing::warn!(%error, "the API keys could not be read again");
        }
        if let Err(error) = stages::refresh(&*service.register, &service.engine).await {
            tracing::warn!(%error, "the paused stages could not be read again");
        }
        if swept.is_none_or(|at| at.elapsed() >= UPLOADS_SWEEP_EVERY) {
            swept = Some(Instant::now());
            let now = service.ports.clock.now();
            let before = Timestamp(now.0.saturating_sub(upload_hours * HOUR_MS));
            if let Err(problem) = service.uploads.sweep(before).await {
                tracing::warn!(code = problem.code.word(), "uploads could not be looked through");
            }
        }
    }
}
