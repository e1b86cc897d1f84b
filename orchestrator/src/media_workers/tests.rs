use std::path::Path;

use super::*;

const READY: &str = "printf 'GMWORK1\\n'";

fn pool(script: &str, wall_limit: Duration) -> MediaWorkers {
    let arguments = ["-c".into(), script.into()].to_vec();
    MediaWorkers::start("/bin/sh".into(), arguments, 1, wall_limit, Limits::default())
}

fn patient(script: &str) -> MediaWorkers {
    pool(script, Duration::from_secs(60))
}

async fn verdict(pool: &MediaWorkers) -> MeasureError {
    pool.measure(b"bytes", Modality::Voice).await.unwrap_err()
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[tokio::test]
async fn a_hanging_worker_is_a_verdict_within_the_wall_limit() {
    let pool = pool(&format!("{READY}; exec sleep 1000"), Duration::from_millis(200));
    let before = Instant::now();
    let error = verdict(&pool).await;
    assert!(matches!(error, MeasureError::DecoderLimit(Death::Hang)), "{error}");
    assert!(!error.is_retryable());
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_dying_worker_is_a_verdict_that_says_how() {
    let error = verdict(&patient(&format!("{READY}; exit 3"))).await;
    assert!(matches!(error, MeasureError::DecoderLimit(Death::Exit(3))), "{error}");
    let error = verdict(&patient(&format!("{READY}; kill -ABRT $$"))).await;
    assert!(matches!(error, MeasureError::DecoderLimit(Death::Signal(6))), "{error}");
}

#[tokio::test]
async fn a_worker_killed_from_outside_gets_one_second_chance() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let script = format!("echo >> {}; {READY}; kill -KILL $$", starts.display());
    let error = verdict(&patient(&script)).await;
    assert!(matches!(error, MeasureError::DecoderLimit(Death::Signal(9))), "{error}");
    assert_eq!(lines(&starts), 2);
}

#[tokio::test]
async fn garbage_in_place_of_an_answer_is_a_verdict() {
    let long = verdict(&patient(&format!("{READY}; printf '\\377\\377\\377\\377'"))).await;
    assert!(matches!(long, MeasureError::DecoderLimit(_)), "{long}");
    let nonsense = verdict(&patient(&format!("{READY}; printf '\\0\\0\\0\\002[]'; cat"))).await;
    assert!(matches!(nonsense, MeasureError::DecoderLimit(_)), "{nonsense}");
}

#[tokio::test]
async fn a_program_that_cannot_start_condemns_no_item_and_is_not_started_in_a_loop() {
    let absent = MediaWorkers::start(
        "/nonexistent/program".into(),
        Vec::new(),
        1,
        Duration::from_secs(1),
        Limits::default(),
    );
    let error = verdict(&absent).await;
    assert!(matches!(error, MeasureError::Unavailable(StartError::Spawn(_))), "{error}");
    assert!(error.is_retryable());
    let error = verdict(&absent).await;
    assert!(matches!(error, MeasureError::Unavailable(StartError::Backoff(_))), "{error}");
    let silent = verdict(&patient("exit 0")).await;
    assert!(matches!(silent, MeasureError::Unavailable(StartError::NotReady)), "{silent}");
}

#[tokio::test]
async fn nothing_runs_before_the_first_item_and_an_item_over_the_bound_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let mut pool = patient(&format!("echo >> {}; {READY}; exit 1", starts.display()));
    pool.limits.max_bytes = 4;
    let error = verdict(&pool).await;
    assert!(matches!(error, MeasureError::Content(gristmill_media::Error::TooLarge { .. })));
    assert_eq!(lines(&starts), 0);
    pool.limits.max_bytes = 5;
    verdict(&pool).await;
    assert_eq!(lines(&starts), 1);
}

#[tokio::test]
async fn a_stopped_pool_refuses_items_and_can_be_asked_again_elsewhere() {
    let pool = patient(READY);
    pool.stop();
    let error = verdict(&pool).await;
    assert!(matches!(error, MeasureError::Unavailable(StartError::Stopped)), "{error}");
}

#[tokio::test]
async fn a_worker_that_answers_is_kept_and_serves_the_next_item() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    // Answers every request of ten bytes (head 5, item 5) with {"Err":"empty"}.
    let answer = r#"printf '\000\000\000\017{"Err":"empty"}'"#;
    let script = format!(
        "echo >> {}; {READY}; while [ \"$(head -c 10 | wc -c)\" = 10 ]; do {answer}; done",
        starts.display()
    );
    let pool = patient(&script);
    for _ in 0..3 {
        let error = verdict(&pool).await;
        let empty = matches!(error, MeasureError::Content(gristmill_media::Error::Empty));
        assert!(empty, "{error}");
    }
    assert_eq!(lines(&starts), 1);
}
