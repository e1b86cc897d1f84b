//! Events as manifest lines (contract.md, Manifest).

use super::plan::Plan;
use super::population::Poison;
use super::schedule::{Act, Event};
use gristmill_workflows::program::Program;
use gristmill_workflows::time::Timestamp;
use serde_json::json;

/// Writes the lines of a plan.
#[derive(Debug, Clone)]
pub struct Lines {
    plan: Plan,
    task: String,
    /// What every consent says after the contributor.
    consent: String,
}

impl Lines {
    /// The lines of a plan for its program; none if the program has no task without media.
    #[must_use]
    pub fn new(plan: &Plan, program: &Program) -> Option<Self> {
        let none = gristmill_workflows::submission::Modality::None;
        let (task, _) = program.tasks.iter().find(|(_, task)| task.modality == none)?;
        let consent = format!(
            r#""program":{},"purposes":[{}],"modalities":["none"],"terms":{}"#,
            json!(program.id),
            json!(program.purpose),
            json!(program.terms)
        );
        Some(Self { plan: plan.clone(), task: task.clone(), consent })
    }

    /// The line of an event. A contribution's `captured_at` is its intended moment: the same in
    /// every line of its key, so that a second one is a repeat.
    #[must_use]
    pub fn line(&self, event: &Event) -> String {
        let name = self.plan.name(event.contributor);
        let program = &self.plan.program;
        match event.act {
            Act::Consent => {
                format!(r#"{{"consent":{{"contributor":"{name}",{}}}}}"#, self.consent)
            }
            Act::Withdraw => {
                format!(r#"{{"withdraw":{{"contributor":"{name}","program":"{program}"}}}}"#)
            }
            Act::Contribution(nth) | Act::Duplicate(nth) => {
                self.contribution(event, &name, &nth.to_string(), "")
            }
            Act::Conflict(nth) => {
                self.contribution(event, &name, &nth.to_string(), r#","transcript":"another""#)
            }
            Act::Poison(poison) => self.poison(event, &name, poison),
        }
    }

    fn poison(&self, event: &Event, name: &str, poison: Poison) -> String {
        match poison {
            Poison::Malformed => {
                let mut line = self.contribution(event, name, "poison", "");
                line.truncate(line.len() / 2);
                line
            }
            Poison::UnknownField => self.contribution(event, name, "poison", r#","extra":1"#),
            Poison::UnknownTask => {
                let other = Self { task: format!("no-{}", self.task), ..self.clone() };
                other.contribution(event, name, "poison", "")
            }
            Poison::ControlCharacter => {
                self.contribution(event, &format!(r"{name}\u0007"), "poison", "")
            }
        }
    }

    fn contribution(&self, event: &Event, name: &str, key: &str, more: &str) -> String {
        let captured = Timestamp(self.plan.start_ms + event.origin / 1000).rfc3339();
        let (program, task) = (&self.plan.program, &self.task);
        format!(
            r#"{{"contributor":"{name}","idempotency_key":"{key}","program":"{program}","task":"{task}","modality":"none","captured_at":"{captured}"{more}}}"#
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
        let plan = plan(2_000, 10_000.0);
        let lines = Lines::new(&plan, &programs["engine"]).unwrap();
        let now = Timestamp(plan.start_ms);
        let mut seen = std::collections::HashMap::new();
        for event in Schedule::new(&plan) {
            let text = lines.line(&event);
            let read = manifest::parse(text.as_bytes(), now);
            match (event.act, read) {
                (Act::Consent, Ok(Line::Consent(_))) | (Act::Withdraw, Ok(Line::Withdraw(_))) => {}
                (Act::Contribution(nth), Ok(Line::Contribution(one))) => {
                    seen.insert((event.contributor, nth), one.body);
                }
                (Act::Duplicate(nth), Ok(Line::Contribution(one))) => {
                    assert_eq!(seen[&(event.contributor, nth)], one.body);
                }
                (Act::Conflict(nth), Ok(Line::Contribution(one))) => {
                    assert_ne!(seen[&(event.contributor, nth)], one.body);
                }
                (Act::Poison(Poison::UnknownTask), Ok(Line::Contribution(one))) => {
                    assert!(!programs["engine"].tasks.contains_key(&one.task));
                }
                (Act::Poison(_), Err(_)) => {}
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
