//! Reads of single contributions, on a schedule, while others are handed in and settle.

use super::client::{Client, contribution};
use super::{Failure, settled};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;
use tokio::time::{Instant, interval};

/// Contributions handed in a second, evenly, in batches of a hundredth.
const RATE: u64 = 5_000;
const BATCH: u64 = RATE / 100;
const READ_EVERY: Duration = Duration::from_millis(5);

type Ids = Arc<Mutex<Vec<String>>>;

/// Prints percentiles of reads from the moment they were due, and how many settled meanwhile.
pub(crate) async fn run(client: &Client, lasts: Duration) -> Result<(), Failure> {
    let ids = Ids::default();
    let start = Instant::now();
    let load = tokio::spawn(load(client.clone(), ids.clone(), start, lasts));
    let address = client.address().to_owned();
    let reads = tokio::task::spawn_blocking(move || read(&address, &ids, start.into_std(), lasts));
    let mut took = reads.await??;
    let settled = settled(client).await?;
    let passed = start.elapsed().as_secs_f64();
    load.await??;
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 1000).copied().unwrap_or_default();
    println!(
        "reads: p50 {:?}, p99 {:?}, p99.9 {:?}, of {}, while {:.0} settled a second",
        at(500),
        at(990),
        at(999),
        took.len(),
        settled / passed
    );
    Ok(())
}

/// How long each read took. Blocking, on a thread and a connection of its own: a runtime's timers
/// would add up to a millisecond, and its load's tasks more. A read that is late makes the next ones
/// late, which counts.
fn read(
    address: &str,
    ids: &Ids,
    start: std::time::Instant,
    lasts: Duration,
) -> Result<Vec<Duration>, Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut requests = stream;
    let mut took = Vec::new();
    for nth in 0_usize.. {
        let due = start + READ_EVERY * u32::try_from(nth)?;
        if due.duration_since(start) >= lasts {
            break;
        }
        sleep(due.saturating_duration_since(std::time::Instant::now()));
        let id = {
            let ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            // Spread over all that were ever handed in.
            let place = nth.wrapping_mul(7_919) % ids.len().max(1);
            ids.get(place).cloned()
        };
        let Some(id) = id else { continue };
        let request = format!("GET /v1/contributions/{id} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        requests.write_all(request.as_bytes())?;
        answer(&mut answers)?;
        took.push(due.elapsed());
    }
    Ok(took)
}

/// Reads an answer to its end; fails unless it is 200.
fn answer(answers: &mut impl BufRead) -> Result<(), Failure> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    if !line.contains(" 200 ") {
        return Err(format!("a read was answered {line}").into());
    }
    let mut length = 0;
    while line.trim() != "" {
        line.clear();
        answers.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    answers.read_exact(&mut vec![0; length])?;
    Ok(())
}

async fn load(client: Client, ids: Ids, start: Instant, lasts: Duration) -> Result<(), Failure> {
    let mut tick = interval(Duration::from_secs(1) * u32::try_from(BATCH)? / u32::try_from(RATE)?);
    let mut number = 0;
    while start.elapsed() < lasts {
        let _due = tick.tick().await;
        let mut lines = String::new();
        for one in number..number + BATCH {
            writeln!(lines, "{}", contribution(one))?;
        }
        number += BATCH;
        let answers = client.batch(lines).await?;
        for line in std::str::from_utf8(&answers)?.lines() {
            let answer: serde_json::Value = serde_json::from_str(line)?;
            let id = answer["id"].as_str().ok_or("an answer without an id")?.to_owned();
            ids.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
    }
    Ok(())
}
