use super::*;

const CARD: Card = Card { hash: [1; 16], index: 0 };
const A: ShardId = ShardId(1);
const B: ShardId = ShardId(2);

fn home(balance: u64) -> Home {
    Home { balance, deposited: balance, card: Some(CARD), ..Home::default() }
}

fn grant(answer: &Answer) -> (u64, bool) {
    match answer.send.last() {
        Some((_, Message::Grant { micro, exhausted, .. })) => (*micro, *exhausted),
        other => panic!("no grant: {other:?}"),
    }
}

#[test]
fn the_same_ask_gets_the_same_answer_and_no_more_money() {
    let mut home = home(1000);
    let first = home.asked(A, 1, 10, 10);
    assert_eq!(grant(&first), (100, false));
    let again = home.asked(A, 1, 10, 10);
    assert_eq!(again.send, first.send);
    assert_eq!((again.moved.len(), home.balance), (0, 900));
}

#[test]
fn whoever_forgot_its_last_asks_is_told_the_last_answer_and_goes_on_from_there() {
    let mut home = home(1000);
    home.asked(A, 1, 10, 10);
    let last = home.asked(A, 2, 10, 10);
    let again = home.asked(A, 1, 30, 10);
    assert_eq!(again.send, last.send);
    assert_eq!((again.moved.len(), home.balance), (0, 810));
    assert!(home.waiting.is_empty());

    let mut forgot = Allotment::default();
    forgot.ask(30);
    for (micro, exhausted) in [(90, false), (0, true)] {
        assert!(!forgot.granted(2, micro, CARD, exhausted), "it may have come back since");
        assert_eq!((forgot.balance, forgot.exhausted_at), (0, None));
        assert_eq!(forgot.unanswered(), [Message::Ask { number: 3, want: 30 }]);
    }
    assert_eq!(grant(&home.asked(A, 3, 30, 10)), (81, false));
    assert!(forgot.granted(3, 81, CARD, false));
    assert_eq!((forgot.balance, forgot.ask), (81, (3, None)));
}

#[test]
fn slices_shrink_with_what_is_left_but_never_below_what_is_wanted() {
    let mut home = home(1000);
    assert_eq!(grant(&home.asked(A, 1, 1, 4)).0, 250);
    assert_eq!(grant(&home.asked(A, 2, 1, 4)).0, 187);
    assert_eq!(grant(&home.asked(A, 3, 500, 4)).0, 500);
}

#[test]
fn exhausted_is_said_only_after_idle_allotments_came_back() {
    let mut home = home(100);
    home.asked(A, 1, 100, 1);
    let answer = home.asked(B, 1, 50, 1);
    assert_eq!(answer.send, [(A, Message::Recall)]);
    let answer = home.returned(A, 1, 60, 1);
    assert_eq!(grant(&answer), (60, false));
    let answer = home.asked(B, 2, 50, 1);
    assert_eq!(answer.send, [(A, Message::Recall)]);
    assert_eq!(home.unanswered(), [(A, Message::Recall)]);
    let answer = home.returned(A, 2, 0, 1);
    assert_eq!(grant(&answer), (0, true));
    assert_eq!(answer.moved, [Moved::Returned(0)], "nothing was granted");
    assert_eq!(home.unanswered(), []);
}

#[test]
fn a_shard_that_gave_everything_back_is_not_asked_for_more() {
    let mut home = home(100);
    home.asked(A, 1, 100, 1);
    home.returned(A, 1, 60, 1);
    home.returned(A, 2, 40, 1);
    assert_eq!((home.peers[&A].granted, home.peers[&A].returned), (100, 100));
    let answer = home.asked(B, 1, 150, 1);
    assert_eq!((answer.send.len(), grant(&answer)), (1, (0, true)));
}

#[test]
fn a_return_is_booked_once() {
    let mut home = home(100);
    home.asked(A, 1, 100, 1);
    home.returned(A, 1, 60, 1);
    let again = home.returned(A, 1, 60, 1);
    assert_eq!((home.balance, again.moved.len()), (60, 0));
    assert_eq!(again.send, [(A, Message::Returned { number: 1 })]);
}

#[test]
fn asks_wait_for_the_card() {
    let mut home = Home { card: None, ..home(100) };
    assert_eq!(home.asked(A, 1, 10, 1), Answer::default());
    // Equal numbers of two shards are two asks, as are two numbers of one; a repeated one is not.
    for (shard, number) in [(B, 1), (A, 2), (A, 1), (B, 1)] {
        home.asked(shard, number, 10, 1);
    }
    assert_eq!(home.waiting, [(A, 1, 10), (B, 1, 10), (A, 2, 10)]);
    home.waiting.truncate(1);
    home.card = Some(CARD);
    assert_eq!(grant(&home.settle(1)), (100, false));
}

#[test]
fn a_shard_takes_each_grant_once_and_repeats_what_was_not_answered() {
    let mut allotment = Allotment::default();
    let ask = allotment.ask(10).unwrap();
    assert_eq!(allotment.ask(10), None);
    assert_eq!(allotment.unanswered(), [ask]);
    assert!(allotment.granted(1, 25, CARD, false));
    assert!(!allotment.granted(1, 25, CARD, false));
    assert_eq!(allotment.balance, 25);
    let back = allotment.recall();
    assert_eq!(back, Message::Return { number: 1, micro: 25 });
    assert_eq!(allotment.recall(), back);
    allotment.returned(1);
    assert_eq!(allotment.unanswered(), []);
    assert_eq!(allotment.recall(), Message::Return { number: 2, micro: 0 });
}

#[test]
fn a_return_of_before_the_recall_is_no_answer_to_it() {
    let mut home = home(100);
    home.asked(A, 1, 100, 1);
    home.returned(A, 1, 60, 1);
    home.asked(A, 2, 60, 1);
    assert_eq!(home.asked(B, 1, 90, 1).send, [(A, Message::Recall)]);
    let late = home.returned(A, 1, 60, 1);
    assert_eq!(late.send, [(A, Message::Returned { number: 1 }), (A, Message::Recall)]);
    assert_eq!(grant(&home.returned(A, 2, 95, 1)), (95, false));
}
