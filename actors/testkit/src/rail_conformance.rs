//! What every rail must do, checked through its port: the same checks for the model and over HTTP.

use std::collections::HashMap;
use std::time::Duration;

use gristmill_actors::rail::{
    Answer, BookLine, BookState, BoxFuture, PayoutRequest, Rail, RailError,
};
use tokio::time::{Instant, sleep};

/// A fault that a rail under test can be told to show on every submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Applied, answered `Ambiguous`.
    LostReply,
    /// Not applied, answered `Ambiguous`.
    ServerError,
    /// Not applied, answered `Unavailable` with a time to wait.
    TooManyRequests,
    /// Applied within the settle time; `Pending` or unknown until then.
    LateApply,
    /// Handled as if each payout had arrived twice.
    Duplicate,
    /// New payouts end `Failed`.
    ConfirmedFailure,
    /// Keys that were used before this moment are taken for new.
    ForgottenKeys,
    /// No connection for this long, from now.
    Down(Duration),
}

/// A rail under test and the hand on its faults.
pub trait Subject: Sync {
    /// The rail, whose book may hold what others paid but none of the keys of these checks.
    fn rail(&self) -> &dyn Rail;

    /// Replaces the fault in force, before the returned future ends.
    fn inject(&self, fault: Option<Fault>) -> BoxFuture<'_, ()>;
}

/// How often a state is asked for while it is waited for.
const POLL: Duration = Duration::from_millis(20);
/// Room beside the settle time for a slow machine.
const SLACK: Duration = Duration::from_secs(10);

/// Runs all checks, one after the other.
///
/// # Panics
/// When the rail does not do what `Rail` promises.
pub async fn check_all(subject: &dyn Subject) {
    subject.inject(None).await;
    pays_each_once_in_order(subject.rail()).await;
    tells_a_reused_key_from_a_resend(subject.rail()).await;
    fails_what_cannot_be_paid_alone(subject.rail()).await;
    takes_a_full_batch_and_none_above(subject.rail()).await;
    lost_replies_are_applied_once(subject).await;
    server_errors_and_refusals_apply_nothing(subject).await;
    late_ones_are_applied_within_the_settle_time(subject).await;
    late_ones_resent_are_applied_once(subject).await;
    duplicates_move_money_once(subject).await;
    failures_are_final_under_their_key(subject).await;
    forgotten_keys_pay_again_but_are_still_found(subject).await;
    an_outage_applies_nothing_and_passes(subject).await;
    the_book_pages_without_gaps(subject.rail()).await;
}

fn request(key: &str, minor: u64) -> PayoutRequest {
    PayoutRequest {
        key: key.to_owned(),
        account: "계좌 12/34?&#%".to_owned(),
        currency: "KRW".to_owned(),
        minor,
    }
}

/// Three payouts of 101, 102 and 103 under keys that a path must escape.
fn three(name: &str) -> Vec<PayoutRequest> {
    (1..=3).map(|number| request(&format!("{name}/열쇠 {number}?%"), 100 + number)).collect()
}

fn keys(batch: &[PayoutRequest]) -> Vec<String> {
    batch.iter().map(|request| request.key.clone()).collect()
}

fn paid(batch: &[PayoutRequest]) -> Vec<Answer> {
    batch.iter().map(|request| Answer::Paid { minor: request.minor }).collect()
}

async fn submit(rail: &dyn Rail, batch: &[PayoutRequest]) -> Result<Vec<Answer>, RailError> {
    rail.submit(batch.to_vec()).await
}

async fn ask(rail: &dyn Rail, batch: &[PayoutRequest]) -> Vec<Answer> {
    rail.ask(keys(batch)).await.expect("asking works when no fault is in force")
}

async fn whole_book(rail: &dyn Rail) -> Vec<BookLine> {
    let mut book: Vec<BookLine> = Vec::new();
    loop {
        let after = book.last().map_or(0, |line| line.seq);
        let page = rail.book(after).await.expect("the book can be read when no fault is in force");
        if page.is_empty() {
            return book;
        }
        book.extend(page);
    }
}

/// How many movements of money the book holds for each of `batch`, amounts and accounts checked.
async fn movements(rail: &dyn Rail, batch: &[PayoutRequest]) -> Vec<usize> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for line in whole_book(rail).await {
        let Some(request) = batch.iter().find(|request| request.key == line.key) else {
            continue;
        };
        let BookLine { account, currency, minor, .. } = &line;
        assert_eq!(account, &request.account, "{line:?}");
        assert_eq!(currency, &request.currency, "{line:?}");
        assert_eq!(*minor, request.minor, "{line:?}");
        if line.state == BookState::Paid {
            *counts.entry(line.key).or_default() += 1;
        }
    }
    batch.iter().map(|request| counts.get(&request.key).copied().unwrap_or(0)).collect()
}

