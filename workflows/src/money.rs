//! Money: integer micro-units (10^-6 of a major unit) and ISO 4217 codes. Nothing here is a float.

use serde::{Deserialize, Serialize};

/// An ISO 4217 code: three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// A text that is not three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters of ISO 4217")]
pub struct Error;

impl Currency {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII capitals are ever stored")
    }

    /// How many micro-units make one whole minor unit (one won, one cent).
    pub fn minor_micro(self) -> u64 {
        match &self.0 {
            // ISO 4217 list one: currencies without a minor unit, and those with three digits.
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG"
            | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 1_000_000,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 1_000,
            _ => 10_000,
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| Error)?;
        if bytes.iter().all(u8::is_ascii_uppercase) { Ok(Self(bytes)) } else { Err(Error) }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a liability becomes on a rail that pays whole minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeUnits {
    /// Whole minor units to pay; zero settles without a payout.
    pub minor: u64,
    /// Micro-units that stay with the contributor for the next time.
    pub carry: u64,
}

/// `minor = floor((carry + micro) / unit)`; the rest is the new carry.
pub fn whole_units(currency: Currency, carry: u64, micro: u64) -> WholeUnits {
    let unit = currency.minor_micro();
    let total = carry.saturating_add(micro);
    WholeUnits { minor: total / unit, carry: total % unit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::try_from(code.to_owned()).unwrap()
    }

    #[test]
    fn a_won_has_no_minor_unit_and_a_dollar_has_cents() {
        let won = whole_units(currency("KRW"), 900_000, 1_200_000);
        assert_eq!(won, WholeUnits { minor: 2, carry: 100_000 });
        let dollar = whole_units(currency("USD"), 0, 25_999);
        assert_eq!(dollar, WholeUnits { minor: 2, carry: 5_999 });
    }

    #[test]
    fn less_than_one_unit_is_carried_whole() {
        assert_eq!(whole_units(currency("KRW"), 1, 2), WholeUnits { minor: 0, carry: 3 });
    }

    #[test]
    fn codes_are_three_capitals() {
        for code in ["krw", "KR", "KRWX", "KR1", ""] {
            assert_eq!(Currency::try_from(code.to_owned()), Err(Error), "{code}");
        }
    }

    #[test]
    fn a_minor_unit_has_as_many_micro_units_as_its_currency_says() {
        for (code, micro) in [("KRW", 1_000_000), ("USD", 10_000), ("KWD", 1_000)] {
            let currency = currency(code);
            assert_eq!(currency.minor_micro(), micro, "{code}");
            assert_eq!((currency.to_string(), String::from(currency)), (code.into(), code.into()));
        }
    }
}
