//! The worker as a process: it limits itself, answers, and ends with its input.

#![expect(clippy::unwrap_used, reason = "a test that cannot run its worker has to fail")]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use gristmill_media::{Error, Flaw, Limits, Modality, worker};

/// The example that is a worker and nothing else; the test runner builds it beside the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/media_worker")
}

fn start() -> Child {
    let mut child =
        Command::new(program()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut hello = [0; worker::HELLO.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut hello).unwrap();
    assert_eq!(&hello, worker::HELLO);
    child
}

fn ask(child: &mut Child, bytes: &[u8], expected: Modality) -> worker::Answer {
    let head = worker::request_head(expected, bytes.len(), &Limits::default()).unwrap();
    let input = child.stdin.as_mut().unwrap();
    input.write_all(&head).unwrap();
    input.write_all(bytes).unwrap();
    input.flush().unwrap();
    let output = child.stdout.as_mut().unwrap();
    let mut head = [0; 4];
    output.read_exact(&mut head).unwrap();
    let mut content = vec![0; worker::answer_length(head).unwrap()];
    output.read_exact(&mut content).unwrap();
    worker::decode_answer(&content).unwrap()
}

#[test]
fn a_worker_answers_item_after_item_and_ends_with_its_input() {
    let mut child = start();
    assert_eq!(ask(&mut child, b"", Modality::Voice), Err(Error::Empty));
    let flaw = Flaw::Unrecognised;
    assert_eq!(ask(&mut child, b"text", Modality::Image), Err(Error::Undecodable { flaw }));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_limits_memory_processor_time_and_core_files() {
    let mut child = start();
    assert_eq!(ask(&mut child, b"", Modality::Voice), Err(Error::Empty));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let soft = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    let expected = Limits::default();
    assert_eq!(soft("Max core file size"), "0");
    assert_eq!(soft("Max address space"), expected.worker_memory_bytes.to_string());
    let seconds: u64 = soft("Max cpu time").parse().unwrap();
    assert!((1..=expected.worker_cpu_seconds + 2).contains(&seconds), "{seconds}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