async fn pays_each_once_in_order(rail: &dyn Rail) {
    let mut batch = three("once");
    assert_eq!(ask(rail, &batch).await, vec![Answer::NotFound; 3]);
    assert_eq!(submit(rail, &[]).await, Ok(Vec::new()));
    assert_eq!(submit(rail, &batch).await, Ok(paid(&batch)));
    batch.reverse();
    assert_eq!(submit(rail, &batch).await, Ok(paid(&batch)), "a resend repeats the answers");
    assert_eq!(ask(rail, &batch).await, paid(&batch));
    assert_eq!(movements(rail, &batch).await, [1, 1, 1]);
}

async fn tells_a_reused_key_from_a_resend(rail: &dyn Rail) {
    let batch = three("reused");
    assert_eq!(submit(rail, &batch[..1]).await, Ok(paid(&batch[..1])));
    for change in [
        |request: &mut PayoutRequest| request.minor += 1,
        |request: &mut PayoutRequest| request.account.push('x'),
        |request: &mut PayoutRequest| "USD".clone_into(&mut request.currency),
    ] {
        let mut changed = batch.clone();
        changed.iter_mut().take(1).for_each(change);
        let mut expected = paid(&batch);
        expected[0] = Answer::Conflict;
        assert_eq!(submit(rail, &changed).await, Ok(expected));
    }
    assert_eq!(movements(rail, &batch).await, [1, 1, 1]);
}

async fn fails_what_cannot_be_paid_alone(rail: &dyn Rail) {
    let mut batch = three("invalid");
    batch[1].minor = 0;
    let answers = submit(rail, &batch).await.expect("one bad payout fails no batch");
    assert_eq!(answers[0], Answer::Paid { minor: 101 });
    assert!(matches!(answers[1], Answer::Failed { .. }), "{answers:?}");
    assert_eq!(answers[2], Answer::Paid { minor: 103 });
    assert_eq!(movements(rail, &batch).await, [1, 0, 1]);
}

async fn takes_a_full_batch_and_none_above(rail: &dyn Rail) {
    let most = rail.profile().max_batch;
    let mut batch: Vec<PayoutRequest> =
        (0..=most).map(|number| request(&format!("full-{number}"), 1)).collect();
    let refused = submit(rail, &batch).await.expect_err("more than max_batch is refused");
    assert!(matches!(refused, RailError::Rejected { .. }), "{refused:?}");
    assert!(!refused.is_retryable());
    batch.pop();
    assert_eq!(ask(rail, &batch[..1]).await, [Answer::NotFound]);
    assert_eq!(submit(rail, &batch).await, Ok(paid(&batch)));
    assert_eq!(ask(rail, &batch).await, paid(&batch));
}

async fn lost_replies_are_applied_once(subject: &dyn Subject) {
    let (rail, batch) = (subject.rail(), three("lost"));
    subject.inject(Some(Fault::LostReply)).await;
    let error = submit(rail, &batch).await.expect_err("the reply is lost");
    assert!(error.is_ambiguous() && error.is_retryable(), "{error:?}");
    subject.inject(None).await;
    assert_eq!(ask(rail, &batch).await, paid(&batch));
    assert_eq!(submit(rail, &batch).await, Ok(paid(&batch)));
    assert_eq!(movements(rail, &batch).await, [1, 1, 1]);
}

async fn server_errors_and_refusals_apply_nothing(subject: &dyn Subject) {
    let (rail, batch) = (subject.rail(), three("refused"));
    subject.inject(Some(Fault::ServerError)).await;
    let error = submit(rail, &batch).await.expect_err("a server error is no answer");
    assert!(error.is_ambiguous() && error.is_retryable(), "{error:?}");
    subject.inject(Some(Fault::TooManyRequests)).await;
    let error = submit(rail, &batch).await.expect_err("too many requests are refused");
    assert!(error.is_unavailable() && error.is_retryable(), "{error:?}");
    assert!(error.retry_after().is_some(), "{error:?}");
    subject.inject(None).await;
    sleep(rail.profile().settle_time).await;
    assert_eq!(ask(rail, &batch).await, vec![Answer::NotFound; 3]);
    assert_eq!(submit(rail, &batch).await, Ok(paid(&batch)));
    assert_eq!(movements(rail, &batch).await, [1, 1, 1]);
}

async fn until_paid(rail: &dyn Rail, batch: &[PayoutRequest]) {
    let deadline = Instant::now() + rail.profile().settle_time + SLACK;
    loop {
        let answers = ask(rail, batch).await;
        if answers == paid(batch) {
            return;
        }
        for answer in &answers {
            let waiting = matches!(answer, Answer::Pending | Answer::NotFound);
            assert!(waiting || matches!(answer, Answer::Paid { .. }), "{answers:?}");
        }
        assert!(Instant::now() < deadline, "not settled in time: {answers:?}");
        sleep(POLL).await;
    }
}

