//! The story of `orchestrator/docs/service.md`, run as it stands there by a shell and stock curl.

use crate::service::{PATIENCE, voice};
use gristmill_tests::{DataDir, Gristmill, Service, has_program, poll_until, repository};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The commands of the story, each with its further lines.
fn commands() -> Vec<String> {
    let page = std::fs::read_to_string(repository().join("orchestrator/docs/service.md")).unwrap();
    let (_, story) = page.split_once("## The story by curl\n").expect("the story's heading");
    let lines = story.lines().skip_while(|line| line.is_empty());
    let lines = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.get(4..));
    let mut commands: Vec<String> = Vec::new();
    for line in lines {
        if ["U=", "J=", "curl ", "gristmill "].iter().any(|word| line.starts_with(word)) {
            commands.push(line.to_owned());
        } else {
            let command = commands.last_mut().expect("a story begins with a command");
            command.push('\n');
            command.push_str(line);
        }
    }
    commands
}

/// A shell in a folder of its own, whose curl fails where the service refuses.
struct Shell {
    folder: PathBuf,
    url: String,
    path: String,
}

impl Shell {
    fn new(dir: &DataDir, service: &Service) -> Self {
        dir.write(".curlrc", b"silent\nshow-error\nfail-with-body\n");
        let programs = Gristmill::command().program().parent().unwrap().display().to_string();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        Self { folder: dir.outside().to_owned(), url: service.url().to_owned(), path }
    }

    /// What a command prints, once it succeeds.
    fn run(&self, command: &str) -> String {
        poll_until(PATIENCE, command, || {
            let output = Command::new("sh")
                .args(["-c", command])
                .current_dir(&self.folder)
                .envs([("CURL_HOME", self.folder.as_os_str())])
                .envs([("U", self.url.as_str()), ("J", "content-type: application/json")])
                .env("PATH", &self.path)
                .output()
                .expect("a shell runs");
            let text = String::from_utf8(output.stdout).expect("text");
            // A receipt is there once its entry is published.
            let later = command.contains("/receipt") && text.is_empty();
            assert!(
                output.status.success() || later,
                "{command}\n{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            output.status.success().then_some(text)
        })
    }
}

#[test]
fn stock_curl_tells_the_story_of_the_documentation() {
    if !has_program("curl") {
        return;
    }
    let dir = DataDir::new();
    let service = Service::start(&dir);
    dir.write("clip.wav", &voice().0);
    let shell = Shell::new(&dir, &service);
    let (mut sha256, mut id) = (String::new(), String::new());
    let mut told = Vec::new();
    for command in commands() {
        if command.starts_with("U=") || command.starts_with("J=") {
            continue;
        }
        let filled = command.replace("\"…\"", &format!("\"{sha256}\"")).replace("c…", &id);
        let text = shell.run(&filled);
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let word = |name: &str| answer[name].as_str().map(str::to_owned);
        if command.contains("/v1/media") {
            sha256 = word("sha256").expect("a hash");
        } else if command.contains("/v1/contributions -H") {
            id = word("id").expect("an id");
            service.await_state(&id, "settled");
        } else if command.contains("/statement") {
            assert_eq!(answer["totals"][0]["counted"], 1, "{answer}");
        } else if command.contains(":withdraw") {
            assert!(word("withdrawn_at").is_some(), "{answer}");
        } else if command.starts_with("gristmill receipt verify") {
            assert!(text.contains("kr-1"), "{text}");
        } else if command.ends_with("/v1/contributions/c…") {
            assert_eq!(answer["state"], "settled");
        }
        told.push(command);
    }
    assert!(told.len() >= 8, "{told:#?}");
}
