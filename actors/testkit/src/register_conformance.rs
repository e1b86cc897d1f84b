//! What every register must do, checked through the port.

use gristmill_actors::limits::{REGISTER_NAME_BYTES_MAX, REGISTER_ROW_BYTES_MAX};
use gristmill_actors::register::Register;
use std::sync::Arc;

async fn get(register: &dyn Register, name: &str) -> Option<Vec<u8>> {
    register.get(name.to_owned()).await.expect("a row is read")
}

async fn swap(
    register: &dyn Register,
    name: &str,
    expected: Option<&[u8]>,
    new: Option<&[u8]>,
) -> bool {
    let (expected, new) = (expected.map(<[u8]>::to_vec), new.map(<[u8]>::to_vec));
    register.swap(name.to_owned(), expected, new).await.expect("a row is swapped")
}

async fn names(
    register: &dyn Register,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    let rows = register.scan(prefix.to_owned(), after.map(str::to_owned), limit).await;
    let rows = rows.expect("rows are listed");
    for (name, row) in &rows {
        assert_eq!(row, name.as_bytes(), "every row of the test holds its own name");
    }
    rows.into_iter().map(|(name, _)| name).collect()
}

/// Runs all checks. `make` gives an empty register, `reopen` the same one after a restart.
///
/// # Panics
/// When the register does not do what `Register` promises.
pub async fn run<R: Register>(make: impl AsyncFn() -> R, reopen: impl AsyncFn(R) -> R) {
    swaps_only_what_is_as_expected(&make().await).await;
    lists_in_the_order_of_bytes(&make().await).await;
    pages_follow_without_gap_or_repeat(&make().await).await;
    lets_one_of_many_win(Arc::new(make().await)).await;
    takes_any_bytes_up_to_the_bounds(&make().await).await;
    keeps_rows(make().await, &reopen).await;
}

async fn swaps_only_what_is_as_expected(register: &dyn Register) {
    assert_eq!(get(register, "a").await, None);
    assert!(!swap(register, "a", Some(b"1"), Some(b"2")).await, "nothing stands");
    assert!(!swap(register, "a", Some(b""), Some(b"2")).await, "no row is no empty row");
    assert!(swap(register, "a", None, Some(b"1")).await);
    assert!(!swap(register, "a", None, Some(b"2")).await, "a row stands");
    assert!(!swap(register, "a", Some(b"2"), Some(b"3")).await, "another row stands");
    assert!(!swap(register, "a", Some(b"2"), None).await, "another row stands");
    assert_eq!(get(register, "a").await, Some(b"1".to_vec()));
    assert!(swap(register, "a", Some(b"1"), Some(b"")).await);
    assert_eq!(get(register, "a").await, Some(Vec::new()), "an empty row is a row");
    assert!(swap(register, "a", Some(b""), None).await);
    assert_eq!(get(register, "a").await, None);
    assert_eq!(names(register, "", None, 9).await, [""; 0], "what went is not listed");
    assert!(swap(register, "a", None, Some(b"a")).await, "and can come again");
    assert_eq!(names(register, "", None, 9).await, ["a"]);
}

async fn lists_in_the_order_of_bytes(register: &dyn Register) {
    let all = ["b/가", "b", "b/2", "c/1", "b/10", "a/9", "b/é", "b/1", "b0", "b/\u{10ffff}"];
    for name in all {
        assert!(swap(register, name, None, Some(name.as_bytes())).await);
    }
    let of_b = ["b/1", "b/10", "b/2", "b/é", "b/가", "b/\u{10ffff}"];
    assert_eq!(names(register, "b/", None, 99).await, of_b);
    assert_eq!(names(register, "b/1", None, 99).await, of_b[..2]);
    assert_eq!(names(register, "b/", Some("b/10"), 99).await, of_b[2..]);
    assert_eq!(names(register, "b/", Some("b/10"), 1).await, ["b/2"]);
    assert_eq!(names(register, "b/", Some("b/11"), 1).await, ["b/2"], "after what never stood");
    assert_eq!(names(register, "b/", Some("a"), 99).await, of_b, "after what lies before");
    assert_eq!(names(register, "b/", Some("b/"), 99).await, of_b);
    assert_eq!(names(register, "b/", Some("c"), 99).await, [""; 0], "after what lies behind");
    assert_eq!(names(register, "b/", None, 0).await, [""; 0]);
    assert_eq!(names(register, "d", None, 99).await, [""; 0]);
    let mut sorted = all;
    sorted.sort_unstable();
    assert_eq!(names(register, "", None, 99).await, sorted);
}

async fn pages_follow_without_gap_or_repeat(register: &dyn Register) {
    let mut expected: Vec<String> = (0..100).map(|n| format!("page/{:x}", n * 7919)).collect();
    for name in &expected {
        assert!(swap(register, name, None, Some(name.as_bytes())).await);
    }
    expected.sort_unstable();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = names(register, "page/", seen.last().map(String::as_str), 7).await;
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, expected);
}

async fn lets_one_of_many_win(register: Arc<dyn Register>) {
    let makers = (0..16_u8).map(|nth| {
        let register = Arc::clone(&register);
        tokio::spawn(async move { swap(&*register, "one", None, Some(&[nth])).await })
    });
    let mut won = 0;
    for maker in makers.collect::<Vec<_>>() {
        won += u32::from(maker.await.expect("a maker does not panic"));
    }
    assert_eq!(won, 1, "one of many makes the row");
    let counts = (0..8).map(|_| {
        let register = Arc::clone(&register);
        tokio::spawn(async move {
            for _ in 0..8 {
                loop {
                    let stands = get(&*register, "count").await;
                    let next = stands.as_ref().map_or(1, |row| row[0] + 1);
                    if swap(&*register, "count", stands.as_deref(), Some(&[next])).await {
                        break;
                    }
                }
            }
        })
    });
    for count in counts.collect::<Vec<_>>() {
        count.await.expect("a counter does not panic");
    }
    assert_eq!(get(&*register, "count").await, Some(vec![64]), "no step is lost");
}

async fn takes_any_bytes_up_to_the_bounds(register: &dyn Register) {
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let longest: Vec<u8> = every.iter().copied().cycle().take(REGISTER_ROW_BYTES_MAX).collect();
    let name = "n".repeat(REGISTER_NAME_BYTES_MAX);
    for row in [&every, &longest] {
        let stands = get(register, &name).await;
        assert!(swap(register, &name, stands.as_deref(), Some(row)).await);
        assert_eq!(get(register, &name).await.as_ref(), Some(row));
    }
}

async fn keeps_rows<R: Register>(register: R, reopen: &impl AsyncFn(R) -> R) {
    for name in ["kept", "gone", "changed"] {
        assert!(swap(&register, name, None, Some(b"first")).await);
    }
    assert!(swap(&register, "gone", Some(b"first"), None).await);
    assert!(swap(&register, "changed", Some(b"first"), Some(b"changed")).await);
    let register = reopen(register).await;
    assert_eq!(get(&register, "kept").await, Some(b"first".to_vec()));
    assert_eq!(get(&register, "gone").await, None);
    assert_eq!(names(&register, "changed", None, 9).await, ["changed"]);
}
