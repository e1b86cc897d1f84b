//! Images: decode to luma, then measure it with integer arithmetic.

mod jpeg;
mod luma;

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader};

use crate::error::{Bound, Error, Flaw};
use crate::sniff::ImageFormat;
use crate::{ImageMeasures, Limits};

/// Decodes and measures an image. Embedded profiles, EXIF and XMP are not read.
pub(crate) fn measure(
    bytes: &[u8],
    format: ImageFormat,
    limits: &Limits,
) -> Result<ImageMeasures, Error> {
    match format {
        ImageFormat::Jpeg => jpeg::check(bytes)?,
        ImageFormat::Webp => check_webp(bytes)?,
        ImageFormat::Png => {}
    }
    let picture = decode(bytes, format, limits)?.into_luma8();
    Ok(luma::measure(&picture))
}

fn decode(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<DynamicImage, Error> {
    let format = match format {
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::Webp => image::ImageFormat::WebP,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut bounds = image::Limits::default();
    bounds.max_alloc = Some(limits.max_decoded_bytes);
    reader.limits(bounds);
    let decoder = reader.into_decoder().map_err(|error| flaw(&error, limits))?;
    let (width, height) = decoder.dimensions();
    limits.check_dimensions(u64::from(width), u64::from(height))?;
    limits.check(Bound::DecodedBytes, decoder.total_bytes(), limits.max_decoded_bytes)?;
    if width == 0 || height == 0 {
        return Err(Error::Undecodable { flaw: Flaw::Malformed });
    }
    DynamicImage::from_decoder(decoder).map_err(|error| flaw(&error, limits))
}

fn flaw(error: &ImageError, limits: &Limits) -> Error {
    let flaw = match error {
        ImageError::Limits(_) => {
            let limit = limits.max_decoded_bytes;
            return Error::TooLarge { bound: Bound::DecodedBytes, found: limit + 1, limit };
        }
        ImageError::Unsupported(_) => Flaw::Unsupported,
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            Flaw::Truncated
        }
        _ => Flaw::Malformed,
    };
    Error::Undecodable { flaw }
}

/// The RIFF header of a WebP file announces the length of all that follows it.
fn check_webp(bytes: &[u8]) -> Result<(), Error> {
    let announced = bytes
        .get(4..8)
        .and_then(|length| length.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or(Error::Undecodable { flaw: Flaw::Truncated })?;
    if u64::from(announced) + 8 > bytes.len() as u64 {
        return Err(Error::Undecodable { flaw: Flaw::Truncated });
    }
    Ok(())
}
