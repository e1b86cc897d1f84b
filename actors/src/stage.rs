//! What a workflow author writes: a stage.
//!
//! A stage is one type with a name, a version, an effect class, an input and an output. It sees
//! the contribution through [`Context`] and knows nothing of actors, stores or nodes. The five
//! shipped stages are written with this same trait.

use crate::rail::BoxFuture;
use gristmill_workflows::contributor::Contributor;
use gristmill_workflows::definition::{Field, Signature};
use gristmill_workflows::journey::{Accepted, Journey, Payout};
use gristmill_workflows::limits;
use gristmill_workflows::program::{Program, Task};
use gristmill_workflows::request::{self, Failure, PayoutVerdict, Reason, Request, RequestKind};
use gristmill_workflows::shard::World;
use gristmill_workflows::submission::Submission;
use gristmill_workflows::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use gristmill_workflows::definition::Effect;

/// The outputs of earlier stages, by field name.
pub type Fields = Map<String, Value>;

/// A stage's input or output: a struct made by [`crate::record!`].
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Names and types of its fields.
    const FIELDS: &'static [Field];
}

/// Declares a stage's input or output: a struct whose fields have names and types that the
/// workflow check compares between stages.
#[macro_export]
macro_rules! record {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, $crate::serde::Serialize, $crate::serde::Deserialize)]
        #[serde(crate = "gristmill_actors::serde")]
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type),* }
        impl $crate::stage::Record for $name {
            const FIELDS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), stringify!($type))),*];
        }
    };
}

record! {
    /// For a stage that reads or writes nothing.
    pub struct Nothing {}
}

/// What a stage decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// Done, with an output, and what it asks of the shard.
    Done(T, Vec<Request>),
    /// The contribution is rejected, for a word of one's own: it is prefixed by the stage's name.
    Reject(&'static str),
    /// The contribution is rejected, for a word of the contract.
    RejectAs(Reason),
    /// Come back at this time.
    ParkUntil(Timestamp),
    /// Come back at this signal.
    ParkForSignal(&'static str),
}

impl<T> Outcome<T> {
    /// Done, asking for nothing.
    pub fn done(output: T) -> Self {
        Self::Done(output, Vec::new())
    }
}

/// Why an attempt decided nothing. Details must not hold personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// Another attempt may do better.
    #[error("{0}")]
    Retryable(String),
    /// Another attempt may do better, but not before so many milliseconds.
    #[error("{0} (not before {1} ms)")]
    RetryAfter(String, u64),
    /// No attempt will do better.
    #[error("{0}")]
    Permanent(String),
    /// The downstream is down: the attempt is given back and the stage's circuit opens.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The same, and the downstream asks to be left alone for so many milliseconds.
    #[error("unavailable: {0} (not before {1} ms)")]
    UnavailableFor(String, u64),
    /// The rail's final word on the fixed payout.
    #[error("{0:?}")]
    Payout(PayoutVerdict),
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Retryable(detail) => Self::Retryable { detail, after_ms: None },
            StageError::RetryAfter(detail, ms) => Self::Retryable { detail, after_ms: Some(ms) },
            StageError::Permanent(detail) => Self::Permanent { detail },
            StageError::Unavailable(detail) => Self::Unavailable { detail, after_ms: None },
            StageError::UnavailableFor(detail, ms) => {
                Self::Unavailable { detail, after_ms: Some(ms) }
            }
            StageError::Payout(verdict) => Self::Payout(verdict),
        }
    }
}

/// Settings that a stage does not understand.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They do not fit the stage's own type.
    #[error("settings: {0}")]
    Shape(#[from] serde_json::Error),
    /// They fit, and mean nothing sensible.
    #[error("settings: {0}")]
    Meaning(String),
}

/// A stage's own settings, from the workflow file.
#[derive(Debug, Clone, Default)]
pub struct Settings(pub Map<String, Value>);

impl Settings {
    /// The settings as a type of one's own; unknown keys should be refused by it.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, SettingsError> {
        Ok(serde_json::from_value(Value::Object(self.0))?)
    }

    /// For a stage without settings.
    pub fn none(self) -> Result<(), SettingsError> {
        let Some(key) = self.0.keys().next() else { return Ok(()) };
        Err(SettingsError::Meaning(format!("this stage has none, not `{key}` either")))
    }
}

