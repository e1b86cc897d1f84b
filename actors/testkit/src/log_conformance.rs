//! What every store of the log's objects must do, checked through the port.

use gristmill_actors::ports::{LogError, LogStore, Object};

const STANDS: &str = "the store takes a plain object";

fn object(path: &str, text: &str) -> Object {
    (path.to_owned(), text.as_bytes().to_vec())
}

async fn text(store: &dyn LogStore, path: &str) -> Option<String> {
    let bytes = store.read(path.to_owned()).await.expect("an object is read or absent");
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

async fn names(store: &dyn LogStore, folder: &str) -> Vec<String> {
    store.list(folder.to_owned()).await.expect("a folder is listed")
}

/// Runs all checks. `make` gives an empty store, `reopen` another process's view of the same.
///
/// # Panics
/// When the store does not do what `LogStore` promises.
pub async fn run<S: LogStore>(make: impl AsyncFn() -> S, reopen: impl AsyncFn(S) -> S) {
    creates_once_and_keeps_what_stands(&make().await).await;
    gives_back_what_was_made_before(make().await, &reopen).await;
    replaces_and_removes(&make().await).await;
    lists_what_is_directly_in_a_folder(&make().await).await;
    creates_all_before_the_one_that_differs(&make().await).await;
    takes_many_and_large_objects(make().await, &reopen).await;
    two_creators_agree_or_one_is_told(make().await).await;
}

async fn creates_once_and_keeps_what_stands(store: &dyn LogStore) {
    store.create(Vec::new()).await.expect("nothing to create is fine");
    store.create(vec![object("tile/0/001.p/4", "a")]).await.expect(STANDS);
    store.create(vec![object("tile/0/001.p/4", "a")]).await.expect("the same again is fine");
    let differs = store.create(vec![object("tile/0/001.p/4", "b")]).await;
    assert_eq!(differs, Err(LogError::Differs { path: "tile/0/001.p/4".to_owned() }));
    let shorter = store.create(vec![object("tile/0/001.p/4", "")]).await;
    assert!(shorter.is_err(), "no bytes are other bytes");
    assert_eq!(text(store, "tile/0/001.p/4").await.as_deref(), Some("a"));
    assert_eq!(text(store, "tile/0/001.p/5").await, None);
}

async fn gives_back_what_was_made_before<S: LogStore>(store: S, reopen: &impl AsyncFn(S) -> S) {
    store.create(vec![object("sequenced/00", "a"), object("empty", "")]).await.expect(STANDS);
    store.replace(object("checkpoint", "b")).await.expect(STANDS);
    let store = reopen(store).await;
    assert_eq!(text(&store, "sequenced/00").await.as_deref(), Some("a"));
    assert_eq!(text(&store, "empty").await.as_deref(), Some(""));
    assert_eq!(text(&store, "checkpoint").await.as_deref(), Some("b"));
    let differs = store.create(vec![object("sequenced/00", "c")]).await;
    assert!(matches!(differs, Err(LogError::Differs { .. })), "{differs:?}");
}

async fn replaces_and_removes(store: &dyn LogStore) {
    for version in ["a", "bb", "c"] {
        store.replace(object("checkpoint", version)).await.expect(STANDS);
        assert_eq!(text(store, "checkpoint").await.as_deref(), Some(version));
    }
    let note = |size: u64| format!("log\n{size}\nroot\n");
    for (size, stands) in [(9, 9), (10, 10), (9, 10), (10, 10), (11, 11)] {
        store.replace(object("checkpoint", &note(size))).await.expect(STANDS);
        assert_eq!(text(store, "checkpoint").await, Some(note(stands)), "none goes back");
    }
    store.create(vec![object("tile/0/000.p/1", "a"), object("kept", "b")]).await.expect(STANDS);
    let gone = || vec!["tile/0/000.p/1".to_owned(), "never".to_owned()];
    store.remove(gone()).await.expect("absent ones are fine");
    store.remove(gone()).await.expect("absent ones are fine");
    assert_eq!(text(store, "tile/0/000.p/1").await, None);
    assert_eq!(text(store, "kept").await.as_deref(), Some("b"));
    store.create(vec![object("tile/0/000.p/1", "z")]).await.expect("what is gone may come again");
    assert_eq!(text(store, "tile/0/000.p/1").await.as_deref(), Some("z"));
}

async fn lists_what_is_directly_in_a_folder(store: &dyn LogStore) {
    assert_eq!(names(store, "checkpoints").await, [""; 0]);
    let paths = ["checkpoints/10", "checkpoints/02", "checkpoints/x/y", "checkpointsx", "a"];
    let objects = paths.iter().map(|path| object(path, "x")).collect();
    store.create(objects).await.expect(STANDS);
    assert_eq!(names(store, "checkpoints").await, ["checkpoints/02", "checkpoints/10"]);
}

async fn creates_all_before_the_one_that_differs(store: &dyn LogStore) {
    store.create(vec![object("b/2", "x")]).await.expect(STANDS);
    let objects = vec![object("a/1", "1"), object("b/2", "2"), object("c/3", "3")];
    let differs = store.create(objects).await;
    assert_eq!(differs, Err(LogError::Differs { path: "b/2".to_owned() }));
    assert_eq!(text(store, "b/2").await.as_deref(), Some("x"));
    assert_eq!(text(store, "c/3").await, None, "a later one alone");
}

async fn takes_many_and_large_objects<S: LogStore>(store: S, reopen: &impl AsyncFn(S) -> S) {
    let path = |nth: usize| format!("tile/{}/x{:03}/{:03}", nth % 3, nth / 7, nth);
    let bytes = |nth: usize| vec![u8::try_from(nth % 251).unwrap_or(0); nth * 97 % 8192];
    store.create((0..200).map(|nth| (path(nth), bytes(nth))).collect()).await.expect(STANDS);
    let large = vec![7; 16 * 1024 * 1024];
    store.create(vec![("large".to_owned(), large.clone())]).await.expect(STANDS);
    let store = reopen(store).await;
    for nth in 0..200 {
        assert_eq!(store.read(path(nth)).await, Ok(Some(bytes(nth))), "object {nth}");
    }
    assert!(store.read("large".to_owned()).await == Ok(Some(large)));
}

async fn two_creators_agree_or_one_is_told(store: impl LogStore) {
    for round in 0..20 {
        let path = format!("sequenced/{round:020}");
        let create = |text: &str| store.create(vec![object(&path, text)]);
        let (one, other) = tokio::join!(create("one"), create("other"));
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        let winner = if one.is_ok() { "one" } else { "other" };
        assert_eq!(text(&store, &path).await.as_deref(), Some(winner));
    }
}
