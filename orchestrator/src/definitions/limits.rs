//! Every bound of program and workflow files; those inside a file are the domain's.

/// Longest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most workflow files in one folder.
pub const WORKFLOWS_MAX: usize = 256;
