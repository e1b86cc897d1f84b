//! Measuring for the scoring stage: the pool of media workers behind the actors' port, and the
//! worker's own end of it.

use crate::config::Media;
use crate::media_workers::{self, MediaWorkers};
use gristmill_actors::engine::{MeasureError, Measured, Measurer};
use gristmill_actors::rail::BoxFuture;
use gristmill_media::{Limits, Measures, SCORER, worker};
use gristmill_workflows::submission::Modality;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The hidden subcommand that a worker process runs.
pub const WORKER_COMMAND: &str = "media-worker";

/// Largest item that a worker takes, in bytes; what a node is configured to take may be smaller.
#[must_use]
pub fn worker_bytes_max() -> u64 {
    Limits::default().max_bytes
}

/// Measures media in worker processes.
#[derive(Debug)]
pub struct Measuring {
    workers: MediaWorkers,
}

impl Measuring {
    /// A pool whose processes run this very program. Nothing is started before the first item.
    ///
    /// # Errors
    /// When the path of this program cannot be learnt.
    pub fn start(config: &Media) -> std::io::Result<Self> {
        Ok(Self::of(std::env::current_exe()?, config))
    }

    /// A pool whose processes run `program`, a binary that knows [`WORKER_COMMAND`].
    #[must_use]
    pub fn of(program: PathBuf, config: &Media) -> Self {
        // A worker runs with the defaults; the node may refuse earlier, never later.
        let max_bytes = config.max_bytes.min(worker_bytes_max());
        let limits = Limits { max_bytes, ..Limits::default() };
        let wall_limit = Duration::from_millis(config.wall_limit_ms);
        let arguments = vec![WORKER_COMMAND.into()];
        let workers = config.workers;
        Self { workers: MediaWorkers::start(program, arguments, workers, wall_limit, limits) }
    }

    /// Lets no further item in and ends the idle workers.
    pub fn stop(&self) {
        self.workers.stop();
    }
}

impl Measurer for Measuring {
    fn measure(
        &self,
        bytes: Vec<u8>,
        modality: Modality,
    ) -> BoxFuture<'_, Result<Measured, MeasureError>> {
        Box::pin(async move {
            let Some(expected) = content(modality) else {
                return Err(MeasureError::Verdict("wrong_modality"));
            };
            let measured = self.workers.measure(&bytes, expected).await;
            measured.map(|measures| told(&measures)).map_err(|error| verdict(&error))
        })
    }
}

/// Measures media in this process, with nothing between a decoder and the node: for bytes that were
/// made here.
#[derive(Debug, Clone, Copy, Default)]
pub struct InProcess;

impl Measurer for InProcess {
    fn measure(
        &self,
        bytes: Vec<u8>,
        modality: Modality,
    ) -> BoxFuture<'_, Result<Measured, MeasureError>> {
        Box::pin(async move {
            let Some(expected) = content(modality) else {
                return Err(MeasureError::Verdict("wrong_modality"));
            };
            match gristmill_media::measure(&bytes, expected, &Limits::default()) {
                Ok(measures) => Ok(told(&measures)),
                Err(error) => Err(MeasureError::Verdict(error.reason())),
            }
        })
    }
}

/// The kind of content that a modality stands for; `none` has no content.
fn content(modality: Modality) -> Option<gristmill_media::Modality> {
    match modality {
        Modality::Voice => Some(gristmill_media::Modality::Voice),
        Modality::Image => Some(gristmill_media::Modality::Image),
        Modality::Video => Some(gristmill_media::Modality::Video),
        Modality::None => None,
    }
}

fn told(measures: &Measures) -> Measured {
    let named = measures.named();
    Measured {
        measures: named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        units: measures.units(),
        scorer: SCORER,
    }
}

fn verdict(error: &media_workers::MeasureError) -> MeasureError {
    match error {
        media_workers::MeasureError::Content(error) => MeasureError::Verdict(error.reason()),
        media_workers::MeasureError::DecoderLimit(_) => MeasureError::Verdict("decoder_limit"),
        media_workers::MeasureError::Unavailable(error) => {
            MeasureError::Unavailable(error.to_string())
        }
    }
}

/// The whole life of a worker process, on its standard input and output.
#[must_use]
pub fn media_worker() -> ExitCode {
    let limits = Limits::default();
    match worker::run(std::io::stdin().lock(), std::io::stdout().lock(), &limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gristmill {WORKER_COMMAND}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_workers::{Death, StartError};
    use gristmill_media::{Flaw, ImageMeasures, VoiceMeasures};

    #[test]
    fn units_are_the_duration_of_a_clip_and_one_for_an_image() {
        let voice = VoiceMeasures { duration_ms: 1234, ..VoiceMeasures::default() };
        let measured = told(&Measures::Voice(voice));
        assert_eq!((measured.units, measured.measures["duration_ms"]), (1234, 1234));
        assert_eq!(measured.scorer, SCORER);
        assert_eq!(told(&Measures::Image(ImageMeasures::default())).units, 1);
    }

    #[test]
    fn what_is_the_items_fault_is_a_verdict_and_a_missing_worker_is_not() {
        let flaw = gristmill_media::Error::Undecodable { flaw: Flaw::Malformed };
        assert_eq!(verdict(&flaw.into()), MeasureError::Verdict("undecodable"));
        let death = media_workers::MeasureError::DecoderLimit(Death::Hang);
        assert_eq!(verdict(&death), MeasureError::Verdict("decoder_limit"));
        let none = media_workers::MeasureError::Unavailable(StartError::Stopped);
        assert_eq!(verdict(&none), MeasureError::Unavailable("stopped".to_owned()));
    }

    #[tokio::test]
    async fn an_item_over_the_bound_is_too_large_and_starts_no_worker() {
        let program = PathBuf::from("/nonexistent/gristmill");
        let measuring = Measuring::of(program, &Media { max_bytes: 3, ..Media::default() });
        let refused = measuring.measure(vec![0; 4], Modality::Voice).await;
        assert_eq!(refused, Err(MeasureError::Verdict("too_large")));
        let unavailable = measuring.measure(vec![0; 3], Modality::Voice).await;
        assert!(matches!(unavailable, Err(MeasureError::Unavailable(_))));
        let nothing = measuring.measure(Vec::new(), Modality::None).await;
        assert_eq!(nothing, Err(MeasureError::Verdict("wrong_modality")));
    }
}