/// One step of a workflow.
pub trait Stage: Send + Sync + Sized + 'static {
    /// Its name in workflow files: a-z, 0-9, `-` and `_`.
    const NAME: &'static str;
    /// Rises when its meaning changes.
    const VERSION: u32 = 1;
    /// Whether it may be repeated freely.
    const EFFECT: Effect;
    /// What it reads of earlier outputs.
    type Input: Record;
    /// What it adds.
    type Output: Record;

    /// Makes the stage from its settings in the workflow file.
    fn new(settings: Settings) -> Result<Self, SettingsError>;

    /// What a `Keyed` stage needs to be granted before it starts.
    fn prepare(&self) -> Vec<Request> {
        Vec::new()
    }

    /// One attempt. It must not block the thread; dropping it must be safe at any await.
    fn run(
        &self,
        cx: &Context,
        input: Self::Input,
    ) -> impl Future<Output = Result<Outcome<Self::Output>, StageError>> + Send;
}

/// What a stage may know of the contribution and its journey.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) journey: Arc<Journey>,
    pub(crate) contributor: Arc<Contributor>,
    pub(crate) world: Arc<World>,
    pub(crate) stage: &'static str,
    pub(crate) now: Timestamp,
    /// Shared by the runs of one attempt that was given back.
    pub(crate) fresh: Arc<AtomicBool>,
}

impl Context {
    /// What was handed in.
    #[must_use]
    pub fn submission(&self) -> &Submission {
        &self.journey.submission
    }

    /// The paying side, if the node still serves it.
    #[must_use]
    pub fn program(&self) -> Option<&Program> {
        self.world.programs.get(&self.journey.submission.program)
    }

    /// What the program asked for, if it still does.
    #[must_use]
    pub fn task(&self) -> Option<&Task> {
        self.program()?.tasks.get(&self.journey.submission.task)
    }

    /// The moment this attempt began, on the shard's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// 1 for the first attempt of this stage.
    #[must_use]
    pub fn attempt(&self) -> u16 {
        self.journey.attempts + 1
    }

    /// The key of this stage's effect: the same in every attempt.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        let journey = &self.journey;
        format!("{}:{}:{}", journey.submission.id, journey.workflow.name, self.stage)
    }

    /// Whether a signal of this name has come in.
    #[must_use]
    pub fn signalled(&self, name: &str) -> bool {
        self.journey.signals.iter().any(|signal| signal == name)
    }

    /// What was decided at acceptance, after it.
    #[must_use]
    pub fn accepted(&self) -> Option<&Accepted> {
        self.journey.accepted.as_ref()
    }

    /// The fixed payout, if there is one.
    #[must_use]
    pub fn payout(&self) -> Option<&Payout> {
        self.journey.payout()
    }

    pub(crate) fn journey(&self) -> &Journey {
        &self.journey
    }

    pub(crate) fn contributor(&self) -> &Contributor {
        &self.contributor
    }

    /// Whether nothing can be known at the rail of this payout yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Acquire)
    }

    /// The rail may know of this payout, whatever becomes of the attempt.
    pub(crate) fn no_longer_fresh(&self) {
        self.fresh.store(false, Ordering::Release);
    }
}

/// A stage behind a trait object: fields in, outcome out.
pub(crate) trait AnyStage: Send + Sync {
    fn signature(&self) -> &Signature;
    fn prepare(&self) -> Vec<Request>;
    fn run<'a>(&'a self, cx: &'a Context, fields: &'a Fields) -> BoxFuture<'a, request::Outcome>;
}

struct Erased<S: Stage> {
    stage: S,
    signature: Signature,
    allowed: Vec<RequestKind>,
}

impl<S: Stage> Erased<S> {
    fn outcome(&self, outcome: Outcome<S::Output>) -> request::Outcome {
        match outcome {
            Outcome::Done(output, requests) => self.done(&output, requests),
            Outcome::Reject(word) => request::Outcome::Reject(Reason::own(S::NAME, word)),
            Outcome::RejectAs(reason) => request::Outcome::Reject(reason),
            Outcome::ParkUntil(until) => request::Outcome::ParkUntil(until),
            Outcome::ParkForSignal(name) => request::Outcome::ParkForSignal(name.to_owned()),
        }
    }

