//! Finds the format of bytes from the bytes themselves.

use crate::Modality;

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Voice(AudioFormat),
    Image(ImageFormat),
    /// Holds video, sound or both: only a probe can tell.
    Container(Container),
    /// Recognised, but not measured here.
    Unsupported(Modality),
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AudioFormat {
    Wav,
    Flac,
    OggVorbis,
    /// The first frame starts at this offset, after tags.
    Mp3 {
        start: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageFormat {
    Jpeg,
    Png,
    Webp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// ISO base media: MP4, MOV, 3GP.
    IsoMedia,
    /// Matroska and WebM.
    Matroska,
}

/// Signatures of formats that are recognised but not measured: offset, bytes, modality.
const UNSUPPORTED: &[(usize, &[u8], Modality)] = &[
    (0, b"RIFX", Modality::Voice),
    (0, b"RF64", Modality::Voice),
    (0, b"FORM", Modality::Voice),
    (0, b"#!AMR", Modality::Voice),
    (0, b"caff", Modality::Voice),
    (0, b"GIF8", Modality::Image),
    (0, b"II*\0", Modality::Image),
    (0, b"MM\0*", Modality::Image),
    (0, b"\0\0\0\x0cjP  ", Modality::Image),
    (0, b"\xff\x4f\xff\x51", Modality::Image),
    (0, b"8BPS", Modality::Image),
    (0, b"<svg", Modality::Image),
    (0, b"\0\0\x01\xba", Modality::Video),
    (0, b"\0\0\x01\xb3", Modality::Video),
    (0, b"FLV\x01", Modality::Video),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Modality::Video),
];

/// First boxes of ISO base media files that came without `ftyp`.
const ISO_FIRST_BOXES: &[&[u8]] =
    &[b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"];

/// Brands of still pictures (HEIF, AVIF) and of sound alone among ISO base media.
const ISO_IMAGE_BRANDS: &[&[u8]] =
    &[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"];
const ISO_AUDIO_BRANDS: &[&[u8]] = &[b"M4A ", b"M4B ", b"M4P "];

/// Names the format of `bytes`.
pub(crate) fn sniff(bytes: &[u8]) -> Kind {
    let at =
        |offset: usize, mark: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(mark));
    if at(0, b"RIFF") {
        return match bytes.get(8..12) {
            Some(b"WAVE") => Kind::Voice(AudioFormat::Wav),
            Some(b"WEBP") => Kind::Image(ImageFormat::Webp),
            Some(b"AVI ") => Kind::Unsupported(Modality::Video),
            _ => Kind::Unknown,
        };
    }
    if at(0, b"fLaC") {
        return Kind::Voice(AudioFormat::Flac);
    }
    if at(0, b"OggS") {
        return sniff_ogg(bytes);
    }
    if at(0, b"\xff\xd8\xff") {
        return Kind::Image(ImageFormat::Jpeg);
    }
    if at(0, b"\x89PNG\r\n\x1a\n") {
        return Kind::Image(ImageFormat::Png);
    }
    if at(0, b"\x1a\x45\xdf\xa3") {
        return Kind::Container(Container::Matroska);
    }
    if ISO_FIRST_BOXES.iter().any(|name| at(4, name)) {
        return sniff_iso(bytes);
    }
    for (offset, mark, modality) in UNSUPPORTED {
        if at(*offset, mark) {
            return Kind::Unsupported(*modality);
        }
    }
    sniff_mp3(bytes).map_or(Kind::Unknown, |start| Kind::Voice(AudioFormat::Mp3 { start }))
}

/// The media type of `bytes` (IANA), found as [`sniff`] finds the format.
pub(crate) fn mime(bytes: &[u8]) -> &'static str {
    match sniff(bytes) {
        Kind::Voice(AudioFormat::Wav) => "audio/wav",
        Kind::Voice(AudioFormat::Flac) => "audio/flac",
        Kind::Voice(AudioFormat::OggVorbis) => "audio/ogg",
        Kind::Voice(AudioFormat::Mp3 { .. }) => "audio/mpeg",
        Kind::Image(ImageFormat::Jpeg) => "image/jpeg",
        Kind::Image(ImageFormat::Png) => "image/png",
        Kind::Image(ImageFormat::Webp) => "image/webp",
        Kind::Container(Container::IsoMedia) => "video/mp4",
        Kind::Container(Container::Matroska) => "video/x-matroska",
        Kind::Unsupported(_) | Kind::Unknown => "application/octet-stream",
    }
}

/// The first page of an Ogg stream holds the header of its first logical stream (RFC 3533).
fn sniff_ogg(bytes: &[u8]) -> Kind {
    let header = bytes
        .get(26)
        .and_then(|segments| bytes.get(27 + usize::from(*segments)..))
        .unwrap_or_default();
    if header.starts_with(b"\x01vorbis") {
        Kind::Voice(AudioFormat::OggVorbis)
    } else if header.starts_with(b"\x80theora") {
        Kind::Unsupported(Modality::Video)
    } else {
        Kind::Unsupported(Modality::Voice)
    }
}

fn sniff_iso(bytes: &[u8]) -> Kind {
    let brand = match (bytes.get(4..8), bytes.get(8..12)) {
        (Some(b"ftyp"), Some(brand)) => brand,
        _ => &[],
    };
    if ISO_IMAGE_BRANDS.contains(&brand) {
        Kind::Unsupported(Modality::Image)
    } else if ISO_AUDIO_BRANDS.contains(&brand) {
        Kind::Unsupported(Modality::Voice)
    } else {
        Kind::Container(Container::IsoMedia)
    }
}

/// The offset of the first MPEG audio layer III frame that a second frame follows, after an ID3v2
/// tag when there is one (ISO 11172-3; id3.org/id3v2.4.0-structure section 3.1).
fn sniff_mp3(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    if bytes.starts_with(b"ID3") {
        let size =
            bytes.get(6..10)?.iter().fold(0, |size, byte| (size << 7) | usize::from(byte & 0x7f));
        let footer = if bytes.get(5)? & 0x10 == 0 { 0 } else { 10 };
        start = 10 + size + footer;
    }
    let length = mp3_frame_length(bytes.get(start..)?)?;
    let next = bytes.get(start + length..)?;
    (next.is_empty() || mp3_frame_length(next).is_some()).then_some(start)
}

/// The length of the layer III frame whose header these bytes start with.
fn mp3_frame_length(bytes: &[u8]) -> Option<usize> {
    const V1: [usize; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const V2: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let header: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    if header[0] != 0xff || header[1] & 0xe6 != 0xe2 {
        return None;
    }
    let (rates, bits, samples): ([usize; 3], _, usize) = match header[1] >> 3 & 3 {
        3 => ([44_100, 48_000, 32_000], V1, 144),
        2 => ([22_050, 24_000, 16_000], V2, 72),
        0 => ([11_025, 12_000, 8_000], V2, 72),
        _ => return None,
    };
    let bitrate = bits.get(usize::from(header[2] >> 4).checked_sub(1)?)? * 1_000;
    let rate = rates.get(usize::from(header[2] >> 2 & 3))?;
    Some(samples * bitrate / rate + usize::from(header[2] >> 1 & 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_decide_and_short_inputs_are_unknown() {
        assert_eq!(sniff(b"RIFF\0\0\0\0WAVE"), Kind::Voice(AudioFormat::Wav));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBP"), Kind::Image(ImageFormat::Webp));
        assert_eq!(sniff(b"\0\0\0\x18ftypheic"), Kind::Unsupported(Modality::Image));
        assert_eq!(sniff(b"\0\0\0\x18ftypqt  "), Kind::Container(Container::IsoMedia));
        for short in [&b"R"[..], b"OggS", b"ID3", b"\xff\xfb", b"hello"] {
            assert!(matches!(sniff(short), Kind::Unknown | Kind::Unsupported(_)), "{short:?}");
        }
    }

    #[test]
    fn mp3_needs_two_frames_in_a_row() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
        let mut bytes = vec![0_u8; 417 * 2];
        bytes[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        assert_eq!(sniff(&bytes), Kind::Unknown);
        bytes[417..421].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        assert_eq!(sniff(&bytes), Kind::Voice(AudioFormat::Mp3 { start: 0 }));
    }
}
