//! Interrupts of a simulation: the first one ends what is driven or waited for, and the auditor follows;
//! the second one ends everything.

use super::embedded::Error;
use crate::interrupts::Interrupts;
use crate::run::say;

/// What the first interrupt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// What is waited for: the auditor follows.
    This,
    /// Nothing: it is the auditor who works.
    Nothing,
}

/// Whether a simulation was interrupted already.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) once: bool,
}

impl Told {
    /// Waits for something; none if the first interrupt ended the wait.
    ///
    /// # Errors
    /// [`Error::Interrupted`] at the second interrupt.
    pub(super) async fn unless<T>(
        &mut self,
        interrupts: &mut Interrupts,
        ends: Ends,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, Error> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(Some(done)),
                () = interrupts.next() => {
                    if std::mem::replace(&mut self.once, true) {
                        return Err(Error::Interrupted);
                    }
                    say("interrupted: the auditor has the last word; once more ends without it");
                    if ends == Ends::This {
                        return Ok(None);
                    }
                }
            }
        }
    }
}
