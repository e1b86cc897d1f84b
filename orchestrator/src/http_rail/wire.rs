//! Bytes of requests and answers. `None` stands for an answer that breaks the protocol.

use std::borrow::Cow;
use std::collections::HashMap;

use gristmill_actors::rail::{Answer, BookLine, BookState, PayoutRequest, RailError};
use serde::{Deserialize, Serialize};

use super::limits::MAX_WORDS;

#[derive(Serialize)]
struct OrderLine<'a> {
    key: &'a str,
    account: &'a str,
    currency: &'a str,
    minor: u64,
}

/// One line of a batch's answer, or the answer to `GET`. Fields that are not known are let through:
/// a rail may say more than is asked.
#[derive(Deserialize)]
struct AnswerLine<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    status: u16,
    state: Option<BookState>,
    minor: Option<u64>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
}

/// The parts of a problem (RFC 9457) that are kept.
#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow, default)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    detail: Cow<'a, str>,
}

pub(super) fn batch(batch: &[PayoutRequest]) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.len() * 160);
    for PayoutRequest { key, account, currency, minor } in batch {
        let line = OrderLine { key, account, currency, minor: *minor };
        serde_json::to_writer(&mut body, &line)
            .expect("an order has string keys and is written to memory");
        body.push(b'\n');
    }
    body
}

/// One answer a payout, in the order of the batch. Lines are matched by key: their order and number
/// are not relied on, and of two lines for a key the first counts.
/// None breaks the protocol.
pub fn batch_answers(batch: &[PayoutRequest], body: &[u8]) -> Option<Vec<Answer>> {
    let mut answers: HashMap<Cow<'_, str>, Answer> = HashMap::with_capacity(batch.len());
    for line in lines(body) {
        let line: AnswerLine<'_> = serde_json::from_slice(line).ok()?;
        let answer = line.answer()?;
        answers.entry(line.key).or_insert(answer);
    }
    let answer =
        |request: &PayoutRequest| answers.remove(request.key.as_str()).unwrap_or(Answer::Unknown);
    Some(batch.iter().map(answer).collect())
}

/// The answer to a question after one payout; none breaks the protocol.
pub fn asked(body: &[u8]) -> Option<Answer> {
    serde_json::from_slice::<AnswerLine<'_>>(body).ok()?.answer()
}

/// The lines of a page of the book, if they carry on from `after`.
pub fn book_lines(body: &[u8], after: u64) -> Option<Vec<BookLine>> {
    let mut last = after;
    let mut page = Vec::new();
    for line in lines(body) {
        let line: BookLine = serde_json::from_slice(line).ok()?;
        if line.seq != last + 1 {
            return None;
        }
        last = line.seq;
        page.push(line);
    }
    Some(page)
}

pub(super) fn rejection(status: u16, body: &[u8]) -> RailError {
    let (code, detail) = match serde_json::from_slice::<Problem<'_>>(body) {
        Ok(Problem { code, detail }) => (words(&code), words(&detail)),
        Err(_) => ("no_problem_given".to_owned(), words(&String::from_utf8_lossy(body))),
    };
    RailError::Rejected { status, code, detail }
}

fn words(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}

fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    // An empty body holds no line, though splitting it gives one.
    body.split(|byte| *byte == b'\n').filter(move |_| !body.is_empty())
}

impl AnswerLine<'_> {
    fn answer(&self) -> Option<Answer> {
        let code = || self.code.as_deref().map_or_else(|| "no_code_given".to_owned(), words);
        match (self.status, self.state) {
            (200..=299, Some(BookState::Paid)) => Some(Answer::Paid { minor: self.minor? }),
            (200..=299, Some(BookState::Pending)) => Some(Answer::Pending),
            (200..=299, Some(BookState::Failed)) | (400..=408 | 410..=428, None) => {
                Some(Answer::Failed { code: code() })
            }
            (409, _) => Some(Answer::Conflict),
            // Too many requests or a server error for this line alone: ask before anything else.
            (429..=599, _) => Some(Answer::Unknown),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str) -> PayoutRequest {
        let (account, currency) = ("a".to_owned(), "KRW".to_owned());
        PayoutRequest { key: key.to_owned(), account, currency, minor: 5 }
    }

    #[test]
    fn answers_are_matched_by_key_whatever_their_order_and_number() {
        let body = br#"{"key":"c","status":504,"state":null}
{"key":"b","status":409,"state":null,"code":"idempotency_key_reused"}
{"key":"a","status":201,"state":"paid","minor":5}
{"key":"a","status":200,"state":"paid","minor":5}
{"key":"d","status":400,"state":null,"code":"invalid_minor"}
"#;
        let batch = ["a", "b", "c", "d", "e"].map(request);
        let failed = Answer::Failed { code: "invalid_minor".to_owned() };
        let expected =
            [Answer::Paid { minor: 5 }, Answer::Conflict, Answer::Unknown, failed, Answer::Unknown];
        assert_eq!(batch_answers(&batch, body).unwrap(), expected);
    }

    #[test]
    fn an_answer_that_breaks_the_protocol_is_no_answer() {
        for body in [
            "x",
            "{}",
            r#"{"key":"a","status":201,"state":"paid"}"#,
            r#"{"key":"a","status":200,"state":null}"#,
            r#"{"key":"a","status":200,"state":"gone","minor":1}"#,
            "\n\n",
        ] {
            assert_eq!(batch_answers(&[request("a")], body.as_bytes()), None, "{body}");
        }
        assert_eq!(batch_answers(&[request("a")], b""), Some(vec![Answer::Unknown]));
    }

    #[test]
    fn a_page_with_a_gap_is_refused() {
        let line = r#"{"seq":2,"key":"a","account":"x","currency":"KRW","minor":5,"state":"paid","at_ms":1}"#;
        assert_eq!(book_lines(line.as_bytes(), 1).unwrap().len(), 1);
        assert_eq!(book_lines(line.as_bytes(), 0), None);
        assert_eq!(book_lines(b"", 0), Some(Vec::new()));
    }
}
