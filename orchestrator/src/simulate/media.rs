//! Media that people hand in: a few shipped clips, pictures and videos, each time with a tag in them
//! that decoders skip, so that no two have the same bytes unless one is a copy of the other.

use super::draws::Draws;
use super::population::Carries;
use gristmill_workflows::submission::Modality;
use std::iter::repeat_with;

/// The stream of the bytes of broken media.
const BROKEN: u64 = 1 << 46;
/// Bytes of a good file that a broken one begins with, and words of nothing that follow them.
const BROKEN_HEAD: usize = 16;
const BROKEN_WORDS: usize = 64;
/// What broken sound begins with: of an MP3 a decoder takes whatever is left.
const BROKEN_VOICE: &[u8; BROKEN_HEAD] = b"RIFF\x08\x02\0\0WAVEfmt ";
/// The empty tag that the shipped clips begin with, in bytes.
const ID3_BYTES: usize = 20;
/// The last chunk of a PNG, `IEND`, in bytes.
const IEND_BYTES: usize = 12;

const VOICES: [&[u8]; 2] = [
    include_bytes!("../../../workflows/examples/media/voice-07.mp3"),
    include_bytes!("../../../workflows/examples/media/voice-10.mp3"),
];
const PHOTOS: [&[u8]; 2] = [
    include_bytes!("../../../workflows/examples/media/photo-05.png"),
    include_bytes!("../../../workflows/examples/media/photo-06.png"),
];
const VIDEOS: [&[u8]; 2] = [
    include_bytes!("../../../workflows/examples/media/video-01.mp4"),
    include_bytes!("../../../workflows/examples/media/video-02.mp4"),
];

/// The bytes that a contribution of a run carries; none if it has no media.
#[must_use]
pub fn bytes(run: &str, seed: u64, carries: &Carries) -> Option<Vec<u8>> {
    let (contributor, nth) = carries.of;
    let variants = match carries.modality {
        Modality::None => return None,
        Modality::Voice => VOICES,
        Modality::Image => PHOTOS,
        Modality::Video => VIDEOS,
    };
    let place = usize::from(!contributor.wrapping_add(u64::from(nth)).is_multiple_of(2));
    let good = variants[place];
    if carries.broken {
        let mut draws = Draws::of(seed, BROKEN + u64::from(nth), contributor);
        let words = repeat_with(|| draws.bits().to_be_bytes()).take(BROKEN_WORDS);
        let head: &[u8] = match carries.modality {
            Modality::Voice => BROKEN_VOICE,
            _ => good,
        };
        let head = head.iter().take(BROKEN_HEAD).copied();
        return Some(head.chain(words.flatten()).chain(run.bytes()).collect());
    }
    let tag = format!("{run}-{contributor}-{nth}");
    Some(match carries.modality {
        Modality::None | Modality::Voice => with_id3(good, &tag),
        Modality::Image => with_text(good, &tag),
        Modality::Video => with_free(good, &tag),
    })
}

/// An MP3 behind an ID3v2.3 tag with one TXXX frame, in place of the empty tag that it has.
fn with_id3(mp3: &[u8], tag: &str) -> Vec<u8> {
    let text = format!("\0run\0{tag}");
    let mut frame = b"TXXX".to_vec();
    frame.extend((text.len() as u32).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(text.bytes());
    // Seven bits a byte.
    let length = frame.len() as u32;
    let size = [21, 14, 7, 0].map(|shift| (length >> shift & 0x7f) as u8);
    [b"ID3\x03\0\0", &size[..], &frame, &mp3[ID3_BYTES..]].concat()
}

/// A PNG with a tEXt chunk before its last one (W3C PNG, 11.3.3.2).
fn with_text(png: &[u8], tag: &str) -> Vec<u8> {
    let (all, end) = png.split_at(png.len() - IEND_BYTES);
    let chunk = [b"tEXtComment\0", tag.as_bytes()].concat();
    let length = (chunk.len() - 4) as u32;
    [all, &length.to_be_bytes(), &chunk, &crc32(&chunk).to_be_bytes(), end].concat()
}

/// An ISO media file with a `free` box behind it (ISO/IEC 14496-12, 8.1.2).
fn with_free(mp4: &[u8], tag: &str) -> Vec<u8> {
    let length = 8 + tag.len() as u32;
    [mp4, &length.to_be_bytes(), b"free", tag.as_bytes()].concat()
}

/// CRC-32 as PNG has it (W3C PNG, annex D), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (if crc & 1 == 1 { 0xedb8_8320 } else { 0 });
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measuring::InProcess;
    use gristmill_actors::engine::{MeasureError, Measurer};
    use std::collections::HashSet;

    const KINDS: [Modality; 3] = [Modality::Voice, Modality::Image, Modality::Video];

    #[tokio::test]
    async fn all_of_it_measures_as_what_it_is_and_broken_media_do_not_decode() {
        for modality in KINDS {
            let plain = |nth| Carries { modality, broken: false, of: (0, nth) };
            for nth in 0..2 {
                let good = bytes("run", 1, &plain(nth)).unwrap();
                let measured = InProcess.measure(good, modality).await;
                assert!(measured.is_ok(), "{modality:?} {nth}: {measured:?}");
            }
            for nth in 0..200 {
                let broken = bytes("run", 1, &Carries { broken: true, ..plain(nth) }).unwrap();
                let measured = InProcess.measure(broken, modality).await;
                assert_eq!(measured, Err(MeasureError::Verdict("undecodable")), "{modality:?}");
            }
        }
    }

    #[test]
    fn no_two_have_the_same_bytes_but_a_copy_and_its_original() {
        let mut seen = HashSet::new();
        for modality in KINDS {
            for broken in [false, true] {
                for of in [(1, 0), (1, 1), (2, 0), (3, 0)] {
                    let carries = Carries { modality, broken, of };
                    for run in ["one", "other"] {
                        let made = bytes(run, 1, &carries).unwrap();
                        assert_eq!(Some(&made), bytes(run, 1, &carries).as_ref());
                        assert!(seen.insert(made), "{carries:?}");
                    }
                }
            }
        }
        let none = Carries { modality: Modality::None, broken: false, of: (0, 0) };
        assert_eq!(bytes("run", 1, &none), None);
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
    }
}
