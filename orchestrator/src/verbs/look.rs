//! Verbs that look: one contribution, lists of them, receipts.

use super::{Stood, answer, print};
use crate::app::Failure;
use crate::cli::{self, List, Output, Place};
use crate::journeys::{self, Filter, Found, StateWord};
use crate::log_folder;
use crate::receipt_check;
use crate::receipts::Receipts;
use crate::run::say;
use crate::show::{self, Known};
use gristmill_actors::stage::StageType;
use gristmill_workflows::id::ContributionId;
use gristmill_workflows::request::Cause;
use std::path::Path;

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(4, error)
}

async fn find(stood: &Stood, id: &str) -> Result<Found, Failure> {
    let wrong = |text: String| Failure { text, code: 2 };
    let parsed = ContributionId::parse(id).map_err(|error| wrong(format!("{id}: {error}")))?;
    let found = journeys::find(&*stood.prepared.ports.store, &[parsed]).await;
    let found = found.map_err(|error| failed(&error))?.pop().flatten();
    found.ok_or_else(|| wrong(format!("{id}: no such contribution here")))
}

pub(super) async fn show(
    place: &Place,
    id: &str,
    output: Output,
    own: &[StageType],
) -> Result<u8, Failure> {
    let stood = Stood::open(place, own)?;
    let found = find(&stood, id).await?;
    let world = &stood.prepared.world;
    let known = Known::of(world);
    let store = &*stood.prepared.ports.store;
    let shown = show::show(store, &known, &found).await;
    let shown = shown.map_err(|error| failed(&error))?;
    answer(output, &shown, &shown.lines())?;
    Ok(0)
}

pub(super) async fn list(args: &List, own: &[StageType]) -> Result<u8, Failure> {
    list_with(args, Vec::new(), own).await
}

pub(super) async fn list_with(
    args: &List,
    causes: Vec<Cause>,
    own: &[StageType],
) -> Result<u8, Failure> {
    let state =
        match &args.state {
            None => None,
            Some(word) => Some(StateWord::parse(word).ok_or_else(|| Failure {
                text: format!("--state {word}: no such state"),
                code: 2,
            })?),
        };
    let stood = Stood::open(&args.place, own)?;
    let program = args.program.clone();
    let filter = Filter { state, causes, program, ..Filter::default() };
    let store = &*stood.prepared.ports.store;
    let definitions = &stood.prepared.world.workflows;
    let page = journeys::list(store, definitions, &filter, None, args.limit).await;
    let page = page.map_err(|error| failed(&error))?;
    let rows = show::listed(store, &Known::of(&stood.prepared.world), &page.items).await;
    let rows = rows.map_err(|error| failed(&error))?;
    answer(args.output, &rows, &show::table(&rows))?;
    if page.next.is_some() {
        say(&format!("more than {} stand there; --limit shows more", args.limit));
    }
    Ok(0)
}

pub(super) async fn receipt(args: cli::Receipt, own: &[StageType]) -> Result<u8, Failure> {
    if let Some(cli::ReceiptVerb::Verify { file, key, output }) = args.verb {
        return verify(&file, &key, output);
    }
    let Some(id) = args.id else {
        return Err(Failure { text: "which contribution?".to_owned(), code: 2 });
    };
    let stood = Stood::open(&args.place, own)?;
    let found = find(&stood, &id).await?;
    let ports = &stood.prepared.ports;
    let receipts = Receipts::open(&stood.opened.dir, &*ports.store, &*ports.keys);
    let receipts = receipts.map_err(|error| failed(&error))?;
    let made = receipts.write(&[found]).await.map_err(|error| failed(&error))?;
    for one in made {
        match one.paths {
            Ok(paths) => {
                let dir = stood.opened.dir.path();
                let lines: Vec<String> =
                    paths.iter().map(|path| dir.join(path).display().to_string()).collect();
                print(&lines)?;
            }
            Err(absent) => return Err(Failure { text: format!("{id}: {absent}"), code: 1 }),
        }
    }
    Ok(0)
}

fn verify(file: &Path, key: &str, output: Output) -> Result<u8, Failure> {
    let verifier = log_folder::verifier(key).map_err(|error| Failure::new(2, &error))?;
    let bytes = std::fs::read(file)
        .map_err(|error| Failure { text: format!("{}: {error}", file.display()), code: 2 })?;
    match receipt_check::check(&bytes, &verifier) {
        Ok(proven) => {
            answer(output, &proven, &proven.sentences())?;
            Ok(0)
        }
        Err(error) => Err(Failure::new(1, &error)),
    }
}
