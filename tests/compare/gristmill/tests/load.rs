//! The load of the comparison, for a second each: everything that is handed in settles.

use std::process::Command;

fn measured(more: &[&str]) -> serde_json::Value {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_gristmill-compare"))
        .args(["--warm", "0.2", "--seconds", "1", "--data-dir"])
        .arg(folder.path().join("data"))
        .args(more)
        .output()
        .expect("the load program");
    // It ends with an error if anything did not settle.
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["at"], &lines[1]["at"]), (&"begin".into(), &"end".into()));
    lines[1].clone()
}

#[test]
fn five_durable_steps_and_the_normal_path_settle_whole() {
    for program in ["five", "engine"] {
        let end = measured(&["--program", program, "--in-flight", "512"]);
        assert!(end["items"].as_u64() > Some(0), "{program}: {end}");
        assert!(end["p99_ms"].as_f64() >= end["p50_ms"].as_f64(), "{program}: {end}");
    }
}

#[test]
fn at_a_rate_items_come_at_their_moments_whatever_is_under_way() {
    let end = measured(&["--program", "five", "--rate", "50"]);
    assert!(end["items"].as_u64() <= Some(60), "{end}");
}
