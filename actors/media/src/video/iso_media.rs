//! ISO base media files (ISO/IEC 14496-12) and QuickTime: the movie box and the sample tables.
//!
//! Only the boxes named here are entered, so nesting is bounded by this code and not by the file.

mod boxes;
mod fragments;

use boxes::{Boxes, be16, be32, be64};

use super::summary::{Summary, VideoTrack};
use crate::error::{Bound, Error, Flaw};
use crate::limits::Limits;

const MALFORMED: Error = Error::Undecodable { flaw: Flaw::Malformed };
const TRUNCATED: Error = Error::Undecodable { flaw: Flaw::Truncated };

/// One track of the movie box.
#[derive(Debug, Default)]
struct Track {
    id: u32,
    handler: [u8; 4],
    timescale: u64,
    duration: u64,
    first_chunk_past: u64,
    video: VideoTrack,
}

/// Reads the first video track and counts those with sound.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Summary, Error> {
    let mut budget = limits.max_elements;
    let mut tracks = Vec::new();
    let mut found_movie = false;
    let mut media_bytes = 0_u64;
    let mut fragments = Vec::new();
    for item in Boxes::top_level(bytes) {
        let (name, content) = item?;
        spend(&mut budget, limits)?;
        match &name {
            b"moov" if !found_movie => {
                found_movie = true;
                tracks = movie(content, &mut budget, limits)?;
            }
            b"mdat" => media_bytes += content.len() as u64,
            b"moof" => fragments.push(content),
            _ => {}
        }
    }
    if !found_movie {
        return Err(MALFORMED);
    }
    for track in &mut tracks {
        for fragment in &fragments {
            fragments::add(fragment, track, &mut budget, limits)?;
        }
    }
    let audio_tracks = tracks.iter().filter(|track| &track.handler == b"soun").count() as u64;
    let video = tracks.into_iter().find(|track| &track.handler == b"vide").map(|track| {
        if track.video.coded_bytes > media_bytes || track.first_chunk_past > bytes.len() as u64 {
            return Err(TRUNCATED);
        }
        let timescale = track.timescale.max(1);
        let duration_ms = track.duration.saturating_mul(1_000) / timescale;
        Ok(VideoTrack { duration_ms, ..track.video })
    });
    Ok(Summary { video: video.transpose()?, audio_tracks })
}

/// Counts one box or table entry against the bound.
fn spend(budget: &mut u64, limits: &Limits) -> Result<(), Error> {
    *budget = budget.checked_sub(1).ok_or(Error::TooLarge {
        bound: Bound::Elements,
        found: limits.max_elements + 1,
        limit: limits.max_elements,
    })?;
    Ok(())
}

fn movie(content: &[u8], budget: &mut u64, limits: &Limits) -> Result<Vec<Track>, Error> {
    let mut tracks: Vec<Track> = Vec::new();
    for item in Boxes::nested(content) {
        let (name, content) = item?;
        spend(budget, limits)?;
        if &name == b"trak" {
            limits.check(Bound::Tracks, tracks.len() as u64 + 1, limits.max_tracks)?;
            let mut track = Track::default();
            enter(content, &mut track, budget, limits)?;
            tracks.push(track);
        }
    }
    Ok(tracks)
}

/// Reads the boxes of a track. The only boxes entered are `mdia`, `minf` and `stbl`, each inside
/// the one before, so the depth is at most four.
fn enter(
    content: &[u8],
    track: &mut Track,
    budget: &mut u64,
    limits: &Limits,
) -> Result<(), Error> {
    let mut levels = vec![Boxes::nested(content)];
    let path: [&[u8; 4]; 3] = [b"mdia", b"minf", b"stbl"];
    while let Some(boxes) = levels.last_mut() {
        let Some(item) = boxes.next() else {
            levels.pop();
            continue;
        };
        let (name, content) = item?;
        spend(budget, limits)?;
        if path.get(levels.len() - 1) == Some(&&name) {
            levels.push(Boxes::nested(content));
            continue;
        }
        match &name {
            b"tkhd" => track.id = track_id(content)?,
            b"mdhd" => (track.timescale, track.duration) = media_header(content)?,
            b"hdlr" if levels.len() == 2 => {
                track.handler =
                    content.get(8..12).and_then(|h| h.try_into().ok()).ok_or(MALFORMED)?;
            }
            b"stsd" => sample_description(content, track)?,
            b"stsz" => sample_sizes(content, &mut track.video, budget, limits)?,
            b"stts" if track.duration == 0 => track.duration = time_to_sample(content),
            b"stco" => track.first_chunk_past = chunk_past(content, 4)?,
            b"co64" => track.first_chunk_past = chunk_past(content, 8)?,
            _ => {}
        }
    }
    Ok(())
}

