use super::*;

fn clip(samples: Vec<i16>) -> Clip {
    Clip {
        samples,
        sample_rate: 16_000,
        channels: 1,
        dead_channels: 0,
        full_scale: 0,
        missing_bp: 0,
    }
}

/// A tone whose loudness rises and falls, from integers alone.
fn tone(count: usize, peak: i32) -> Vec<i16> {
    (0..count as i32)
        .map(|index| {
            let saw = (index % 80 - 40) * peak / 40;
            let swell = (index / 40) % 100;
            i16::try_from(saw * swell.min(100 - swell) / 50).unwrap()
        })
        .collect()
}

#[test]
fn silence_is_silent_and_nothing_divides_by_zero() {
    for length in [1, 100, 48_000] {
        let measures = analyse(&clip(vec![0; length]));
        assert_eq!(measures.silence_bp, 10_000, "{length} samples");
        assert_eq!(measures.level_cdb, NO_SIGNAL_CDB);
        assert_eq!((measures.clipping_bp, measures.speech_bp, measures.dropout_bp), (0, 0, 0));
    }
}

#[test]
fn flat_tops_are_clipping_at_any_level() {
    let natural = tone(32_000, 20_000);
    let clipped: Vec<i16> = natural.iter().map(|sample| (*sample).clamp(-9_000, 9_000)).collect();
    let quiet: Vec<i16> = clipped.iter().map(|sample| sample / 4).collect();
    assert!(analyse(&clip(natural)).clipping_bp < 20);
    assert!(analyse(&clip(clipped)).clipping_bp > 1_000);
    assert!(analyse(&clip(quiet)).clipping_bp > 1_000);
}

#[test]
fn a_constant_offset_changes_no_level() {
    let samples = tone(32_000, 8_000);
    let before = analyse(&clip(samples.clone()));
    let shifted: Vec<i16> = samples.iter().map(|sample| sample + 6_554).collect();
    let after = analyse(&clip(shifted));
    assert!((before.level_cdb - after.level_cdb).abs() <= 2);
    assert!((1_950..2_050).contains(&after.offset_bp), "{}", after.offset_bp);
}

#[test]
fn gaps_cut_into_sound_are_dropouts_and_long_pauses_are_not() {
    let mut samples = tone(32_000, 20_000);
    for start in (1_000..30_000).step_by(4_000) {
        samples[start..start + 960].fill(0);
    }
    assert!(analyse(&clip(samples)).dropout_bp > 1_000);
    let mut paused = tone(32_000, 20_000);
    paused[8_000..24_000].fill(0);
    assert_eq!(analyse(&clip(paused)).dropout_bp, 0);
}
