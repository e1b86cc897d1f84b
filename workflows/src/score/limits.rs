//! Bounds of score tables.

/// The best score, and the most points of a factor.
pub const MAX_SCORE: i64 = 10_000;

/// Gates of one table.
pub const MAX_GATES: usize = 32;

/// Factors of one table.
pub const MAX_FACTORS: usize = 32;

/// Points of one curve.
pub const MAX_POINTS: usize = 32;

/// Weight of one factor.
pub const MAX_WEIGHT: u32 = 10_000;

/// Largest absolute measure in a curve or a gate, so that interpolation cannot overflow.
pub const MAX_MEASURE: i64 = 1 << 40;
