//! A media worker on its own, as the node's hidden subcommand runs it; with file names as
//! arguments, prints the measures of each instead: `media_worker MODALITY FILE…`.

use std::process::ExitCode;

use gristmill_media::{Limits, Modality, measure, worker};

fn main() -> ExitCode {
    let limits = Limits::default();
    let mut arguments = std::env::args().skip(1);
    let Some(modality) = arguments.next() else {
        return match worker::run(std::io::stdin().lock(), std::io::stdout().lock(), &limits) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    };
    let all = [Modality::Voice, Modality::Image, Modality::Video];
    let Some(expected) = all.into_iter().find(|known| known.as_str() == modality) else {
        eprintln!("no such modality: {modality}");
        return ExitCode::FAILURE;
    };
    for path in arguments {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        };
        match measure(&bytes, expected, &limits) {
            Ok(measures) => println!("{path}\t{:?}", measures.named()),
            Err(error) => println!("{path}\t{} ({error})", error.reason()),
        }
    }
    ExitCode::SUCCESS
}
