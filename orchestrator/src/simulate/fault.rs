//! What goes wrong on a schedule, to processes that the simulation started itself.

use serde::Serialize;
use std::fmt;
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

/// What came of the faults that were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Struck {
    /// What went wrong.
    pub marks: Vec<Mark>,
    /// Those whose moment did not come before the end.
    pub missed: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, away) = match self.what {
            What::KillNode => ("kill-node", None),
            What::RailDown(away) => ("rail-down", Some(away)),
            What::StopRedis(away) => ("stop-redis", Some(away)),
        };
        let away = away.map(|away| format!("={}", length(away))).unwrap_or_default();
        write!(f, "{name}{away}@{}", length(self.at))
    }
}

/// A length of time as the command line takes it.
fn length(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
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
        for text in ["kill-node@30s", "rail-down=10s@60s", "stop-redis=500ms@1500ms"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        for wrong in ["", "kill-node", "kill-node=1s@2s", "kill@1s", "rail-down=x@1s", "@1s"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
