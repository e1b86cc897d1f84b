//! The binary: the shipped stages and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    gristmill::main_with(gristmill::stages![])
}
