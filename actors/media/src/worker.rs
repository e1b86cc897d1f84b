//! The worker process and the frames it exchanges with the node.
//!
//! A worker says [`HELLO`] once it has limited itself, then answers requests one after the other
//! until its input ends. Every request and answer is one frame: a length (u32, big endian) and that
//! many bytes. A request is one byte that names the declared modality and the bytes to measure; an
//! answer is the JSON of `Result<Measures, Error>`.
//!
//! A panic of a decoder is answered as [`crate::Flaw::DecoderPanicked`] and the worker goes on.
//! Memory beyond `RLIMIT_AS` aborts the process and processor time beyond `RLIMIT_CPU` kills it;
//! the node sees the death.

use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::limits::{Limits, MAX_ANSWER_BYTES};
use crate::{Measures, Modality};

/// What a worker writes first: the version of these frames.
pub const HELLO: &[u8; 8] = b"GMWORK1\n";

/// What a worker answers for one item.
pub type Answer = Result<Measures, crate::Error>;

/// Why a worker ended, or why a frame was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipe broke.
    #[error("worker pipe: {0}")]
    Pipe(#[from] io::Error),
    /// The process could not limit itself.
    #[error("worker limits: {0}")]
    Confine(#[from] rustix::io::Errno),
    /// A frame is longer than its bound.
    #[error("frame of {length} bytes is over the bound of {bound}")]
    FrameTooLong {
        /// Announced length, in bytes.
        length: u64,
        /// Bound, in bytes.
        bound: u64,
    },
    /// A request without a known modality.
    #[error("request names no modality")]
    NoModality,
    /// An answer that is not the JSON of one.
    #[error("answer: {0}")]
    Answer(#[from] serde_json::Error),
}

/// The worker's whole life: limits the process, says hello, serves until the input ends.
///
/// # Errors
/// When the process cannot be limited or the pipe breaks; the caller exits with a failure.
pub fn run(input: impl Read, mut output: impl Write, limits: &Limits) -> Result<(), Error> {
    confine(limits)?;
    std::panic::set_hook(Box::new(|info| {
        // The message may hold content of the item; the place is enough.
        if let Some(place) = info.location() {
            eprintln!("media worker: decoder panicked at {}:{}", place.file(), place.line());
        }
    }));
    output.write_all(HELLO)?;
    output.flush()?;
    serve(input, output, limits, || refresh_cpu(limits))
}

/// Answers requests until the input ends; `before_each` runs before an item is measured.
fn serve(
    mut input: impl Read,
    mut output: impl Write,
    limits: &Limits,
    mut before_each: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    while let Some(frame) = read_request(&mut input, limits)? {
        before_each()?;
        let answer = answer(&frame, limits)?;
        output.write_all(&encode_answer(&answer)?)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(frame: &[u8], limits: &Limits) -> Result<Answer, Error> {
    let (tag, bytes) = frame.split_first().ok_or(Error::NoModality)?;
    let expected = modality_of(*tag).ok_or(Error::NoModality)?;
    Ok(crate::measure(bytes, expected, limits))
}

/// Limits address space and core files of this process.
fn confine(limits: &Limits) -> Result<(), Error> {
    lower(Resource::Core, 0)?;
    lower(Resource::As, limits.worker_memory_bytes)?;
    Ok(())
}

/// Lowers the soft limit, and the hard limit with it, unless it is lower already.
fn lower(resource: Resource, to: u64) -> Result<(), Error> {
    let now = getrlimit(resource);
    let to = now.maximum.map_or(to, |maximum| maximum.min(to));
    setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) })?;
    Ok(())
}

/// Gives the next item its processor time: the soft limit counts the whole life of the process.
fn refresh_cpu(limits: &Limits) -> Result<(), Error> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
    let maximum = getrlimit(Resource::Cpu).maximum;
    let wanted = used.saturating_add(limits.worker_cpu_seconds).saturating_add(1);
    let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
    setrlimit(Resource::Cpu, Rlimit { current, maximum })?;
    Ok(())
}

/// The head of a request frame for `length` bytes of an item: write it, then the bytes.
///
/// # Errors
/// [`Error::FrameTooLong`] when the item is over `limits.max_bytes`.
pub fn request_head(expected: Modality, length: usize, limits: &Limits) -> Result<[u8; 5], Error> {
    let framed = length as u64 + 1;
    let bound = request_bound(limits);
    let announced = u32::try_from(framed)
        .ok()
        .filter(|_| framed <= bound)
        .ok_or(Error::FrameTooLong { length: framed, bound })?;
    let mut head = [0; 5];
    head[..4].copy_from_slice(&announced.to_be_bytes());
    head[4] = tag_of(expected);
    Ok(head)
}

