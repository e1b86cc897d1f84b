//! Who looks on while an audit reads: millions of rows are read and decoded once.

use gristmill_workflows::submission::Submission;
use gristmill_workflows::tombstone::Finished;

/// Sees every row that reads. It goes from thread to thread.
pub(crate) trait Onlooker: Send + 'static {
    /// A contribution that is queued.
    fn queued(&mut self, submission: &Submission);

    /// A journey, or what is left of one.
    fn row(&mut self, row: &Finished);
}

/// Nobody.
impl Onlooker for () {
    fn queued(&mut self, _: &Submission) {}

    fn row(&mut self, _: &Finished) {}
}
