use super::*;

fn shell() -> Gristmill {
    Gristmill::at(PathBuf::from("/bin/sh"))
}

#[test]
fn both_outputs_and_the_code_are_kept() {
    let output = shell().run(["-c", "echo out; echo err >&2; exit 3"]);
    let kept = (output.code, output.stdout.as_str(), output.stderr.as_str());
    assert_eq!(kept, (3, "out\n", "err\n"));
}

#[test]
fn a_killed_process_says_its_signal() {
    let mut process = shell().spawn(["-c", "echo ready; exec cat /dev/zero >/dev/null"]);
    assert_eq!(process.first_line(Duration::from_secs(10)), "ready");
    assert!(process.is_running());
    assert_eq!(process.kill().code, 128 + 9);
}

/// SIGTERM: a shell cannot trap an interrupt that its own parent was told to ignore.
#[test]
fn a_signal_reaches_the_process() {
    let script = "trap 'echo stopped; exit 143' TERM; echo ready; while :; do :; done";
    let mut process = shell().spawn(["-c", script]);
    assert_eq!(process.first_line(Duration::from_secs(10)), "ready");
    process.terminate();
    let output = process.wait(Duration::from_secs(10)).expect(143);
    assert_eq!(output.stdout, "ready\nstopped\n");
}

#[test]
#[should_panic(expected = "still runs after")]
fn a_process_past_its_deadline_fails_the_test() {
    let hanging = shell().deadline(Duration::from_millis(50));
    drop(hanging.run(["-c", "exec cat /dev/zero >/dev/null"]));
}

#[test]
#[should_panic(expected = "ended without a line")]
fn a_process_that_ends_before_its_first_line_fails_the_test() {
    shell().spawn(["-c", "exit 4"]).first_line(Duration::from_secs(10));
}

#[test]
fn the_environment_of_the_caller_is_not_configuration() {
    let output = shell().env("GRISTMILL_TRACE__ORIGIN", "here").run(["-c", "env"]);
    let ours: Vec<&str> =
        output.stdout.lines().filter(|line| line.starts_with("GRISTMILL_")).collect();
    assert_eq!(ours, ["GRISTMILL_TRACE__ORIGIN=here"]);
}
