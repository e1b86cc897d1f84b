//! Measures of a luma plane.

use image::GrayImage;

use crate::ImageMeasures;
use crate::fixed::{count, percentile, share_bp};

/// Longer side of the reduced picture that sharpness is measured on.
const REDUCED_SIDE: usize = 512;

/// Side of the squares that the reduced picture is cut into.
const TILE: usize = 16;

/// Side of JPEG's blocks, and of the squares noise is measured in.
const BLOCK: usize = 8;

const DARK: usize = 8;
const BRIGHT: usize = 250;

/// A plane of luma values.
struct Plane<'a> {
    width: usize,
    height: usize,
    pixels: std::borrow::Cow<'a, [u8]>,
}

impl Plane<'_> {
    fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.width..(y + 1) * self.width]
    }

    fn at(&self, x: usize, y: usize) -> i64 {
        i64::from(self.pixels[y * self.width + x])
    }
}

/// Measures a picture of at least one pixel.
pub(super) fn measure(picture: &GrayImage) -> ImageMeasures {
    let (width, height) = picture.dimensions();
    let plane = Plane {
        width: width as usize,
        height: height as usize,
        pixels: picture.as_raw().as_slice().into(),
    };
    let histogram = histogram(&plane);
    let total = plane.pixels.len() as u64;
    let weighted: u64 = histogram.iter().zip(0_u64..).map(|(pixels, luma)| pixels * luma).sum();
    let uniform = histogram.chunks(16).map(|part| part.iter().sum::<u64>()).max().unwrap_or(0);
    let (sharpness, crispness_x1000) = sharpness(&reduce(&plane));
    ImageMeasures {
        width: i64::from(width),
        height: i64::from(height),
        short_side: i64::from(width.min(height)),
        sharpness,
        crispness_x1000,
        mean_luma_x100: count(weighted * 100 / total.max(1)),
        luma_p99: luma_exceeded_by_percent(&histogram, total),
        dark_bp: share_bp(histogram[..DARK].iter().sum(), total),
        bright_bp: share_bp(histogram[BRIGHT + 1..].iter().sum(), total),
        uniformity_bp: share_bp(uniform, total),
        noise_x100: noise_x100(&plane),
        blocking_x100: blocking_x100(&plane),
    }
}

fn histogram(plane: &Plane<'_>) -> [u64; 256] {
    let mut histogram = [0_u64; 256];
    for luma in plane.pixels.iter() {
        histogram[usize::from(*luma)] += 1;
    }
    histogram
}

fn luma_exceeded_by_percent(histogram: &[u64; 256], total: u64) -> i64 {
    let mut above = 0;
    for (luma, pixels) in (0_u8..=255).zip(histogram).rev() {
        above += pixels;
        if above * 100 > total {
            return i64::from(luma);
        }
    }
    0
}

/// Area means, so that the longer side has at most [`REDUCED_SIDE`] pixels.
fn reduce<'a>(plane: &'a Plane<'_>) -> Plane<'a> {
    let long = plane.width.max(plane.height);
    if long <= REDUCED_SIDE {
        let pixels = std::borrow::Cow::Borrowed(&*plane.pixels);
        return Plane { width: plane.width, height: plane.height, pixels };
    }
    let width = (plane.width * REDUCED_SIDE / long).max(1);
    let height = (plane.height * REDUCED_SIDE / long).max(1);
    let mut pixels = Vec::with_capacity(width * height);
    for y in 0..height {
        let rows = y * plane.height / height..(y + 1) * plane.height / height;
        for x in 0..width {
            let columns = x * plane.width / width..(x + 1) * plane.width / width;
            let area = (rows.len() * columns.len()).max(1);
            let sum: usize = rows
                .clone()
                .map(|row| {
                    plane.row(row)[columns.clone()].iter().map(|p| usize::from(*p)).sum::<usize>()
                })
                .sum();
            pixels.push(u8::try_from((sum + area / 2) / area).unwrap_or(u8::MAX));
        }
    }
    Plane { width, height, pixels: pixels.into() }
}

/// Variance of the second difference in the sharpest tenth of the tiles, alone and against the
/// variance of luma there, both along the axis that is blurred more. A picture with a shallow depth
/// of field is sharp somewhere, a blurred one nowhere, a shaken one along one axis only.
fn sharpness(plane: &Plane<'_>) -> (i64, i64) {
    let (mut across, mut down): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    let mut top = 1;
    while top + TILE < plane.height {
        let mut left = 1;
        while left + TILE < plane.width {
            let (x, y, contrast) = tile(plane, left, top);
            across.push((x, contrast));
            down.push((y, contrast));
            left += TILE;
        }
        top += TILE;
    }
    sharpest_tenth(across).min(sharpest_tenth(down))
}