    fn done(&self, output: &S::Output, requests: Vec<Request>) -> request::Outcome {
        let refused = |detail: String| request::Outcome::Failed(Failure::Permanent { detail });
        if requests.len() > limits::REQUESTS_MAX {
            return refused(format!("more than {} requests", limits::REQUESTS_MAX));
        }
        let forbidden = requests.iter().map(Request::kind).find(|kind| !self.allows(*kind));
        if let Some(kind) = forbidden {
            return refused(format!("the workflow file does not allow this stage to {kind:?}"));
        }
        match serde_json::to_vec(output) {
            Ok(output) if output.len() <= limits::OUTPUT_BYTES_MAX => {
                request::Outcome::Done { output, requests }
            }
            Ok(_) => refused(format!("an output over {} bytes", limits::OUTPUT_BYTES_MAX)),
            Err(error) => refused(format!("an output that is no JSON object: {error}")),
        }
    }

    fn allows(&self, kind: RequestKind) -> bool {
        !crate::ports::must_be_allowed(kind) || self.allowed.contains(&kind)
    }
}

impl<S: Stage> AnyStage for Erased<S> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn prepare(&self) -> Vec<Request> {
        self.stage.prepare()
    }

    fn run<'a>(&'a self, cx: &'a Context, fields: &'a Fields) -> BoxFuture<'a, request::Outcome> {
        Box::pin(async move {
            let read = |(name, _): &(&'static str, _)| Some((*name, fields.get(*name)?));
            let input = MapDeserializer::new(S::Input::FIELDS.iter().filter_map(read));
            let input = match S::Input::deserialize(input) {
                Ok(input) => input,
                Err(error) => {
                    let error: serde_json::Error = error;
                    let detail = format!("an earlier output does not fit the input: {error}");
                    return request::Outcome::Failed(Failure::Permanent { detail });
                }
            };
            match self.stage.run(cx, input).await {
                Ok(outcome) => self.outcome(outcome),
                Err(error) => request::Outcome::Failed(error.into()),
            }
        })
    }
}

type Build =
    dyn Fn(Settings, Vec<RequestKind>) -> Result<Arc<dyn AnyStage>, SettingsError> + Send + Sync;

/// A stage that a binary knows: what it says of itself, and how to make it.
#[derive(Clone)]
pub struct StageType {
    signature: Signature,
    build: Arc<Build>,
}

impl std::fmt::Debug for StageType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StageType").field(&self.signature).finish()
    }
}

impl StageType {
    /// The stage type of `S`.
    #[must_use]
    pub fn of<S: Stage>() -> Self {
        Self::with(S::new)
    }

    /// The stage type of `S`, made by a closure that brings what the stage needs.
    pub fn with<S: Stage>(
        make: impl Fn(Settings) -> Result<S, SettingsError> + Send + Sync + 'static,
    ) -> Self {
        let signature = Signature {
            name: S::NAME,
            version: S::VERSION,
            effect: S::EFFECT,
            input: S::Input::FIELDS,
            output: S::Output::FIELDS,
        };
        let known = signature.clone();
        let build = move |settings, allowed: Vec<RequestKind>| {
            let stage = make(settings)?;
            let wanted = stage.prepare();
            let must = |kind: &RequestKind| crate::ports::must_be_allowed(*kind);
            let kinds = wanted.iter().map(Request::kind).filter(must);
            if let Some(kind) = kinds.into_iter().find(|kind| !allowed.contains(kind)) {
                let detail = format!("the workflow file must allow this stage to {kind:?}");
                return Err(SettingsError::Meaning(detail));
            }
            let erased: Arc<dyn AnyStage> =
                Arc::new(Erased { stage, signature: known.clone(), allowed });
            Ok(erased)
        };
        Self { signature, build: Arc::new(build) }
    }

    /// What it says of itself.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(crate) fn build(
        &self,
        settings: Settings,
        allowed: Vec<RequestKind>,
    ) -> Result<Arc<dyn AnyStage>, SettingsError> {
        (self.build)(settings, allowed)
    }
}

/// The stage types of an author's stages: `stages![FraudCheck, Other]`.
#[macro_export]
macro_rules! stages {
    ($($stage:ty),* $(,)?) => {
        vec![$($crate::stage::StageType::of::<$stage>()),*]
    };
}
