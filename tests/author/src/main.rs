//! An author's own binary: the shipped stages and two of their own.

mod fraud_check;
mod trouble;

use fraud_check::FraudCheck;
use std::process::ExitCode;
use trouble::Trouble;

fn main() -> ExitCode {
    gristmill::main_with(gristmill::stages![FraudCheck, Trouble])
}
