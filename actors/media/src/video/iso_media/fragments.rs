//! Movie fragments: what recorders in browsers write instead of one sample table.

use super::boxes::{Boxes, be32};
use super::{MALFORMED, Track, spend};
use crate::error::Error;
use crate::limits::Limits;

/// Defaults of a track in one fragment (`tfhd`).
#[derive(Default)]
struct Defaults {
    duration: u64,
    size: u64,
}

/// Adds the samples that a `moof` holds for `track`.
pub(super) fn add(
    fragment: &[u8],
    track: &mut Track,
    budget: &mut u64,
    limits: &Limits,
) -> Result<(), Error> {
    for item in Boxes::nested(fragment) {
        let (name, content) = item?;
        spend(budget, limits)?;
        if &name == b"traf" {
            track_fragment(content, track, budget, limits)?;
        }
    }
    Ok(())
}

fn track_fragment(
    content: &[u8],
    track: &mut Track,
    budget: &mut u64,
    limits: &Limits,
) -> Result<(), Error> {
    let mut defaults = None;
    for item in Boxes::nested(content) {
        let (name, content) = item?;
        spend(budget, limits)?;
        match &name {
            b"tfhd" => {
                if be32(content, 4) != Some(track.id) {
                    return Ok(());
                }
                defaults = Some(header(content)?);
            }
            b"trun" => {
                let defaults = defaults.as_ref().ok_or(MALFORMED)?;
                run(content, defaults, track, budget, limits)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// `tfhd`: which optional fields stand in it, the flags say.
fn header(content: &[u8]) -> Result<Defaults, Error> {
    let flags = be32(content, 0).ok_or(MALFORMED)?;
    let mut at = 8;
    let mut field = |flag: u32, width: usize| -> Result<u64, Error> {
        if flags & flag == 0 {
            return Ok(0);
        }
        let value = be32(content, at).ok_or(MALFORMED)?;
        at += width;
        Ok(u64::from(value))
    };
    field(0x01, 8)?;
    field(0x02, 4)?;
    let duration = field(0x08, 4)?;
    let size = field(0x10, 4)?;
    Ok(Defaults { duration, size })
}

/// `trun`: optional fields for the run, then optional fields for each sample.
fn run(
    content: &[u8],
    defaults: &Defaults,
    track: &mut Track,
    budget: &mut u64,
    limits: &Limits,
) -> Result<(), Error> {
    let flags = be32(content, 0).ok_or(MALFORMED)?;
    let samples = be32(content, 4).ok_or(MALFORMED)?;
    let has = |flag: u32| usize::from(flags & flag != 0);
    let mut at = 8 + 4 * (has(0x01) + has(0x04));
    let width = 4 * (has(0x100) + has(0x200) + has(0x400) + has(0x800));
    for _ in 0..samples {
        spend(budget, limits)?;
        let sample = content.get(at..at + width).ok_or(MALFORMED)?;
        let duration = if has(0x100) == 1 { be32(sample, 0).map(u64::from) } else { None };
        let size_at = 4 * has(0x100);
        let size = if has(0x200) == 1 { be32(sample, size_at).map(u64::from) } else { None };
        track.duration = track.duration.saturating_add(duration.unwrap_or(defaults.duration));
        track.video.take_frame(size.unwrap_or(defaults.size));
        at += width;
    }
    Ok(())
}