/// `tkhd`: the identifier stands after the two times, whose size depends on the version.
fn track_id(content: &[u8]) -> Result<u32, Error> {
    let offset = if content.first() == Some(&1) { 20 } else { 12 };
    be32(content, offset).ok_or(MALFORMED)
}

/// `mdhd`: ticks per second and duration in ticks; all ones mean unknown.
fn media_header(content: &[u8]) -> Result<(u64, u64), Error> {
    let (timescale, duration) = if content.first() == Some(&1) {
        (be32(content, 20), be64(content, 24).filter(|ticks| *ticks != u64::MAX))
    } else {
        let ticks = be32(content, 16).filter(|ticks| *ticks != u32::MAX);
        (be32(content, 12), ticks.map(u64::from))
    };
    Ok((u64::from(timescale.ok_or(MALFORMED)?), duration.unwrap_or(0)))
}

/// `stsd`: codec and size of the first sample entry.
fn sample_description(content: &[u8], track: &mut Track) -> Result<(), Error> {
    track.video.codec =
        content.get(12..16).and_then(|codec| codec.try_into().ok()).ok_or(MALFORMED)?;
    if &track.handler == b"vide" {
        // The sample entry starts at 8; width and height stand 32 bytes into it.
        track.video.width = u64::from(be16(content, 40).ok_or(MALFORMED)?);
        track.video.height = u64::from(be16(content, 42).ok_or(MALFORMED)?);
    }
    Ok(())
}

/// `stsz`: one size for all samples, or one each.
fn sample_sizes(
    content: &[u8],
    video: &mut VideoTrack,
    budget: &mut u64,
    limits: &Limits,
) -> Result<(), Error> {
    let size = be32(content, 4).ok_or(MALFORMED)?;
    let samples = u64::from(be32(content, 8).ok_or(MALFORMED)?);
    if size != 0 {
        video.frames = samples;
        video.coded_bytes = samples * u64::from(size);
        return Ok(());
    }
    let table = content.get(12..).unwrap_or_default();
    if samples * 4 > table.len() as u64 {
        return Err(MALFORMED);
    }
    let (sizes, _) = table.as_chunks();
    for size in sizes.iter().take(usize::try_from(samples).unwrap_or(usize::MAX)) {
        spend(budget, limits)?;
        video.take_frame(u64::from(u32::from_be_bytes(*size)));
    }
    Ok(())
}

/// `stts`: the sum of all sample durations, in ticks.
fn time_to_sample(content: &[u8]) -> u64 {
    let (entries, _) = content.get(8..).unwrap_or_default().as_chunks::<8>();
    entries.iter().fold(0_u64, |sum, [a, b, c, d, delta @ ..]| {
        let (count, delta) = (u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes(*delta));
        sum.saturating_add(u64::from(count) * u64::from(delta))
    })
}

/// `stco`, `co64`: one past the largest chunk offset, which must lie inside the file.
fn chunk_past(content: &[u8], width: usize) -> Result<u64, Error> {
    let table = content.get(8..).ok_or(MALFORMED)?;
    let offsets = table
        .chunks_exact(width)
        .map(|entry| if width == 4 { be32(entry, 0).map(u64::from) } else { be64(entry, 0) });
    Ok(offsets.flatten().max().map_or(0, |offset| offset.saturating_add(1)))
}