/// Mean variance of the sharpest tenth, and its thousandfold ratio to the mean contrast there.
fn sharpest_tenth(mut tiles: Vec<(i64, i64)>) -> (i64, i64) {
    tiles.sort_unstable_by(|a, b| b.cmp(a));
    tiles.truncate((tiles.len() / 10).max(1));
    let tenth = count(tiles.len() as u64).max(1);
    let edges = tiles.iter().map(|(edges, _)| edges).sum::<i64>() / tenth;
    let contrast = tiles.iter().map(|(_, contrast)| contrast).sum::<i64>() / tenth;
    (edges, edges * 1_000 / contrast.max(1))
}

/// Variances of the second difference across, of that down, and of luma in one tile.
fn tile(plane: &Plane<'_>, left: usize, top: usize) -> (i64, i64, i64) {
    let (mut across, mut down, mut luma) =
        (Moments::default(), Moments::default(), Moments::default());
    for y in top..top + TILE {
        for x in left..left + TILE {
            let here = plane.at(x, y);
            across.take(plane.at(x - 1, y) - 2 * here + plane.at(x + 1, y));
            down.take(plane.at(x, y - 1) - 2 * here + plane.at(x, y + 1));
            luma.take(here);
        }
    }
    (across.variance(), down.variance(), luma.variance())
}

#[derive(Default)]
struct Moments {
    count: i64,
    sum: i64,
    squares: i64,
}

impl Moments {
    fn take(&mut self, value: i64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    fn variance(&self) -> i64 {
        let count = self.count.max(1);
        (self.squares - self.sum * self.sum / count) / count
    }
}

/// Mean response of a mask blind to edges and slopes (Immerkær 1996), in the calmest fifth of the
/// blocks that are neither black nor white.
fn noise_x100(plane: &Plane<'_>) -> i64 {
    let mut blocks: Vec<i64> = Vec::new();
    let mut top = 1;
    while top + BLOCK < plane.height {
        let mut left = 1;
        while left + BLOCK < plane.width {
            let mean = block_mean(plane, left, top);
            if (DARK..=BRIGHT).contains(&mean) {
                blocks.push(block_noise(plane, left, top));
            }
            left += BLOCK;
        }
        top += BLOCK;
    }
    blocks.sort_unstable();
    percentile(&blocks, 20)
}

fn block_mean(plane: &Plane<'_>, left: usize, top: usize) -> usize {
    let sum: usize = (top..top + BLOCK)
        .map(|y| plane.row(y)[left..left + BLOCK].iter().map(|p| usize::from(*p)).sum::<usize>())
        .sum();
    sum / (BLOCK * BLOCK)
}

fn block_noise(plane: &Plane<'_>, left: usize, top: usize) -> i64 {
    let mut sum = 0;
    for y in top..top + BLOCK {
        for x in left..left + BLOCK {
            let row = |y: usize| plane.at(x - 1, y) - 2 * plane.at(x, y) + plane.at(x + 1, y);
            sum += (row(y - 1) - 2 * row(y) + row(y + 1)).abs();
        }
    }
    // The mask has the norm 6; the mean absolute value of a Gaussian is 0.798 of its deviation.
    sum * 10_000 / (6 * 80 * count((BLOCK * BLOCK) as u64))
}

/// Mean step across columns at multiples of 8 against the mean step across all others: 100 for a
/// picture without block borders.
fn blocking_x100(plane: &Plane<'_>) -> i64 {
    let (mut border, mut borders, mut inner, mut inners) = (0_u64, 0_u64, 0_u64, 0_u64);
    for y in 0..plane.height {
        for (x, pair) in plane.row(y).windows(2).enumerate() {
            let step = u64::from(pair[0].abs_diff(pair[1]));
            if (x + 1) % BLOCK == 0 {
                border += step;
                borders += 1;
            } else {
                inner += step;
                inners += 1;
            }
        }
    }
    // One is added to both sums so that a flat picture reads 100.
    let ratio = u128::from(border + 1) * u128::from(inners.max(1)) * 100
        / (u128::from(inner + 1) * u128::from(borders.max(1)));
    if inner == 0 && border == 0 { 100 } else { i64::try_from(ratio).unwrap_or(i64::MAX) }
}
