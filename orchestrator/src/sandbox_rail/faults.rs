//! What goes wrong on purpose, and when.
//!
//! Each decision is a hash of (seed, fault, subject, attempt), so the same requests meet the same
//! faults in every run, in whatever order they arrive.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::limits::MAX_SLOW;

/// Fault settings. The default disturbs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The request is carried out, and the connection closed without an answer.
    pub lost_reply: Probability,
    /// The request is not carried out; the answer is 500, which does not say so.
    pub http_500: Probability,
    /// The request is not carried out; the answer is 429 with `Retry-After: 1`.
    pub http_429: Probability,
    /// Every answer waits this long after the request was carried out.
    pub slow: Duration,
    /// The payout is handled as if it had arrived twice: no money moves twice, but the first answer
    /// seen is the second one (200), and in a batch the payout has two answer lines.
    pub duplicate: Probability,
    /// The payout ends `failed`; no money moves.
    pub fail: Probability,
    /// The payout is applied later, within the settle time: half of them answer 202 and `pending`
    /// meanwhile, half get no answer (504 in a batch) and are unknown (404) meanwhile.
    pub late_apply: Probability,
    /// A key older than this is a new one to a resend, which pays again; the book still holds the
    /// first and `GET` still finds it.
    pub forget_keys_after: Option<Duration>,
    /// Connections are broken and refused for a time.
    pub down: Option<Outage>,
}

/// A time in which connections are broken and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// How long.
    pub lasts: Duration,
    /// How long after these settings came into force.
    pub starts: Duration,
}

/// A probability in parts per billion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probability(u32);

const BILLION: u32 = 1_000_000_000;

/// What is wrong with a fault setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not of the form `name=value`.
    #[error("fault {setting:?} is not name=value")]
    NotAPair {
        /// The setting as given.
        setting: String,
    },
    /// No such fault.
    #[error(
        "no fault is named {name:?}; there are lost_reply, http_500, http_429, slow_ms, duplicate, \
         fail, late_apply, forget_keys_after and down"
    )]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// The same fault twice.
    #[error("fault {name} is given twice")]
    Repeated {
        /// The name.
        name: String,
    },
    /// The value does not fit.
    #[error("fault {name} needs {expected}, not {value:?}")]
    Value {
        /// The name.
        name: String,
        /// What would fit.
        expected: &'static str,
        /// The value as given.
        value: String,
    },
    /// Settings given as JSON that are not an object of numbers and strings.
    #[error("faults are an object of numbers and strings")]
    NotAnObject,
}

impl Faults {
    /// Reads `name=value` pairs parted by commas, such as `lost_reply=0.1,down=10s@30s`. The empty
    /// text disturbs nothing.
    ///
    /// # Errors
    /// Names the first setting that cannot be read.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let pairs = text.split(',').map(|setting| {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| Error::NotAPair { setting: setting.to_owned() })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        Self::from_pairs(pairs)
    }

    /// Reads a JSON object with the same names and values, such as `{"lost_reply": 0.1}`.
    ///
    /// # Errors
    /// Names the first setting that cannot be read.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(bytes).map_err(|_| Error::NotAnObject)?;
        let pairs = object.into_iter().map(|(name, value)| match value {
            serde_json::Value::Number(number) => Ok((name, number.to_string())),
            serde_json::Value::String(text) => Ok((name, text)),
            _ => Err(Error::NotAnObject),
        });
        Self::from_pairs(pairs)
    }

    fn from_pairs(
        pairs: impl Iterator<Item = Result<(String, String), Error>>,
    ) -> Result<Self, Error> {
        let mut faults = Self::default();
        let mut seen = Vec::new();
        for pair in pairs {
            let (name, value) = pair?;
            if seen.contains(&name) {
                return Err(Error::Repeated { name });
            }
            faults.set(&name, &value)?;
            seen.push(name);
        }
        Ok(faults)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let bad =
            |expected| Error::Value { name: name.to_owned(), expected, value: value.to_owned() };
        let probability =
            || Probability::parse(value).ok_or_else(|| bad("a probability from 0 to 1"));
        match name {
            "lost_reply" => self.lost_reply = probability()?,
            "http_500" => self.http_500 = probability()?,
            "http_429" => self.http_429 = probability()?,
            "duplicate" => self.duplicate = probability()?,
            "fail" => self.fail = probability()?,
            "late_apply" => self.late_apply = probability()?,
            "slow_ms" => {
                let slow = value.parse().ok().map(Duration::from_millis);
                self.slow = slow
                    .filter(|slow| *slow <= MAX_SLOW)
                    .ok_or_else(|| bad("milliseconds up to 600000"))?;
            }
            "forget_keys_after" => {
                let after = duration(value).ok_or_else(|| bad("a duration such as 60s"))?;
                self.forget_keys_after = Some(after);
            }
            "down" => {
                let outage = value.split_once('@').and_then(|(lasts, starts)| {
                    Some(Outage { lasts: duration(lasts)?, starts: duration(starts)? })
                });
                self.down = Some(outage.ok_or_else(|| bad("a duration and a start, 10s@30s"))?);
            }
            _ => {
                return Err(Error::Unknown { name: name.to_owned() });
            }
        }
        Ok(())
    }
}

