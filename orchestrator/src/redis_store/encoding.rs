//! What goes to the library and comes back, in the shapes that `gristmill_v2.lua` says.

use super::error::strange;
use super::{data_keys, value};
use gristmill_actors::ports::{Committed, Intake, StoreError, Submitted};
use gristmill_workflows::commit::{Commit, Place};
use gristmill_workflows::id::{Arrival, ShardId};
use gristmill_workflows::inbox::Lane;
use gristmill_workflows::lease::Lease;
use gristmill_workflows::submission::{Mark, Scope};
use gristmill_workflows::time::Timestamp;
use redis::{Cmd, Value};

const fn scope(scope: &Scope) -> (&str, &str) {
    match scope {
        Scope::Grant(grant) => ("g", grant.as_str()),
        Scope::Program(program) => ("p", program.as_str()),
        Scope::All => ("a", ""),
    }
}

/// One item of a submit.
pub(super) fn item(call: &mut Cmd, item: &Intake) {
    call.arg(match item.lane {
        Lane::Control => "c",
        Lane::Intake => "i",
    });
    call.arg(&item.item[..]);
    match &item.identity {
        Some((identity, hash)) => call.arg(&identity[..]).arg(&hash[..]),
        None => call.arg("").arg(""),
    };
    match &item.mark {
        Some((contributor, mark)) => {
            let (kind, name) = scope(&mark.scope);
            call.arg(&contributor.0[..]).arg(kind).arg(name).arg(mark.at.0)
        }
        None => call.arg("").arg("").arg("").arg(""),
    };
    match item.reads.contributor {
        Some(contributor) => call.arg(&contributor.0[..]),
        None => call.arg(""),
    };
    match item.reads.data_key.filter(|_| item.reads.contributor.is_some()) {
        Some(slot) => call.arg(data_keys::number(slot)),
        None => call.arg(""),
    };
}

/// The answer to one item of a submit.
pub(super) fn submitted(answer: &[u8]) -> Result<Submitted, StoreError> {
    let (kind, number) = answer.split_first().ok_or_else(|| strange("a submit"))?;
    let arrival = || value::decimal(number, "a submit");
    match kind {
        b'a' => Ok(Submitted::Accepted(arrival()?)),
        b's' => Ok(Submitted::Same(arrival()?)),
        b'x' => Ok(Submitted::Conflict(arrival()?)),
        b'f' => Ok(Submitted::Full),
        _ => Err(strange("a submit")),
    }
}

/// The text of an identity's row: 16 bytes of body hash, then the arrival number.
pub(super) fn known(row: &[u8]) -> Result<(Arrival, [u8; 16]), StoreError> {
    let (hash, number) = row.split_first_chunk().ok_or_else(|| strange("an identity"))?;
    Ok((value::decimal(number, "an identity")?, *hash))
}

/// A timer's member: when due and whose, big-endian, so that members sort as timers do.
pub(super) fn timer(due: Timestamp, whose: Arrival) -> [u8; 16] {
    let mut member = [0; 16];
    member[..8].copy_from_slice(&due.0.to_be_bytes());
    member[8..].copy_from_slice(&whose.to_be_bytes());
    member
}

/// Sections of a commit after its guards; `gristmill_v2.lua` has the same order.
pub(super) fn commit(call: &mut Cmd, commit: &Commit, read: u64) {
    call.arg(&commit.state[..]).arg(commit.admitted.as_deref().unwrap_or(&[])).arg(read);
    call.arg(commit.guards.len() * 5);
    for guard in &commit.guards {
        call.arg(&guard.contributor.0[..]).arg(&guard.grant).arg(&guard.program);
        call.arg(guard.position).arg(guard.arrival);
    }
    for lane in [Lane::Control, Lane::Intake] {
        let of_lane = commit.inbox_remove.iter().filter(|(of, _)| *of == lane);
        let ids: Vec<String> = of_lane.map(|(_, arrival)| format!("{arrival}-0")).collect();
        call.arg(ids.len()).arg(&ids);
    }
    call.arg(commit.timers_remove.len());
    for (due, whose) in &commit.timers_remove {
        call.arg(&timer(*due, *whose)[..]);
    }
    call.arg(commit.outbox_remove.len()).arg(&commit.outbox_remove);
    call.arg(commit.erasures_remove.len()).arg(&commit.erasures_remove);
    journeys(call, commit);
    call.arg(commit.contributors.len() * 2);
    for (contributor, row) in &commit.contributors {
        call.arg(&contributor.0[..]).arg(&row[..]);
    }
    call.arg(commit.timers_put.len() * 2);
    for (due, whose) in &commit.timers_put {
        call.arg(due.0).arg(&timer(*due, *whose)[..]);
    }
    call.arg(commit.outbox_put.len() * 2);
    for (position, row) in &commit.outbox_put {
        call.arg(position).arg(&row[..]);
    }
    call.arg(commit.sequenced_put.len() * 2);
    for (position, row) in &commit.sequenced_put {
        let mut member = position.to_be_bytes().to_vec();
        member.extend_from_slice(row);
        call.arg(position).arg(member);
    }
    call.arg(commit.erasures_put.len()).arg(&commit.erasures_put);
}

