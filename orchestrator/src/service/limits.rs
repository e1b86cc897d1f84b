//! Every bound of the service.

use std::time::Duration;

/// Longest body of an endpoint that takes one JSON object, in bytes.
pub const OBJECT_BYTES_MAX: usize = 64 * 1024;
/// Longest time for such a body.
pub const OBJECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a refused body that are read, so that its sender reads the answer.
pub const DISCARDED_BYTES_MAX: u64 = 1 << 20;
/// How long a refused body is read.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Lines of one batch.
pub const BATCH_LINES_MAX: u64 = 20_000;
/// Lines that are made durable in one step.
pub const STEP_LINES: usize = 2_048;
/// Bytes of lines that are made durable in one step.
pub const STEP_BYTES: usize = 2 << 20;
/// Steps of one batch that wait to be made durable.
pub const STEPS_WAITING: usize = 2;
/// Steps of lines that came one a request, at once: one that is made durable, one that is made up.
pub const SINGLES_STEPS: usize = 2;
/// Longest wait for more of a body that is read as a stream.
pub const STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// A streamed body that brings fewer bytes a second, on average, is given up.
pub const STREAM_BYTES_PER_S: u64 = 1_024;
/// Requests under way at once.
pub const REQUESTS_MAX: usize = 1_024;
/// Batches under way at once.
pub const BATCHES_MAX: usize = 64;
/// Longest request head, in bytes.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most header fields of a request.
pub const HEADERS_MAX: usize = 64;
/// How long a connection may take for a request's head, and stand idle between requests.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long connections that are under way are waited for when everything else has ended.
pub const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Seconds after which a refused request may be sent again, as `Retry-After` says it.
pub const RETRY_AFTER_S: &str = "1";
/// Longest name of a field in a problem, in bytes.
pub const FIELD_BYTES_MAX: usize = 256;
/// Items on a page unless the client says otherwise.
pub const PAGE_ITEMS: usize = 100;
/// Most items on a page.
pub const PAGE_ITEMS_MAX: usize = 1_000;
/// Longest `reason` of an operator, in bytes.
pub const REASON_BYTES_MAX: usize = 512;
/// Slots of data keys that are taken in one call, per shard.
pub const SLOTS_AHEAD: usize = 256;

/// Most API keys.
pub const KEYS_MAX: usize = 10_000;
/// Uploads read at once.
pub const UPLOADS_PAGE: usize = 256;
/// Tries to note an upload whose row others change at the same time.
pub const UPLOAD_SWAPS_MAX: u32 = 16;
/// Bytes of all uploads under way.
pub const UPLOADS_BYTES_MAX: usize = 512 << 20;
/// Journeys that one call of an operator tells.
pub const CHOSEN_MAX: usize = 1_000;
/// Journeys of a contributor that a statement counts; of more it counts the newest.
pub const STATEMENT_JOURNEYS_MAX: usize = 10_000;
/// How often what other nodes wrote into the register is read.
pub const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// How often uploads that nobody named are looked for.
pub const UPLOADS_SWEEP_EVERY: Duration = Duration::from_secs(600);

const _: () = assert!(STEP_LINES <= SLOTS_AHEAD * 64);
const _: () = assert!(PAGE_ITEMS <= PAGE_ITEMS_MAX);
