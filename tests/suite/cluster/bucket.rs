//! Nodes whose public log and media are in a bucket of an S3-compatible service.

use super::town::{Load, Town, request};
use super::{a_moment, one_server, rounds};
use gristmill_tests::skip;

/// Where the service is; a bucket `gristmill` stands there, for `test` with `test`.
const ENDPOINT: &str = "GRISTMILL_S3_ENDPOINT";

#[test]
fn nodes_whose_log_is_in_a_bucket_are_killed() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        skip("no S3-compatible service (GRISTMILL_S3_ENDPOINT is not set)");
        return;
    };
    let Some(mut town) = Town::empty(2, one_server, &[]) else { return };
    // The town's own folder has a name that no other test has at the time.
    let name =
        town.verifier_key().split('/').rev().nth(3).unwrap().trim_start_matches('.').to_owned();
    let folder = format!("s3://gristmill/towns/{name}-{}", std::process::id());
    town.keeps_in(folder.clone());
    town.configure("GRISTMILL_BUCKET__ENDPOINT", &endpoint);
    town.configure("AWS_ACCESS_KEY_ID", "test");
    town.configure("AWS_SECRET_ACCESS_KEY", "test");
    town.up_all();
    let load = Load::start(&town, "b");
    for round in 0..rounds() as usize {
        a_moment(1_500);
        let victim = round % 2;
        let _gone = town.take_down(victim).kill();
        let took = town.until_without(victim);
        eprintln!("its last shard moved {took:?} after the death of n{victim}");
        town.up(victim);
    }
    a_moment(1_500);
    let (ids, _) = load.stop();
    let listens = town.nodes[0].as_ref().unwrap().listens;
    for object in ["checkpoint", "vkey"] {
        let (status, body) = request(listens, &format!("GET /trace/{object}"), b"").unwrap();
        assert_eq!(status, 200, "{object}: {body}");
    }
    town.settles(&ids);
    let (log, key) = (format!("{folder}/trace"), town.verifier_key());
    let verified = town.verb(&["trace", "verify", &log, "--key", &key, "--output", "json"]);
    let size = verified.expect(0).json()["size"].as_u64().unwrap();
    assert!(size >= ids.len() as u64, "{size} entries");
}
