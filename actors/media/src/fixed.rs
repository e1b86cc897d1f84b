//! Integer arithmetic for measures: the same on every machine.

/// A level below every level of a 16-bit signal, in centi-decibels: what exact silence gets.
pub(crate) const NO_SIGNAL_CDB: i64 = -12_000;

/// Binary logarithm in 1/65536, truncated; 0 for 0.
pub(crate) fn log2_q16(value: u64) -> i64 {
    if value == 0 {
        return 0;
    }
    let whole = i64::from(value.ilog2());
    // Mantissa in [1, 2) with 31 fractional bits.
    let mut mantissa = if whole >= 31 { value >> (whole - 31) } else { value << (31 - whole) };
    let mut fraction = 0_i64;
    for _ in 0..16 {
        mantissa = (mantissa * mantissa) >> 31;
        fraction <<= 1;
        if mantissa >= 1 << 32 {
            mantissa >>= 1;
            fraction |= 1;
        }
    }
    (whole << 16) | fraction
}

/// The level of a sum of squares of 16-bit samples over `count` samples, in centi-decibels against
/// a full-scale square wave.
pub(crate) fn level_cdb(sum_of_squares: u64, count: u64) -> i64 {
    if sum_of_squares == 0 || count == 0 {
        return NO_SIGNAL_CDB;
    }
    // 1000 · log10(x) = 301.03 · log2(x); full scale is 2^15 squared.
    let log2 = log2_q16(sum_of_squares) - log2_q16(count) - (30 << 16);
    (log2 * 30_103).div_euclid(100 << 16)
}

/// `part` of `whole` in basis points, rounded down; 0 for an empty whole.
pub(crate) fn share_bp(part: u64, whole: u64) -> i64 {
    if whole == 0 {
        return 0;
    }
    let share = u128::from(part) * 10_000 / u128::from(whole);
    i64::try_from(share).unwrap_or(i64::MAX)
}

/// The value below which `percent` of the sorted values lie; 0 for none.
pub(crate) fn percentile(sorted: &[i64], percent: usize) -> i64 {
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or(0)
}

/// A count as a measure.
pub(crate) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_is_exact_at_powers_of_two_and_close_between() {
        assert_eq!(log2_q16(1), 0);
        assert_eq!(log2_q16(1 << 40), 40 << 16);
        assert_eq!(log2_q16(u64::MAX) >> 16, 63);
        let ten = log2_q16(10) as f64 / 65_536.0;
        assert!((ten - 10_f64.log2()).abs() < 0.001);
    }

    #[test]
    fn levels_are_in_hundredths_of_a_decibel() {
        let full = 32_768_u64 * 32_768;
        assert_eq!(level_cdb(full * 100, 100), 0);
        assert!((level_cdb(full, 100) + 2_000).abs() <= 2);
        assert_eq!(level_cdb(0, 100), NO_SIGNAL_CDB);
        assert_eq!(level_cdb(5, 0), NO_SIGNAL_CDB);
    }

    #[test]
    fn shares_and_percentiles_survive_emptiness() {
        assert_eq!(share_bp(1, 0), 0);
        assert_eq!(share_bp(1, 3), 3_333);
        assert_eq!(percentile(&[], 50), 0);
        assert_eq!(percentile(&[1, 2, 3], 100), 3);
    }
}