impl Probability {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(BILLION);

    fn parse(text: &str) -> Option<Self> {
        let value: f64 = text.parse().ok()?;
        if !(0.0..=1.0).contains(&value) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is between 0 and a billion"
        )]
        let parts = (value * f64::from(BILLION)).round() as u32;
        Some(Self(parts))
    }

    /// Whether the fault named `fault` befalls this attempt of `subject`.
    pub(super) fn strikes(self, seed: u64, fault: &str, subject: u128, attempt: u32) -> bool {
        match self {
            Self::NEVER => false,
            Self::ALWAYS => true,
            Self(parts) => {
                roll(seed, fault, subject, attempt) % u64::from(BILLION) < u64::from(parts)
            }
        }
    }
}

/// A number that depends on nothing but its arguments.
pub(super) fn roll(seed: u64, purpose: &str, subject: u128, attempt: u32) -> u64 {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(subject.to_le_bytes())
        .chain_update(attempt.to_le_bytes())
        .chain_update(purpose.as_bytes())
        .finalize();
    u64::from_le_bytes(first(&digest))
}

/// The first `N` bytes of a SHA-256 hash.
pub(super) fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    *digest.first_chunk().expect("a SHA-256 hash has 32 bytes, more than is ever asked for")
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let number: u64 = digits.parse().ok()?;
    let milliseconds = match text.get(digits.len()..)? {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    // A century at most, so that no sum of an instant and a duration overflows.
    let total = number.checked_mul(milliseconds)?;
    (total <= 100 * 366 * 86_400_000).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_contract_is_read() {
        let faults = Faults::parse(
            "lost_reply=0.1,http_500=0.1,http_429=1,slow_ms=500,duplicate=0.1,fail=0.01,\
             late_apply=0.1,forget_keys_after=60s,down=10s@30s",
        )
        .unwrap();
        assert_eq!(faults.lost_reply, Probability(BILLION / 10));
        assert_eq!(faults.http_429, Probability::ALWAYS);
        assert_eq!(faults.slow, Duration::from_millis(500));
        assert_eq!(faults.fail, Probability(BILLION / 100));
        assert_eq!(faults.forget_keys_after, Some(Duration::from_secs(60)));
        let down = Outage { lasts: Duration::from_secs(10), starts: Duration::from_secs(30) };
        assert_eq!(faults.down, Some(down));
        let json = br#"{"lost_reply": 0.1, "down": "10s@30s"}"#;
        assert_eq!(Faults::from_json(json), Faults::parse("lost_reply=0.1,down=10s@30s"));
    }

    #[test]
    fn bad_settings_are_named() {
        for (text, message) in [
            ("lost_reply", "fault \"lost_reply\" is not name=value"),
            ("fail=2", "fault fail needs a probability from 0 to 1, not \"2\""),
            ("fail=NaN", "fault fail needs a probability from 0 to 1, not \"NaN\""),
            ("fail=0,fail=0", "fault fail is given twice"),
            ("slow_ms=-1", "fault slow_ms needs milliseconds up to 600000, not \"-1\""),
            ("down=10s", "fault down needs a duration and a start, 10s@30s, not \"10s\""),
            ("forget_keys_after=99999999999h", "fault forget_keys_after needs a duration such"),
        ] {
            let error = Faults::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        assert!(matches!(Faults::parse("slow=1"), Err(Error::Unknown { .. })));
        assert_eq!(Faults::from_json(b"[]"), Err(Error::NotAnObject));
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_says_and_the_same_each_time() {
        let tenth = Probability::parse("0.1").unwrap();
        let strikes = |seed| {
            (0..10_000_u128).filter(|subject| tenth.strikes(seed, "fail", *subject, 0)).count()
        };
        assert!((900..1_100).contains(&strikes(1)));
        assert_eq!(strikes(2), strikes(2));
    }
}
