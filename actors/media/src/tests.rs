use super::*;

fn wav(samples: &[i16], announced: u32) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    bytes[4..8].copy_from_slice(&(36 + announced).to_le_bytes());
    bytes.extend_from_slice(&16_000_u32.to_le_bytes());
    bytes.extend_from_slice(&32_000_u32.to_le_bytes());
    bytes.extend_from_slice(b"\x02\0\x10\0data");
    bytes.extend_from_slice(&announced.to_le_bytes());
    for sample in samples {
        bytes.extend_from_slice(&sample.to_le_bytes());
    }
    bytes
}

fn png(width: u32, height: u32, luma: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let picture = ::image::GrayImage::from_fn(width, height, |x, y| ::image::Luma([luma(x, y)]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ::image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn measured(bytes: &[u8], expected: Modality) -> Result<Measures, Error> {
    measure(bytes, expected, &Limits::default())
}

#[test]
fn a_clip_is_priced_by_its_decoded_duration() {
    let samples: Vec<i16> = (0..24_000_i32).map(|index| (index % 200 * 50) as i16).collect();
    let Ok(Measures::Voice(voice)) = measured(&wav(&samples, 48_000), Modality::Voice) else {
        panic!("a plain clip is measured")
    };
    assert_eq!((voice.duration_ms, voice.sample_rate, voice.channels), (1_500, 16_000, 1));
    assert_eq!(Measures::Voice(voice).units(), 1_500);
}

#[test]
fn half_a_clip_is_truncated() {
    let error = measured(&wav(&[100; 12_000], 48_000), Modality::Voice).unwrap_err();
    assert_eq!(error, Error::Undecodable { flaw: Flaw::Truncated });
}

#[test]
fn another_modality_is_named_and_nonsense_is_undecodable() {
    let clip = wav(&[0; 100], 200);
    let picture = png(64, 64, |x, _| x as u8);
    let found = |bytes: &[u8], expected| measured(bytes, expected).unwrap_err();
    assert_eq!(found(&clip, Modality::Image), Error::WrongModality { found: Modality::Voice });
    assert_eq!(found(&picture, Modality::Video), Error::WrongModality { found: Modality::Image });
    assert_eq!(found(b"", Modality::Image), Error::Empty);
    assert_eq!(found(b"hello", Modality::Image).reason(), "undecodable");
}

#[test]
fn a_cut_picture_is_undecodable() {
    let whole = png(200, 200, |x, y| (x * y % 251) as u8);
    assert!(measured(&whole, Modality::Image).is_ok());
    let half = &whole[..whole.len() / 2];
    assert_eq!(measured(half, Modality::Image).unwrap_err().reason(), "undecodable");
}

#[test]
fn bounds_are_refused_before_decoding() {
    let limits = Limits { max_dimension: 100, max_duration_ms: 1_000, ..Limits::default() };
    let wide = png(101, 2, |_, _| 0);
    let error = measure(&wide, Modality::Image, &limits).unwrap_err();
    assert_eq!(error, Error::TooLarge { bound: Bound::Dimension, found: 101, limit: 100 });
    let long = wav(&[50; 20_000], 40_000);
    assert_eq!(measure(&long, Modality::Voice, &limits).unwrap_err().reason(), "too_long");
    let limits = Limits { max_bytes: 10, ..limits };
    assert_eq!(measure(&long, Modality::Voice, &limits).unwrap_err().reason(), "too_large");
}

#[test]
fn a_checkerboard_is_sharper_than_a_slope_and_black_is_uniform() {
    let of = |luma: fn(u32, u32) -> u8| match measured(&png(256, 256, luma), Modality::Image) {
        Ok(Measures::Image(image)) => image,
        other => panic!("{other:?}"),
    };
    let board = of(|x, y| if (x / 4 + y / 4) % 2 == 0 { 40 } else { 200 });
    let slope = of(|x, _| x as u8);
    let black = of(|_, _| 0);
    assert!(board.sharpness > 100 * slope.sharpness.max(1));
    assert_eq!((black.dark_bp, black.uniformity_bp, black.sharpness), (10_000, 10_000, 0));
}

#[test]
fn every_prefix_and_flipped_byte_is_survived() {
    let samples: Vec<i16> = (0..400_i32).map(|index| (index % 20 * 900) as i16).collect();
    let files = [wav(&samples, 800), png(24, 24, |x, y| (x * 7 + y * 13) as u8)];
    for file in files {
        for at in 0..file.len() {
            for expected in [Modality::Voice, Modality::Image, Modality::Video] {
                // Any answer will do; a panic or a hang will not.
                drop(measured(&file[..at], expected));
                let mut damaged = file.clone();
                damaged[at] ^= 0xff;
                drop(measured(&damaged, expected));
            }
        }
    }
}

#[test]
fn measures_travel_as_json_unchanged() {
    let measures = measured(&png(40, 40, |x, _| x as u8), Modality::Image).unwrap();
    let json = serde_json::to_string(&measures).unwrap();
    assert_eq!(serde_json::from_str::<Measures>(&json).unwrap(), measures);
}
