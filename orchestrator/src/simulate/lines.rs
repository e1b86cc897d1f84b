//! Events as manifest lines (contract.md, Manifest).

use super::media;
use super::plan::Plan;
use super::population::{MediaShares, Poison, Population};
use super::schedule::{Act, Event};
use gristmill_workflows::id::hex;
use gristmill_workflows::program::Program;
use gristmill_workflows::submission::Modality;
use gristmill_workflows::time::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A program that lines cannot be written for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no program `{program}` with a task for modality {modality}; `engine` has one for none, `seoul` \
         for voice, image and video"
)]
pub struct Error {
    /// Which.
    pub program: String,
    /// What it has no task for.
    pub modality: &'static str,
}

/// Writes the lines of a plan.
#[derive(Debug, Clone)]
pub struct Lines {
    plan: Plan,
    population: Population,
    plain: Hands,
    /// For those who hand in media.
    media: Option<Hands>,
}

/// What somebody hands in to.
#[derive(Debug, Clone)]
struct Hands {
    program: String,
    /// What every consent says after the contributor.
    consent: String,
    /// By modality, the task and the language that it wants.
    tasks: Vec<(Modality, String, Option<String>)>,
}

impl Hands {
    fn new(
        programs: &BTreeMap<String, Program>,
        id: &str,
        modalities: &[Modality],
    ) -> Result<Self, Error> {
        let without =
            |modality: Modality| Error { program: id.to_owned(), modality: modality.as_str() };
        let mut tasks = Vec::new();
        for modality in modalities {
            let program = programs.get(id).ok_or_else(|| without(*modality))?;
            let task = program.tasks.iter().find(|(_, task)| task.modality == *modality);
            let (name, task) = task.ok_or_else(|| without(*modality))?;
            tasks.push((*modality, name.clone(), task.languages.first().cloned()));
        }
        let program = programs.get(id).ok_or_else(|| without(Modality::None))?;
        let words: Vec<&str> = modalities.iter().map(|modality| modality.as_str()).collect();
        let consent = format!(
            r#""program":{},"purposes":[{}],"modalities":{},"terms":{}"#,
            json!(program.id),
            json!(program.purpose),
            json!(words),
            json!(program.terms)
        );
        Ok(Self { program: id.to_owned(), consent, tasks })
    }

