//! Waiting for something that happens outside this process.

use crate::limits::POLL_INTERVAL;
use std::time::{Duration, Instant};

/// Looks again and again until `look` answers, and returns the answer.
///
/// # Panics
/// When `deadline` has passed without one; `what` says what was awaited.
pub fn poll_until<T>(deadline: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    poll(deadline, look).unwrap_or_else(|| panic!("after {deadline:?} still waiting for {what}"))
}

/// As [`poll_until`]; nothing when the deadline has passed.
pub(crate) fn poll<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = look() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_returns_the_first_answer() {
        let mut looks = 0;
        let answer = poll_until(Duration::from_secs(5), "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(answer, 3);
    }

    #[test]
    #[should_panic(expected = "still waiting for what never comes")]
    fn a_poll_fails_at_its_deadline_and_names_what_it_awaited() {
        poll_until(Duration::ZERO, "what never comes", || None::<()>);
    }
}
