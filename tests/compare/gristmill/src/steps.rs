//! Five steps of the same kind. Each adds a field that the next one reads.

use gristmill_actors::record;
use gristmill_actors::stage::{
    Context, Effect, Nothing, Outcome, Settings, SettingsError, Stage, StageError,
};

macro_rules! step {
    ($stage:ident, $name:literal, $input:ty, $output:ident, $field:ident, |$seen:ident| $before:expr) => {
        pub(crate) struct $stage;

        record! {
            /// What the step came to.
            pub(crate) struct $output { $field: u64 }
        }

        impl Stage for $stage {
            const NAME: &'static str = $name;
            const EFFECT: Effect = Effect::Pure;
            type Input = $input;
            type Output = $output;

            fn new(settings: Settings) -> Result<Self, SettingsError> {
                settings.none().map(|()| Self)
            }

            async fn run(
                &self,
                _: &Context,
                $seen: $input,
            ) -> Result<Outcome<$output>, StageError> {
                Ok(Outcome::done($output { $field: $before + 1 }))
            }
        }
    };
}

step!(StepOne, "step_one", Nothing, One, one, |_seen| 0);
step!(StepTwo, "step_two", One, Two, two, |seen| seen.one);
step!(StepThree, "step_three", Two, Three, three, |seen| seen.two);
step!(StepFour, "step_four", Three, Four, four, |seen| seen.three);
step!(StepFive, "step_five", Four, Five, five, |seen| seen.four);