/// The length of an answer frame from its head.
///
/// # Errors
/// [`Error::FrameTooLong`] over [`MAX_ANSWER_BYTES`].
pub fn answer_length(head: [u8; 4]) -> Result<usize, Error> {
    let length = u32::from_be_bytes(head);
    let bound = MAX_ANSWER_BYTES as u64;
    match usize::try_from(length) {
        Ok(length) if length <= MAX_ANSWER_BYTES => Ok(length),
        _ => Err(Error::FrameTooLong { length: u64::from(length), bound }),
    }
}

/// Reads the content of an answer frame.
///
/// # Errors
/// [`Error::Answer`] when it is not one.
pub fn decode_answer(content: &[u8]) -> Result<Answer, Error> {
    Ok(serde_json::from_slice(content)?)
}

/// A whole answer frame.
fn encode_answer(answer: &Answer) -> Result<Vec<u8>, Error> {
    let content = serde_json::to_vec(answer)?;
    let bound = MAX_ANSWER_BYTES as u64;
    let length = u32::try_from(content.len())
        .ok()
        .filter(|_| content.len() <= MAX_ANSWER_BYTES)
        .ok_or(Error::FrameTooLong { length: content.len() as u64, bound })?;
    let mut frame = Vec::with_capacity(content.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&content);
    Ok(frame)
}

/// The next request, or `None` at the end of the input.
fn read_request(input: &mut impl Read, limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
    let mut head = [0; 4];
    let mut filled = 0;
    while filled < head.len() {
        match input.read(&mut head[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let length = u64::from(u32::from_be_bytes(head));
    let bound = request_bound(limits);
    if length > bound {
        return Err(Error::FrameTooLong { length, bound });
    }
    let mut content = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    input.read_exact(&mut content)?;
    Ok(Some(content))
}

/// The tag and the longest item.
fn request_bound(limits: &Limits) -> u64 {
    limits.max_bytes.saturating_add(1)
}

fn tag_of(modality: Modality) -> u8 {
    match modality {
        Modality::Voice => 1,
        Modality::Image => 2,
        Modality::Video => 3,
    }
}

fn modality_of(tag: u8) -> Option<Modality> {
    [Modality::Voice, Modality::Image, Modality::Video]
        .into_iter()
        .find(|modality| tag_of(*modality) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flaw;

    fn serve_all(input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut output = Vec::new();
        serve(input, &mut output, &Limits::default(), || Ok(()))?;
        Ok(output)
    }

    #[test]
    fn every_request_gets_one_answer_in_order() {
        let limits = Limits::default();
        let mut input = Vec::new();
        for (modality, bytes) in [(Modality::Voice, &b"text"[..]), (Modality::Image, b"")] {
            input.extend_from_slice(&request_head(modality, bytes.len(), &limits).unwrap());
            input.extend_from_slice(bytes);
        }
        let output = serve_all(&input).unwrap();
        let first = answer_length(output[..4].try_into().unwrap()).unwrap();
        let flaw = Flaw::Unrecognised;
        assert_eq!(
            decode_answer(&output[4..4 + first]).unwrap(),
            Err(crate::Error::Undecodable { flaw })
        );
        let rest = &output[4 + first..];
        assert_eq!(decode_answer(&rest[4..]).unwrap(), Err(crate::Error::Empty));
    }

    #[test]
    fn broken_frames_end_the_worker_with_an_error() {
        assert!(serve_all(b"").unwrap().is_empty());
        assert!(matches!(serve_all(&[0, 0]), Err(Error::Pipe(_))));
        assert!(matches!(serve_all(&[0, 0, 0, 9, 1]), Err(Error::Pipe(_))));
        assert!(matches!(serve_all(&[0, 0, 0, 0]), Err(Error::NoModality)));
        assert!(matches!(serve_all(&[0, 0, 0, 1, 9]), Err(Error::NoModality)));
        assert!(matches!(serve_all(&[0xff; 8]), Err(Error::FrameTooLong { .. })));
        assert!(answer_length([0xff; 4]).is_err());
    }
}