/// Active rows to take away, from the rows and from their order; active rows to put, with the order
/// of those that are new; finished rows likewise.
fn journeys(call: &mut Cmd, commit: &Commit) {
    let of = |place| commit.journeys.iter().filter(move |(_, at, ..)| *at == place);
    let left = of(Place::Finished).filter(|(.., is_active, _)| *is_active);
    let left: Vec<Arrival> = left.map(|(arrival, ..)| *arrival).collect();
    for _ in 0..2 {
        call.arg(left.len()).arg(&left);
    }
    for place in [Place::Active, Place::Finished] {
        call.arg(of(place).count() * 2);
        for (arrival, _, _, row) in of(place) {
            call.arg(arrival).arg(&row[..]);
        }
        let is_known = |is_active: bool| place == Place::Active && is_active;
        let fresh: Vec<Arrival> = of(place)
            .filter(|(.., is_active, _)| !is_known(*is_active))
            .map(|(arrival, ..)| *arrival)
            .collect();
        call.arg(fresh.len() * 2);
        for arrival in fresh {
            call.arg(arrival).arg(arrival);
        }
    }
}

fn mark(kind: &[u8], name: Vec<u8>, position: u64, at: u64) -> Result<Mark, StoreError> {
    let name = String::from_utf8(name).map_err(|_| strange("a mark"))?;
    let scope = match kind {
        b"g" => Scope::Grant(name),
        b"p" => Scope::Program(name),
        b"a" => Scope::All,
        _ => return Err(strange("a mark")),
    };
    Ok(Mark { scope, position, at: Timestamp(at) })
}

/// The answer to a commit.
pub(super) fn committed(shard: ShardId, answer: Value) -> Result<Committed, StoreError> {
    let mut parts = value::array(answer, "a commit")?.into_iter();
    let mut next = || parts.next().map(|part| value::bytes(part, "a commit")).transpose();
    match next()?.as_deref() {
        Some(b"applied") => Ok(Committed::Applied),
        Some(b"fenced") => Err(StoreError::Fenced { shard }),
        Some(b"broken") => {
            let mut broken = Vec::new();
            while let Some(arrival) = next()? {
                let arrival = value::decimal(&arrival, "a commit")?;
                let fields = (next()?, next()?, next()?, next()?);
                let (Some(kind), Some(name), Some(position), Some(at)) = fields else {
                    return Err(strange("a commit"));
                };
                let position = value::decimal(&position, "a commit")?;
                let at = value::decimal(&at, "a commit")?;
                broken.push((arrival, mark(&kind, name, position, at)?));
            }
            Ok(Committed::Broken(broken))
        }
        _ => Err(strange("a commit")),
    }
}

/// The marks of one contributor: a MessagePack array of arrays of four texts each, as the library
/// packs them.
pub(super) fn marks(row: &[u8]) -> Result<Vec<Mark>, StoreError> {
    let mut rest = row;
    let count = array_length(&mut rest)?;
    let mut marks = Vec::new();
    for _ in 0..count {
        if array_length(&mut rest)? != 4 {
            return Err(strange("marks"));
        }
        let (kind, name) = (packed_text(&mut rest)?, packed_text(&mut rest)?);
        let position = value::decimal(packed_text(&mut rest)?, "marks")?;
        let at = value::decimal(packed_text(&mut rest)?, "marks")?;
        marks.push(mark(kind, name.to_vec(), position, at)?);
    }
    Ok(marks)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StoreError> {
    let (head, tail) = rest.split_first_chunk().ok_or_else(|| strange("marks"))?;
    *rest = tail;
    Ok(*head)
}

/// MessagePack: fixarray, array 16, array 32.
fn array_length(rest: &mut &[u8]) -> Result<usize, StoreError> {
    let [kind] = take(rest)?;
    match kind {
        0x90..=0x9f => Ok(usize::from(kind & 0x0f)),
        0xdc => Ok(usize::from(u16::from_be_bytes(take(rest)?))),
        0xdd => Ok(u32::from_be_bytes(take(rest)?) as usize),
        _ => Err(strange("marks")),
    }
}

/// MessagePack: fixstr, str 8, str 16, str 32.
fn packed_text<'r>(rest: &mut &'r [u8]) -> Result<&'r [u8], StoreError> {
    let [kind] = take(rest)?;
    let length = match kind {
        0xa0..=0xbf => usize::from(kind & 0x1f),
        0xd9 => usize::from(take::<1>(rest)?[0]),
        0xda => usize::from(u16::from_be_bytes(take(rest)?)),
        0xdb => u32::from_be_bytes(take(rest)?) as usize,
        _ => return Err(strange("marks")),
    };
    let (text, tail) = rest.split_at_checked(length).ok_or_else(|| strange("marks"))?;
    *rest = tail;
    Ok(text)
}

/// Owner, epoch, seq and end of a lease as they stand.
pub(super) fn lease(row: Value) -> Result<Lease, StoreError> {
    let mut fields = value::array(row, "a lease")?.into_iter();
    let mut next = || value::maybe(fields.next().unwrap_or_default(), "a lease");
    let owner = next()?.filter(|owner| !owner.is_empty());
    let owner = owner.map(|owner| value::incarnation(&owner).ok_or_else(|| strange("a lease")));
    let owner = owner.transpose()?.unwrap_or(0);
    let mut number = || next()?.map_or(Ok(0), |text| value::decimal(&text, "a lease"));
    Ok(Lease { owner, epoch: number()?, seq: number()?, until: Timestamp(number()?) })
}
