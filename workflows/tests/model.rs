//! Model checking of lease, fencing and sequencing: the very machines that production runs
//! (`Lease`, `Sequencer`), stepped through every order of two nodes, a zombie, two holders of the
//! log's role, lost and late replies, and a rail that fails for certain.
//!
//! Exhaustive to a depth of `GRISTMILL_TEST_DEPTH` steps (18; 40 reaches every state within the bounds
//! of `model/world.rs`). Each deliberate bug of `Tooth` must be found.

#[path = "model/log.rs"]
mod log;
#[path = "model/world.rs"]
mod world;

use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::Duration;
use world::{Action, Shape, Shown, State, Tooth};

impl Model for Shape {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(self, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.step(self, action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I6 fenced", |_, state: &State| state.ghost.fault.is_none()),
            Property::always("I3 one payment", |_, state: &State| state.movements() <= 1),
            Property::always("I4 no effect before its commit", |_, state: &State| {
                state.pays_only_what_is_committed()
            }),
            Property::always("I2 one entry", |_, state: &State| state.log.is_without_doubles()),
            Property::always("I7 append-only", |_, state: &State| state.log.is_append_only()),
            Property::sometimes("it settles", |_, state: &State| state.is_settled()),
            Property::sometimes("a zombie is fenced", |_, state: &State| {
                state.ghost.shown == Some(Shown::Fenced)
            }),
            Property::sometimes("a resend is known", |_, state: &State| {
                state.ghost.shown == Some(Shown::Resent)
            }),
            Property::sometimes("a repeated offer gets its index", |_, state: &State| {
                state.ghost.shown == Some(Shown::Repeated)
            }),
            Property::sometimes("two role holders collide", |shape: &Shape, state: &State| {
                shape.roles == 1 || state.ghost.shown == Some(Shown::Collided)
            }),
            Property::sometimes(
                "a failed payout is tried again",
                |shape: &Shape, state: &State| shape.tries == 1 || state.is_second_try(),
            ),
        ]
    }
}

const LONGEST: Duration = Duration::from_secs(300);

fn depth() -> usize {
    let depth = std::env::var("GRISTMILL_TEST_DEPTH");
    depth.map_or(18, |depth| depth.parse().expect("GRISTMILL_TEST_DEPTH is a number"))
}

fn exhausted(shape: Shape) {
    let checker = shape.checker().threads(2).timeout(LONGEST).target_max_depth(depth());
    let checker = checker.spawn_bfs().join();
    let counts = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    eprintln!("{} steps to {} different states, to a depth of {}", counts.0, counts.1, counts.2);
    checker.assert_properties();
}

#[test]
fn in_every_order_of_two_nodes_and_a_zombie_nothing_is_changed_or_paid_twice() {
    exhausted(Shape::fencing());
}

#[test]
fn in_every_order_of_two_holders_of_the_logs_role_every_checkpoint_extends_the_earlier() {
    exhausted(Shape::sequencing());
}

#[test]
fn every_deliberate_bug_is_found() {
    let (fencing, sequencing) = (Shape::fencing(), Shape::sequencing());
    for (shape, tooth, property) in [
        (&fencing, Tooth::EpochNotChecked, "I6 fenced"),
        (&fencing, Tooth::SeqNotChecked, "I6 fenced"),
        (&fencing, Tooth::LeaseTakenWhileHeld, "I6 fenced"),
        (&fencing, Tooth::CursorIgnored, "I2 one entry"),
        (&sequencing, Tooth::CheckpointBeforeItsObject, "I7 append-only"),
        (&fencing, Tooth::EffectBeforeCommit, "I4 no effect before its commit"),
        (&fencing, Tooth::UnknownUnderNewKey, "I3 one payment"),
    ] {
        let shape = shape.clone().with(tooth);
        let until = HasDiscoveries::AnyFailures;
        let checker = shape.checker().finish_when(until).timeout(LONGEST).spawn_bfs().join();
        let found = checker.discovery(property);
        let steps = found.map(|path| path.into_actions().len());
        assert!(steps.is_some(), "{tooth:?} is not found by {property}");
        eprintln!("{tooth:?}: {property} is broken after {} steps", steps.unwrap_or(0));
    }
}