async fn late_ones_are_applied_within_the_settle_time(subject: &dyn Subject) {
    let rail = subject.rail();
    // Two submissions, since a subject may show each kind of lateness in turn.
    for name in ["late", "later"] {
        let batch = three(name);
        subject.inject(Some(Fault::LateApply)).await;
        let answers = submit(rail, &batch).await.expect("the batch is answered");
        subject.inject(None).await;
        let asked = ask(rail, &batch).await;
        for (answer, asked) in answers.iter().zip(&asked) {
            let expected = match answer {
                Answer::Pending => Answer::Pending,
                _ => Answer::NotFound,
            };
            assert!(matches!(answer, Answer::Pending | Answer::Unknown), "{answers:?}");
            let applied = matches!(asked, Answer::Paid { .. });
            assert!(applied || *asked == expected, "{answers:?} {asked:?}");
        }
        until_paid(rail, &batch).await;
        assert_eq!(movements(rail, &batch).await, [1, 1, 1]);
    }
}

async fn late_ones_resent_are_applied_once(subject: &dyn Subject) {
    let rail = subject.rail();
    let batches = ["late-resent", "later-resent"].map(three);
    for batch in &batches {
        subject.inject(Some(Fault::LateApply)).await;
        submit(rail, batch).await.expect("the batch is answered");
        subject.inject(None).await;
        for answer in submit(rail, batch).await.expect("a resend is answered") {
            assert!(matches!(answer, Answer::Pending | Answer::Paid { .. }), "{answer:?}");
        }
        until_paid(rail, batch).await;
    }
    sleep(rail.profile().settle_time).await;
    for batch in &batches {
        assert_eq!(movements(rail, batch).await, [1, 1, 1]);
    }
}

async fn duplicates_move_money_once(subject: &dyn Subject) {
    let (rail, batch) = (subject.rail(), three("twice"));
    subject.inject(Some(Fault::Duplicate)).await;
    assert_eq!(submit(rail, &batch).await, Ok(paid(&batch)));
    subject.inject(None).await;
    assert_eq!(movements(rail, &batch).await, [1, 1, 1]);
}

async fn failures_are_final_under_their_key(subject: &dyn Subject) {
    let (rail, batch) = (subject.rail(), three("failed"));
    subject.inject(Some(Fault::ConfirmedFailure)).await;
    let answers = submit(rail, &batch).await.expect("a failure is an answer");
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Failed { .. })), "{answers:?}");
    subject.inject(None).await;
    assert_eq!(submit(rail, &batch).await, Ok(answers.clone()));
    assert_eq!(ask(rail, &batch).await, answers);
    assert_eq!(movements(rail, &batch).await, [0, 0, 0]);
}

async fn forgotten_keys_pay_again_but_are_still_found(subject: &dyn Subject) {
    let (rail, batch) = (subject.rail(), three("forgotten"));
    assert_eq!(submit(rail, &batch).await, Ok(paid(&batch)));
    sleep(POLL).await;
    subject.inject(Some(Fault::ForgottenKeys)).await;
    assert_eq!(ask(rail, &batch).await, paid(&batch));
    assert_eq!(submit(rail, &batch).await, Ok(paid(&batch)));
    subject.inject(None).await;
    assert_eq!(movements(rail, &batch).await, [2, 2, 2], "why nobody resends after key_window");
}

async fn an_outage_applies_nothing_and_passes(subject: &dyn Subject) {
    let (rail, batch) = (subject.rail(), three("down"));
    subject.inject(Some(Fault::Down(Duration::from_millis(700)))).await;
    let deadline = Instant::now() + SLACK;
    let mut refused = false;
    loop {
        match submit(rail, &batch).await {
            Ok(answers) if refused => {
                assert_eq!(answers, paid(&batch));
                break;
            }
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                refused |= error.is_unavailable();
                if refused {
                    assert!(rail.ask(keys(&batch)).await != Ok(vec![Answer::Unknown; 3]));
                }
            }
        }
        assert!(Instant::now() < deadline, "the outage was not seen, or does not pass");
        sleep(POLL).await;
    }
    subject.inject(None).await;
    assert_eq!(movements(rail, &batch).await, [1, 1, 1]);
}

async fn the_book_pages_without_gaps(rail: &dyn Rail) {
    let book = whole_book(rail).await;
    for (line, seq) in book.iter().zip(1..) {
        assert_eq!(line.seq, seq);
    }
    let middle = book.len() as u64 / 2;
    let page = rail.book(middle).await.expect("a page from the middle");
    assert_eq!(page.first().map(|line| line.seq), Some(middle + 1));
    assert_eq!(rail.book(book.len() as u64 + 5).await, Ok(Vec::new()));
}
