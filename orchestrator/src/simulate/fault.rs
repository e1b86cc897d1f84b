//! What goes wrong on a schedule, to processes that the simulation started itself.

use serde::Serialize;
use std::str::FromStr;
use std::time::Duration;

/// How long the rail or the server is away, if nothing says so.
const AWAY: Duration = Duration::from_secs(5);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The next node in turn is killed (SIGKILL) and started again at once.
    KillNode,
    /// The rail breaks and refuses connections for so long.
    RailDown(Duration),
    /// The Redis server is killed, and started again after so long.
    StopRedis(Duration),
}

/// What goes wrong when: `kill-node@30s`, `rail-down=10s@1m`, `stop-redis=2s@90s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// So long after the start.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What went wrong, for the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mark {
    /// Seconds since the start.
    pub at_s: f64,
    /// What.
    pub what: String,
}

/// What is wrong with a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Without a moment.
    #[error("a fault is kill-node@30s, rail-down=10s@30s or stop-redis=2s@30s")]
    Shape,
    /// A length of time.
    #[error("{0}")]
    Duration(String),
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (what, at) = text.split_once('@').ok_or(Error::Shape)?;
        let length = |text: &str| {
            crate::cli::duration_ms(text).map(Duration::from_millis).map_err(Error::Duration)
        };
        let at = length(at)?;
        let (name, away) = match what.split_once('=') {
            Some((name, away)) => (name, Some(length(away)?)),
            None => (what, None),
        };
        let what = match (name, away) {
            ("kill-node", None) => What::KillNode,
            ("rail-down", away) => What::RailDown(away.unwrap_or(AWAY)),
            ("stop-redis", away) => What::StopRedis(away.unwrap_or(AWAY)),
            _ => return Err(Error::Shape),
        };
        Ok(Self { at, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_and_when() {
        let seconds = Duration::from_secs;
        let fault = |at, what| Ok(Fault { at, what });
        assert_eq!("kill-node@30s".parse(), fault(seconds(30), What::KillNode));
        assert_eq!("rail-down=10s@1m".parse(), fault(seconds(60), What::RailDown(seconds(10))));
        assert_eq!("stop-redis@2s".parse(), fault(seconds(2), What::StopRedis(AWAY)));
        for wrong in ["", "kill-node", "kill-node=1s@2s", "kill@1s", "rail-down=x@1s", "@1s"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
