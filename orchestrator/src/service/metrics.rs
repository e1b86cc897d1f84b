//! What `/metrics` shows.

use crate::service::state::Service;
use gristmill_actors::engine::Counters;
use std::sync::atomic::Ordering;

/// The text that Prometheus scrapes.
#[must_use]
pub fn render(service: &Service) -> String {
    let Counters { restarts, .. } = &service.engine.counters;
    let version = env!("CARGO_PKG_VERSION");
    let restarts = restarts.load(Ordering::Relaxed);
    format!(
        "# HELP gristmill_build_info What runs.\n\
         # TYPE gristmill_build_info gauge\n\
         gristmill_build_info{{version=\"{version}\"}} 1\n\
         # HELP gristmill_actor_restarts_total Actors that ended by a panic or an error.\n\
         # TYPE gristmill_actor_restarts_total counter\n\
         gristmill_actor_restarts_total {restarts}\n"
    )
}