    /// The task of a modality as a contribution names it.
    fn task(&self, modality: Modality) -> String {
        let task = self.tasks.iter().find(|(one, ..)| *one == modality);
        let (task, language) = task.map_or(("", &None), |(_, task, language)| (task, language));
        let language = language.as_ref().map(|tag| format!(r#","language":"{tag}""#));
        let language = language.unwrap_or_default();
        format!(r#""task":"{task}","modality":"{}"{language}"#, modality.as_str())
    }
}

impl Lines {
    /// The lines of a plan.
    ///
    /// # Errors
    /// [`Error`] when its programs have no task for what is handed in.
    pub fn new(plan: &Plan, programs: &BTreeMap<String, Program>) -> Result<Self, Error> {
        let MediaShares { voice, photo, video, .. } = plan.shares.media;
        let shares = [(Modality::Voice, voice), (Modality::Image, photo), (Modality::Video, video)];
        let handed_in = shares.into_iter().filter(|(_, share)| *share > 0.0);
        let handed_in: Vec<Modality> = handed_in.map(|(modality, _)| modality).collect();
        let plain = Hands::new(programs, &plan.program, &[Modality::None])?;
        let media = match handed_in.is_empty() {
            true => None,
            false => Some(Hands::new(programs, &plan.media_program, &handed_in)?),
        };
        Ok(Self { plan: plan.clone(), population: plan.population(), plain, media })
    }

    /// The same, of a run that starts at this moment of Unix time, in milliseconds.
    #[must_use]
    pub fn starting(mut self, start_ms: u64) -> Self {
        self.plan.start_ms = start_ms;
        self
    }

    /// Somebody hands in media.
    #[must_use]
    pub fn any_media(&self) -> bool {
        self.media.is_some()
    }

    /// The media that a contribution carries; none if it has none.
    #[must_use]
    pub fn media(&self, event: &Event) -> Option<Vec<u8>> {
        let Act::Contribution(nth) = event.act else { return None };
        self.bytes(event, nth)
    }

    fn bytes(&self, event: &Event, nth: u32) -> Option<Vec<u8>> {
        self.media.as_ref()?;
        let carries = self.population.carries(event.contributor, nth);
        media::bytes(&self.plan.run, self.plan.seed, &carries)
    }

    /// The line of an event. A contribution's `captured_at` is its intended moment: the same in
    /// every line of its key, so that a second one is a repeat.
    #[must_use]
    pub fn line(&self, event: &Event) -> String {
        let name = self.plan.name(event.contributor);
        let modality = self.population.contributor(event.contributor).modality;
        let hands = match &self.media {
            Some(media) if modality != Modality::None => media,
            _ => &self.plain,
        };
        match event.act {
            Act::Consent => {
                format!(r#"{{"consent":{{"contributor":"{name}",{}}}}}"#, hands.consent)
            }
            Act::Withdraw => {
                let program = &hands.program;
                format!(r#"{{"withdraw":{{"contributor":"{name}","program":"{program}"}}}}"#)
            }
            Act::Contribution(nth) | Act::Duplicate(nth) => {
                self.contribution(event, hands, (nth, &nth.to_string()), "")
            }
            Act::Conflict(nth) => {
                let more = r#","transcript":"another""#;
                self.contribution(event, hands, (nth, &nth.to_string()), more)
            }
            Act::Poison(poison) => self.poison(event, hands, poison),
        }
    }

    fn poison(&self, event: &Event, hands: &Hands, poison: Poison) -> String {
        let line = |more| self.contribution(event, hands, (0, "poison"), more);
        match poison {
            Poison::Malformed => {
                let mut line = line("");
                line.truncate(line.len() / 2);
                line
            }
            Poison::UnknownField => line(r#","extra":1"#),
            Poison::UnknownTask => line("").replacen(r#""task":""#, r#""task":"no-"#, 1),
            Poison::ControlCharacter => line("").replacen(r#"","#, r#"\u0007","#, 1),
        }
    }

    /// The line of a contribution by its number and key.
    fn contribution(
        &self,
        event: &Event,
        hands: &Hands,
        (nth, key): (u32, &str),
        more: &str,
    ) -> String {
        let name = self.plan.name(event.contributor);
        let modality = self.population.contributor(event.contributor).modality;
        let captured = Timestamp(self.plan.start_ms + event.origin / 1000).rfc3339();
        let (program, task) = (&hands.program, hands.task(modality));
        let media = self.bytes(event, nth).map(|bytes| hex(&Sha256::digest(&bytes)));
        let media = media.map(|hash| format!(r#","media":{{"sha256":"{hash}"}}"#));
        let media = media.unwrap_or_default();
        format!(
            r#"{{"contributor":"{name}","idempotency_key":"{key}","program":"{program}",{task}{media},"captured_at":"{captured}"{more}}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::super::schedule::Schedule;
    use super::*;
    use crate::manifest::{self, Line};

    #[test]
    fn every_line_reads_but_the_poisoned_ones() {
        let programs = crate::definitions::load_programs(None).unwrap();
        let mut plan = plan(2_000, 10_000.0);
        plan.shares.media =
            MediaShares { voice: 0.1, photo: 0.2, video: 0.1, broken: 0.1, copies: 0.1 };
        let lines = Lines::new(&plan, &programs).unwrap();
        let now = Timestamp(plan.start_ms);
        let mut seen = std::collections::HashMap::new();
        let mut modalities = std::collections::BTreeSet::new();
        for event in Schedule::new(&plan) {
            let text = lines.line(&event);
            let read = manifest::parse(text.as_bytes(), now);
            match (event.act, read) {
                (Act::Consent, Ok(Line::Consent(_))) | (Act::Withdraw, Ok(Line::Withdraw(_))) => {}
                (Act::Contribution(nth), Ok(Line::Contribution(one))) => {
                    let media = lines.media(&event).map(|bytes| Sha256::digest(bytes).into());
                    assert_eq!(one.sha256, media);
                    let program = &programs[&one.program];
                    assert_eq!(program.tasks[&one.task].modality, one.modality);
                    modalities.insert(one.modality);
                    seen.insert((event.contributor, nth), one.body);
                }
                (Act::Duplicate(nth), Ok(Line::Contribution(one))) => {
                    assert_eq!(seen[&(event.contributor, nth)], one.body);
                }
                (Act::Conflict(nth), Ok(Line::Contribution(one))) => {
                    assert_ne!(seen[&(event.contributor, nth)], one.body);
                }
                (Act::Poison(Poison::UnknownTask), Ok(Line::Contribution(one))) => {
                    assert!(!programs[&one.program].tasks.contains_key(&one.task));
                }
                (Act::Poison(_), Err(_)) => {}
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(modalities.len(), 4);
    }

    #[test]
    fn a_program_without_a_task_for_what_is_handed_in_is_told() {
        let programs = crate::definitions::load_programs(None).unwrap();
        let mut plan = plan(1, 1.0);
        assert!(Lines::new(&plan, &programs).is_ok());
        plan.shares.media.video = 0.1;
        plan.media_program = "engine".to_owned();
        let error = Lines::new(&plan, &programs).unwrap_err();
        assert_eq!((error.program.as_str(), error.modality), ("engine", "video"));
        plan.program = "seoul".to_owned();
        assert_eq!(Lines::new(&plan, &programs).unwrap_err().modality, "none");
    }
}
